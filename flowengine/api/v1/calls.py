"""Calls as they were and are: lists, one call, its transcript, journal and recordings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import Header, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, Field

from flowengine.api.access import Admin, Reader
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.sound import sound
from flowengine.api.texts import PlainText
from flowengine.assurance.cost import call_cost
from flowengine.assurance.why import Timed, facts_of
from flowengine.events import CallEnded, Json, NodeEntered
from flowengine.ports import JournalRecord
from flowengine.runtime.lifecycle import FINAL, Status
from flowengine.runtime.redaction import redacted_turns
from flowengine.runtime.transcript import TranscriptTurn, transcript_of
from flowengine.store.audit import note
from flowengine.store.call_queries import (
    CallFilter,
    erase_calls,
    get_call,
    journal,
    list_calls,
    recordings_of,
    stored_transcript,
)
from flowengine.store.erasing import DEAD_AFTER, erase_recordings, sweep_up
from flowengine.store.policies import policy_of
from flowengine.store.tables import Recording

router = group("calls")

CallPath = Annotated[str, Path(pattern=r"^call_[A-Za-z0-9_]{1,60}$")]
Word = Annotated[PlainText | None, Query(max_length=200)]
Moment = Annotated[AwareDatetime | None, Query()]


class CallListed(Body):
    """A call in a list."""

    id: str
    carrier: str
    direction: str
    from_number: str = Field(serialization_alias="from")
    to_number: str = Field(serialization_alias="to")
    flow: str
    flow_version: int | None = Field(description="Its number; null for a flow from a file.")
    version: str = Field(description="The hash of the flow that the call is pinned to.")
    status: str
    disposition: str
    created_at: datetime
    ended_at: datetime | None
    metadata: dict[str, Json]


class Visit(Body):
    """A node that the call came to."""

    node: str
    kind: str
    at_ms: int
    by: str


class RecordingShown(Body):
    """One part of a call's recording: a call that broke and went on has several."""

    part: int
    size_bytes: int
    length_ms: int


class CallShown(CallListed):
    """A call, with its way and what it cost."""

    variables: dict[str, Json]
    way: list[Visit]
    outputs: dict[str, Json] = Field(description="The flow's `output` variables; at its end.")
    duration_ms: int | None
    cost: dict[str, Json] = Field(description="Lines by provider and model, in micro-dollars.")
    recordings: list[RecordingShown]


class TurnShown(Body):
    """One thing that was said."""

    at_ms: int
    role: Literal["caller", "bot"]
    text: str = Field(description="Of the bot: what the caller heard.")
    node: str
    by: str
    whole: str = Field(description="Of a bot that was cut: what it would have said.")
    response_ms: int | None


class Transcript(Body):
    """What was said in a call."""

    items: list[TurnShown]


class RecordShown(Body):
    """One line of a call's journal."""

    seq: int
    at_ms: int
    family: Literal["input", "fact", "effect"]
    body: dict[str, Json]


@router.get("/calls")
async def list_them(
    service: TheService,
    by: Reader,
    pages: Pages,
    flow: Word = None,
    status: Annotated[Status | None, Query()] = None,
    direction: Annotated[Literal["inbound", "outbound"] | None, Query()] = None,
    caller: Annotated[PlainText | None, Query(alias="from", max_length=60)] = None,
    called: Annotated[PlainText | None, Query(alias="to", max_length=60)] = None,
    disposition: Word = None,
    since: Moment = None,
    until: Moment = None,
) -> Page[CallListed]:
    """The project's calls, the latest first."""
    wanted = CallFilter(flow, status, direction, caller, called, disposition, since, until)
    async with service.database.reading(by.project_id) as session:
        rows = await list_calls(session, by.project_id, wanted, pages.after_number, pages.limit + 1)
    return pages.page(rows, lambda row: row.number, lambda row: CallListed(**_listed(row)))


@router.get("/calls/{call_id}", responses=refusals(404))
async def get_one(service: TheService, by: Reader, call_id: CallPath) -> CallShown:
    """One call; its way is as far as the journal was written, a fraction of a second ago."""
    async with service.database.reading(by.project_id) as session:
        row = await _found(session, by.project_id, call_id)
        records = await journal(session, call_id, 0, None)
        recordings = await recordings_of(session, call_id)
    facts = facts_of(records)
    ended = next((fact for _, fact in facts if isinstance(fact, CallEnded)), None)
    cost = call_cost(facts, service.engine.catalog, datetime.fromisoformat(row.created_at).date())
    return CallShown(
        **_listed(row),
        variables=orjson.loads(row.variables),
        way=_way(facts),
        outputs=dict(ended.outputs) if ended is not None else {},
        duration_ms=ended.duration_ms if ended is not None else None,
        cost=cost.to_json(),
        recordings=_parts(recordings),
    )


@router.get("/calls/{call_id}/transcript", responses=refusals(404))
async def get_transcript(service: TheService, by: Reader, call_id: CallPath) -> Transcript:
    """What was said; of a call that runs, so far."""
    async with service.database.reading(by.project_id) as session:
        row = await _found(session, by.project_id, call_id)
        turns: Sequence[TranscriptTurn] = ()
        if row.status in FINAL:
            turns = await stored_transcript(session, call_id)
        if not turns:
            turns = transcript_of(await journal(session, call_id, 0, None))
            if (await policy_of(session, by.project_id)).redacts:
                turns = redacted_turns(turns, row.from_number, row.to_number)
    return Transcript(
        items=[
            TurnShown(
                at_ms=turn.at_ms,
                role=turn.role,
                text=turn.text,
                node=turn.node,
                by=turn.by,
                whole=turn.whole,
                response_ms=turn.response_ms,
            )
            for turn in turns
        ]
    )


@router.get("/calls/{call_id}/events", responses=refusals(404))
async def list_records(
    service: TheService,
    by: Reader,
    call_id: CallPath,
    pages: Pages,
    type_: Annotated[
        str | None, Query(alias="type", pattern="^[A-Za-z]{1,60}$", examples=["NodeEntered"])
    ] = None,
) -> Page[RecordShown]:
    """A call's journal, in order; sensitive values are masked in it."""
    async with service.database.reading(by.project_id) as session:
        await _found(session, by.project_id, call_id)
        after = pages.after_number or 0
        records = await journal(session, call_id, after, pages.limit + 1, type_ or "")
    return pages.page(records, lambda record: record.seq, _record)


@router.get(
    "/calls/{call_id}/recording",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"audio/wav": {}}, "description": "Two channels: caller and bot."},
        206: {"content": {"audio/wav": {}}, "description": "The bytes that `Range` names."},
        **refusals(404, 416),
    },
)
async def get_recording(
    service: TheService,
    by: Reader,
    call_id: CallPath,
    part: Annotated[int, Query(ge=1, le=1000)] = 1,
    range_: Annotated[
        str | None, Header(alias="range", max_length=200, description="Such as `bytes=0-65535`.")
    ] = None,
) -> StreamingResponse:
    """A part of a call's recording, whole or by `Range`."""
    async with service.database.reading(by.project_id) as session:
        await _found(session, by.project_id, call_id)
        parts = await recordings_of(session, call_id)
    if part > len(parts):
        raise not_found("recording", f"{call_id}/{part}")
    return await sound(service.engine.recordings, parts[part - 1].place, range_)


@router.delete("/calls/{call_id}", status_code=204, responses=refusals(404, 409))
async def delete_call(service: TheService, by: Admin, call_id: CallPath) -> None:
    """Delete a call with its journal, transcript, events and recordings."""
    recordings = service.engine.recordings
    async with service.database.reading(by.project_id) as session:
        _refuse_running(await _found(session, by.project_id, call_id), service.now())
    await erase_recordings(service.database, recordings, Recording.call_id == call_id)
    async with service.database.writing(by.project_id) as session:
        _refuse_running(await _found(session, by.project_id, call_id), service.now())
        places = await erase_calls(session, [call_id])
        note(session, by, service.now(), "call.deleted", f"call/{call_id}")
    await sweep_up(recordings, [call_id], places)


def _refuse_running(row: Any, now: datetime) -> None:
    is_dead = datetime.fromisoformat(row.created_at) < now - DEAD_AFTER
    if row.status not in FINAL and not is_dead:
        raise Refused(409, "call_is_running", "The call is not over.", fix="End it first.")


async def _found(session: Any, project_id: str, call_id: str) -> Any:
    row = await get_call(session, project_id, call_id)
    if row is None:
        raise not_found("call", call_id)
    return row


def _listed(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "carrier": row.carrier,
        "direction": row.direction,
        "from_number": row.from_number,
        "to_number": row.to_number,
        "flow": row.flow_id,
        "flow_version": row.flow_version,
        "version": row.version,
        "status": row.status,
        "disposition": row.disposition,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
        "metadata": orjson.loads(row.metadata),
    }


def _way(facts: Sequence[Timed]) -> list[Visit]:
    return [
        Visit(node=fact.node, kind=fact.kind, at_ms=at_ms, by=fact.by)
        for at_ms, fact in facts
        if isinstance(fact, NodeEntered)
    ]


def _parts(recordings: Sequence[Recording]) -> list[RecordingShown]:
    return [
        RecordingShown(part=part, size_bytes=one.size_bytes, length_ms=one.length_ms)
        for part, one in enumerate(recordings, 1)
    ]


def _record(record: JournalRecord) -> RecordShown:
    return RecordShown(
        seq=record.seq, at_ms=record.at_ms, family=record.family, body=dict(record.body)
    )
