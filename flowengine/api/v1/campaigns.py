"""Campaigns: who is to be called with which flow, when and how often; contacts in any number."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response
from pydantic import AfterValidator, Field
from sqlalchemy import func, select

from flowengine.api.access import Editor, Reader
from flowengine.api.concurrency import IfMatch, tag
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import JsonObject, PlainText
from flowengine.store.audit import note
from flowengine.store.contacts import (
    BadList,
    Import,
    add_contacts,
    csv_rows,
    json_rows,
)
from flowengine.store.identities import new_id
from flowengine.store.tables import Campaign, Contact

router = group("campaigns")

CampaignId = Annotated[str, Path(pattern=r"^camp_[0-9a-f]{32}$")]
ContactId = Annotated[str, Path(pattern=r"^cont_[0-9a-f]{32}$")]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", examples=["09:00"])]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["DE"])]
ContactState = Literal["waiting", "calling", "done", "failed", "do_not_call"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

MOST_LIST_BYTES = 256 * 1024 * 1024


class Window(Body):
    """When contacts may be called, on the clock of where they are."""

    days: list[Day] = Field(default=["mon", "tue", "wed", "thu", "fri"], min_length=1, max_length=7)
    opens: Clock = "09:00"
    closes: Clock = "18:00"


class Retry(Body):
    """What happens after a call that did not reach anybody."""

    outcome: Literal["busy", "no_answer", "voicemail", "failed"]
    after_s: int = Field(ge=60, le=30 * 86_400)
    at_most: int = Field(ge=1, le=10)


class CampaignSettings(Body):
    """How a campaign calls."""

    flow: PlainText = Field(min_length=1, max_length=100, examples=["reminder"])
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    tag: PlainText | None = Field(default=None, min_length=1, max_length=100)
    variables: JsonObject = Field(default_factory=dict)
    caller_ids: list[Annotated[str, Field(pattern=r"^\+[1-9]\d{5,14}$")]] = Field(
        default=[], max_length=100
    )
    window: Window = Window()
    most_at_once: int = Field(default=5, ge=1, le=10_000)
    calls_per_second: float = Field(default=1, gt=0, le=100)
    retries: list[Retry] = Field(default=[], max_length=4)


def _consistent(value: CampaignSettings) -> CampaignSettings:
    if value.version is not None and value.tag is not None:
        raise ValueError("names a version and a tag: keep one of them")
    if value.window.opens >= value.window.closes:
        raise ValueError("has a window that closes before it opens")
    if len({retry.outcome for retry in value.retries}) != len(value.retries):
        raise ValueError("says twice what happens after one outcome")
    return value


class CampaignBody(Body):
    """What may be said of a campaign."""

    name: PlainText = Field(min_length=1, max_length=100, examples=["Reminders in December"])
    settings: Annotated[CampaignSettings, AfterValidator(_consistent)]


class CampaignShown(CampaignBody):
    """A campaign."""

    id: str
    state: Literal["draft"]
    created_at: datetime
    updated_at: datetime


class ContactShown(Body):
    """Somebody whom a campaign calls."""

    id: str
    phone: str
    time_zone: str | None
    state: ContactState
    attempts: int
    variables: JsonObject
    created_at: datetime


class Progress(Body):
    """How many contacts are in which state."""

    waiting: int = 0
    calling: int = 0
    done: int = 0
    failed: int = 0
    do_not_call: int = 0


class RejectedRow(Body):
    """A row that was not taken."""

    line: int
    code: str
    message: str


class Imported(Body):
    """What came of a list of contacts."""

    added: int
    known: int = Field(description="Numbers that the campaign had already.")
    rejected_count: int
    rejected: list[RejectedRow] = Field(description="The first thousand of them.")


@router.get("/campaigns")
async def list_campaigns(service: TheService, by: Reader, pages: Pages) -> Page[CampaignShown]:
    """The project's campaigns."""
    query = select(Campaign).order_by(Campaign.id).limit(pages.limit + 1)
    if pages.after is not None:
        query = query.where(Campaign.id > pages.after)
    async with service.database.reading(by.project_id) as session:
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.id, _shown)


@router.post("/campaigns", status_code=201)
async def create_campaign(
    service: TheService, by: Editor, body: CampaignBody, response: Response
) -> CampaignShown:
    """Make a campaign; it calls nobody yet."""
    now = service.now()
    row = Campaign(
        id=new_id("camp", now),
        project_id=by.project_id,
        name=body.name,
        state="draft",
        settings=body.settings.model_dump(),
        created_at=now,
        updated_at=now,
    )
    async with service.database.writing(by.project_id) as session:
        session.add(row)
        note(session, by, now, "campaign.created", f"campaign/{row.id}")
    tag(response, row.version)
    return _shown(row)


@router.get("/campaigns/{campaign_id}", responses=refusals(404))
async def get_campaign(
    service: TheService, by: Reader, campaign_id: CampaignId, response: Response
) -> CampaignShown:
    """One campaign."""
    async with service.database.reading(by.project_id) as session:
        row = _found(await session.get(Campaign, campaign_id), campaign_id)
    tag(response, row.version)
    return _shown(row)


@router.put("/campaigns/{campaign_id}", responses=refusals(404, 412, 428))
async def change_campaign(
    service: TheService,
    by: Editor,
    campaign_id: CampaignId,
    body: CampaignBody,
    match: IfMatch,
    response: Response,
) -> CampaignShown:
    """Set a campaign's name and how it calls."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(Campaign, campaign_id), campaign_id)
        match.check(row.version)
        row.name, row.settings, row.updated_at = body.name, body.settings.model_dump(), now
        note(session, by, now, "campaign.changed", f"campaign/{row.id}")
    tag(response, row.version)
    return _shown(row)


@router.delete("/campaigns/{campaign_id}", status_code=204, responses=refusals(404, 412, 428))
async def delete_campaign(
    service: TheService, by: Editor, campaign_id: CampaignId, match: IfMatch
) -> None:
    """Delete a campaign and its contacts."""
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(Campaign, campaign_id), campaign_id)
        match.check(row.version)
        await session.delete(row)
        note(session, by, service.now(), "campaign.deleted", f"campaign/{campaign_id}")


@router.post(
    "/campaigns/{campaign_id}/contacts",
    responses=refusals(404, 415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {
                    "schema": {"type": "string"},
                    "example": "phone,time_zone,name\n+4915112345678,Europe/Berlin,Zoë\n",
                },
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": '{"phone": "+4915112345678", "name": "Zoë"}\n',
                },
            },
        }
    },
)
async def import_contacts(
    service: TheService,
    by: Editor,
    campaign_id: CampaignId,
    request: Request,
    country: Annotated[Country | None, Query(description="How numbers without + are read.")] = None,
) -> Imported:
    """Add contacts: CSV with a head line, or one JSON object a line.

    `phone` and `time_zone` are the contact's own, every other column is a variable of the flow.
    A list may be sent again: numbers that are there already are left as they are.
    """
    async with service.database.reading(by.project_id) as session:
        _found(await session.get(Campaign, campaign_id), campaign_id)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    readers = {"text/csv": csv_rows, "application/x-ndjson": json_rows}
    if kind not in readers:
        raise Refused(
            415,
            "unknown_list",
            "A list is text/csv or application/x-ndjson.",
            fix="Set Content-Type.",
        )
    imported = Import()
    try:
        async with aclosing(_bounded(request)) as chunks:
            await add_contacts(
                service.database,
                by.project_id,
                campaign_id,
                readers[kind](chunks, imported),
                imported,
                country=country,
                now=service.now(),
            )
    except BadList as error:
        raise Refused(
            422, "bad_list", str(error), fix="Mend it and send the list again."
        ) from error
    async with service.database.writing(by.project_id) as session:
        note(
            session,
            by,
            service.now(),
            "contacts.imported",
            f"campaign/{campaign_id}",
            {"added": imported.added, "rejected": imported.rejected_count},
        )
    return Imported(
        added=imported.added,
        known=imported.known,
        rejected_count=imported.rejected_count,
        rejected=[
            RejectedRow(line=one.line, code=one.code, message=one.message)
            for one in imported.rejected
        ],
    )


@router.get("/campaigns/{campaign_id}/contacts", responses=refusals(404))
async def list_contacts(
    service: TheService,
    by: Reader,
    campaign_id: CampaignId,
    pages: Pages,
    state: Annotated[ContactState | None, Query()] = None,
) -> Page[ContactShown]:
    """A campaign's contacts, in the order in which they came."""
    query = select(Contact).where(Contact.campaign_id == campaign_id)
    if state is not None:
        query = query.where(Contact.state == state)
    if pages.after is not None:
        query = query.where(Contact.id > pages.after)
    async with service.database.reading(by.project_id) as session:
        _found(await session.get(Campaign, campaign_id), campaign_id)
        rows = (await session.scalars(query.order_by(Contact.id).limit(pages.limit + 1))).all()
    return pages.page(rows, lambda row: row.id, _contact)


@router.get("/campaigns/{campaign_id}/progress", responses=refusals(404))
async def get_progress(service: TheService, by: Reader, campaign_id: CampaignId) -> Progress:
    """How many contacts are in which state."""
    counted = (
        select(Contact.state, func.count())
        .where(Contact.campaign_id == campaign_id)
        .group_by(Contact.state)
    )
    async with service.database.reading(by.project_id) as session:
        _found(await session.get(Campaign, campaign_id), campaign_id)
        found = {str(state): int(count) for state, count in await session.execute(counted)}
    return Progress(**found)


@router.delete(
    "/campaigns/{campaign_id}/contacts/{contact_id}", status_code=204, responses=refusals(404)
)
async def delete_contact(
    service: TheService, by: Editor, campaign_id: CampaignId, contact_id: ContactId
) -> None:
    """Take somebody off a campaign."""
    async with service.database.writing(by.project_id) as session:
        row = await session.get(Contact, contact_id)
        if row is None or row.campaign_id != campaign_id:
            raise not_found("contact", contact_id)
        await session.delete(row)
        note(session, by, service.now(), "contact.deleted", f"contact/{contact_id}")


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > MOST_LIST_BYTES:
            raise BadList(f"The list has more than {MOST_LIST_BYTES} bytes.")
        yield chunk


def _found(row: Campaign | None, campaign_id: str) -> Campaign:
    if row is None:
        raise not_found("campaign", campaign_id)
    return row


def _shown(row: Campaign) -> CampaignShown:
    return CampaignShown.model_validate(
        {name: getattr(row, name) for name in CampaignShown.model_fields}
    )


def _contact(row: Contact) -> ContactShown:
    return ContactShown.model_validate(
        {name: getattr(row, name) for name in ContactShown.model_fields}
    )
