"""Filters of the lists of calls, of a call's journal and of live events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import insert

from flowengine.store.feed import LiveEvent
from flowengine.store.tables import call_event
from tests.api.service import Api, code_of
from tests.store.kept import keep_call

pytestmark = [pytest.mark.api, pytest.mark.anyio]

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIMIT_S = 30.0
"""Ends a test that would hang."""


def folder_of(api: Api) -> Path:
    return api.service.engine.recordings.local.folder


async def listed(api: Api, query: str) -> list[str]:
    answer = await api.ask("GET", f"/calls?{query}")
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_calls_of_a_time_in_any_zone(api: Api) -> None:
    for hours in range(6):
        at = NOON + timedelta(hours=hours)
        await keep_call(api.service.database, folder_of(api), f"call_{hours}", at)
    await keep_call(api.service.database, folder_of(api), "call_x", NOON, project_id="other")
    two, four = quote("2026-06-01T16:00:00+02:00"), quote("2026-06-01T11:00:00-05:00")
    assert await listed(api, f"since={two}") == ["call_5", "call_4", "call_3", "call_2"]
    assert await listed(api, f"since={two}&until={four}") == ["call_3", "call_2"]
    assert await listed(api, f"until={quote('2026-06-01T12:00:00Z')}") == []
    assert await listed(api, f"since={quote('2026-06-01T17:00:01Z')}") == []
    assert await listed(api, f"since={two}&limit=2") == ["call_5", "call_4"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("since=0001-01-01T00:00:00%2B14:00", 1),
        ("until=0001-01-01T00:00:00%2B14:00", 0),
        ("since=9999-12-31T23:59:59-14:00", 0),
        ("until=9999-12-31T23:59:59-14:00", 1),
    ],
)
async def test_the_ends_of_time(api: Api, query: str, found: int) -> None:
    await keep_call(api.service.database, folder_of(api), "call_1", NOON)
    assert len(await listed(api, query)) == found


async def test_records_of_one_type(api: Api) -> None:
    await keep_call(api.service.database, folder_of(api), "call_1", NOON)
    rows = [
        {
            "call_id": "call_1",
            "seq": seq,
            "epoch": 1,
            "at_ms": seq,
            "family": "fact",
            "body": f'{{"type":"{"NodeEntered" if seq % 2 else "NodeEnteredToo"}"}}',
        }
        for seq in range(2, 10)
    ]
    async with api.service.database.writing(None) as session:
        await session.execute(insert(call_event), rows)
    first = (await api.ask("GET", "/calls/call_1/events?type=NodeEntered&limit=3")).json()
    assert [one["seq"] for one in first["items"]] == [3, 5, 7]
    path = f"/calls/call_1/events?type=NodeEntered&limit=3&cursor={first['next']}"
    last = (await api.ask("GET", path)).json()
    assert ([one["seq"] for one in last["items"]], last["next"]) == ([9], None)
    odd = await api.ask("GET", "/calls/call_1/events?type=%25")
    assert code_of(odd)[0] == 422


async def first_event(api: Api, **wanted: str) -> LiveEvent:
    followed = api.service.engine.feed.follow("default", 0, **wanted)  # type: ignore[arg-type]
    async with asyncio.timeout(LIMIT_S):
        event = await anext(followed)
    await followed.aclose()
    assert event is not None
    return event


async def test_live_events_of_one_flow(api: Api) -> None:
    await keep_call(api.service.database, folder_of(api), "call_1", NOON, flow_id="desk")
    await keep_call(api.service.database, folder_of(api), "call_2", NOON, flow_id="sales")
    event = await first_event(api, flow_id="sales")
    assert (event.call_id, event.to_json()["flow_id"]) == ("call_2", "sales")
    assert (await first_event(api)).flow_id == "desk"


async def test_who_wants_few_events_looks_at_each_once(api: Api) -> None:
    for number in range(3):
        await keep_call(api.service.database, folder_of(api), f"call_{number}", NOON)
    feed = api.service.engine.feed
    newest = await feed.newest("default")
    events, looked_at = await feed._read("default", 0, ["call.ended"], "", "")
    assert (events, looked_at) == ([], newest)
    events, looked_at = await feed._read("default", newest + 5, [], "", "")
    assert (events, looked_at) == ([], newest + 5)
