"""Recordings in a folder and in a bucket: kept, read in parts, deleted, surely uploaded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from flowengine.errors import StoreError
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.store import uploads
from flowengine.store.calls import SqlStore
from flowengine.store.database import Database
from flowengine.store.erasing import erase
from flowengine.store.finishing import finish_call, keep_left
from flowengine.store.recordings import LocalRecordings, Recordings, RecordingStore
from flowengine.store.s3 import S3Recordings
from flowengine.store.tables import Recording
from flowengine.store.uploads import Uploads
from tests.databases import KINDS, prepared_database
from tests.s3 import empty_s3, make_bucket
from tests.store.calls import a_call
from tests.store.kept import WAV, files, keep_call, write_sound

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LIMIT_S = 30.0
"""Ends a test that would hang."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> str:
    """A server that speaks S3's protocol, with nothing in it."""
    return empty_s3(monkeypatch)


@pytest.fixture
def bucket(endpoint: str) -> str:
    """A bucket of it."""
    make_bucket(endpoint, "sound")
    return "sound"


@pytest.fixture(params=KINDS)
async def database(
    request: pytest.FixtureRequest, anyio_backend: object
) -> AsyncIterator[Database]:
    with prepared_database(request.param) as url:
        made = Database(url)
        yield made
        await made.close()


async def read(store: RecordingStore | Recordings, place: str, start: int, stop: int) -> bytes:
    return b"".join([chunk async for chunk in store.read(place, start, stop)])


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_a_file_is_kept_read_in_parts_and_deleted(
    kind: str, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    sound = os.urandom(200_000)
    (tmp_path / "call_1.wav").write_bytes(sound)
    store: RecordingStore = LocalRecordings(tmp_path)
    if kind == "s3":
        store = S3Recordings(f"s3://{bucket}/calls/of/us", endpoint)
    place = await store.keep(tmp_path / "call_1.wav", "clinic/call_1.wav")
    expected = {"local": "call_1.wav", "s3": "s3://sound/calls/of/us/clinic/call_1.wav"}
    assert place == expected[kind]
    assert await store.size(place) == len(sound)
    assert await read(store, place, 0, len(sound)) == sound
    assert await read(store, place, 65_535, 65_537) == sound[65_535:65_537]
    assert await read(store, place, 199_999, 200_000) == sound[-1:]
    assert await read(store, place, 5, 5) == b""
    await store.remove(place)
    await store.remove(place)
    for ask in (store.size(place), read(store, place, 0, 1)):
        with pytest.raises(StoreError) as caught:
            await ask
        assert caught.value.code == "no_such_recording"


async def test_a_store_that_is_away_may_be_asked_again(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowengine.store.s3._RETRIES", 0)
    (tmp_path / "call_1.wav").write_bytes(WAV)
    store = S3Recordings("s3://sound", "http://127.0.0.1:9")
    with pytest.raises(StoreError) as caught:
        await store.keep(tmp_path / "call_1.wav", "call_1.wav")
    assert (caught.value.code, caught.value.retryable) == ("recordings_unreachable", True)
    with pytest.raises(StoreError) as caught:
        await Recordings(tmp_path).size("s3://sound/call_1.wav")
    assert caught.value.code == "recordings_elsewhere"


async def place_of(database: Database, call_id: str) -> str | None:
    async with database.reading(None) as session:
        query = select(Recording.place).where(Recording.call_id == call_id)
        return await session.scalar(query)


async def test_an_upload_is_tried_until_it_is_confirmed(
    database: Database,
    tmp_path: Path,
    endpoint: str,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uploads, "_RETRY_FIRST_S", 0.01)
    recordings = Recordings(tmp_path, S3Recordings("s3://later", endpoint))
    await keep_call(database, tmp_path, "call_1", NOW)
    await keep_call(database, tmp_path, "call_elsewhere", NOW)
    (tmp_path / "call_elsewhere.wav").unlink()
    ready: asyncio.Queue[Recording] = asyncio.Queue()
    uploading = Uploads(database, recordings, ready.put_nowait)
    failed = asyncio.Event()
    tried = uploading._try

    async def watched(recording_id: str) -> bool:
        is_done = await tried(recording_id)
        if not is_done:
            failed.set()
        return is_done

    monkeypatch.setattr(uploading, "_try", watched)
    await uploading.begin()
    async with asyncio.timeout(LIMIT_S):
        await failed.wait()
    assert (tmp_path / "call_1.wav").is_file()
    assert await place_of(database, "call_1") == "call_1.wav"
    make_bucket(endpoint, "later")
    async with asyncio.timeout(LIMIT_S):
        row = await ready.get()
    assert row.place == await place_of(database, "call_1") == "s3://later/default/call_1.wav"
    assert not (tmp_path / "call_1.wav").exists()
    assert await read(recordings, row.place, 0, len(WAV)) == WAV
    assert await place_of(database, "call_elsewhere") == "call_elsewhere.wav"
    await uploading.close()
    assert await erase(database, recordings, ["call_1"]) == 1
    with pytest.raises(StoreError):
        await recordings.size(row.place)


async def test_what_is_erased_on_its_way_is_left_nowhere(
    database: Database, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    class Erasing(S3Recordings):
        """Whose caller is erased while a file is on its way."""

        async def keep(self, path: Path, key: str) -> str:
            self.place = await super().keep(path, key)
            await erase(database, Recordings(tmp_path), ["call_1"])
            return self.place

    remote = Erasing(f"s3://{bucket}", endpoint)
    await keep_call(database, tmp_path, "call_1", NOW)
    told: list[Recording] = []
    uploading = Uploads(database, Recordings(tmp_path, remote), told.append)
    await uploading.begin()
    await uploading.close()
    with pytest.raises(StoreError) as caught:
        await remote.size(remote.place)
    assert (caught.value.code, told) == ("no_such_recording", [])
    assert files(tmp_path) == []


async def stored_call(database: Database, name: str) -> tuple[SqlStore, CallRow]:
    store = SqlStore(database)
    await store.add_call(a_call(name))
    await store.set_status(a_call(name).id, "completed")
    row = await store.call(a_call(name).id)
    assert row is not None
    return store, row


async def test_a_call_is_finished_again_without_losing_a_part(
    database: Database, tmp_path: Path
) -> None:
    store, row = await stored_call(database, "call_1")
    for name in ("call_1.wav", "call_1.2.wav", "call_1.10.wav", "call_12.wav"):
        (tmp_path / name).write_bytes(WAV)
    recordings = Recordings(tmp_path)
    first = await finish_call(database, store, row, recordings)
    assert {one.place for one in first} == {"call_1.wav", "call_1.2.wav", "call_1.10.wav"}
    names = [path.name for path in recordings.local.of_call("call_1")]
    assert names == ["call_1.wav", "call_1.2.wav", "call_1.10.wav"]
    async with database.writing(None) as session:
        uploaded = await session.get(Recording, first[0].id)
        assert uploaded is not None
        uploaded.place = f"s3://sound/{uploaded.place}"
    (tmp_path / "call_1.wav").unlink()
    (tmp_path / "call_1.11.wav").write_bytes(WAV)
    (second,) = await finish_call(database, store, row, recordings)
    assert second.place == "call_1.11.wav"
    async with database.reading(None) as session:
        assert len((await session.scalars(select(Recording))).all()) == 4
    await store.close()


async def test_a_call_that_was_erased_at_its_end_leaves_no_sound(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, row = await stored_call(database, "call_1")
    recordings = Recordings(tmp_path)
    journal = store.journal

    async def erased_meanwhile(call_id: CallId) -> list[JournalRecord]:
        read = await journal(call_id)
        await erase(database, recordings, [call_id])
        write_sound(tmp_path, call_id)
        return read

    monkeypatch.setattr(store, "journal", erased_meanwhile)
    assert await finish_call(database, store, row, recordings) == []
    assert files(tmp_path) == []
    await store.close()


async def test_sound_of_a_process_that_died_is_found(database: Database, tmp_path: Path) -> None:
    store, _ = await stored_call(database, "call_1")
    await store.add_call(a_call("call_runs"))
    for name in ("call_1.wav", "call_runs.wav", "call_nobodys.wav", "other.wav"):
        (tmp_path / name).write_bytes(WAV)
        (tmp_path / name).touch()
    now = datetime.now(UTC)
    recordings = Recordings(tmp_path)
    assert await keep_left(database, store, recordings, now) == []
    later = now + timedelta(hours=2)
    (left,) = await keep_left(database, store, recordings, later)
    assert (left.call_id, left.place) == ("call_1", "call_1.wav")
    assert await keep_left(database, store, recordings, later) == []
    await store.close()


async def test_the_end_of_a_process_does_not_wait_for_a_store_that_hangs(
    database: Database, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_CLOSE_S", 0.01)

    class Hanging(S3Recordings):
        async def keep(self, path: Path, key: str) -> str:
            await asyncio.Event().wait()
            return key

    await keep_call(database, tmp_path, "call_1", NOW)
    recordings = Recordings(tmp_path, Hanging(f"s3://{bucket}"))
    uploading = Uploads(database, recordings, lambda row: None)
    await uploading.begin()
    async with asyncio.timeout(LIMIT_S):
        await uploading.close()
    assert (await place_of(database, "call_1"), files(tmp_path)) == ("call_1.wav", ["call_1.wav"])
