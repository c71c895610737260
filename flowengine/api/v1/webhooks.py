"""Webhook endpoints: addresses that are told what happens, each with its own signing secret."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import Path, Query, Response
from pydantic import AfterValidator, Field
from sqlalchemy import select

from flowengine.api.access import Editor, Reader
from flowengine.api.concurrency import IfMatch, tag
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import PlainText
from flowengine.store.audit import note
from flowengine.store.identities import new_id
from flowengine.store.tables import WebhookDelivery, WebhookEndpoint

router = group("webhook endpoints")

EndpointId = Annotated[str, Path(pattern=r"^hook_[0-9a-f]{32}$")]
EventType = Annotated[str, Field(pattern=r"^(\*|[a-z_]+(\.[a-z_]+)*(\.\*)?)$", max_length=80)]
State = Literal["queued", "ok", "dead"]


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http(s) address")
    if parts.username is not None or parts.fragment:
        raise ValueError("holds a user or a fragment")
    return value


class EndpointBody(Body):
    """What may be said of an endpoint."""

    url: Annotated[PlainText, AfterValidator(_address)] = Field(
        max_length=2000, examples=["https://crm.example.com/calls"]
    )
    events: list[EventType] = Field(
        default=["*"],
        min_length=1,
        max_length=50,
        description="Types of events, `call.*` for a family, `*` for all.",
        examples=[["call.ended"]],
    )
    is_active: bool = True


class EndpointShown(EndpointBody):
    """An endpoint."""

    id: str
    created_at: datetime
    updated_at: datetime


class EndpointMade(EndpointShown):
    """A new endpoint, or one with a new secret."""

    secret: str = Field(
        description="Signs what is sent (Standard Webhooks, HMAC-SHA256); shown this once."
    )


class DeliveryShown(Body):
    """One event on its way to an endpoint."""

    id: str
    event_id: str
    event_type: str
    state: State
    attempts: int
    next_at: datetime | None
    last_status: int | None
    last_error: str
    created_at: datetime


@router.get("/webhook-endpoints")
async def list_endpoints(service: TheService, by: Reader, pages: Pages) -> Page[EndpointShown]:
    """The project's endpoints."""
    query = select(WebhookEndpoint).order_by(WebhookEndpoint.id).limit(pages.limit + 1)
    if pages.after is not None:
        query = query.where(WebhookEndpoint.id > pages.after)
    async with service.database.reading(by.project_id) as session:
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.id, _shown)


@router.post("/webhook-endpoints", status_code=201)
async def create_endpoint(
    service: TheService, by: Editor, body: EndpointBody, response: Response
) -> EndpointMade:
    """Make an endpoint and its secret."""
    now, secret = service.now(), _new_secret()
    row = WebhookEndpoint(
        id=new_id("hook", now),
        project_id=by.project_id,
        url=body.url,
        events=list(body.events),
        is_active=body.is_active,
        secret=service.cipher.encrypt(secret),
        created_at=now,
        updated_at=now,
    )
    async with service.database.writing(by.project_id) as session:
        session.add(row)
        note(session, by, now, "webhook_endpoint.created", f"webhook_endpoint/{row.id}")
    tag(response, row.version)
    return EndpointMade(**_shown(row).model_dump(), secret=secret)


@router.get("/webhook-endpoints/{endpoint_id}", responses=refusals(404))
async def get_endpoint(
    service: TheService, by: Reader, endpoint_id: EndpointId, response: Response
) -> EndpointShown:
    """One endpoint."""
    async with service.database.reading(by.project_id) as session:
        row = _found(await session.get(WebhookEndpoint, endpoint_id), endpoint_id)
    tag(response, row.version)
    return _shown(row)


@router.put("/webhook-endpoints/{endpoint_id}", responses=refusals(404, 412, 428))
async def change_endpoint(
    service: TheService,
    by: Editor,
    endpoint_id: EndpointId,
    body: EndpointBody,
    match: IfMatch,
    response: Response,
) -> EndpointShown:
    """Set where an endpoint is and what it is told."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(WebhookEndpoint, endpoint_id), endpoint_id)
        match.check(row.version)
        row.url, row.events, row.is_active = body.url, list(body.events), body.is_active
        row.updated_at = now
        note(session, by, now, "webhook_endpoint.changed", f"webhook_endpoint/{row.id}")
    tag(response, row.version)
    return _shown(row)


@router.post(
    "/webhook-endpoints/{endpoint_id}/rotate-secret",
    status_code=201,
    responses=refusals(404, 412, 428),
)
async def rotate_secret(
    service: TheService, by: Editor, endpoint_id: EndpointId, match: IfMatch, response: Response
) -> EndpointMade:
    """Give an endpoint a new secret; the old one signs nothing from now on."""
    now, secret = service.now(), _new_secret()
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(WebhookEndpoint, endpoint_id), endpoint_id)
        match.check(row.version)
        row.secret, row.updated_at = service.cipher.encrypt(secret), now
        note(session, by, now, "webhook_endpoint.secret_rotated", f"webhook_endpoint/{row.id}")
    tag(response, row.version)
    return EndpointMade(**_shown(row).model_dump(), secret=secret)


@router.delete(
    "/webhook-endpoints/{endpoint_id}", status_code=204, responses=refusals(404, 412, 428)
)
async def delete_endpoint(
    service: TheService, by: Editor, endpoint_id: EndpointId, match: IfMatch
) -> None:
    """Delete an endpoint and its deliveries."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(WebhookEndpoint, endpoint_id), endpoint_id)
        match.check(row.version)
        await session.delete(row)
        note(session, by, now, "webhook_endpoint.deleted", f"webhook_endpoint/{endpoint_id}")


@router.get("/webhook-endpoints/{endpoint_id}/deliveries", responses=refusals(404))
async def list_deliveries(
    service: TheService,
    by: Reader,
    endpoint_id: EndpointId,
    pages: Pages,
    state: Annotated[State | None, Query()] = None,
) -> Page[DeliveryShown]:
    """What was sent or is to be sent to an endpoint, latest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    if pages.after is not None:
        query = query.where(WebhookDelivery.id < pages.after)
    async with service.database.reading(by.project_id) as session:
        _found(await session.get(WebhookEndpoint, endpoint_id), endpoint_id)
        query = query.order_by(WebhookDelivery.id.desc()).limit(pages.limit + 1)
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.id, _delivery)


def _new_secret() -> str:
    """As Standard Webhooks writes it: `whsec_` and 24 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def _found(row: WebhookEndpoint | None, endpoint_id: str) -> WebhookEndpoint:
    if row is None:
        raise not_found("webhook_endpoint", endpoint_id)
    return row


def _shown(row: WebhookEndpoint) -> EndpointShown:
    return EndpointShown.model_construct(
        id=row.id,
        url=row.url,
        events=row.events,
        is_active=row.is_active,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _delivery(row: WebhookDelivery) -> DeliveryShown:
    return DeliveryShown.model_validate(
        {name: getattr(row, name) for name in DeliveryShown.model_fields}
    )
