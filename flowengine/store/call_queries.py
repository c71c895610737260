"""Calls as the API reads them: lists with filters, one call, its journal and transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.events import Json
from flowengine.ports import JournalRecord
from flowengine.runtime.transcript import TranscriptTurn
from flowengine.store.tables import (
    Recording,
    call,
    call_checkpoint,
    call_event,
    call_turn,
    live_event,
)

LISTED = tuple(
    call.c[name]
    for name in (
        "number",
        "id",
        "carrier",
        "direction",
        "from_number",
        "to_number",
        "flow_id",
        "flow_version",
        "version",
        "status",
        "disposition",
        "created_at",
        "ended_at",
        "metadata",
    )
)
"""All but the flow's document, which is long."""


_DISORDER = timedelta(hours=1)
"""By how much the clocks of machines that number calls together differ at most."""


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls are listed; what is None is not asked for."""

    flow: str | None = None
    status: str | None = None
    direction: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    disposition: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self, project_id: str) -> list[ColumnElement[bool]]:
        """Them as conditions on the `call`s of a project."""
        pairs = (
            (call.c.flow_id, self.flow),
            (call.c.status, self.status),
            (call.c.direction, self.direction),
            (call.c.from_number, self.from_number),
            (call.c.to_number, self.to_number),
            (call.c.disposition, self.disposition),
        )
        found = [column == value for column, value in pairs if value is not None]
        if self.since is not None:
            found += _since(project_id, self.since)
        if self.until is not None:
            found += _until(project_id, self.until)
        return found


def _since(project_id: str, at: datetime) -> list[ColumnElement[bool]]:
    """Calls from this time on; the second says the same of numbers, by which lists go.

    Without it a list of old days would read all calls since.
    """
    first = (
        select(call.c.number)
        .where(call.c.project_id == project_id, call.c.created_at >= _text(at, -_DISORDER))
        .order_by(call.c.created_at, call.c.number)
        .limit(1)
    )
    return [call.c.created_at >= _text(at), call.c.number >= first.scalar_subquery()]


def _until(project_id: str, at: datetime) -> list[ColumnElement[bool]]:
    """Calls before this time."""
    last = (
        select(call.c.number)
        .where(call.c.project_id == project_id, call.c.created_at < _text(at, _DISORDER))
        .order_by(call.c.created_at.desc(), call.c.number.desc())
        .limit(1)
    )
    return [call.c.created_at < _text(at), call.c.number <= last.scalar_subquery()]


def _text(at: datetime, later: timedelta = timedelta(0)) -> str:
    """A time as the table holds it: in UTC."""
    try:
        return (at.astimezone(UTC) + later).isoformat()
    except OverflowError:
        # At either end of what there is of time.
        return at.replace(tzinfo=UTC).isoformat()


async def list_calls(
    session: AsyncSession, project_id: str, wanted: CallFilter, before: int | None, limit: int
) -> Sequence[Row[Any]]:
    """The latest calls first; `before`: those with a smaller number."""
    query = select(*LISTED).where(call.c.project_id == project_id, *wanted.conditions(project_id))
    if before is not None:
        query = query.where(call.c.number < before)
    return (await session.execute(query.order_by(call.c.number.desc()).limit(limit))).all()


async def get_call(session: AsyncSession, project_id: str, call_id: str) -> Any:
    """One call's row, with its variables; None when the project has none of this id."""
    query = select(*LISTED, call.c.variables).where(
        call.c.project_id == project_id, call.c.id == call_id
    )
    return (await session.execute(query)).one_or_none()


async def journal(
    session: AsyncSession, call_id: str, after: int, limit: int | None, type_: str = ""
) -> list[JournalRecord]:
    """Records after a seq, in order; with `type_`, those of one type of event."""
    query = select(
        call_event.c.seq, call_event.c.at_ms, call_event.c.family, call_event.c.body
    ).where(call_event.c.call_id == call_id, call_event.c.seq > after)
    if type_:
        # The type stands first in every body.
        query = query.where(call_event.c.body.startswith(f'{{"type":"{type_}"', autoescape=True))
    rows = await session.execute(query.order_by(call_event.c.seq).limit(limit))
    return [
        JournalRecord(seq, at_ms, family, orjson.loads(body)) for seq, at_ms, family, body in rows
    ]


async def stored_transcript(session: AsyncSession, call_id: str) -> list[TranscriptTurn]:
    """The transcript that was kept at a call's end; empty when none was."""
    query = select(call_turn).where(call_turn.c.call_id == call_id).order_by(call_turn.c.number)
    return [
        TranscriptTurn(row.at_ms, row.role, row.text, row.node, **orjson.loads(row.detail))
        for row in await session.execute(query)
    ]


async def keep_transcript(
    session: AsyncSession, call_id: str, turns: Sequence[TranscriptTurn]
) -> None:
    """Keep a transcript in place of what was kept before."""
    await session.execute(delete(call_turn).where(call_turn.c.call_id == call_id))
    if turns:
        await session.execute(
            insert(call_turn),
            [
                {
                    "call_id": call_id,
                    "number": number,
                    "at_ms": turn.at_ms,
                    "role": turn.role,
                    # One of the databases holds no NUL in text.
                    "text": turn.text.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                    "node": turn.node,
                    "detail": _detail(turn),
                }
                for number, turn in enumerate(turns, 1)
            ],
        )


async def recordings_of(session: AsyncSession, call_id: str) -> Sequence[Recording]:
    """A call's recordings, in order."""
    query = select(Recording).where(Recording.call_id == call_id).order_by(Recording.id)
    return (await session.scalars(query)).all()


async def erase_calls(session: AsyncSession, call_ids: Sequence[str]) -> list[str]:
    """Delete calls with everything that was kept of them; returns the places of recordings."""
    places = list(
        await session.scalars(select(Recording.place).where(Recording.call_id.in_(call_ids)))
    )
    await session.execute(delete(Recording).where(Recording.call_id.in_(call_ids)))
    for table in (call_event, call_checkpoint, call_turn, live_event):
        await session.execute(delete(table).where(table.c.call_id.in_(call_ids)))
    await session.execute(delete(call).where(call.c.id.in_(call_ids)))
    return places


def _detail(turn: TranscriptTurn) -> str:
    detail: dict[str, Json] = {
        "by": turn.by,
        "whole": turn.whole,
        "response_ms": turn.response_ms,
    }
    return orjson.dumps(detail).decode()
