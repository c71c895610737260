"""Between the flow's JSON values and CEL's: dates are timestamps there, numbers are doubles.

A date is its midnight in UTC (and a microsecond, by which it is known), a time its hour on
1970-01-01 in UTC, a datetime (written without zone) the instant that it names in the flow's time
zone, so that it compares with `now`. Which of them a timestamp is, the checked type says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flowengine.events import Json
from flowengine.flow.variables import Variable, number_types

Bind = Callable[[Json, str], Any]
"""Turns a JSON value into CEL's; the second argument is the flow's time zone."""

_epoch = date(1970, 1, 1)
_date_mark_us = 1
_exact_below = 2**53
"""Whole doubles below this are exact integers."""


def date_to_cel(value: str) -> datetime:
    """`"2026-01-31"` (or a datetime's date) as midnight in UTC and a microsecond."""
    return datetime.combine(date.fromisoformat(value[:10]), time(microsecond=_date_mark_us), UTC)


def is_date(moment: datetime) -> bool:
    """Whether a timestamp of CEL stands for a date. Instants come in without microseconds."""
    return moment.microsecond == _date_mark_us


def is_time(moment: datetime) -> bool:
    """Whether a timestamp of CEL stands for a time of day."""
    return moment.year <= _epoch.year


def time_to_cel(value: str) -> datetime:
    """`"18:00"` as that hour of 1970-01-01 in UTC."""
    return datetime.combine(_epoch, time.fromisoformat(value), UTC)


def datetime_to_cel(value: str, timezone: str) -> datetime:
    """`"2026-01-31T18:00"` as the instant that it names in a time zone."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(timezone))
    return moment.astimezone(UTC)


def local(moment: datetime, timezone: str) -> datetime:
    """A timestamp of CEL on the wall clock of a time zone."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(ZoneInfo(timezone))


def to_cel(value: Json, kind: str, timezone: str) -> Any:
    """A JSON value of a type of variable as CEL's; raises ValueError when it is none of it."""
    if value is None:
        return None
    if kind == "date":
        return date_to_cel(value)
    if kind == "time":
        return time_to_cel(value)
    if kind == "datetime":
        return datetime_to_cel(value, timezone)
    if kind in number_types and kind != "integer":
        return float(value)
    return value


def variable_to_cel(variable: Variable, value: Json, timezone: str) -> Any:
    """A variable's JSON value as CEL's, inside lists too.

    Inside objects values stay JSON: a field that is declared is a name of its own.
    """
    if variable.of is not None and isinstance(value, list):
        return [variable_to_cel(variable.of, item, timezone) for item in value]
    return to_cel(value, variable.type, timezone)


def from_cel(value: Any, kind: str, timezone: str) -> Json:
    """A plain value of CEL as JSON; `kind` is its checked type. Raises ValueError if it is none."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return _moment(value, kind, timezone)
    if isinstance(value, timedelta):
        return f"{_number(value.total_seconds())}s"
    if isinstance(value, list):
        inner = kind[5:-1] if kind.startswith("LIST<") else "DYN"
        return [from_cel(item, inner, timezone) for item in value]
    if isinstance(value, dict):
        return {str(key): from_cel(item, "DYN", timezone) for key, item in value.items()}
    raise ValueError("a value that JSON does not know")


def _number(value: float) -> float | int:
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return int(value) if value.is_integer() and abs(value) < _exact_below else value


def _moment(value: datetime, kind: str, timezone: str) -> str:
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    if kind == "date" or is_date(value):
        return value.astimezone(UTC).date().isoformat()
    if kind == "time" or is_time(value):
        return clock(value.astimezone(UTC).time())
    wall = local(value, timezone)
    return f"{wall.date().isoformat()}T{clock(wall.time())}"


def clock(value: time) -> str:
    """A time as written in flows: `18:00`, with seconds only when there are some."""
    return value.isoformat("seconds" if value.second else "minutes")
