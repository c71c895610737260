"""The store that keeps nothing: for calls in text, and for tests. Same contract as `sqlite`.

Bodies go through JSON, so what is read back looks as it would from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowengine.clock import Clock, RealClock
from flowengine.events import Json
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.runtime.lifecycle import FINAL
from flowengine.store import rows
from flowengine.store.writer import closed_error


@dataclass(slots=True)
class _Kept:
    row: CallRow
    nonce: str | None = None
    journal: dict[int, JournalRecord] = field(default_factory=dict)
    checkpoint: bytes | None = None
    appended: int | None = None
    """The newest epoch of which something was appended."""


class MemoryStore:
    """`ports.CallStore` in a dictionary."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or RealClock()
        self._kept: dict[CallId, _Kept] = {}
        self._is_closed = False

    async def add_call(self, row: CallRow) -> None:
        """Store a new call. Raises StoreError(`call_exists`)."""
        self._check_open()
        flow = rows.decode(rows.encode(row.flow, row.id).decode())
        pending = _copy(row.pending, row.id)
        variables = _copy(row.variables, row.id) or {}
        metadata = _copy(row.metadata, row.id) or {}
        if row.id in self._kept or await self.call_by_sid(row.carrier, row.carrier_sid):
            raise rows.call_exists(row.id)
        kept = replace(row, flow=flow, pending=pending, variables=variables, metadata=metadata)
        self._kept[row.id] = _Kept(kept)

    async def call(self, call_id: CallId) -> CallRow | None:
        self._check_open()
        kept = self._kept.get(call_id)
        return None if kept is None else kept.row

    async def call_by_sid(self, carrier: str, carrier_sid: str) -> CallRow | None:
        self._check_open()
        for kept in self._kept.values():
            if carrier_sid and (kept.row.carrier, kept.row.carrier_sid) == (carrier, carrier_sid):
                return kept.row
        return None

    async def calls(self, limit: int) -> list[CallRow]:
        self._check_open()
        return [kept.row for kept in reversed(self._kept.values())][:limit]

    async def set_sid(self, call_id: CallId, carrier_sid: str) -> bool:
        kept = self._of(call_id)
        rows.check_text(carrier_sid)
        other = await self.call_by_sid(kept.row.carrier, carrier_sid)
        if kept.row.carrier_sid not in ("", carrier_sid) or other not in (None, kept.row):
            return False
        kept.row = replace(kept.row, carrier_sid=carrier_sid)
        return True

    async def issue_stream(self, call_id: CallId, nonce: str) -> None:
        self._of(call_id).nonce = nonce

    async def claim_stream(self, call_id: CallId, nonce: str) -> int | None:
        self._check_open()
        kept = self._kept.get(call_id)
        if kept is None or kept.nonce != nonce:
            return None
        kept.nonce = None
        kept.row = replace(kept.row, epoch=kept.row.epoch + 1)
        return kept.row.epoch

    async def set_status(self, call_id: CallId, status: str, *, disposition: str = "") -> None:
        kept = self._of(call_id)
        rows.check_text(disposition)
        ended_at = kept.row.ended_at
        if ended_at is None and status in FINAL:
            ended_at = self._clock.wall().isoformat()
        kept.row = replace(
            kept.row,
            status=status,
            ended_at=ended_at,
            disposition=disposition or kept.row.disposition,
        )

    async def set_pending(
        self, call_id: CallId, epoch: int, pending: Mapping[str, Json] | None
    ) -> bool:
        kept = self._of(call_id)
        copy = _copy(pending, call_id)
        if kept.row.epoch != epoch:
            return False
        kept.row = replace(kept.row, pending=copy)
        return True

    def append(self, call_id: CallId, epoch: int, records: Sequence[JournalRecord]) -> None:
        lines = [rows.line(record, call_id) for record in records]
        kept = self._kept.get(call_id)
        if self._is_closed or kept is None or not lines:
            return
        kept.appended = max(epoch, kept.appended or 0)
        if kept.row.epoch != epoch:
            return
        for record, line in zip(records, lines, strict=True):
            kept.journal.setdefault(record.seq, replace(record, body=rows.decode(line[3])))

    def save_checkpoint(self, call_id: CallId, epoch: int, checkpoint: Mapping[str, Json]) -> None:
        body = rows.encode(checkpoint, call_id)
        kept = self._kept.get(call_id)
        if self._is_closed or kept is None:
            return
        kept.appended = max(epoch, kept.appended or 0)
        if kept.row.epoch == epoch:
            kept.checkpoint = body

    async def written(self, call_id: CallId) -> None:
        """Raises StoreError(`stale_epoch`) when what was appended was dropped."""
        kept = self._of(call_id)
        if kept.appended is not None and kept.appended != kept.row.epoch:
            raise rows.stale_epoch(call_id)

    async def checkpoint(self, call_id: CallId) -> Mapping[str, Json] | None:
        self._check_open()
        kept = self._kept.get(call_id)
        if kept is None or kept.checkpoint is None:
            return None
        return rows.decode(kept.checkpoint.decode())

    async def journal(self, call_id: CallId) -> list[JournalRecord]:
        self._check_open()
        kept = self._kept.get(call_id)
        return [] if kept is None else [kept.journal[seq] for seq in sorted(kept.journal)]

    async def close(self) -> None:
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed_error()

    def _of(self, call_id: CallId) -> _Kept:
        self._check_open()
        kept = self._kept.get(call_id)
        if kept is None:
            raise rows.no_such_call(call_id)
        return kept


def _copy(pending: Mapping[str, Json] | None, where: str) -> dict[str, Json] | None:
    return None if pending is None else rows.decode(rows.encode(pending, where).decode())
