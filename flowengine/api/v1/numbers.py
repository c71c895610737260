"""Numbers that calls come in on, and the routing table of each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import phonenumbers
from fastapi import Path, Response
from pydantic import AfterValidator, AwareDatetime, Field
from sqlalchemy import select

from flowengine.api.access import Editor, Reader
from flowengine.api.concurrency import IfMatch, tag
from flowengine.api.findings import FindingShown, refused, shown
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import Document, JsonObject, PlainText
from flowengine.errors import RouteError
from flowengine.events import Json
from flowengine.flow.findings import Finding
from flowengine.flow.paths import root
from flowengine.flow.scope import CallFacts
from flowengine.runtime.inputs import wrong_inputs
from flowengine.runtime.route_explaining import explain
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.route_reading import parse_table_document
from flowengine.runtime.route_targets import flow_targets
from flowengine.runtime.routes import RouteTable
from flowengine.runtime.routing import Router
from flowengine.store.audit import note
from flowengine.store.tables import Number

router = group("numbers")


def _e164(value: str) -> str:
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException as error:
        raise ValueError("is no phone number with + and its country's code") from error
    if not phonenumbers.is_possible_number(number):
        raise ValueError("is no phone number that there could be")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


E164 = Annotated[PlainText, Field(max_length=30), AfterValidator(_e164)]
NumberPath = Annotated[str, Path(pattern=r"^\+[1-9]\d{3,14}$", examples=["+4930123456"])]
RUNNING = Annotated[int, Field(ge=0, le=1_000_000)]


class NumberBody(Body):
    """What may be said of a number."""

    carrier: PlainText = Field(default="twilio", max_length=40, pattern=r"^[a-z0-9_-]+$")
    label: PlainText = Field(default="", max_length=200, examples=["Front desk"])


class NewNumber(NumberBody):
    """A number to be answered here."""

    e164: E164 = Field(examples=["+4930123456"])
    routes: Document = Field(
        description="Its routing table; the form is in docs/routing.md.",
        examples=[{"routes": "1", "last": {"flow": "front-desk", "tag": "production"}}],
    )


class NumberShown(NumberBody):
    """A number."""

    e164: str
    created_at: datetime
    updated_at: datetime


class Routes(Body):
    """A number's routing table."""

    routes: Document


class RoutesShown(Body):
    """A number's routing table, and what is doubtful about it."""

    routes: dict[str, Json]
    findings: list[FindingShown]


class Question(Body):
    """A call of which one wants to know where it would go."""

    caller: PlainText = Field(
        default="",
        max_length=60,
        description='"" is a withheld number.',
        examples=["+4915112345678"],
    )
    at: AwareDatetime | None = Field(default=None, description="When; now.")
    headers: dict[PlainText, PlainText] = Field(default_factory=dict, max_length=50)
    metadata: JsonObject = Field(default_factory=dict)
    running: dict[PlainText, RUNNING] = Field(
        default_factory=dict,
        max_length=50,
        description="Calls that run: `all`, to this `number`, or by the id of a flow.",
    )
    call_id: PlainText = Field(default="call", min_length=1, max_length=80)
    routes: Document | None = Field(
        default=None, description="A table to be tried; without it, the number's own."
    )


@router.get("/numbers")
async def list_numbers(service: TheService, by: Reader, pages: Pages) -> Page[NumberShown]:
    """The project's numbers."""
    query = select(Number).order_by(Number.e164).limit(pages.limit + 1)
    if pages.after is not None:
        query = query.where(Number.e164 > pages.after)
    async with service.database.reading(by.project_id) as session:
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.e164, _shown)


@router.post("/numbers", status_code=201, responses=refusals(409))
async def create_number(
    service: TheService, by: Editor, body: NewNumber, response: Response
) -> NumberShown:
    """Answer a number here, by its routing table."""
    now = service.now()
    await _table(service, by.project_id, body.routes)
    async with service.database.writing(None) as session:
        if await session.get(Number, body.e164) is not None:
            raise Refused(409, "number_taken", "This number is answered here already.")
        row = Number(
            e164=body.e164,
            project_id=by.project_id,
            carrier=body.carrier,
            label=body.label,
            routes=body.routes,
            created_at=now,
            updated_at=now,
        )
        session.add(row)
        note(session, by, now, "number.created", f"number/{row.e164}")
    tag(response, row.version)
    return _shown(row)


@router.get("/numbers/{e164}", responses=refusals(404))
async def get_number(
    service: TheService, by: Reader, e164: NumberPath, response: Response
) -> NumberShown:
    """One number."""
    row = await _number(service, by.project_id, e164)
    tag(response, row.version)
    return _shown(row)


@router.put("/numbers/{e164}", responses=refusals(404, 412, 428))
async def change_number(
    service: TheService,
    by: Editor,
    e164: NumberPath,
    body: NumberBody,
    match: IfMatch,
    response: Response,
) -> NumberShown:
    """Set a number's carrier and label."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(Number, e164), e164)
        match.check(row.version)
        row.carrier, row.label, row.updated_at = body.carrier, body.label, now
        note(session, by, now, "number.changed", f"number/{e164}")
    tag(response, row.version)
    return _shown(row)


@router.delete("/numbers/{e164}", status_code=204, responses=refusals(404, 412, 428))
async def delete_number(service: TheService, by: Editor, e164: NumberPath, match: IfMatch) -> None:
    """Answer a number no more: its calls are rejected."""
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(Number, e164), e164)
        match.check(row.version)
        await session.delete(row)
        note(session, by, service.now(), "number.deleted", f"number/{e164}")


@router.get("/numbers/{e164}/routes", responses=refusals(404))
async def get_routes(
    service: TheService, by: Reader, e164: NumberPath, response: Response
) -> RoutesShown:
    """A number's routing table."""
    row = await _number(service, by.project_id, e164)
    tag(response, row.version)
    findings = parse_table_document(row.routes, e164).findings
    return RoutesShown(routes=row.routes, findings=shown(findings))


@router.put("/numbers/{e164}/routes", responses=refusals(404, 412, 428))
async def change_routes(
    service: TheService,
    by: Editor,
    e164: NumberPath,
    body: Routes,
    match: IfMatch,
    response: Response,
) -> RoutesShown:
    """Set a number's routing table: the next call goes by it. One with errors is refused."""
    now = service.now()
    findings = await _table(service, by.project_id, body.routes)
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(Number, e164), e164)
        match.check(row.version)
        row.routes, row.updated_at = body.routes, now
        note(session, by, now, "number.routed", f"number/{e164}")
    tag(response, row.version)
    return RoutesShown(routes=row.routes, findings=shown(findings))


@router.post("/numbers/{e164}/routes/explain", responses=refusals(404))
async def explain_route(
    service: TheService, by: Reader, e164: NumberPath, body: Question
) -> dict[str, Json]:
    """Where a call would go and why: every rule with what of it does not hold, every calendar.

    A webhook that is to decide is named, not asked.
    """
    row = await _number(service, by.project_id, e164)
    parsed = parse_table_document(row.routes if body.routes is None else body.routes, e164)
    if parsed.table is None:
        raise refused("bad_routes", "The routing table has errors.", parsed.findings)
    try:
        facts = RouteFacts(
            caller=body.caller,
            called=e164,
            now=service.now() if body.at is None else body.at,
            call_id=body.call_id,
            headers=body.headers,
            metadata=body.metadata,
            load=Load.of(body.running),
        )
        return explain(Router(parsed.table), facts).to_json()
    except OverflowError as error:
        raise RouteError("bad_time", "The time is at the end of all days.", where="at") from error


async def _table(
    service: TheService, project_id: str, document: dict[str, Json]
) -> tuple[Finding, ...]:
    """What is doubtful about a table. Raises Refused for one with errors."""
    parsed = parse_table_document(document)
    findings = parsed.findings
    if parsed.table is not None:
        findings = (*findings, *await _untakeable(service, project_id, parsed.table))
    if parsed.table is None or any(one.severity == "error" for one in findings):
        raise refused("bad_routes", "The routing table has errors.", findings)
    return findings


async def _untakeable(service: TheService, project_id: str, table: RouteTable) -> list[Finding]:
    found = []
    for target in flow_targets(table):
        version = await service.engine.published.find(
            project_id, target.flow, number=target.version, tag=target.tag or ""
        )
        if version is None:
            which = f" {target.tag or target.version}" if target.tag or target.version else ""
            found.append(
                Finding(
                    "not_published",
                    "error",
                    root,
                    f"The flow {target.flow!r} has no published version{which}.",
                    "Publish it, or name a version or tag that there is.",
                )
            )
            continue
        ready = await service.engine.published.get(project_id, target.flow, number=version.number)
        # What a call sets them to is held against the flow's own grammar, so it is tried here.
        facts = CallFacts("", "inbound", "", "")
        for wrong in wrong_inputs(ready.program, target.variables, facts, service.now()):
            found.append(
                Finding(
                    wrong.code,
                    "error",
                    root,
                    f"The flow {target.flow!r} does not take {wrong.name!r}: {wrong.message}",
                    "Correct the target's `variables`.",
                )
            )
    return list(dict.fromkeys(found))


async def _number(service: TheService, project_id: str, e164: str) -> Number:
    async with service.database.reading(project_id) as session:
        return _found(await session.get(Number, e164), e164)


def _found(row: Number | None, e164: str) -> Number:
    if row is None:
        raise not_found("number", e164)
    return row


def _shown(row: Number) -> NumberShown:
    return NumberShown(
        e164=row.e164,
        carrier=row.carrier,
        label=row.label,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
