"""Why a calendar is open or closed at a moment, in words for people."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from flowengine.flow.calendar_model import Calendar
from flowengine.flow.calendars import DayHours, Interval, day_hours, interval_at

_day_minutes = 24 * 60


def why_open(calendar: Calendar, now: datetime, timezone: str) -> str:
    """The state at `now` (aware) and what decides it: "closed, public holiday Christmas Day"."""
    local = now.astimezone(ZoneInfo(calendar.timezone or timezone))
    today = day_hours(calendar, local.date())
    inside = interval_at(local, today.intervals, ())
    if inside is not None:
        return f"open, {_written(inside)} {_of(today)}"
    before = day_hours(calendar, local.date() - timedelta(days=1))
    inside = interval_at(local, (), before.intervals)
    if inside is not None:
        return f"open, {_written(inside)} {_of(before)}, since the day before"
    return f"closed, {_why_closed(today, local)}"


def _of(hours: DayHours) -> str:
    return f"on {hours.rule}" if hours.by == "open" else f"({hours.rule})"


def _why_closed(hours: DayHours, local: datetime) -> str:
    match hours.by:
        case "closed":
            return f"{hours.rule} is a closed date"
        case "holiday":
            return f"public holiday {hours.rule}"
        case "nothing":
            return f"no hours on {local:%a}".lower()
        case "open" | "weekly":
            written = " and ".join(_written(interval) for interval in hours.intervals)
            return f"outside {written} {_of(hours)}" if written else f"no hours {_of(hours)}"


def _written(interval: Interval) -> str:
    return f"{_clock(interval[0])}-{_clock(interval[1])}"


def _clock(minute: int) -> str:
    minute = minute - _day_minutes if minute > _day_minutes else minute
    return f"{minute // 60:02d}:{minute % 60:02d}"
