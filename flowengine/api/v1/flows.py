"""Flows: their drafts, which may be wrong, and the checks of any document."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from fastapi import Path, Response
from pydantic import Field
from sqlalchemy import select

from flowengine.api.access import Editor, Reader
from flowengine.api.concurrency import IfMatch, tag
from flowengine.api.findings import FindingShown, shown
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import Document
from flowengine.events import Json
from flowengine.store.audit import note
from flowengine.store.flows import newest_numbers, numbers_that_name
from flowengine.store.tables import Flow

router = group("flows")

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
FlowId = Annotated[str, Path(pattern=ID_PATTERN, examples=["front-desk"])]


class DraftBody(Body):
    """A flow's document."""

    document: Document = Field(
        examples=[
            {
                "flow": "1",
                "id": "front-desk",
                "start": "bye",
                "nodes": {"bye": {"kind": "hangup", "say": "Goodbye."}},
                "edges": [],
            }
        ]
    )


class FlowListed(Body):
    """A flow in a list."""

    id: str
    name: str
    published: int | None = Field(description="The number of its newest version.")
    created_at: datetime
    updated_at: datetime


class FlowShown(FlowListed):
    """A flow with its draft."""

    draft: dict[str, Json]
    findings: list[FindingShown] = Field(description="What is wrong with the draft.")


class Checked(Body):
    """What is wrong with a document."""

    findings: list[FindingShown]
    hash: str = Field(description='The version that it would be; "" for one with errors.')
    subflows: dict[str, int] = Field(description="Versions that publishing it would pin.")


@router.get("/flows")
async def list_flows(service: TheService, by: Reader, pages: Pages) -> Page[FlowListed]:
    """The project's flows."""
    query = select(Flow).order_by(Flow.id).limit(pages.limit + 1)
    if pages.after is not None:
        query = query.where(Flow.id > pages.after)
    async with service.database.reading(by.project_id) as session:
        rows = (await session.scalars(query)).all()
        newest = await newest_numbers(session, [row.id for row in rows])
    return pages.page(rows, lambda row: row.id, lambda row: _listed(row, newest.get(row.id)))


@router.post("/flows", status_code=201, responses=refusals(409))
async def create_flow(
    service: TheService, by: Editor, body: DraftBody, response: Response
) -> FlowShown:
    """Make a flow from its first draft, which may have errors; its `id` stays."""
    now, flow_id = service.now(), _id_of(body.document)
    row = Flow(
        project_id=by.project_id,
        id=flow_id,
        name=_name_of(body.document),
        draft=body.document,
        created_at=now,
        updated_at=now,
    )
    async with service.database.writing(by.project_id) as session:
        if await session.get(Flow, (by.project_id, flow_id)) is not None:
            raise Refused(409, "flow_exists", f"There is a flow {flow_id!r} already.")
        session.add(row)
        note(session, by, now, "flow.created", f"flow/{flow_id}")
    tag(response, row.version)
    return await _shown(service, row, None)


@router.get("/flows/{flow_id}", responses=refusals(404))
async def get_flow(
    service: TheService, by: Reader, flow_id: FlowId, response: Response
) -> FlowShown:
    """A flow's draft and what is wrong with it."""
    async with service.database.reading(by.project_id) as session:
        row = found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
        newest = await newest_numbers(session, [flow_id])
    tag(response, row.version)
    return await _shown(service, row, newest.get(flow_id))


@router.put("/flows/{flow_id}", responses=refusals(404, 412, 428))
async def change_flow(
    service: TheService,
    by: Editor,
    flow_id: FlowId,
    body: DraftBody,
    match: IfMatch,
    response: Response,
) -> FlowShown:
    """Set a flow's draft; calls go on with what is published."""
    if _id_of(body.document) != flow_id:
        raise Refused(
            422, "other_id", "The document has another id than its flow.", where="/document/id"
        )
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
        match.check(row.version)
        row.draft, row.name, row.updated_at = body.document, _name_of(body.document), now
        newest = await newest_numbers(session, [flow_id])
        note(session, by, now, "flow.changed", f"flow/{flow_id}")
    tag(response, row.version)
    return await _shown(service, row, newest.get(flow_id))


@router.delete("/flows/{flow_id}", status_code=204, responses=refusals(404, 409, 412, 428))
async def delete_flow(service: TheService, by: Editor, flow_id: FlowId, match: IfMatch) -> None:
    """Delete a flow and its versions; calls that run keep theirs."""
    async with service.database.writing(by.project_id) as session:
        row = found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
        match.check(row.version)
        numbers = await numbers_that_name(session, flow_id)
        if numbers:
            raise Refused(
                409,
                "flow_in_use",
                f"The routing tables of {', '.join(numbers)} name this flow.",
                fix="Change these tables first.",
            )
        await session.delete(row)
        note(session, by, service.now(), "flow.deleted", f"flow/{flow_id}")


@router.post("/flows/{flow_id}/check", responses=refusals(404))
async def check_flow(service: TheService, by: Reader, flow_id: FlowId) -> Checked:
    """Check a flow's draft."""
    async with service.database.reading(by.project_id) as session:
        row = found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
    return await _checked(service, by.project_id, row.draft)


@router.post("/check")
async def check_document(service: TheService, by: Reader, body: DraftBody) -> Checked:
    """Check any document as if it were a flow of this project; nothing is stored."""
    return await _checked(service, by.project_id, body.document)


def found(row: Flow | None, flow_id: str) -> Flow:
    """The flow, or a refusal."""
    if row is None:
        raise not_found("flow", flow_id, "GET /v1/flows lists those that there are.")
    return row


async def _checked(service: TheService, project_id: str, document: dict[str, Json]) -> Checked:
    checked = await service.engine.drafts.check(project_id, document)
    return Checked(
        findings=shown(checked.findings), hash=checked.hash, subflows=dict(checked.subflows)
    )


async def _shown(service: TheService, row: Flow, published: int | None) -> FlowShown:
    checked = await service.engine.drafts.check(row.project_id, row.draft)
    return FlowShown(
        **_listed(row, published).model_dump(),
        draft=row.draft,
        findings=shown(checked.findings),
    )


def _listed(row: Flow, published: int | None) -> FlowListed:
    return FlowListed(
        id=row.id,
        name=row.name,
        published=published,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _id_of(document: dict[str, Json]) -> str:
    flow_id = document.get("id")
    if not isinstance(flow_id, str) or not re.fullmatch(ID_PATTERN, flow_id):
        raise Refused(
            422,
            "no_flow_id",
            "The document has no `id` that a flow may have.",
            where="/document/id",
            fix="Use letters, digits, `_`, `.` and `-`, at most 100.",
        )
    return flow_id


def _name_of(document: dict[str, Json]) -> str:
    name = document.get("name")
    return name[:200] if isinstance(name, str) else ""
