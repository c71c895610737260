"""Opening hours around midnight, daylight saving, holidays and exceptions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.flow.calendar_model import Calendar, days_of
from flowengine.flow.calendars import hours, is_open, is_open_on, knows_region, next_open

pytestmark = pytest.mark.unit

PARIS = "Europe/Paris"


def calendar(**fields: Any) -> Calendar:
    return Calendar.model_validate({"timezone": PARIS, **fields})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OFFICE = calendar(
    weekly={
        "mon-fri": ["09:00-12:30", "14:00-18:00"],
        "sat": ["09:00-12:00"],
        "wed": ["10:00-11:00"],
    },
    holidays="FR",
    closed=["2026-12-24"],
    open={"2026-12-31": ["09:00-12:00"], "2026-07-14": ["20:00-22:00"]},
)
BAR = calendar(weekly={"fri-sat": ["20:00-02:00"], "sun": ["00:00-24:00"]})


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-05-29T06:59", False),  # Friday 08:59 in Paris
        ("2026-05-29T07:00", True),
        ("2026-05-29T10:29", True),
        ("2026-05-29T10:30", False),
        ("2026-05-29T12:00", True),
        ("2026-05-29T16:00", False),
        ("2026-05-30T07:30", True),  # Saturday
        ("2026-05-31T07:30", False),  # Sunday
        ("2026-06-03T07:30", False),  # Wednesday has hours of its own
        ("2026-06-03T08:30", True),
        ("2026-05-25T08:00", False),  # Whit Monday
        ("2026-07-14T08:00", False),  # Bastille Day, but an open date
        ("2026-07-14T18:30", True),
        ("2026-12-24T09:00", False),
        ("2026-12-31T09:00", True),
        ("2026-12-31T14:00", False),
    ],
)
def test_office(moment: str, *, opens: bool) -> None:
    assert is_open(OFFICE, utc(moment), "UTC") is opens


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-05-29T18:00", True),  # Friday 20:00
        ("2026-05-29T21:59", True),  # 23:59
        ("2026-05-29T22:00", True),  # midnight
        ("2026-05-29T23:59", True),  # 01:59
        ("2026-05-30T00:00", False),  # 02:00
        ("2026-05-30T23:30", True),  # Sunday 01:30, from Saturday
        ("2026-05-31T21:59", True),  # Sunday 23:59
        ("2026-05-31T22:00", False),  # Monday
        ("2026-05-28T22:30", False),  # Friday 00:30: Thursday has no hours
    ],
)
def test_after_midnight(moment: str, *, opens: bool) -> None:
    assert is_open(BAR, utc(moment), "UTC") is opens


def test_daylight_saving_moves_the_hours_with_the_clock() -> None:
    # Europe/Paris is UTC+1 until 29 March 2026, 02:00, then UTC+2.
    assert is_open(OFFICE, utc("2026-03-27T08:00"), "UTC")
    assert not is_open(OFFICE, utc("2026-03-27T07:00"), "UTC")
    assert is_open(OFFICE, utc("2026-03-30T07:00"), "UTC")
    night = calendar(weekly={"sat": ["22:00-03:00"]})
    assert is_open(night, utc("2026-03-29T00:59"), "UTC")  # 01:59, then the clock shows 03:00
    assert not is_open(night, utc("2026-03-29T01:00"), "UTC")
    # In October 02:30 comes twice, and both belong to the night.
    assert is_open(night, utc("2026-10-25T00:30"), "UTC")
    assert is_open(night, utc("2026-10-25T01:30"), "UTC")
    assert not is_open(night, utc("2026-10-25T02:00"), "UTC")


def test_an_opening_in_the_skipped_hour_is_the_moment_after_it() -> None:
    early = calendar(weekly={"sun": ["02:30-05:00"]})
    assert next_open(early, utc("2026-03-28T12:00"), "UTC") == utc("2026-03-29T01:30")


@pytest.mark.parametrize(
    ("moment", "opens_at"),
    [
        ("2026-05-29T08:00", "2026-05-29T08:00"),  # open: now
        ("2026-05-29T05:00", "2026-05-29T07:00"),
        ("2026-05-29T11:00", "2026-05-29T12:00"),  # lunch
        ("2026-05-29T20:00", "2026-05-30T07:00"),
        ("2026-05-30T20:00", "2026-06-01T07:00"),  # over Sunday
        ("2026-12-23T20:00", "2026-12-26T08:00"),  # 24 closed, Christmas
        ("2026-03-28T20:00", "2026-03-30T07:00"),  # over the change of the clock
    ],
)
def test_next_open(moment: str, opens_at: str) -> None:
    assert next_open(OFFICE, utc(moment), "UTC") == utc(opens_at)


def test_never_open() -> None:
    assert next_open(calendar(), utc("2026-05-29T08:00"), "UTC") is None
    assert not is_open_on(calendar(), date(2026, 5, 29))


def test_the_flows_time_zone_serves_a_calendar_without_one() -> None:
    bare = Calendar.model_validate({"weekly": {"mon-sun": ["09:00-10:00"]}})
    assert is_open(bare, utc("2026-05-29T13:30"), "America/New_York")
    assert not is_open(bare, utc("2026-05-29T13:30"), PARIS)


def test_regions() -> None:
    assert knows_region("FR")
    assert knows_region("US-CA")
    assert not knows_region("XX")
    assert not knows_region("US-QQ")
    californian = calendar(weekly={"mon-sun": ["09:00-10:00"]}, holidays="US-CA")
    assert not is_open_on(californian, date(2026, 3, 31))  # Cesar Chavez Day
    everywhere = calendar(weekly={"mon-sun": ["09:00-10:00"]}, holidays="US")
    assert is_open_on(everywhere, date(2026, 3, 31))


def test_days() -> None:
    assert days_of("mon-fri") == (0, 1, 2, 3, 4)
    assert days_of("sat-mon") == (5, 6, 0)
    assert days_of("sun") == (6,)
    assert days_of("monday") == ()
    assert days_of("mon-") == ()


def test_the_narrower_range_wins() -> None:
    two = calendar(weekly={"mon-sun": ["09:00-10:00"], "sat-sun": ["11:00-12:00"]})
    assert hours(two, date(2026, 5, 30)) == ((660, 720),)
    assert hours(two, date(2026, 5, 29)) == ((540, 600),)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)))  # noqa: DTZ001 - made aware below
def test_next_open_is_open_and_not_before(moment: datetime) -> None:
    now = moment.replace(tzinfo=UTC, microsecond=0)
    opening = next_open(OFFICE, now, "UTC")
    assert opening is not None
    assert opening >= now
    assert is_open(OFFICE, opening, "UTC")
    between = now + (opening - now) / 2
    assert opening - now < timedelta(minutes=2) or not is_open(OFFICE, now, "UTC")
    assert between <= opening
