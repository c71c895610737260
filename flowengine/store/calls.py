"""The store of calls in the database, SQLite or PostgreSQL; safe with several processes.

`append` and `save_checkpoint` only queue; the writer thread commits. What is awaited goes through
the same queue, so it happens after everything that was appended before. Reads have a connection
and a thread of their own and see what is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from flowengine.clock import Clock, RealClock
from flowengine.errors import StoreError
from flowengine.events import Json
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.runtime.lifecycle import FINAL
from flowengine.store import rows
from flowengine.store.database import FAULTS, Database, unreadable
from flowengine.store.writer import Append, Change, Snapshot, Writer, closed_error, degraded_error

MOST_BYTES = 32 * 1024 * 1024
"""Journal and checkpoints that are kept in memory while the disk cannot take them."""
_CALLS_KNOWN = 10_000

log = structlog.get_logger(__name__)
T = TypeVar("T")


class SqlStore:
    """`ports.CallStore` on a database that was prepared."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        on_degraded: Callable[[StoreError], None] | None = None,
        on_recovered: Callable[[], None] | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """`on_degraded` and `on_recovered` are called on the writer's thread."""
        self._database = database
        self._clock = clock or RealClock()
        self._writer = Writer(
            database,
            most_bytes=most_bytes,
            on_degraded=on_degraded or (lambda error: None),
            on_recovered=on_recovered or (lambda: None),
        )
        self._reader: Connection | None = None
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="flowengine-store-read")
        self._is_closed = False
        self._appended: OrderedDict[CallId, int] = OrderedDict()
        """The newest epoch of which this process appended something, by call."""
        self._lost: dict[CallId, int] = {}
        """Epochs of which something did not fit: their journals end there."""

    @property
    def is_degraded(self) -> bool:
        """The store cannot write at the moment; calls go on without it."""
        return self._writer.is_degraded

    async def add_call(self, row: CallRow) -> None:
        """Store a new call. Raises StoreError(`call_exists`)."""
        json = {
            "flow": rows.encode(row.flow, row.id).decode(),
            "variables": rows.encode(row.variables, row.id).decode(),
            "metadata": rows.encode(row.metadata, row.id).decode(),
            "pending": _pending_text(row.pending, row.id),
        }
        await self._change(lambda at: rows.change_add(at, row, json))

    async def call(self, call_id: CallId) -> CallRow | None:
        return await self._read(lambda at: rows.select_call(at, call_id))

    async def call_by_sid(self, carrier: str, carrier_sid: str) -> CallRow | None:
        return await self._read(lambda at: rows.select_call_by_sid(at, carrier, carrier_sid))

    async def calls(self, limit: int) -> list[CallRow]:
        return await self._read(lambda at: rows.select_calls(at, limit))

    async def set_sid(self, call_id: CallId, carrier_sid: str) -> bool:
        return await self._change(lambda at: rows.change_sid(at, call_id, carrier_sid))

    async def issue_stream(self, call_id: CallId, nonce: str) -> None:
        await self._change(lambda at: rows.change_nonce(at, call_id, nonce))

    async def claim_stream(self, call_id: CallId, nonce: str) -> int | None:
        # Synced: once a call, about 1.4 ms, and a token that was used stays used after a power cut.
        return await self._change(lambda at: rows.change_claim(at, call_id, nonce), is_synced=True)

    async def set_status(self, call_id: CallId, status: str, *, disposition: str = "") -> None:
        ended_at = self._clock.wall().isoformat() if status in FINAL else None
        await self._change(
            lambda at: rows.change_status(at, call_id, status, disposition, ended_at)
        )

    async def set_pending(
        self, call_id: CallId, epoch: int, pending: Mapping[str, Json] | None
    ) -> bool:
        text = _pending_text(pending, call_id)
        return await self._change(lambda at: rows.change_pending(at, call_id, epoch, text))

    def append(self, call_id: CallId, epoch: int, records: Sequence[JournalRecord]) -> None:
        if self._is_cut_off(call_id, epoch) or not records:
            return
        lines = tuple(rows.line(record, call_id) for record in records)
        self._keep(Append(call_id, epoch, lines, sum(len(line[3]) for line in lines)))

    def save_checkpoint(self, call_id: CallId, epoch: int, checkpoint: Mapping[str, Json]) -> None:
        if self._is_cut_off(call_id, epoch):
            return
        body = rows.encode(checkpoint, call_id)
        self._keep(Snapshot(call_id, epoch, body.decode(), len(body)))

    async def written(self, call_id: CallId) -> None:
        """Return once everything appended so far is on disk, past a power cut.

        Raises StoreError: `journal_degraded`, or `stale_epoch` when a newer epoch holds the call,
        so that what this process appended was dropped.
        """
        epoch = self._appended.get(call_id)
        if epoch is not None and self._is_cut_off(call_id, epoch):
            raise degraded_error()
        await self._change(
            lambda at: _check_epoch(at, call_id, epoch), is_barrier=True, is_synced=True
        )

    async def checkpoint(self, call_id: CallId) -> Mapping[str, Json] | None:
        """The last checkpoint that is committed."""
        return await self._read(lambda at: rows.select_checkpoint(at, call_id))

    async def journal(self, call_id: CallId) -> list[JournalRecord]:
        """The records that are committed, in order."""
        return await self._read(lambda at: rows.select_journal(at, call_id))

    async def close(self) -> None:
        """Write what is queued and end. Raises StoreError when it cannot be written."""
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        is_clean = await loop.run_in_executor(self._reading, self._close)
        self._reading.shutdown(wait=False)
        if not is_clean:
            raise degraded_error()

    def _close(self) -> bool:
        if self._reader is not None:
            self._reader.close()
        return self._writer.close()

    def _is_cut_off(self, call_id: CallId, epoch: int) -> bool:
        return self._lost.get(call_id, -1) >= epoch

    def _keep(self, item: Append | Snapshot) -> None:
        """Queue it, or end the journal of this epoch here: a journal has no holes."""
        if self._appended.get(item.call_id, -1) < item.epoch:
            self._appended[item.call_id] = item.epoch
        self._appended.move_to_end(item.call_id)
        while len(self._appended) > _CALLS_KNOWN:
            oldest, _ = self._appended.popitem(last=False)
            self._lost.pop(oldest, None)
        if not self._writer.put(item):
            self._lost[item.call_id] = item.epoch
            log.error("journal_cut_off", call_id=item.call_id, epoch=item.epoch)

    async def _change(
        self,
        run: Callable[[Connection], T],
        *,
        is_barrier: bool = False,
        is_synced: bool = False,
    ) -> T:
        change = Change(run, is_barrier, is_synced)
        if not self._writer.put(change):
            raise closed_error()
        answer: T = await asyncio.wrap_future(change.answer)
        return answer

    async def _read(self, query: Callable[[Connection], T]) -> T:
        if self._is_closed:
            raise closed_error()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._query, query)

    def _query(self, query: Callable[[Connection], T]) -> T:
        try:
            if self._reader is None:
                self._reader = self._database.reader()
            with self._reader.begin():
                return query(self._reader)
        except FAULTS as error:
            if self._reader is not None:
                with contextlib.suppress(*FAULTS):
                    self._reader.close()
                self._reader = None
            raise unreadable(self._database.name, error) from error


def _pending_text(pending: Mapping[str, Json] | None, where: str) -> str | None:
    return None if pending is None else rows.encode(pending, where).decode()


def _check_epoch(connection: Connection, call_id: CallId, epoch: int | None) -> None:
    held_by = rows.epoch_of(connection, call_id)
    if held_by is None:
        raise rows.no_such_call(call_id)
    if epoch is not None and epoch != held_by:
        raise rows.stale_epoch(call_id)
