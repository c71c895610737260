"""The one thread that writes to the store: it gathers what calls hand it and commits batches.

Event loops put `Append`s, `Snapshot`s and `Change`s into one queue, in order; the thread commits
what came within 100 ms, or 500 rows, as one transaction. A `Change` is waited for by somebody, so
it does not wait for the 100 ms. When a commit fails (disk full, I/O error, locked) the writer is
*degraded*: journal and checkpoints are parked, bounded, and tried again; changes are tried on
their own, so that calls go on; barriers fail at once.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from flowengine.errors import StoreError
from flowengine.ids import CallId
from flowengine.store import dialects
from flowengine.store.database import FAULTS, Database
from flowengine.store.rows import ADD_CHECKPOINT, ADD_EVENTS, bad_value, epoch_of

BATCH_S = 0.1
BATCH_ROWS = 500
_RETRY_FIRST_S = 0.25
_RETRY_LONGEST_S = 5.0
# Beside the database's own, what binding a value may raise: nothing may end the thread, or those
# who wait for it would wait for ever.
_FAULTS = (*FAULTS, ValueError, OverflowError, MemoryError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Append:
    """Journal records of one call: `(seq, at_ms, family, body)`."""

    call_id: CallId
    epoch: int
    records: tuple[tuple[int, int, str, str], ...]
    size: int

    @property
    def rows(self) -> int:
        return len(self.records)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checkpoint of one call."""

    call_id: CallId
    epoch: int
    body: str
    size: int
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that somebody waits for; `run` happens inside the batch's transaction.

    `is_barrier`: it answers for everything put before it. `is_synced`: the batch that holds it is
    flushed to the disk, so that it outlives a power cut too.
    """

    run: Callable[[Connection], Any]
    is_barrier: bool = False
    is_synced: bool = False
    answer: Future[Any] = field(default_factory=Future)
    size: int = 0
    rows: int = 1


Item = Append | Snapshot | Change
Answer = tuple[Change, Any, Exception | None]


def degraded_error() -> StoreError:
    """Refuse while the disk takes no writes."""
    return StoreError(
        "journal_degraded",
        "The call store cannot write at the moment.",
        fix="Free disk space or mend the disk; the store goes on by itself.",
        retryable=True,
    )


def closed_error() -> StoreError:
    """Refuse what comes after the store was closed."""
    return StoreError("store_closed", "The call store is closed.", fix="Open a new one.")


class Writer:
    """Queue, thread and connection; `put` never blocks and refuses what does not fit."""

    def __init__(
        self,
        database: Database,
        *,
        most_bytes: int,
        on_degraded: Callable[[StoreError], None],
        on_recovered: Callable[[], None],
    ) -> None:
        self._database = database
        self._most_bytes = most_bytes
        self._on_degraded = on_degraded
        self._on_recovered = on_recovered
        self._wake = threading.Condition()
        self._queue: list[Item] = []
        self._queued_rows = 0
        self._held_bytes = 0
        self._is_urgent = False
        self._is_closing = False
        self._parked: list[Append | Snapshot] = []
        self._connection: Connection | None = None
        self._is_full_sync = False
        self._retry_s = _RETRY_FIRST_S
        self._retry_at = 0.0
        self.is_degraded = False
        self._thread = threading.Thread(target=self._run, name="flowengine-store", daemon=True)
        self._thread.start()

    @property
    def held_bytes(self) -> int:
        """Bytes of journal and checkpoints that are not committed yet."""
        return self._held_bytes

    def put(self, item: Item) -> bool:
        """Queue an item; False when the writer is closed or holds too much already."""
        with self._wake:
            if self._is_closing or self._held_bytes + item.size > self._most_bytes:
                return False
            is_first = not self._queue
            self._queue.append(item)
            self._queued_rows += item.rows
            self._held_bytes += item.size
            if isinstance(item, Change):
                self._is_urgent = True
            if is_first or self._is_urgent or self._queued_rows >= BATCH_ROWS:
                self._wake.notify()
            return True

    def close(self) -> bool:
        """Write what is queued and stop; blocks. False when something could not be written."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()
        return not self._parked

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            if batch and not self.is_degraded:
                self._write(batch)
            elif batch:
                self._limp(batch)
            if self.is_degraded and time.monotonic() >= self._retry_at:
                self._retry()
        if self._parked:
            self._retry()
        if self._parked:
            _note(log.error, "journal_lost", items=len(self._parked))
        self._disconnect()

    def _take(self) -> list[Item] | None:
        """The next batch; empty when only a retry is due, None when all is done."""
        with self._wake:
            while not self._queue and not self._is_closing:
                if not self.is_degraded:
                    self._wake.wait()
                elif (left := self._retry_at - time.monotonic()) > 0:
                    self._wake.wait(left)
                else:
                    return []
            if not self._queue:
                return None
            end = time.monotonic() + BATCH_S
            while not (self._is_urgent or self._is_closing or self._queued_rows >= BATCH_ROWS):
                if (left := end - time.monotonic()) <= 0:
                    break
                self._wake.wait(left)
            return self._cut_batch()

    def _cut_batch(self) -> list[Item]:
        count = _batch_length(self._queue)
        batch, self._queue = self._queue[:count], self._queue[count:]
        self._queued_rows = sum(item.rows for item in self._queue)
        self._is_urgent = any(isinstance(item, Change) for item in self._queue)
        return [
            item
            for item in batch
            if not isinstance(item, Change) or item.answer.set_running_or_notify_cancel()
        ]

    def _write(self, batch: Sequence[Item]) -> None:
        try:
            answers = self._commit(batch)
        except _FAULTS as error:
            self._degrade(error)
            self._limp(batch)
            return
        self._release(batch)
        _give(answers)

    def _limp(self, batch: Sequence[Item]) -> None:
        """Degraded: keep the journal for later, try each change alone."""
        self._parked.extend(item for item in batch if not isinstance(item, Change))
        for change in (item for item in batch if isinstance(item, Change)):
            if change.is_barrier:
                change.answer.set_exception(degraded_error())
                continue
            try:
                _give(self._commit([change]))
            except _FAULTS:
                change.answer.set_exception(degraded_error())

    def _retry(self) -> None:
        try:
            dialects.probe(self._connected())
            while self._parked:
                batch = self._parked[: _batch_length(self._parked)]
                self._commit(batch)
                self._parked = self._parked[len(batch) :]
                self._release(batch)
        except _FAULTS as error:
            # A connection that met an I/O error may never work again; a new one may.
            self._disconnect()
            self._retry_s = min(self._retry_s * 2, _RETRY_LONGEST_S)
            self._retry_at = time.monotonic() + self._retry_s
            _note(
                log.warning, "journal_still_degraded", error=str(error), held_bytes=self._held_bytes
            )
            return
        self.is_degraded = False
        _note(log.info, "journal_recovered")
        _tell(self._on_recovered)

    def _degrade(self, error: Exception) -> None:
        self.is_degraded = True
        self._retry_s = _RETRY_FIRST_S
        self._retry_at = time.monotonic() + self._retry_s
        _note(log.error, "journal_degraded", error=str(error))
        _tell(lambda: self._on_degraded(degraded_error()))

    def _release(self, batch: Sequence[Item]) -> None:
        with self._wake:
            self._held_bytes -= sum(item.size for item in batch)

    def _commit(self, batch: Sequence[Item]) -> list[Answer]:
        """One transaction, in order; what the changes answer is given out after the commit."""
        connection = self._connected()
        is_full = any(isinstance(item, Change) and item.is_synced for item in batch)
        if is_full != self._is_full_sync:
            dialects.set_sync(connection, is_full=is_full)
            self._is_full_sync = is_full
        try:
            with connection.begin():
                dialects.begun(connection, is_full=is_full)
                return self._written(connection, batch)
        except SQLAlchemyError as error:
            if connection.invalidated or getattr(error, "connection_invalidated", False):
                # The server is gone or has thrown us out; the next commit makes a new connection.
                self._disconnect()
            raise

    def _written(self, connection: Connection, batch: Sequence[Item]) -> list[Answer]:
        epochs: dict[CallId, int | None] = {}
        answers: list[Answer] = []
        for item in batch:
            if isinstance(item, Change):
                answers.append(_ran(connection, item))
                # A claim may have raised an epoch.
                epochs.clear()
                continue
            if item.call_id not in epochs:
                epochs[item.call_id] = epoch_of(connection, item.call_id)
            _store(connection, item, epochs[item.call_id])
        return answers

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._database.engine.connect()
            self._is_full_sync = False
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*FAULTS):
                self._connection.close()
            self._connection = None


def _note(say: Callable[..., Any], event: str, **fields: Any) -> None:
    """Log; a log whose stream is gone must not end the thread that everybody waits for."""
    with contextlib.suppress(Exception):
        say(event, **fields)


def _tell(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception as error:  # noqa: BLE001 - whatever a listener does, the writer goes on
        _note(log.error, "store_listener_failed", error=type(error).__name__)


def _batch_length(items: Sequence[Item]) -> int:
    rows = 0
    for count, item in enumerate(items, start=1):
        rows += item.rows
        if rows >= BATCH_ROWS:
            return count
    return len(items)


def _ran(connection: Connection, change: Change) -> Answer:
    try:
        if connection.dialect.name == "sqlite":
            return change, change.run(connection), None
        # On PostgreSQL a refused statement spoils the transaction, but for a savepoint.
        with connection.begin_nested():
            return change, change.run(connection), None
    except StoreError as error:
        return change, None, error
    except (ValueError, OverflowError, DataError, IntegrityError) as error:
        # Raised while values are bound, so nothing was changed.
        return change, None, bad_value(error)


def _give(answers: Sequence[Answer]) -> None:
    for change, value, error in answers:
        if error is None:
            change.answer.set_result(value)
        else:
            change.answer.set_exception(error)


def _store(connection: Connection, item: Append | Snapshot, held_by: int | None) -> None:
    if held_by != item.epoch:
        _note(
            log.warning,
            "stale_epoch_dropped",
            call_id=item.call_id,
            epoch=item.epoch,
            held_by=held_by,
        )
        return
    if isinstance(item, Snapshot):
        connection.execute(
            ADD_CHECKPOINT, {"call_id": item.call_id, "epoch": item.epoch, "body": item.body}
        )
        return
    done = connection.execute(
        ADD_EVENTS,
        [
            {
                "call_id": item.call_id,
                "epoch": item.epoch,
                "seq": seq,
                "at_ms": at_ms,
                "family": family,
                "body": body,
            }
            for seq, at_ms, family, body in item.records
        ],
    )
    if done.rowcount != item.rows:
        _note(
            log.error,
            "journal_repeated_seq",
            call_id=item.call_id,
            kept=done.rowcount,
            sent=item.rows,
        )
