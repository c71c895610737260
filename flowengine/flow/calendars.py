"""Opening hours: is a calendar open now, on a date, and when does it open next.

The most special rule wins: a date under `open`, a date under `closed`, a public holiday, a single
weekday, a range of weekdays. An interval may end after midnight; its hours belong to the day on
which it begins. Wall-clock hours are read in the calendar's time zone, so daylight saving moves
them as it moves the clocks on the wall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from flowengine.flow.calendar_model import Calendar, days_of

Interval = tuple[int, int]
"""Minutes since midnight: from, to; to is above 1440 when the interval ends the day after."""

_day_minutes = 24 * 60
horizon_days = 400
"""How far ahead `next_open` looks: more than a year of holidays."""


@dataclass(frozen=True, slots=True)
class DayHours:
    """The intervals that begin on a date, and the rule that gives them.

    `by` says which kind of rule is the most special, `rule` which one: the date, the holiday's
    name, the key under `weekly`; "" when no rule speaks of the day.
    """

    intervals: tuple[Interval, ...]
    by: Literal["open", "closed", "holiday", "weekly", "nothing"]
    rule: str = ""


def is_open(calendar: Calendar, now: datetime, timezone: str) -> bool:
    """Whether it is open at `now` (aware). `timezone` serves a calendar without its own."""
    local = now.astimezone(_zone(calendar, timezone))
    today, yesterday = local.date(), local.date() - timedelta(days=1)
    return interval_at(local, hours(calendar, today), hours(calendar, yesterday)) is not None


def interval_at(
    local: datetime, today: tuple[Interval, ...], yesterday: tuple[Interval, ...]
) -> Interval | None:
    """The interval in which a local time lies, of those that begin on its date or the day before.

    Times of day are compared on the wall, so that 02:00-05:00 means what the clock shows.
    """
    minute = local.hour * 60 + local.minute
    for interval in today:
        if interval[0] <= minute < interval[1]:
            return interval
    for interval in yesterday:
        if minute < interval[1] - _day_minutes:
            return interval
    return None


def is_open_on(calendar: Calendar, day: date) -> bool:
    """Whether it opens at all on that date."""
    return bool(hours(calendar, day))


def next_open(calendar: Calendar, now: datetime, timezone: str) -> datetime | None:
    """When it opens next (aware, UTC): `now` itself when open; None when never in a year."""
    if is_open(calendar, now, timezone):
        return now
    zone = _zone(calendar, timezone)
    today = now.astimezone(zone).date()
    for offset in range(horizon_days):
        day = today + timedelta(days=offset)
        starts = [_instant(day, start, zone) for start, _ in hours(calendar, day)]
        later = [start for start in starts if start > now]
        if later:
            return min(later)
    return None


def hours(calendar: Calendar, day: date) -> tuple[Interval, ...]:
    """The intervals that begin on a date, by the most special rule."""
    return day_hours(calendar, day).intervals


def day_hours(calendar: Calendar, day: date) -> DayHours:
    """The intervals that begin on a date, with the rule that decides."""
    iso = day.isoformat()
    if iso in calendar.open:
        return DayHours(_intervals(calendar.open[iso]), "open", iso)
    if iso in calendar.closed:
        return DayHours((), "closed", iso)
    holiday = holiday_name(calendar, day)
    if holiday is not None:
        return DayHours((), "holiday", holiday)
    weekday = day.weekday()
    ranges = [(days_of(key), key) for key in calendar.weekly]
    fitting = sorted((len(days), key) for days, key in ranges if weekday in days)
    if not fitting:
        return DayHours((), "nothing")
    key = fitting[0][1]
    return DayHours(_intervals(calendar.weekly[key]), "weekly", key)


def is_holiday(calendar: Calendar, day: date) -> bool:
    """Whether the date is a public holiday where the calendar keeps them."""
    return holiday_name(calendar, day) is not None


def holiday_name(calendar: Calendar, day: date) -> str | None:
    """The name of the public holiday on that date, where the calendar keeps them; else None."""
    if calendar.holidays is None:
        return None
    return _holidays(calendar.holidays, day.year).get(day)


def knows_region(region: str) -> bool:
    """Whether public holidays of a region (`"FR"`, `"US-CA"`) are known."""
    try:
        _holidays(region, 2026)
    except (NotImplementedError, KeyError):
        return False
    return True


@lru_cache(maxsize=256)
def _holidays(region: str, year: int) -> Mapping[date, str]:
    # Loaded on first use: importing the package costs more than most flows ever need.
    import holidays

    country, _, part = region.partition("-")
    # Names in one language, whatever the machine's own is.
    found = holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US")
    return dict(found.items())


@cache
def _intervals(written: tuple[str, ...]) -> tuple[Interval, ...]:
    intervals = []
    for text in written:
        start, end = (int(part[:2]) * 60 + int(part[3:]) for part in text.split("-"))
        intervals.append((start, end if end > start else end + _day_minutes))
    return tuple(sorted(intervals))


def _zone(calendar: Calendar, timezone: str) -> ZoneInfo:
    return ZoneInfo(calendar.timezone or timezone)


def _instant(day: date, minute: int, zone: ZoneInfo) -> datetime:
    wall = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
    # Through UTC and back: a wall time that daylight saving skips becomes the moment after it.
    return wall.astimezone(UTC)
