"""Parts of a recording by `Range`; a call is deleted with its sound; transcripts are redacted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from flowengine.api.problems import Refused
from flowengine.api.sound import part_of
from flowengine.events import TurnEnded, to_json
from flowengine.store.tables import call_event, call_turn
from tests.api.service import Api, code_of
from tests.store.kept import WAV, everywhere, keep_call, kept

pytestmark = [pytest.mark.api, pytest.mark.anyio]

THEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (None, None),
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-99", (8, 10)),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=٣-", None),
        ("bytes=" + "9" * 19 + "-", None),
    ],
)
def test_a_range(wanted: str | None, part: tuple[int, int] | None) -> None:
    assert part_of(wanted, 10) == part


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_that_is_not_there(wanted: str) -> None:
    with pytest.raises(Refused) as caught:
        part_of(wanted, 10)
    assert caught.value.problem.status == 416
    assert caught.value.headers == {"content-range": "bytes */10"}


@given(st.text(max_size=30) | st.from_regex(r"bytes=\d*-\d*"), st.integers(0, 1000))
def test_any_range_lies_within(wanted: str, size: int) -> None:
    try:
        part = part_of(wanted, size)
    except Refused:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


async def test_a_recording_in_parts(api: Api) -> None:
    engine = api.service.engine
    await keep_call(api.service.database, engine.recordings.local.folder, "call_1", THEN)
    path = "/calls/call_1/recording"
    whole = await api.ask("GET", path)
    assert (whole.status_code, whole.content) == (200, WAV)
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["accept-ranges"] == "bytes"
    middle = await api.ask("GET", path, headers={"range": "bytes=2-5"})
    assert (middle.status_code, middle.content) == (206, WAV[2:6])
    assert middle.headers["content-range"] == f"bytes 2-5/{len(WAV)}"
    assert middle.headers["content-length"] == "4"
    beyond = await api.ask("GET", path, headers={"range": "bytes=999-"})
    assert code_of(beyond) == (416, "no_such_range")
    await engine.recordings.remove("call_1.wav")
    assert code_of(await api.ask("GET", path)) == (404, "no_such_recording")


async def test_a_call_is_deleted_unless_it_runs(api: Api) -> None:
    database, folder = api.service.database, api.service.engine.recordings.local.folder
    await keep_call(database, folder, "call_1", THEN)
    await keep_call(database, folder, "call_died", THEN, status="in_progress")
    await keep_call(database, folder, "call_runs", api.service.now(), status="in_progress")
    refused = await api.ask("DELETE", "/calls/call_runs")
    assert code_of(refused) == (409, "call_is_running")
    for call_id in ("call_1", "call_died"):
        assert (await api.ask("DELETE", f"/calls/{call_id}")).status_code == 204
    assert await kept(database, folder) == everywhere("call_runs")


async def redact(api: Api, *, on: bool) -> None:
    body = {"name": "Default", "settings": {"redact_transcripts": on}}
    changed = await api.ask("PUT", "/projects/default", body, match="*")
    assert changed.status_code == 200, changed.text


async def texts(api: Api) -> list[Any]:
    items = (await api.ask("GET", "/calls/call_1/transcript")).json()["items"]
    return [item["text"] for item in items]


async def test_a_call_that_runs_is_redacted_as_it_is_read(api: Api) -> None:
    database = api.service.database
    folder = api.service.engine.recordings.local.folder
    await keep_call(database, folder, "call_1", api.service.now(), status="in_progress")
    said = "It is 4111 1111 1111 1111, or 06 12 34 56 78."
    body = orjson.dumps(to_json(TurnEnded(1, said, 0.9, "stt", 500))).decode()
    record = {"call_id": "call_1", "seq": 2, "epoch": 1, "at_ms": 9, "family": "fact", "body": body}
    async with database.writing(None) as session:
        await session.execute(delete(call_event))
        await session.execute(delete(call_turn))
        await session.execute(insert(call_event), [record])
    assert await texts(api) == [said]
    await redact(api, on=True)
    assert await texts(api) == ["It is [card], or [phone]."]
