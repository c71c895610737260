"""What rows of the store say: JSON in and out, and the statements on one call's row.

Each `change` runs inside the writer's transaction and raises before it changes anything, so that
a refused one leaves its neighbours in the batch alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson
from sqlalchemy import Connection, text

from flowengine.errors import StoreError
from flowengine.events import Json
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord

COLUMNS = tuple(field.name for field in fields(CallRow))
"""The table `call` has a column of the same name for each field."""
_JSON = ("flow", "variables", "metadata")
_MOST_INTEGER = 2**63 - 1
_LIST = ", ".join(COLUMNS)

ADD_EVENTS = text(
    "INSERT INTO call_event (call_id, epoch, seq, at_ms, family, body)"
    " VALUES (:call_id, :epoch, :seq, :at_ms, :family, :body) ON CONFLICT DO NOTHING"
)
ADD_CHECKPOINT = text(
    "INSERT INTO call_checkpoint (call_id, epoch, body) VALUES (:call_id, :epoch, :body)"
    " ON CONFLICT (call_id) DO UPDATE SET epoch = excluded.epoch, body = excluded.body"
)
_ADD_CALL = text(
    f"INSERT INTO call ({_LIST}) VALUES ({', '.join(':' + name for name in COLUMNS)})"
    " ON CONFLICT DO NOTHING"
)
_EPOCH = text("SELECT epoch FROM call WHERE id = :id")
_SID = text(
    "UPDATE call SET carrier_sid = :carrier_sid"
    " WHERE id = :id AND carrier_sid IN ('', :carrier_sid) AND NOT EXISTS"
    " (SELECT 1 FROM call AS other WHERE other.carrier = call.carrier"
    " AND other.carrier_sid = :carrier_sid AND other.id <> call.id)"
)
_NONCE = text("UPDATE call SET nonce = :nonce WHERE id = :id")
_CLAIM = text("UPDATE call SET nonce = NULL, epoch = epoch + 1 WHERE id = :id AND nonce = :nonce")
_STATUS = text(
    "UPDATE call SET status = :status, ended_at = COALESCE(ended_at, :ended_at),"
    " disposition = CASE WHEN :disposition = '' THEN disposition ELSE :disposition END"
    " WHERE id = :id"
)
_PENDING = text("UPDATE call SET pending = :pending WHERE id = :id")
_BY_ID = text(f"SELECT {_LIST} FROM call WHERE id = :id")
_BY_SID = text(
    f"SELECT {_LIST} FROM call WHERE carrier = :carrier AND carrier_sid = :carrier_sid"
    " AND carrier_sid <> ''"
)
_LATEST = text(f"SELECT {_LIST} FROM call ORDER BY number DESC LIMIT :limit")
_CHECKPOINT = text("SELECT body FROM call_checkpoint WHERE call_id = :id")
_JOURNAL = text("SELECT seq, at_ms, family, body FROM call_event WHERE call_id = :id ORDER BY seq")


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


def bad_value(error: Exception | None = None) -> StoreError:
    """Refuse text or numbers that cannot be stored."""
    reason = f" ({type(error).__name__})" if error is not None else ""
    return StoreError(
        "bad_value",
        f"A value cannot be stored{reason}.",
        fix="Store text that is valid Unicode without NUL, and integers of 64 bits.",
    )


def check_text(value: object) -> None:
    """Refuse text that one of the databases does not hold. Raises StoreError(`bad_value`)."""
    if not isinstance(value, str):
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise bad_value(error) from error
    if "\0" in value:
        raise bad_value()


def read_call(values: Sequence[Any]) -> CallRow:
    """A row of `COLUMNS` as a CallRow."""
    row = dict(zip(COLUMNS, values, strict=True))
    for name in _JSON:
        row[name] = decode(row[name])
    row["pending"] = None if row["pending"] is None else decode(row["pending"])
    return CallRow(**row)


def select_call(connection: Connection, call_id: CallId) -> CallRow | None:
    """The call of this id."""
    found = connection.execute(_BY_ID, {"id": call_id}).fetchone()
    return None if found is None else read_call(found)


def select_call_by_sid(connection: Connection, carrier: str, carrier_sid: str) -> CallRow | None:
    """The call that a carrier knows by this id."""
    found = connection.execute(_BY_SID, {"carrier": carrier, "carrier_sid": carrier_sid}).fetchone()
    return None if found is None else read_call(found)


def select_calls(connection: Connection, limit: int) -> list[CallRow]:
    """The latest calls first."""
    return [read_call(values) for values in connection.execute(_LATEST, {"limit": limit})]


def select_checkpoint(connection: Connection, call_id: CallId) -> dict[str, Json] | None:
    """A call's last checkpoint."""
    found = connection.execute(_CHECKPOINT, {"id": call_id}).scalar()
    return None if found is None else decode(found)


def select_journal(connection: Connection, call_id: CallId) -> list[JournalRecord]:
    """A call's records, in order."""
    return [
        JournalRecord(seq, at_ms, family, decode(body))
        for seq, at_ms, family, body in connection.execute(_JOURNAL, {"id": call_id})
    ]


def epoch_of(connection: Connection, call_id: str) -> int | None:
    """The epoch that holds the call; None when there is no such call."""
    found: int | None = connection.execute(_EPOCH, {"id": call_id}).scalar()
    return found


def change_add(connection: Connection, row: CallRow, json: Mapping[str, str | None]) -> None:
    """Store a new call; `json` has the text of its fields that are JSON."""
    values = {name: getattr(row, name) for name in COLUMNS} | dict(json)
    for value in values.values():
        check_text(value)
    if connection.execute(_ADD_CALL, values).rowcount != 1:
        raise call_exists(row.id)


def change_sid(connection: Connection, call_id: CallId, carrier_sid: str) -> bool:
    """Set the carrier's id of a call that was placed; False when it has another one."""
    if epoch_of(connection, call_id) is None:
        raise no_such_call(call_id)
    check_text(carrier_sid)
    return connection.execute(_SID, {"id": call_id, "carrier_sid": carrier_sid}).rowcount == 1


def change_nonce(connection: Connection, call_id: CallId, nonce: str) -> None:
    """Set the one-use word with which a call may be claimed."""
    if connection.execute(_NONCE, {"id": call_id, "nonce": nonce}).rowcount != 1:
        raise no_such_call(call_id)


def change_claim(connection: Connection, call_id: CallId, nonce: str) -> int | None:
    """Take a call over: the new epoch, or None when the word is not the stored one."""
    done = connection.execute(_CLAIM, {"id": call_id, "nonce": nonce})
    return epoch_of(connection, call_id) if done.rowcount == 1 else None


def change_status(
    connection: Connection,
    call_id: CallId,
    status: str,
    disposition: str,
    ended_at: str | None,
) -> None:
    """Set how the call stands; its first end and its last disposition are kept."""
    check_text(disposition)
    done = connection.execute(
        _STATUS,
        {"id": call_id, "status": status, "disposition": disposition, "ended_at": ended_at},
    )
    if done.rowcount != 1:
        raise no_such_call(call_id)


def change_pending(
    connection: Connection, call_id: CallId, epoch: int, pending: str | None
) -> bool:
    """Set what a held call still has to do; False when another epoch holds it."""
    held_by = epoch_of(connection, call_id)
    if held_by is None:
        raise no_such_call(call_id)
    if held_by != epoch:
        return False
    connection.execute(_PENDING, {"id": call_id, "pending": pending})
    return True


def _mapping(value: object) -> dict[str, Json]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)
