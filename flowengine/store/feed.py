"""Live events: written in batches, read by whoever follows, in this process or another.

Readers go by `number`, so numbers must become visible in order. SQLite has one writer at a time;
on PostgreSQL a batch holds a lock from its first number to its commit, or a reader could pass a
number whose transaction is still open.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
import structlog
from sqlalchemy import Select, insert, select, text

from flowengine.errors import StoreError
from flowengine.events import Json
from flowengine.store.database import Database
from flowengine.store.tables import call, live_event
from flowengine.store.waking import Bell

BATCH_S = 0.1
MOST_WAITING = 20_000
"""Events that wait for a database that is away; the oldest go first."""
READ_ROWS = 500
_ORDER_LOCK = 0x66656564
_RETRY_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event, as it is streamed."""

    number: int
    project_id: str
    call_id: str
    flow_id: str | None
    """None when the call was deleted meanwhile."""
    type: str
    at: datetime
    data: Mapping[str, Json]

    def to_json(self) -> dict[str, Json]:
        """For those who follow."""
        return {
            "id": self.number,
            "type": self.type,
            "at": self.at.isoformat(),
            "call_id": self.call_id,
            "flow_id": self.flow_id,
            "data": dict(self.data),
        }


class Feed:
    """Writes and reads live events. Made on the event loop; `close` writes what waits."""

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell
        self._waiting: deque[dict[str, object]] = deque(maxlen=MOST_WAITING)
        self._has_some = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def tell(
        self, project_id: str, call_id: str, type_: str, at: datetime, data: Mapping[str, Json]
    ) -> None:
        """Take an event; never blocks, never raises."""
        body = orjson.dumps(dict(data), default=str).decode()
        row = {"project_id": project_id, "call_id": call_id, "type": type_, "at": at, "body": body}
        if len(self._waiting) == MOST_WAITING:
            log.error("live_event_dropped")
        self._waiting.append(row)
        self._has_some.set()
        if self._task is None:
            self._task = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what waits, once; what a database does not take then is not streamed."""
        self._is_closing = True
        self._has_some.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def newest(self, project_id: str) -> int:
        """The number of a project's newest event; 0 when there is none. Raises StoreError."""
        async with self._database.reading(project_id) as session:
            return await session.scalar(_newest(project_id)) or 0

    async def follow(
        self,
        project_id: str,
        after: int,
        *,
        types: Sequence[str] = (),
        call_id: str = "",
        flow_id: str = "",
        quiet_s: float = 15.0,
    ) -> AsyncGenerator[LiveEvent | None, None]:
        """Events after a number, for ever; None when nothing came for `quiet_s`.

        Nothing is lost on a slow reader: it reads from the table. Raises StoreError.
        """
        with self._bell.listening() as rung:
            while True:
                events, after = await self._read(project_id, after, types, call_id, flow_id)
                for event in events:
                    yield event
                if not events and not await rung.wait(quiet_s):
                    yield None

    async def _read(
        self, project_id: str, after: int, types: Sequence[str], call_id: str, flow_id: str
    ) -> tuple[list[LiveEvent], int]:
        """The next events that are wanted, and up to which number all were looked at."""
        query = (
            select(live_event, call.c.flow_id)
            .outerjoin(call, call.c.id == live_event.c.call_id)
            .where(live_event.c.project_id == project_id, live_event.c.number > after)
        )
        if flow_id:
            query = query.where(call.c.flow_id == flow_id)
        if call_id:
            query = query.where(live_event.c.call_id == call_id)
        if types:
            query = query.where(live_event.c.type.in_(types))
        newest = _newest(project_id)
        async with self._database.reading(project_id) as session:
            # Before the events: what comes in between is read the next time.
            found: int | None = await session.scalar(newest)
            end = max(after, found or 0)
            query = query.where(live_event.c.number <= end).order_by(live_event.c.number)
            rows = (await session.execute(query.limit(READ_ROWS))).all()
        events = [
            LiveEvent(
                row.number,
                row.project_id,
                row.call_id,
                row.flow_id,
                row.type,
                row.at,
                orjson.loads(row.body),
            )
            for row in rows
        ]
        # Who wants few events must not look at all the others again and again.
        return events, events[-1].number if len(rows) == READ_ROWS else end

    async def _write(self) -> None:
        batch: list[dict[str, object]] = []
        while True:
            if not batch:
                await self._has_some.wait()
                if not self._is_closing:
                    await asyncio.sleep(BATCH_S)
                self._has_some.clear()
                batch = list(self._waiting)
                self._waiting.clear()
            if not batch or await self._stored(batch):
                batch = []
                if self._is_closing and not self._waiting:
                    return
            elif self._is_closing:
                log.error("live_events_lost", events=len(batch))
                return
            else:
                await asyncio.sleep(_RETRY_S)

    async def _stored(self, batch: list[dict[str, object]]) -> bool:
        try:
            async with self._database.writing(None) as session:
                if self._database.kind == "postgresql":
                    lock = text("SELECT pg_advisory_xact_lock(:key)")
                    await session.execute(lock, {"key": _ORDER_LOCK})
                await session.execute(insert(live_event), batch)
        except StoreError as error:
            log.warning("live_events_not_written", code=error.code, events=len(batch))
            return False
        await self._bell.ring()
        return True


def _newest(project_id: str) -> Select[tuple[int]]:
    return (
        select(live_event.c.number)
        .where(live_event.c.project_id == project_id)
        .order_by(live_event.c.number.desc())
        .limit(1)
    )
