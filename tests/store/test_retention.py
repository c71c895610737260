"""What is too old goes, by each project's settings; what is not stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import delete, select, update

from flowengine.errors import StoreError
from flowengine.events import TurnEnded, to_json
from flowengine.store import erasing
from flowengine.store.database import Database
from flowengine.store.policies import Policy
from flowengine.store.recordings import Recordings
from flowengine.store.retention import sweep
from flowengine.store.tables import call_event, call_turn
from tests.databases import KINDS, prepared_database
from tests.store.kept import everywhere, keep_call, keep_project, kept

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture(params=KINDS)
async def database(
    request: pytest.FixtureRequest, anyio_backend: object
) -> AsyncIterator[Database]:
    with prepared_database(request.param) as url:
        made = Database(url)
        yield made
        await made.close()


async def test_nothing_but_live_events_goes_by_itself(database: Database, tmp_path: Path) -> None:
    await keep_project(database, "default", NOW)
    await keep_call(database, tmp_path, "call_old", ago(3000))
    await keep_call(database, tmp_path, "call_new", ago(6.9))
    swept = await sweep(database, Recordings(tmp_path), NOW)
    assert await kept(database, tmp_path) == {
        **everywhere("call_old", "call_new"),
        "live": {"call_new"},
    }
    assert (swept.live_events, swept.calls, swept.failed) == (1, 0, 0)


async def test_each_is_kept_as_long_as_its_project_says(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowengine.store.retention.PORTION", 2)
    monkeypatch.setattr(erasing, "PORTION", 2)
    days = {"calls": 100, "events": 10, "transcripts": 50, "recordings": 30}
    await keep_project(database, "default", NOW, retention=days)
    await keep_project(database, "other", NOW, retention={"calls": 1000, "events": 1000})
    for index in range(5):
        await keep_call(database, tmp_path, f"call_gone{index}", ago(101 + index))
    for name, age in (("a", 99), ("b", 49), ("c", 29), ("d", 9)):
        await keep_call(database, tmp_path, f"call_{name}", ago(age))
    await keep_call(database, tmp_path, "call_theirs", ago(500), project_id="other")
    swept = await sweep(database, Recordings(tmp_path), NOW)
    assert await kept(database, tmp_path) == {
        "calls": {"call_a", "call_b", "call_c", "call_d", "call_theirs"},
        "journals": {"call_d", "call_theirs"},
        "checkpoints": {"call_d", "call_theirs"},
        "transcripts": {"call_b", "call_c", "call_d", "call_theirs"},
        "live": {"call_d", "call_theirs"},
        "recordings": {"call_c", "call_d", "call_theirs"},
        "files": {"call_c", "call_d", "call_theirs"},
    }
    assert (swept.calls, swept.recordings, swept.live_events) == (5, 7, 8)
    again = await sweep(database, Recordings(tmp_path), NOW)
    assert set(again.to_json().values()) == {0}


async def test_what_was_said_is_nowhere_longer_than_transcripts(
    database: Database, tmp_path: Path
) -> None:
    days = {"transcripts": 5, "events": None}
    await keep_project(database, "default", NOW, retention=days)
    await keep_call(database, tmp_path, "call_1", ago(6))
    await sweep(database, Recordings(tmp_path), NOW)
    found = await kept(database, tmp_path)
    assert {name for name, calls in found.items() if calls} == {"calls", "recordings", "files"}


async def test_a_journal_that_goes_leaves_the_transcript_that_nobody_kept(
    database: Database, tmp_path: Path
) -> None:
    days = {"events": 10, "transcripts": 50}
    await keep_project(database, "default", NOW, retention=days, redact_transcripts=True)
    for name in ("call_cut_off", "call_1"):
        await keep_call(database, tmp_path, name, ago(20))
    said = to_json(TurnEnded(1, "It is 06 12 34 56 78.", 0.9, "stt", 500))
    body = orjson.dumps(said).decode()
    async with database.writing(None) as session:
        await session.execute(delete(call_turn).where(call_turn.c.call_id == "call_cut_off"))
        await session.execute(update(call_event).values(body=body))
    await sweep(database, Recordings(tmp_path), NOW)
    async with database.reading(None) as session:
        texts = select(call_turn.c.call_id, call_turn.c.text).order_by(call_turn.c.call_id)
        found = [tuple(row) for row in await session.execute(texts)]
    assert found == [("call_1", "Hello"), ("call_cut_off", "It is [phone].")]
    assert (await kept(database, tmp_path))["journals"] == set()


async def test_a_call_that_runs_is_left_and_one_that_died_is_not(
    database: Database, tmp_path: Path
) -> None:
    await keep_project(database, "default", NOW, retention={"calls": 1})
    await keep_call(database, tmp_path, "call_runs", ago(1.5), status="in_progress")
    await keep_call(database, tmp_path, "call_died", ago(2.5), status="in_progress")
    await sweep(database, Recordings(tmp_path), NOW)
    found = await kept(database, tmp_path)
    assert found == everywhere("call_runs")


async def test_calls_of_a_project_that_is_gone_go(database: Database, tmp_path: Path) -> None:
    await keep_call(database, tmp_path, "call_gone", ago(1), project_id="gone")
    await keep_call(database, tmp_path, "call_ours", ago(1))
    swept = await sweep(database, Recordings(tmp_path), NOW)
    assert await kept(database, tmp_path) == everywhere("call_ours")
    assert (swept.calls, swept.recordings) == (1, 1)


class Stuck(Recordings):
    """Whose files cannot be deleted."""

    async def remove(self, place: str) -> None:
        raise StoreError("recordings_unreachable", "It is away.", retryable=True)


async def test_sound_that_cannot_be_deleted_keeps_its_row(
    database: Database, tmp_path: Path
) -> None:
    await keep_project(database, "default", NOW, retention={"calls": 1, "events": 1})
    await keep_call(database, tmp_path, "call_1", ago(3))
    swept = await sweep(database, Stuck(tmp_path), NOW)
    assert swept.failed == 1
    found = await kept(database, tmp_path)
    assert found["recordings"] == found["calls"] == found["files"] == {"call_1"}
    assert found["journals"] == set()
    assert (await sweep(database, Recordings(tmp_path), NOW)).failed == 0
    assert await kept(database, tmp_path) == everywhere()


def test_a_policy_is_read_from_any_settings() -> None:
    assert Policy.of({}) == Policy()
    assert Policy.of({"retention": {"events": 30}, "redact_transcripts": True}) == Policy(
        events=30, redacts=True
    )
    assert (Policy().live, Policy(events=30).live, Policy(events=30, transcripts=2).live) == (
        7,
        30,
        2,
    )
