"""Routing once more, for comparison: straight from the table's JSON, slowly, with its own holidays.

It shares no code with what it is compared to, but Python's time zones. Holidays are computed here
from the laws: fixed dates, Easter by the anonymous Gregorian computus, nth weekdays, and days that
the United States observe when a holiday falls on a weekend.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@dataclass(frozen=True)
class SlowCall:
    """A call, of which its author knows the country."""

    caller: str
    country: str
    at: datetime
    headers: Mapping[str, str]
    running: int


def easter(year: int) -> date:
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    ell = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * ell) // 451
    month, day = divmod(h + ell - 7 * m + 114, 31)
    return date(year, month, day + 1)


def nth(year: int, month: int, weekday: int, count: int) -> date:
    """The nth weekday of a month; -1 is the last."""
    days = [date(year, month, 1) + timedelta(days=n) for n in range(31)]
    fitting = [day for day in days if day.month == month and day.weekday() == weekday]
    return fitting[count - 1 if count > 0 else count]


def french(year: int) -> set[date]:
    fixed = [(1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)]
    moving = [1, 39, 50]
    return {date(year, *day) for day in fixed} | {
        easter(year) + timedelta(days=days) for days in moving
    }


def german(year: int) -> set[date]:
    fixed = [(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)]
    moving = [-2, 1, 39, 50]
    return {date(year, *day) for day in fixed} | {
        easter(year) + timedelta(days=days) for days in moving
    }


def american(year: int) -> set[date]:
    found = {
        nth(year, 1, 0, 3),
        nth(year, 2, 0, 3),
        nth(year, 5, 0, -1),
        nth(year, 9, 0, 1),
        nth(year, 10, 0, 2),
        nth(year, 11, 3, 4),
    }
    for owner in (year, year + 1):
        for month, day in [(1, 1), (6, 19), (7, 4), (11, 11), (12, 25)]:
            fixed = date(owner, month, day)
            observed = {5: -1, 6: 1}.get(fixed.weekday(), 0)
            found |= {fixed, fixed + timedelta(days=observed)}
    return {day for day in found if day.year == year}


HOLIDAYS = {"FR": french, "DE": german, "US": american}


def is_holiday(calendar: dict[str, Any], day: date) -> bool:
    region = calendar.get("holidays")
    return region is not None and day in holidays_of(region, day.year)


@cache
def holidays_of(region: str, year: int) -> set[date]:
    return HOLIDAYS[region](year)


def spans(calendar: dict[str, Any], day: date) -> list[str]:
    iso = day.isoformat()
    if iso in calendar.get("open", {}):
        found: list[str] = calendar["open"][iso]
        return found
    if iso in calendar.get("closed", []) or is_holiday(calendar, day):
        return []
    name = DAYS[day.weekday()]
    weekly = calendar.get("weekly", {})
    if name in weekly:
        single: list[str] = weekly[name]
        return single
    for key, value in weekly.items():
        first, dash, last = key.partition("-")
        if dash:
            walked = first
            while walked not in (name, last):
                walked = DAYS[(DAYS.index(walked) + 1) % 7]
            if walked == name:
                ranged: list[str] = value
                return ranged
    return []


def is_open(calendar: dict[str, Any], at: datetime) -> bool:
    wall = at.astimezone(ZoneInfo(calendar["timezone"]))
    clock = f"{wall:%H:%M}"
    for span in spans(calendar, wall.date()):
        start, end = span.split("-")
        if start <= clock and (clock < end or end < start):
            return True
    for span in spans(calendar, wall.date() - timedelta(days=1)):
        start, end = span.split("-")
        if end < start and clock < end:
            return True
    return False


def is_drawn(percent: int, salt: str, who: str) -> bool:
    digest = hashlib.sha256(f"{salt}\0{who}".encode()).hexdigest()
    return int(digest[:16], 16) % 100 < percent


def caller_fits(wanted: dict[str, Any], call: SlowCall, lists: dict[str, list[str]]) -> bool:
    for key, value in wanted.items():
        match key:
            case "exact" | "list":
                holds = call.caller in (lists[value] if key == "list" else value)
            case "prefix":
                holds = any(call.caller.startswith(prefix) for prefix in value)
            case "country":
                holds = call.country in value
            case "anonymous":
                holds = (call.caller == "") == value
            case _:
                holds = not caller_fits(value, call, lists)
        if not holds:
            return False
    return True


def fits(rule: dict[str, Any], call: SlowCall, table: dict[str, Any]) -> bool:
    when, calendars = rule["when"], table["calendars"]
    if not caller_fits(when.get("caller", {}), call, table["lists"]):
        return False
    for state, name in when.get("calendar", {}).items():
        calendar = calendars[name]
        if state == "holiday":
            wall = call.at.astimezone(ZoneInfo(calendar["timezone"]))
            if not is_holiday(calendar, wall.date()):
                return False
        elif is_open(calendar, call.at) != (state == "open"):
            return False
    for name, value in when.get("header", {}).items():
        if call.headers.get(name) != value:
            return False
    if "load" in when and not call.running >= when["load"]["at_least"]:
        return False
    share = when.get("share")
    return share is None or is_drawn(share["percent"], rule["name"], call.caller or "call_1")


def rule_of(call: SlowCall, table: dict[str, Any]) -> str:
    """The rule that takes a call, or `last`."""
    for rule in table["rules"]:
        if fits(rule, call, table):
            return str(rule["name"])
    return "last"
