"""What is published of flows: immutable versions, tags that name them, what differs, drawings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path, Query, Response
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.api.access import Editor, Reader
from flowengine.api.concurrency import IfMatch, tag
from flowengine.api.findings import refused
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import PlainText
from flowengine.api.v1.flows import FlowId, found
from flowengine.events import Json
from flowengine.flow.diff import differences
from flowengine.flow.drawing import draw_dot, draw_mermaid, draw_svg, families_of, graph_of
from flowengine.store.audit import note
from flowengine.store.flows import publish, put_tag
from flowengine.store.tables import Flow, FlowTag, FlowVersion

router = group("flow versions")

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
Tag = Annotated[str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,99}$", examples=["production"])]
Which = Annotated[
    str, Query(pattern=r"^(draft|[1-9]\d{0,8})$", description="`draft` or a version's number.")
]


class Publication(Body):
    """How a draft is published."""

    message: PlainText = Field(default="", max_length=1000, examples=["Opening hours in winter"])
    tags: list[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,99}$")]] = Field(
        default=[], max_length=10, description="Tags that name the new version from now on."
    )


class VersionListed(Body):
    """A version in a list."""

    number: int
    hash: str
    message: str
    author: str = Field(description="The id of the key that published it.")
    tags: list[str]
    created_at: datetime


class VersionShown(VersionListed):
    """A version with its document."""

    document: dict[str, Json]
    subflows: dict[str, int]


class TagBody(Body):
    """Which version a tag names."""

    version: int = Field(ge=1, le=2**31 - 1)


class TagShown(TagBody):
    """A tag."""

    tag: str
    updated_at: datetime


class DifferenceShown(Body):
    """One part that differs."""

    what: Literal["node", "edge", "part"]
    change: Literal["added", "removed", "changed"]
    name: str
    path: str
    before: Json = None
    after: Json = None


class Differences(Body):
    """Everything that differs."""

    items: list[DifferenceShown]


@router.post("/flows/{flow_id}/publish", status_code=201, responses=refusals(404, 409, 412, 428))
async def publish_flow(
    service: TheService,
    by: Editor,
    flow_id: FlowId,
    body: Publication,
    match: IfMatch,
    response: Response,
) -> VersionShown:
    """Publish the draft as a version that never changes. A draft with errors is refused."""
    async with service.database.reading(by.project_id) as session:
        draft = found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
    match.check(draft.version)
    checked = await service.engine.drafts.check(by.project_id, draft.draft)
    if checked.errors:
        raise refused("draft_has_errors", "The draft has errors.", checked.findings)
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
        if row.version != draft.version:
            match.check(row.version)
        made = await publish(
            session, draft, checked.hash, checked.subflows, body.message, by.key_id, now
        )
        if made is None:
            raise Refused(409, "nothing_to_publish", "The newest version is the same.")
        for name in dict.fromkeys(body.tags):
            await put_tag(session, made, name, now)
        detail: dict[str, Json] = {"version": made.number, "tags": list(body.tags)}
        note(session, by, now, "flow.published", f"flow/{flow_id}", detail)
        tags = await _tags(session, flow_id)
    response.headers["location"] = f"/v1/flows/{flow_id}/versions/{made.number}"
    return _shown(made, tags)


@router.get("/flows/{flow_id}/versions", responses=refusals(404))
async def list_versions(
    service: TheService, by: Reader, flow_id: FlowId, pages: Pages
) -> Page[VersionListed]:
    """A flow's versions, the newest first."""
    query = select(FlowVersion).where(FlowVersion.flow_id == flow_id)
    if pages.after_number is not None:
        query = query.where(FlowVersion.number < pages.after_number)
    async with service.database.reading(by.project_id) as session:
        found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
        query = query.order_by(FlowVersion.number.desc()).limit(pages.limit + 1)
        rows = (await session.scalars(query)).all()
        tags = await _tags(session, flow_id)
    return pages.page(rows, lambda row: row.number, lambda row: _listed(row, tags))


@router.get("/flows/{flow_id}/versions/{number}", responses=refusals(404))
async def get_version(
    service: TheService, by: Reader, flow_id: FlowId, number: VersionNumber
) -> VersionShown:
    """One version with its document."""
    async with service.database.reading(by.project_id) as session:
        row = await _version(session, by.project_id, flow_id, number)
        tags = await _tags(session, flow_id)
    return _shown(row, tags)


@router.post("/flows/{flow_id}/versions/{number}/restore", responses=refusals(404, 412, 428))
async def restore_version(
    service: TheService,
    by: Editor,
    flow_id: FlowId,
    number: VersionNumber,
    match: IfMatch,
    response: Response,
) -> VersionShown:
    """Make a version the draft again."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        version = await _version(session, by.project_id, flow_id, number)
        row = found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
        match.check(row.version)
        row.draft, row.updated_at = version.document, now
        note(session, by, now, "flow.restored", f"flow/{flow_id}", {"version": number})
        tags = await _tags(session, flow_id)
    tag(response, row.version)
    return _shown(version, tags)


@router.get("/flows/{flow_id}/diff", responses=refusals(404))
async def compare(
    service: TheService,
    by: Reader,
    flow_id: FlowId,
    before: Which,
    after: Which = "draft",
) -> Differences:
    """What differs between two versions, or a version and the draft."""
    async with service.database.reading(by.project_id) as session:
        one = await _document(session, by.project_id, flow_id, before)
        other = await _document(session, by.project_id, flow_id, after)
    return Differences(
        items=[
            DifferenceShown(
                what=each.what,
                change=each.change,
                name=each.name,
                path=each.path,
                before=each.before,
                after=each.after,
            )
            for each in differences(one, other)
        ]
    )


@router.get(
    "/flows/{flow_id}/drawing",
    response_class=Response,
    responses={
        200: {"content": {"image/svg+xml": {}, "text/plain": {}}, "description": "The drawing."},
        **refusals(404),
    },
)
async def draw(
    service: TheService,
    by: Reader,
    flow_id: FlowId,
    version: Which = "draft",
    form: Annotated[Literal["svg", "mermaid", "dot"], Query(alias="format")] = "svg",
) -> Response:
    """A drawing of the draft or of a version; a draft with mistakes is drawn as far as it goes."""
    async with service.database.reading(by.project_id) as session:
        document = await _document(session, by.project_id, flow_id, version)
    graph = graph_of(dict(document), families_of(service.engine.language.kinds))
    if form == "svg":
        return Response(draw_svg(graph), media_type="image/svg+xml")
    drawn = draw_mermaid(graph) if form == "mermaid" else draw_dot(graph)
    return Response(drawn, media_type="text/plain")


@router.get("/flows/{flow_id}/tags", responses=refusals(404))
async def list_tags(
    service: TheService, by: Reader, flow_id: FlowId, pages: Pages
) -> Page[TagShown]:
    """A flow's tags."""
    query = select(FlowTag).where(FlowTag.flow_id == flow_id).order_by(FlowTag.tag)
    if pages.after is not None:
        query = query.where(FlowTag.tag > pages.after)
    async with service.database.reading(by.project_id) as session:
        found(await session.get(Flow, (by.project_id, flow_id)), flow_id)
        rows = (await session.scalars(query.limit(pages.limit + 1))).all()
    return pages.page(rows, lambda row: row.tag, _tag)


@router.get("/flows/{flow_id}/tags/{name}", responses=refusals(404))
async def get_tag(
    service: TheService, by: Reader, flow_id: FlowId, name: Tag, response: Response
) -> TagShown:
    """Which version a tag names."""
    async with service.database.reading(by.project_id) as session:
        row = await session.get(FlowTag, (by.project_id, flow_id, name))
    if row is None:
        raise not_found("tag", name)
    tag(response, row.version)
    return _tag(row)


@router.put("/flows/{flow_id}/tags/{name}", responses=refusals(404, 412, 428))
async def set_tag(
    service: TheService,
    by: Editor,
    flow_id: FlowId,
    name: Tag,
    body: TagBody,
    match: IfMatch,
    response: Response,
) -> TagShown:
    """Let a tag name a version: new calls of the tag get it at once. `If-Match: *` makes one."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        version = await _version(session, by.project_id, flow_id, body.version)
        old = await session.get(FlowTag, (by.project_id, flow_id, name))
        match.check(0 if old is None else old.version)
        row = await put_tag(session, version, name, now)
        detail: dict[str, Json] = {"tag": name, "version": body.version}
        note(session, by, now, "flow.tagged", f"flow/{flow_id}", detail)
    tag(response, row.version)
    return _tag(row)


@router.delete("/flows/{flow_id}/tags/{name}", status_code=204, responses=refusals(404, 412, 428))
async def delete_tag(
    service: TheService, by: Editor, flow_id: FlowId, name: Tag, match: IfMatch
) -> None:
    """Delete a tag; the version stays."""
    async with service.database.writing(by.project_id) as session:
        row = await session.get(FlowTag, (by.project_id, flow_id, name))
        if row is None:
            raise not_found("tag", name)
        match.check(row.version)
        await session.delete(row)
        note(session, by, service.now(), "flow.untagged", f"flow/{flow_id}", {"tag": name})


async def _version(
    session: AsyncSession, project_id: str, flow_id: str, number: int
) -> FlowVersion:
    row = await session.get(FlowVersion, (project_id, flow_id, number))
    if row is None:
        raise not_found("version", f"{flow_id}/{number}")
    return row


async def _document(
    session: AsyncSession, project_id: str, flow_id: str, which: str
) -> Mapping[str, Json]:
    if which == "draft":
        return found(await session.get(Flow, (project_id, flow_id)), flow_id).draft
    return (await _version(session, project_id, flow_id, int(which))).document


async def _tags(session: AsyncSession, flow_id: str) -> dict[int, list[str]]:
    by_number: dict[int, list[str]] = {}
    query = select(FlowTag).where(FlowTag.flow_id == flow_id).order_by(FlowTag.tag)
    for row in await session.scalars(query):
        by_number.setdefault(row.number, []).append(row.tag)
    return by_number


def _listed(row: FlowVersion, tags: dict[int, list[str]]) -> VersionListed:
    return VersionListed(
        number=row.number,
        hash=row.hash,
        message=row.message,
        author=row.author,
        tags=tags.get(row.number, []),
        created_at=row.created_at,
    )


def _shown(row: FlowVersion, tags: dict[int, list[str]]) -> VersionShown:
    return VersionShown(
        **_listed(row, tags).model_dump(),
        document=row.document,
        subflows={name: int(str(number)) for name, number in row.subflows.items()},
    )


def _tag(row: FlowTag) -> TagShown:
    return TagShown(tag=row.tag, version=row.number, updated_at=row.updated_at)
