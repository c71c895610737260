"""The functions of the flow language beside CEL's own, as CEL calls them.

Each gets and returns CEL's values. What they know of the call comes from `asking`, set around one
evaluation; nothing here keeps state. `known(x)` is no function: see `flowengine.flow.expressions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from flowengine.flow import aloud, calendars
from flowengine.flow.calendar_model import Calendar
from flowengine.flow.cel_values import clock, date_to_cel, is_date, is_time, local, time_to_cel
from flowengine.flow.scope import Scope
from flowengine.flow.shares import bucket_of
from flowengine.flow.types import duration_ms

pause_open, pause_close = "\ue000", "\ue001"
"""Private characters around the milliseconds of a pause inside rendered text."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One evaluation: the call's picture and the flow's calendars and lists."""

    scope: Scope
    calendars: Mapping[str, Calendar]
    lists: Mapping[str, tuple[str, ...]]


asking: ContextVar[Asking] = ContextVar("asking")


@dataclass(frozen=True, slots=True)
class Function:
    """One overload, with the names of its types. `aloud`: for Text only."""

    name: str
    id: str
    parameters: tuple[str, ...]
    returns: str
    run: Callable[..., Any]
    is_member: bool = False
    aloud: bool = False


def _visits(node: str) -> int:
    return asking.get().scope.visits.get(node, 0)


def _calendar(name: str) -> Calendar:
    calendar = asking.get().calendars.get(name)
    if calendar is None:
        raise ValueError("no calendar of that name")
    return calendar


def _open(name: str) -> bool:
    scope = asking.get().scope
    return calendars.is_open(_calendar(name), scope.now, scope.timezone)


def _open_on(name: str, day: datetime) -> bool:
    return calendars.is_open_on(_calendar(name), _day(day))


def _next_open(name: str) -> datetime:
    scope = asking.get().scope
    moment = calendars.next_open(_calendar(name), scope.now, scope.timezone)
    if moment is None:
        raise ValueError("the calendar does not open within a year")
    return moment


def _caller() -> str:
    call = asking.get().scope.call
    return call.from_ if call.direction == "inbound" else call.to


def _caller_in(name: str) -> bool:
    members = asking.get().lists.get(name)
    if members is None:
        raise ValueError("no list of that name")
    return _caller() in members


def _bucket(salt: str) -> int:
    # A withheld number has no caller to be the same for; then the call decides.
    who = _caller() or asking.get().scope.call.id
    return bucket_of(salt, who)


def _days_until(day: datetime) -> int:
    scope = asking.get().scope
    return (_day(day) - local(scope.now, scope.timezone).date()).days


def _day(moment: datetime) -> date:
    """The date of a CEL timestamp: its own, or that of an instant in the flow's time zone."""
    if is_date(moment):
        return _utc(moment).date()
    return local(moment, asking.get().scope.timezone).date()


def _hhmm(moment: datetime) -> str:
    if is_time(moment):
        return clock(_utc(moment).time())
    return clock(local(moment, asking.get().scope.timezone).time())


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _date_of(moment: datetime) -> datetime:
    return date_to_cel(_day(moment).isoformat())


def _time_of(moment: datetime) -> datetime:
    return time_to_cel(_hhmm(moment))


def _date(text: str) -> datetime:
    try:
        return date_to_cel(text)
    except ValueError:
        raise ValueError("no date: write 2026-01-31") from None


def _time(text: str) -> datetime:
    try:
        return time_to_cel(text)
    except ValueError:
        raise ValueError("no time: write 18:00") from None


def _language() -> str:
    return asking.get().scope.language


def say_date(moment: datetime) -> str:
    """A date, or the date of an instant, as it is read aloud."""
    scope = asking.get().scope
    today = local(scope.now, scope.timezone).date()
    return aloud.date(_day(moment), scope.language, today=today)


def say_time(moment: datetime) -> str:
    """A time, or the time of an instant, as it is read aloud."""
    return aloud.time(_hhmm(moment), _language())


def _say_digits(value: str | float) -> str:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return aloud.digits(str(whole))


def _say_money(amount: float, currency: str | None = None) -> str:
    return aloud.money(float(amount), currency, _language())


def _pause(length: str) -> str:
    return f"{pause_open}{duration_ms(length)}{pause_close}"


functions: tuple[Function, ...] = (
    Function("visits", "flow_visits", ("string",), "integer", _visits),
    Function("open", "flow_open", ("string",), "boolean", _open),
    Function("open_on", "flow_open_on_date", ("string", "date"), "boolean", _open_on),
    Function("open_on", "flow_open_on_datetime", ("string", "datetime"), "boolean", _open_on),
    Function("next_open", "flow_next_open", ("string",), "datetime", _next_open),
    Function("caller_in", "flow_caller_in", ("string",), "boolean", _caller_in),
    Function("bucket", "flow_bucket", ("string",), "integer", _bucket),
    Function("days_until", "flow_days_until_date", ("date",), "integer", _days_until),
    Function("days_until", "flow_days_until_datetime", ("datetime",), "integer", _days_until),
    Function("date", "flow_date", ("string",), "date", _date),
    Function("time", "flow_time", ("string",), "time", _time),
    Function("date", "flow_date_of_now", ("timestamp",), "date", _date_of, is_member=True),
    Function("date", "flow_date_of_datetime", ("datetime",), "date", _date_of, is_member=True),
    Function("time", "flow_time_of_now", ("timestamp",), "time", _time_of, is_member=True),
    Function("time", "flow_time_of_datetime", ("datetime",), "time", _time_of, is_member=True),
    Function("date", "flow_say_date", ("date",), "string", say_date, aloud=True),
    Function("date", "flow_say_date_of", ("datetime",), "string", say_date, aloud=True),
    Function("date", "flow_say_today", ("timestamp",), "string", say_date, aloud=True),
    Function("time", "flow_say_time", ("time",), "string", say_time, aloud=True),
    Function("time", "flow_say_time_of", ("datetime",), "string", say_time, aloud=True),
    Function("time", "flow_say_clock", ("timestamp",), "string", say_time, aloud=True),
    Function("digits", "flow_digits", ("string",), "string", _say_digits, aloud=True),
    Function("digits", "flow_digits_int", ("integer",), "string", _say_digits, aloud=True),
    Function("spell", "flow_spell", ("string",), "string", aloud.spell, aloud=True),
    Function("money", "flow_money", ("number",), "string", _say_money, aloud=True),
    Function("money", "flow_money_int", ("integer",), "string", _say_money, aloud=True),
    Function("money", "flow_money_in", ("number", "string"), "string", _say_money, aloud=True),
    Function("pause", "flow_pause", ("string",), "string", _pause, aloud=True),
)

named_by = {
    "visits": "node",
    "open": "calendar",
    "open_on": "calendar",
    "next_open": "calendar",
    "caller_in": "list",
}
"""What the first argument of a function names, when it is written as a string."""
