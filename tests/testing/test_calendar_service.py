"""The clinic's calendar service: what is free, what is booked, and the same over HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt

import httpx2
import pytest

from flowengine.testing.calendar_service import Calendar, application

pytestmark = pytest.mark.unit

FRIDAY = dt.date(2026, 3, 6)
WANTED = {"slot": "2026-03-06T09:00", "reason": "check-up", "birth_date": "1984-05-05"}


def times(calendar: Calendar, day: dt.date) -> list[str]:
    answer = calendar.answer("GET", "/slots", {"day": day.isoformat()})
    assert answer.status == 200
    return [slot["time"] for slot in answer.body["slots"]]


def test_a_weekday_has_four_times_to_offer_and_a_weekend_none() -> None:
    assert times(Calendar(), FRIDAY) == ["09:00", "10:30", "13:00", "14:30"]
    assert times(Calendar(), FRIDAY + dt.timedelta(days=1)) == []
    assert times(Calendar({FRIDAY}), FRIDAY) == []


def test_a_booked_time_is_no_longer_free_until_it_is_cancelled() -> None:
    calendar = Calendar()
    booked = calendar.answer("POST", "/bookings", body=WANTED)
    assert booked.status == 201
    code = booked.body["code"]
    assert times(calendar, FRIDAY) == ["10:30", "13:00", "14:30", "16:00"]
    assert calendar.answer("POST", "/bookings", body=WANTED).status == 409
    assert calendar.answer("GET", f"/bookings/{code}").body == {
        "code": code,
        "day": "2026-03-06",
        "time": "09:00",
        "reason": "check-up",
    }
    assert calendar.answer("DELETE", f"/bookings/{code}").status == 200
    assert calendar.answer("GET", f"/bookings/{code}").status == 404
    assert "09:00" in times(calendar, FRIDAY)


def test_the_same_request_twice_books_once() -> None:
    calendar = Calendar()
    first = calendar.answer("POST", "/bookings", body=WANTED, key="call_1:7:0")
    again = calendar.answer("POST", "/bookings", body=WANTED, key="call_1:7:0")
    assert first == again
    assert len(calendar.bookings) == 1


def test_codes_are_six_digits_and_never_the_same() -> None:
    calendar = Calendar()
    codes: set[str] = set()
    day = FRIDAY
    while len(codes) < 300:
        for slot in calendar.free(day):
            answer = calendar.answer("POST", "/bookings", body={**WANTED, "slot": slot["id"]})
            assert answer.body["code"] not in codes
            codes.add(answer.body["code"])
        day += dt.timedelta(days=1)
    assert {len(code) for code in codes} == {6}


def test_the_next_free_day_leaves_out_weekends_and_full_days() -> None:
    monday, tuesday = FRIDAY + dt.timedelta(days=3), FRIDAY + dt.timedelta(days=4)
    answer = Calendar({monday}).answer("GET", "/next", {"after": FRIDAY.isoformat()})
    assert answer.body["day"] == tuesday.isoformat()
    every = {FRIDAY + dt.timedelta(days=ahead) for ahead in range(120)}
    assert Calendar(every).answer("GET", "/next", {"after": "2026-03-06"}).status == 404


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/slots", {}, 422),
        ("GET", "/next", {"after": "soon"}, 422),
        ("POST", "/bookings", {}, 422),
        ("GET", "/bookings/111111", {}, 404),
        ("DELETE", "/bookings/111111", {}, 404),
        ("GET", "/", {}, 404),
    ],
)
def test_what_cannot_be_answered_is_refused(
    method: str, path: str, query: dict[str, str], status: int
) -> None:
    answer = Calendar().answer(method, path, query)
    assert answer.status == status
    assert answer.body["error"]


def test_it_is_the_same_over_http() -> None:
    async def visit() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app=application())
        async with httpx2.AsyncClient(transport=transport, base_url="http://clinic") as client:
            key = {"Idempotency-Key": "call_1:7:0"}
            return [
                await client.get("/slots", params={"day": "2026-03-06"}),
                await client.post("/bookings", json=WANTED, headers=key),
                await client.post("/bookings", json=WANTED, headers=key),
                await client.post("/bookings", json=WANTED),
                await client.post("/bookings", content=b"{"),
                await client.delete("/bookings/107919"),
            ]

    answers = asyncio.run(visit())
    assert [answer.status_code for answer in answers] == [200, 201, 201, 409, 400, 200]
    assert answers[0].headers["Content-Type"] == "application/json"
    assert answers[1].json()["code"] == "107919"
