"""Calls and live events by the API: of calls that really rang, through a served engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from flowengine.store.feed import MOST_WAITING, Feed
from flowengine.store.waking import Bell
from tests.api.service import Api, Asker, api_of, code_of
from tests.databases import KINDS, prepared_database
from tests.runtime.flows import MENU
from tests.runtime.house import CALLED, CALLER, Running, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]

LIMIT_S = 30.0
"""Ends a test that would hang; nothing is measured by it."""


@asynccontextmanager
async def rung(url: str, folder: Path) -> AsyncIterator[tuple[Running, Asker, Asker]]:
    """A served engine, and keys of both projects."""
    more = {"FLOWENGINE_DATABASE_URL": url}
    async with (
        vendors() as behind,
        running(folder, MENU, behind, more=more) as run,
        api_of(run.engine, run.base_url) as (ours, theirs),
    ):
        yield run, ours, theirs


async def a_call(run: Running) -> str:
    async with run.phone.call(CALLER, CALLED) as call:
        await call.hears(600)
        await call.press("1")
        await call.over()
    await run.settled()
    await asyncio.gather(*run.engine._finishing)
    (row,) = await run.engine.store.calls(1)
    return row.id


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_is_found_read_heard_and_deleted(kind: str, tmp_path: Path) -> None:
    with prepared_database(kind) as url:
        async with rung(url, tmp_path) as (run, ours, theirs):
            call_id = await a_call(run)
            (listed,) = (await ours("GET", "/calls?status=completed&flow=front-desk")).json()[
                "items"
            ]
            assert (listed["id"], listed["from"], listed["to"]) == (call_id, CALLER, CALLED)
            assert (await ours("GET", "/calls?status=failed")).json()["items"] == []
            shown = (await ours("GET", f"/calls/{call_id}")).json()
            assert [visit["node"] for visit in shown["way"]] == ["welcome", "choose", "bye"]
            assert (shown["disposition"], shown["status"]) == ("served", "completed")
            assert {line["usage"]["provider"] for line in shown["cost"]["lines"]}
            said = (await ours("GET", f"/calls/{call_id}/transcript")).json()["items"]
            assert [(turn["role"], turn["node"]) for turn in said][-2:] == [
                ("caller", "choose"),
                ("bot", "bye"),
            ]
            assert [turn["text"] for turn in said][-2:] == ["1", "Goodbye."]
            records: list[dict[str, Any]] = []
            cursor = ""
            while True:
                page = (await ours("GET", f"/calls/{call_id}/events?limit=40{cursor}")).json()
                records += page["items"]
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
            assert [one["seq"] for one in records] == list(range(1, len(records) + 1))
            (part,) = shown["recordings"]
            assert part["length_ms"] > 500
            headers = {"authorization": f"Bearer {ours.key}", "range": "bytes=0-3"}
            heard = await ours.http.get(f"/v1/calls/{call_id}/recording", headers=headers)
            assert (heard.status_code, heard.content) == (206, b"RIFF")
            none = await ours("GET", f"/calls/{call_id}/recording?part=2")
            assert code_of(none) == (404, "no_such_recording")
            assert (await theirs("GET", "/calls")).json()["items"] == []
            for method, path in (
                ("GET", ""),
                ("GET", "/transcript"),
                ("GET", "/events"),
                ("GET", "/recording"),
                ("DELETE", ""),
            ):
                answer = await theirs(method, f"/calls/{call_id}{path}")
                assert code_of(answer) == (404, "no_such_call")
            assert (await ours("DELETE", f"/calls/{call_id}")).status_code == 204
            assert (await ours("GET", "/calls")).json()["items"] == []
            assert await run.engine.store.journal(call_id) == []  # type: ignore[arg-type]
            assert list((tmp_path / "data" / "recordings").iterdir()) == []


async def read_events(response: httpx2.Response, until: str) -> list[dict[str, Any]]:
    """Events of a stream up to one of a type."""
    found = []
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
            if found[-1]["type"] == until:
                break
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_what_happens_is_streamed_and_taken_up_again(kind: str, tmp_path: Path) -> None:
    with prepared_database(kind) as url:
        async with rung(url, tmp_path) as (run, ours, _):
            headers = {"authorization": f"Bearer {ours.key}"}
            async with ours.http.stream("GET", "/v1/events", headers=headers) as live:
                assert live.headers["content-type"].startswith("text/event-stream")
                ringing = asyncio.create_task(a_call(run))
                async with asyncio.timeout(LIMIT_S):
                    seen = await read_events(live, "call.ended")
                call_id = await ringing
            types = [event["type"] for event in seen]
            assert types[:2] == ["call.status", "call.status"]
            assert types.count("node.entered") == 3
            assert {"call.began", "bot.spoke", "edge.taken"} <= set(types)
            assert {event["call_id"] for event in seen} == {call_id}
            numbers = [event["id"] for event in seen]
            assert numbers == sorted(set(numbers))
            again = {**headers, "last-event-id": str(numbers[2])}
            async with ours.http.stream("GET", "/v1/events", headers=again) as live:
                async with asyncio.timeout(LIMIT_S):
                    assert await read_events(live, "call.ended") == seen[3:]
            path = "/v1/events?after=0&type=node.entered&type=call.ended"
            async with ours.http.stream("GET", path, headers=headers) as live:
                async with asyncio.timeout(LIMIT_S):
                    few = await read_events(live, "call.ended")
            assert [event["type"] for event in few] == ["node.entered"] * 3 + ["call.ended"]
            socket_url = run.base_url.replace("http", "ws") + "/v1/events/socket?after=0"
            async with websockets.connect(socket_url, additional_headers=headers) as socket:
                async with asyncio.timeout(LIMIT_S):
                    first = json.loads(await socket.recv())
            assert first == seen[0]
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with websockets.connect(socket_url):
                    pass
            assert caught.value.response.status_code == 401
            unknown = await ours("GET", "/events?type=moon.rises")
            assert code_of(unknown) == (422, "unknown_type")
            assert await run.engine.feed.newest("other") == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_another_process_hears_of_it(kind: str, tmp_path: Path, api: Api) -> None:
    """Two feeds on one database, as two workers have them."""
    database = api.service.database
    if database.kind != kind:
        return
    theirs = Feed(database, Bell(database))
    followed = api.service.engine.feed.follow("default", 0, quiet_s=1e9)
    waiting = asyncio.create_task(anext(followed))
    await asyncio.sleep(0)
    theirs.tell("other", "call_0", "fault", api.service.now(), {})
    theirs.tell("default", "call_1", "fault", api.service.now(), {"code": "x", "at": object()})
    async with asyncio.timeout(LIMIT_S):
        event = await waiting
    assert event is not None
    assert (event.call_id, event.data["code"]) == ("call_1", "x")
    await followed.aclose()
    await theirs.close()
    await theirs._bell.close()


async def test_a_quiet_stream_shows_signs_of_life(api: Api) -> None:
    followed = api.service.engine.feed.follow("default", 0, quiet_s=0.0)
    async with asyncio.timeout(LIMIT_S):
        assert await anext(followed) is None
    await followed.aclose()


async def test_events_wait_for_a_database_that_is_away(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowengine.store.feed._RETRY_S", 0.01)
    feed = api.service.engine.feed
    async with api.service.database.writing(None) as session:
        run = (await session.connection()).exec_driver_sql
        await run("ALTER TABLE live_event RENAME TO gone")
    feed.tell("default", "call_1", "fault", api.service.now(), {})
    failed = asyncio.Event()
    stored = feed._stored

    async def counted(batch: list[dict[str, object]]) -> bool:
        is_stored = await stored(batch)
        failed.set()
        return is_stored

    monkeypatch.setattr(feed, "_stored", counted)
    async with asyncio.timeout(LIMIT_S):
        await failed.wait()
    async with api.service.database.writing(None) as session:
        run = (await session.connection()).exec_driver_sql
        await run("ALTER TABLE gone RENAME TO live_event")
    async with asyncio.timeout(LIMIT_S):
        event = await anext(feed.follow("default", 0))
    assert event is not None and event.type == "fault"
    assert feed._waiting.maxlen == MOST_WAITING
