"""Calls and records that the tests of the stores write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.store.calls import SqlStore
from flowengine.store.database import BUSY_MS, Database, sqlite_url
from flowengine.store.schema import prepare


def open_store(where: Path | str, *, busy_ms: int = BUSY_MS, **more: Any) -> SqlStore:
    """The store of calls in a SQLite file or at a URL, brought up to date."""
    url = sqlite_url(where) if isinstance(where, Path) else where
    database = Database(url, busy_ms=busy_ms)
    prepare(database)
    return SqlStore(database, **more)


def a_call(name: str = "call_1", *, sid: str | None = None) -> CallRow:
    return CallRow(
        id=CallId(name),
        carrier="twilio",
        carrier_sid=f"CA_{name}" if sid is None else sid,
        direction="inbound",
        from_number="+33600000001",
        to_number="+33100000001",
        flow_id="clinic",
        version="a" * 64,
        flow={"nodes": {"welcome": {"kind": "greeting", "say": ["Bonjour é"]}}},
        status="queued",
        epoch=0,
        created_at="2026-11-24T00:00:00+00:00",
    )


def a_record(seq: int) -> JournalRecord:
    return JournalRecord(seq, seq * 20, "input", {"type": "DigitPressed", "digit": str(seq % 10)})
