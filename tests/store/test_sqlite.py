"""What only a file can do: fill up, be locked, be of another version, be read by somebody else."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from flowengine.errors import StoreError
from flowengine.ids import CallId
from flowengine.ports import JournalRecord
from flowengine.store import rows
from flowengine.store.calls import MOST_BYTES, SqlStore
from flowengine.store.database import BUSY_MS, Database, sqlite_url
from flowengine.store.schema import prepare
from flowengine.store.writer import Change, Writer
from tests.store.calls import a_call, a_record, open_store

pytestmark = pytest.mark.unit

ONE = CallId("call_1")
LONG_S = 30.0
"""Ends a test that would hang; nothing is measured by it."""


class Disk:
    """A disk whose room is set by the test: a limit of pages on every new connection."""

    def __init__(self) -> None:
        self.pages = 0

    def fills(self, path: Path) -> None:
        """Leave room for a few pages more than the file has."""
        with sqlite3.connect(path) as connection:
            (has,) = connection.execute("PRAGMA page_count").fetchone()
        self.pages = has + 4

    def connected(self, connection: sqlite3.Connection, _record: object) -> None:
        if self.pages:
            connection.execute(f"PRAGMA max_page_count = {self.pages}")


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    event.listen(Engine, "connect", made.connected)
    yield made
    event.remove(Engine, "connect", made.connected)


class Health:
    """Listens to a store's callbacks, which come on the writer's thread."""

    def __init__(self) -> None:
        self.errors: list[StoreError] = []
        self.is_degraded = threading.Event()
        self.is_recovered = threading.Event()

    def degraded(self, error: StoreError) -> None:
        self.errors.append(error)
        self.is_degraded.set()

    async def recovered(self) -> None:
        assert await asyncio.to_thread(self.is_recovered.wait, LONG_S)


def opened(
    path: Path, health: Health, *, busy_ms: int = BUSY_MS, most_bytes: int = MOST_BYTES
) -> SqlStore:
    return open_store(
        path,
        on_degraded=health.degraded,
        on_recovered=health.is_recovered.set,
        busy_ms=busy_ms,
        most_bytes=most_bytes,
    )


async def begun(store: SqlStore) -> None:
    await store.add_call(a_call())
    await store.issue_stream(ONE, "nonce")
    assert await store.claim_stream(ONE, "nonce") == 1


def wide(seq: int) -> JournalRecord:
    return JournalRecord(seq, 0, "fact", {"text": "x" * 2000})


async def code_of(store: SqlStore) -> str:
    with pytest.raises(StoreError) as caught:
        await store.written(ONE)
    return caught.value.code


def test_the_file_is_its_owners_alone_and_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "below" / "calls.db"

    async def play() -> None:
        store = open_store(path)
        await begun(store)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(("calls.db", "calls.db-wal", "calls.db-shm"), 0o600)
        await store.close()

    asyncio.run(play())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.touch()
    path.chmod(0o644)
    prepare(Database(sqlite_url(path)))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_claim_fences_what_stands_behind_it_in_the_same_batch(tmp_path: Path) -> None:
    async def play() -> None:
        store = open_store(tmp_path / "calls.db")
        await begun(store)
        await store.issue_stream(ONE, "again")
        claim = Change(lambda at: rows.change_claim(at, ONE, "again"))
        with store._writer._wake:  # so that the writer takes all three at once
            store.append(ONE, 1, [a_record(1)])
            assert store._writer.put(claim)
            store.append(ONE, 1, [a_record(2)])
            store.save_checkpoint(ONE, 1, {"stale": True})
        assert await asyncio.wrap_future(claim.answer) == 2
        assert await code_of(store) == "stale_epoch"
        assert await store.journal(ONE) == [a_record(1)]
        assert await store.checkpoint(ONE) is None
        await store.close()

    asyncio.run(play())


def test_closing_writes_what_was_handed_in(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"

    async def write() -> None:
        store = open_store(path)
        await begun(store)
        for seq in range(1, 1301):
            store.append(ONE, 1, [a_record(seq)])
        store.save_checkpoint(ONE, 1, {"seq": 1300})
        await store.close()
        await store.close()

    async def read() -> None:
        store = open_store(path)
        assert await store.journal(ONE) == [a_record(seq) for seq in range(1, 1301)]
        assert await store.checkpoint(ONE) == {"seq": 1300}
        await store.close()

    asyncio.run(write())
    asyncio.run(read())


def test_a_claim_of_one_store_fences_another_on_the_same_file(tmp_path: Path) -> None:
    async def play() -> None:
        old, new = (open_store(tmp_path / "calls.db") for _ in range(2))
        await begun(old)
        old.append(ONE, 1, [a_record(1)])
        await old.written(ONE)
        await new.issue_stream(ONE, "again")
        assert await new.claim_stream(ONE, "again") == 2
        old.append(ONE, 1, [a_record(2)])
        old.save_checkpoint(ONE, 1, {"stale": True})
        assert await code_of(old) == "stale_epoch"
        assert not await old.set_pending(ONE, 1, {"stale": True})
        assert await new.journal(ONE) == [a_record(1)]
        assert await new.checkpoint(ONE) is None
        await old.close()
        await new.close()

    asyncio.run(play())


def test_a_full_disk_degrades_and_room_mends(tmp_path: Path, disk: Disk) -> None:
    async def play() -> None:
        health = Health()
        store = opened(tmp_path / "calls.db", health)
        await begun(store)
        await store.close()
        disk.fills(tmp_path / "calls.db")
        store = opened(tmp_path / "calls.db", health)
        for seq in range(1, 201):
            store.append(ONE, 1, [wide(seq)])
        store.save_checkpoint(ONE, 1, {"seq": 200})
        assert await code_of(store) == "journal_degraded"
        assert store.is_degraded
        assert [error.code for error in health.errors] == ["journal_degraded"]
        await store.set_status(ONE, "in_progress")
        row = await store.call(ONE)
        assert row is not None
        assert row.status == "in_progress"
        assert await store.checkpoint(ONE) is None
        disk.pages = 100_000
        await health.recovered()
        await store.written(ONE)
        assert not store.is_degraded
        assert await store.journal(ONE) == [wide(seq) for seq in range(1, 201)]
        assert await store.checkpoint(ONE) == {"seq": 200}
        await store.close()

    asyncio.run(play())


def test_a_journal_that_does_not_fit_ends_there_without_a_hole(tmp_path: Path, disk: Disk) -> None:
    async def play() -> None:
        health = Health()
        store = opened(tmp_path / "calls.db", health)
        await begun(store)
        await store.close()
        disk.fills(tmp_path / "calls.db")
        store = opened(tmp_path / "calls.db", health, most_bytes=100_000)
        for seq in range(1, 101):
            store.append(ONE, 1, [wide(seq)])
        assert await asyncio.to_thread(health.is_degraded.wait, LONG_S)
        assert await code_of(store) == "journal_degraded"
        disk.pages = 100_000
        await health.recovered()
        store.append(ONE, 1, [a_record(101)])
        store.save_checkpoint(ONE, 1, {"seq": 101})
        assert await code_of(store) == "journal_degraded"
        kept = await store.journal(ONE)
        assert kept == [wide(seq) for seq in range(1, len(kept) + 1)]
        assert 40 < len(kept) < 50
        assert await store.checkpoint(ONE) is None
        await store.issue_stream(ONE, "again")
        assert await store.claim_stream(ONE, "again") == 2
        store.append(ONE, 2, [a_record(len(kept) + 1)])
        await store.written(ONE)
        await store.close()

    asyncio.run(play())


def test_a_locked_file_degrades_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"

    async def play() -> None:
        health = Health()
        store = opened(path, health, busy_ms=20)
        await begun(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store.append(ONE, 1, [a_record(1)])
        assert await code_of(store) == "journal_degraded"
        with pytest.raises(StoreError) as caught:
            await store.set_status(ONE, "completed")
        assert (caught.value.code, caught.value.retryable) == ("journal_degraded", True)
        other.execute("ROLLBACK")
        other.close()
        await health.recovered()
        await store.written(ONE)
        assert await store.journal(ONE) == [a_record(1)]
        await store.close()

    asyncio.run(play())


def test_closing_a_store_that_cannot_write_says_so(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"

    async def play() -> None:
        store = open_store(path, busy_ms=20)
        await begun(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store.append(ONE, 1, [a_record(1)])
        with pytest.raises(StoreError) as caught:
            await store.close()
        assert caught.value.code == "journal_degraded"
        other.close()

    asyncio.run(play())


def test_a_listener_that_raises_stops_nothing(tmp_path: Path, disk: Disk) -> None:
    def broken(error: StoreError) -> None:
        raise RuntimeError(error.code)

    async def play() -> None:
        health = Health()
        store = open_store(
            tmp_path / "calls.db", on_degraded=broken, on_recovered=health.is_recovered.set
        )
        await begun(store)
        await store.close()
        disk.fills(tmp_path / "calls.db")
        store = open_store(
            tmp_path / "calls.db", on_degraded=broken, on_recovered=health.is_recovered.set
        )
        store.append(ONE, 1, [wide(seq) for seq in range(1, 100)])
        assert await code_of(store) == "journal_degraded"
        disk.pages = 100_000
        await health.recovered()
        await store.written(ONE)
        await store.close()

    asyncio.run(play())


def test_text_that_is_no_unicode_harms_only_itself(tmp_path: Path) -> None:
    async def play() -> None:
        store = open_store(tmp_path / "calls.db")
        await begun(store)
        store.append(ONE, 1, [a_record(1)])
        with pytest.raises(StoreError) as caught:
            await store.set_status(ONE, "\ud800")
        assert caught.value.code == "bad_value"
        await store.written(ONE)
        assert await store.journal(ONE) == [a_record(1)]
        await store.close()

    asyncio.run(play())


def test_a_cancelled_wait_leaves_the_store_whole(tmp_path: Path) -> None:
    async def play() -> None:
        store = open_store(tmp_path / "calls.db")
        await begun(store)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await store.written(ONE)
        store.append(ONE, 1, [a_record(1)])
        await store.written(ONE)
        await store.close()

    asyncio.run(play())


def test_claims_and_barriers_are_synced_and_nothing_else(tmp_path: Path) -> None:
    said: list[str] = []

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(said.append)

    event.listen(Engine, "connect", connected)

    async def play() -> list[tuple[str, str]]:
        store = open_store(tmp_path / "calls.db")
        said.clear()
        await begun(store)
        store.append(ONE, 1, [a_record(1)])
        await store.written(ONE)
        store.append(ONE, 1, [a_record(2)])
        await store.set_status(ONE, "in_progress")
        await store.close()
        return commits()

    def commits() -> list[tuple[str, str]]:
        """Each transaction's synchronous mode, and the verb and table of its last write."""
        mode, last, done = "NORMAL", "", []
        for line in said:
            if line.startswith("PRAGMA synchronous"):
                mode = line.split()[-1]
            elif line.startswith(("INSERT", "UPDATE")):
                last = " ".join(line.split()[:3])
            elif line == "COMMIT":
                done.append((mode, last))
        return done

    assert asyncio.run(play()) == [
        ("NORMAL", "INSERT INTO call"),
        ("NORMAL", "UPDATE call SET"),
        ("FULL", "UPDATE call SET"),
        ("FULL", "INSERT INTO call_event"),
        ("NORMAL", "UPDATE call SET"),
    ]
    event.remove(Engine, "connect", connected)


def test_a_write_is_one_transaction_of_at_most_500_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    commit = Writer._commit

    def counted(self: Writer, batch: list[object]) -> object:
        sizes.append(len(batch))
        return commit(self, batch)  # type: ignore[arg-type]  # items of any kind, only counted

    monkeypatch.setattr(Writer, "_commit", counted)

    async def play() -> None:
        store = open_store(tmp_path / "calls.db")
        await begun(store)
        sizes.clear()
        for seq in range(1, 1201):
            store.append(ONE, 1, [a_record(seq)])
        await store.written(ONE)
        await store.close()

    asyncio.run(play())
    assert sum(sizes) == 1201
    assert max(sizes) <= 500
    assert len(sizes) < 20


@pytest.mark.parametrize(
    ("content", "code"), [(b"not a database" * 100, "store_unreadable"), (None, "store_unreadable")]
)
def test_a_file_that_is_no_store_is_refused(
    tmp_path: Path, content: bytes | None, code: str
) -> None:
    path = tmp_path / "calls.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        open_store(path)
    assert caught.value.code == code
    assert str(tmp_path) not in str(caught.value)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError) as caught:
        open_store(path)
    assert caught.value.code == "schema_too_new"
