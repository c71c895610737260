"""Totals over calls, on both databases the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from flowengine.store.tables import call
from tests.api.service import Api, code_of

pytestmark = [pytest.mark.api, pytest.mark.anyio]

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


async def some_calls(api: Api) -> None:
    rows = []
    for index in range(6):
        begun = NOON - timedelta(days=index % 3)
        is_over = index != 5
        rows.append(
            {
                "id": f"call_{index}",
                "carrier": "twilio",
                "carrier_sid": f"CA{index}",
                "direction": "inbound" if index < 4 else "outbound",
                "from_number": "+4915112345678",
                "to_number": "+4930123456",
                "flow_id": "clinic",
                "version": "a" * 64,
                "flow_version": 2 if index < 3 else None,
                "flow": "{}",
                "status": "completed" if is_over else "in_progress",
                "epoch": 1,
                "created_at": begun.isoformat(),
                "ended_at": (begun + timedelta(seconds=10 + index)).isoformat()
                if is_over
                else None,
                "disposition": "served" if index % 2 else "",
                "project_id": "default",
            }
        )
    async with api.service.database.writing("default") as session:
        await session.execute(insert(call), rows)


UNTIL = "until=2026-11-27T00:00:00Z"


async def test_calls_by_day_with_their_lengths(api: Api) -> None:
    await some_calls(api)
    items = (await api.ask("GET", f"/analytics/calls?{UNTIL}")).json()["items"]
    assert [(one["group"], one["calls"], one["over"], one["all_ms"]) for one in items] == [
        ({"day": "2026-11-24"}, 2, 1, 12_000),
        ({"day": "2026-11-25"}, 2, 2, 25_000),
        ({"day": "2026-11-26"}, 2, 2, 23_000),
    ]
    assert (items[2]["longest_ms"], items[2]["mean_ms"]) == (13_000, 11_500)


async def test_calls_by_several_things_at_once(api: Api) -> None:
    await some_calls(api)
    path = f"/analytics/calls?{UNTIL}&group_by=direction&group_by=version&group_by=number"
    items = (await api.ask("GET", path)).json()["items"]
    assert [(*one["group"].values(), one["calls"]) for one in items] == [
        ("inbound", "2", "+4930123456", 3),
        ("inbound", "a" * 64, "+4930123456", 1),
        ("outbound", "a" * 64, "+4915112345678", 2),
    ]


async def test_only_the_time_that_is_asked_for_and_only_ones_own(api: Api) -> None:
    await some_calls(api)
    path = f"/analytics/calls?since=2026-11-25T00:00:00%2B01:00&{UNTIL}&group_by=flow"
    (total,) = (await api.ask("GET", path)).json()["items"]
    assert total["calls"] == 4
    assert (await api.other("GET", path)).json()["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-11-26T00:00:00Z&until=2026-11-25T00:00:00Z",
        "since=2020-01-01T00:00:00Z",
        "until=0001-01-01T00:00:00Z",
        "group_by=day&group_by=day",
    ],
)
async def test_a_span_that_makes_no_sense(api: Api, query: str) -> None:
    assert code_of(await api.ask("GET", f"/analytics/calls?{query}")) == (422, "bad_span")
