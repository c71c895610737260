"""What rows of the store say: JSON in and out, and the statements on one call's row.

Each `change` runs inside the writer's transaction and raises before it changes anything, so that
a refused one leaves its neighbours in the batch alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from flowengine.errors import StoreError
from flowengine.events import Json
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord

COLUMNS = tuple(field.name for field in fields(CallRow))
"""The table `call` has a column of the same name for each field."""
_MOST_INTEGER = 2**63 - 1
_LIST = ", ".join(COLUMNS)
_MARKS = ", ".join("?" for _ in COLUMNS)


def encode(value: Mapping[str, Json], where: str) -> bytes:
    """JSON of a body, as it is now; raises StoreError(`not_json`)."""
    try:
        return orjson.dumps(value, default=_mapping)
    except (TypeError, ValueError) as error:
        raise StoreError(
            "not_json",
            f"A body is not JSON ({type(error).__name__}).",
            where=where,
            fix="Journal and checkpoint plain JSON values only.",
        ) from error


def line(record: JournalRecord, call_id: str) -> tuple[int, int, str, str]:
    """A record as the journal's table holds it; raises StoreError for what it cannot hold.

    Checked here, because one that fails in the writer would fail at every retry.
    """
    for number in (record.seq, record.at_ms):
        if not isinstance(number, int) or abs(number) > _MOST_INTEGER:
            raise StoreError(
                "bad_value",
                "A journal record's number is no integer of 64 bits.",
                where=call_id,
                fix="Count records and milliseconds with plain integers.",
            )
    return record.seq, record.at_ms, record.family, encode(record.body, call_id).decode()


def decode(text: str) -> dict[str, Json]:
    """A body as it was stored."""
    body: dict[str, Json] = orjson.loads(text)
    return body


def no_such_call(call_id: str) -> StoreError:
    """Refuse an id that was never stored."""
    return StoreError(
        "no_such_call",
        "The store has no call of this id.",
        where=call_id,
        fix="Add the call before anything of it is stored.",
    )


def stale_epoch(call_id: str) -> StoreError:
    """Refuse a worker that has lost its call."""
    return StoreError(
        "stale_epoch",
        "Another worker holds the call by now; what this one appended was dropped.",
        where=call_id,
        fix="End this call's actor; act on nothing more.",
    )


def call_exists(call_id: str) -> StoreError:
    """Refuse a call that is stored already."""
    return StoreError(
        "call_exists",
        "A call of this id or of this carrier's id is stored already.",
        where=call_id,
        fix="Read it with call_by_sid and go on with that one.",
    )


def read_call(values: tuple[Any, ...]) -> CallRow:
    """A row of `COLUMNS` as a CallRow."""
    row = dict(zip(COLUMNS, values, strict=True))
    row["flow"] = decode(row["flow"])
    row["pending"] = None if row["pending"] is None else decode(row["pending"])
    return CallRow(**row)


def select_call(connection: sqlite3.Connection, where: str, *values: str) -> CallRow | None:
    """The one call for which the condition `where` holds."""
    found = connection.execute(f"SELECT {_LIST} FROM call WHERE {where}", values).fetchone()
    return None if found is None else read_call(found)


def select_calls(connection: sqlite3.Connection, limit: int) -> list[CallRow]:
    """The latest calls first."""
    found = connection.execute(f"SELECT {_LIST} FROM call ORDER BY number DESC LIMIT ?", (limit,))
    return [read_call(values) for values in found]


def epoch_of(connection: sqlite3.Connection, call_id: str) -> int | None:
    """The epoch that holds the call; None when there is no such call."""
    found = connection.execute("SELECT epoch FROM call WHERE id = ?", (call_id,)).fetchone()
    return None if found is None else int(found[0])


def change_add(
    connection: sqlite3.Connection, row: CallRow, flow: str, pending: str | None
) -> None:
    """Store a new call."""
    values = [getattr(row, name) for name in COLUMNS]
    values[COLUMNS.index("flow")] = flow
    values[COLUMNS.index("pending")] = pending
    done = connection.execute(
        f"INSERT INTO call ({_LIST}) VALUES ({_MARKS}) ON CONFLICT DO NOTHING", values
    )
    if done.rowcount != 1:
        raise call_exists(row.id)


def change_nonce(connection: sqlite3.Connection, call_id: CallId, nonce: str) -> None:
    """Set the one-use word with which a call may be claimed."""
    done = connection.execute("UPDATE call SET nonce = ? WHERE id = ?", (nonce, call_id))
    if done.rowcount != 1:
        raise no_such_call(call_id)


def change_claim(connection: sqlite3.Connection, call_id: CallId, nonce: str) -> int | None:
    """Take a call over: the new epoch, or None when the word is not the stored one."""
    done = connection.execute(
        "UPDATE call SET nonce = NULL, epoch = epoch + 1 WHERE id = ? AND nonce = ?",
        (call_id, nonce),
    )
    return epoch_of(connection, call_id) if done.rowcount == 1 else None


def change_status(
    connection: sqlite3.Connection,
    call_id: CallId,
    status: str,
    disposition: str,
    ended_at: str | None,
) -> None:
    """Set how the call stands; its first end and its last disposition are kept."""
    done = connection.execute(
        "UPDATE call SET status = ?, ended_at = COALESCE(ended_at, ?),"
        " disposition = CASE WHEN ? = '' THEN disposition ELSE ? END WHERE id = ?",
        (status, ended_at, disposition, disposition, call_id),
    )
    if done.rowcount != 1:
        raise no_such_call(call_id)


def change_pending(
    connection: sqlite3.Connection, call_id: CallId, epoch: int, pending: str | None
) -> bool:
    """Set what a held call still has to do; False when another epoch holds it."""
    held_by = epoch_of(connection, call_id)
    if held_by is None:
        raise no_such_call(call_id)
    if held_by != epoch:
        return False
    connection.execute("UPDATE call SET pending = ? WHERE id = ?", (pending, call_id))
    return True


def _mapping(value: object) -> dict[str, Json]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)
