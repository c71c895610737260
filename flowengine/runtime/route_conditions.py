"""The conditions of a routing table, made ready: each holds or not, and says so in words.

Lists are sets and prefixes are looked up by length, so that a long table is quick; what a call is
asked again and again (its country, a calendar's day) is worked out once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

from flowengine.events import Json
from flowengine.flow.calendar_model import Calendar
from flowengine.flow.calendars import DayHours, day_hours, interval_at, is_holiday
from flowengine.flow.shares import place_of, places
from flowengine.runtime.caller import is_withheld
from flowengine.runtime.route_facts import Asked
from flowengine.runtime.route_when import CalendarIs, CallerIs, LoadIs, LoadOf, TextIs, When
from flowengine.runtime.routes import RouteTable, Rule

_MOST_DAYS = 1000


class Condition(Protocol):
    """One thing that must hold of a call."""

    @property
    def key(self) -> str:
        """Where it stands in a rule's `when`: `caller.list`."""
        ...

    def holds(self, call: Asked) -> bool: ...

    def words(self, call: Asked) -> str:
        """How it is, in a sentence without a capital or a full stop."""
        ...


# --- who calls ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InNumbers:
    """The caller is one of these numbers; `named` is how they are spoken of."""

    key: str
    numbers: frozenset[str]
    named: str

    def holds(self, call: Asked) -> bool:
        return call.number in self.numbers

    def words(self, call: Asked) -> str:
        return f"the caller is {_not(self.holds(call))}{self.named}"


@dataclass(frozen=True, slots=True)
class HasPrefix:
    """The caller's number begins with one of these."""

    key: str
    prefixes: frozenset[str]
    lengths: tuple[int, ...]

    def holds(self, call: Asked) -> bool:
        return any(call.number[:length] in self.prefixes for length in self.lengths)

    def words(self, call: Asked) -> str:
        verb = "begins" if self.holds(call) else "does not begin"
        return f"the caller's number {verb} with {_either(sorted(self.prefixes))}"


@dataclass(frozen=True, slots=True)
class FromCountry:
    """The caller's number is of one of these countries."""

    key: str
    countries: frozenset[str]

    def holds(self, call: Asked) -> bool:
        return call.country in self.countries

    def words(self, call: Asked) -> str:
        where = f"is from {call.country}" if call.country else "is from no known country"
        wanted = _either(sorted(self.countries))
        return f"the caller {where}" if self.holds(call) else f"the caller {where}, not {wanted}"


@dataclass(frozen=True, slots=True)
class Withheld:
    """The caller's number is withheld, or is not."""

    key: str
    wanted: bool

    def holds(self, call: Asked) -> bool:
        return is_withheld(call.facts.caller) is self.wanted

    def words(self, call: Asked) -> str:
        verb = "withholds" if is_withheld(call.facts.caller) else "shows"
        return f"the caller {verb} the number"


@dataclass(frozen=True, slots=True)
class Not:
    """These do not all hold."""

    key: str
    inner: tuple[Condition, ...]

    def holds(self, call: Asked) -> bool:
        return not all(condition.holds(call) for condition in self.inner)

    def words(self, call: Asked) -> str:
        holds = self.holds(call)
        told = [each.words(call) for each in self.inner if each.holds(call) is not holds]
        return " and ".join(told)


# --- when it is ---------------------------------------------------------------------------------


class Hours:
    """A calendar that remembers the days that it was asked about."""

    def __init__(self, name: str, calendar: Calendar, timezone: str) -> None:
        self.name = name
        self.calendar = calendar
        self.timezone = timezone
        self._days: dict[date, DayHours] = {}

    def day(self, day: date) -> DayHours:
        """The hours that begin on a date."""
        found = self._days.get(day)
        if found is None:
            if len(self._days) >= _MOST_DAYS:
                self._days.clear()
            found = self._days[day] = day_hours(self.calendar, day)
        return found

    def is_open(self, call: Asked) -> bool:
        wall = call.wall(self.timezone)
        today, yesterday = self.day(wall.today), self.day(wall.yesterday)
        return interval_at(wall.local, today.intervals, yesterday.intervals) is not None

    def is_holiday(self, call: Asked) -> bool:
        return is_holiday(self.calendar, call.wall(self.timezone).today)


@dataclass(frozen=True, slots=True)
class CalendarState:
    """A calendar is open, closed, or has a public holiday."""

    key: str
    hours: Hours
    state: Literal["open", "closed", "holiday"]

    def holds(self, call: Asked) -> bool:
        match self.state:
            case "open":
                return self.hours.is_open(call)
            case "closed":
                return not self.hours.is_open(call)
            case "holiday":
                return self.hours.is_holiday(call)

    def words(self, call: Asked) -> str:
        if self.state == "holiday":
            negation = _not(self.holds(call))
            return f"the date is {negation}a public holiday in the calendar {self.hours.name!r}"
        state = "open" if self.hours.is_open(call) else "closed"
        return f"the calendar {self.hours.name!r} is {state}"


# --- what came with the call --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accompanied:
    """A header, or a part of the metadata, is one of these values."""

    key: str
    source: Literal["header", "metadata"]
    name: str
    values: tuple[Json, ...]

    def holds(self, call: Asked) -> bool:
        found = _accompanying(call, self.source, self.name)
        return any(_same(found, value) for value in self.values)

    def words(self, call: Asked) -> str:
        verb = "is" if self.holds(call) else "is not"
        return f"the {self.source} {self.name!r} {verb} {_either(self._shown())}"

    def _shown(self) -> list[str]:
        return [json.dumps(value, ensure_ascii=False) for value in self.values]


@dataclass(frozen=True, slots=True)
class AccompaniedBy:
    """A header, or a part of the metadata, is there or not, or begins so."""

    key: str
    source: Literal["header", "metadata"]
    name: str
    wanted: TextIs

    def holds(self, call: Asked) -> bool:
        found, wanted = _accompanying(call, self.source, self.name), self.wanted
        if wanted.present is not None and wanted.present is not (found is not None):
            return False
        return wanted.prefix is None or (isinstance(found, str) and found.startswith(wanted.prefix))

    def words(self, call: Asked) -> str:
        found = _accompanying(call, self.source, self.name)
        named = f"the {self.source} {self.name!r}"
        if found is None:
            return f"{named} is missing"
        if self.wanted.prefix is None:
            return f"{named} is there"
        begins = isinstance(found, str) and found.startswith(self.wanted.prefix)
        return f"{named} {'begins' if begins else 'does not begin'} with {self.wanted.prefix!r}"


def _accompanying(call: Asked, source: Literal["header", "metadata"], name: str) -> Json:
    if source == "header":
        return call.headers.get(name.lower())
    return call.facts.metadata.get(name)


def _same(one: Json, other: Json) -> bool:
    # In JSON true is not 1.
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


# --- load and share -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadWithin:
    """So many calls run."""

    key: str
    wanted: LoadIs

    def holds(self, call: Asked) -> bool:
        running, wanted = self._running(call), self.wanted
        enough = wanted.at_least is None or running >= wanted.at_least
        return enough and (wanted.below is None or running < wanted.below)

    def words(self, call: Asked) -> str:
        running, of, wanted = self._running(call), self.wanted.of, self.wanted
        if isinstance(of, LoadOf):
            where = f" in the flow {of.flow!r}"
        else:
            where = " to this number" if of == "number" else ""
        calls = f"{running} call{' runs' if running == 1 else 's run'}{where}"
        bounds = [] if wanted.at_least is None else [f"at least {wanted.at_least}"]
        bounds += [] if wanted.below is None else [f"fewer than {wanted.below}"]
        return f"{calls} (wanted: {' and '.join(bounds)})"

    def _running(self, call: Asked) -> int:
        load = call.facts.load
        match self.wanted.of:
            case "all":
                return load.all
            case "number":
                return load.number
            case LoadOf(flow=flow):
                return load.flows.get(flow, 0)


@dataclass(frozen=True, slots=True)
class InShare:
    """The caller is in a share of the callers."""

    key: str
    percent: float
    salt: str

    def holds(self, call: Asked) -> bool:
        return place_of(self.salt, call.who) < round(self.percent * places / 100)

    def words(self, call: Asked) -> str:
        return f"the caller is {_not(self.holds(call))}in the {self.percent:g} % of {self.salt!r}"


# --- from a rule's `when` -----------------------------------------------------------------------


class Conditions:
    """Makes the conditions of a table's rules; calendars and lists are made ready once."""

    def __init__(self, table: RouteTable) -> None:
        self.hours = {
            name: Hours(name, calendar, table.zone_of(name))
            for name, calendar in table.calendars.items()
        }
        self.lists = {name: frozenset(numbers) for name, numbers in table.lists.items()}

    def of(self, rule: Rule) -> tuple[Condition, ...]:
        """The conditions of a rule, in the order in which explanations look at them."""
        return tuple(self._of(rule.when, rule.name))

    def _of(self, when: When, rule: str) -> Iterator[Condition]:
        if when.caller is not None:
            yield from self._of_caller(when.caller, "caller")
        if when.calendar is not None:
            yield from self._of_calendar(when.calendar)
        for name, header in when.header.items():
            yield _accompanied("header", name, header)
        for name, part in when.metadata.items():
            yield _accompanied("metadata", name, part)
        if when.load is not None:
            yield LoadWithin("load", when.load)
        if when.share is not None:
            yield InShare("share", when.share.percent, when.share.salt or rule)

    def _of_caller(self, caller: CallerIs, path: str) -> Iterator[Condition]:
        if caller.exact is not None:
            yield InNumbers(f"{path}.exact", frozenset(caller.exact), _either(caller.exact))
        if caller.prefix is not None:
            lengths = tuple(sorted({len(prefix) for prefix in caller.prefix}))
            yield HasPrefix(f"{path}.prefix", frozenset(caller.prefix), lengths)
        if caller.country is not None:
            yield FromCountry(f"{path}.country", frozenset(caller.country))
        if caller.list is not None:
            named = f"in the list {caller.list!r}"
            yield InNumbers(f"{path}.list", self.lists[caller.list], named)
        if caller.anonymous is not None:
            yield Withheld(f"{path}.anonymous", caller.anonymous)
        if caller.not_ is not None:
            yield Not(f"{path}.not", tuple(self._of_caller(caller.not_, f"{path}.not")))

    def _of_calendar(self, calendar: CalendarIs) -> Iterator[Condition]:
        if calendar.open is not None:
            yield CalendarState("calendar.open", self.hours[calendar.open], "open")
        if calendar.closed is not None:
            yield CalendarState("calendar.closed", self.hours[calendar.closed], "closed")
        if calendar.holiday is not None:
            yield CalendarState("calendar.holiday", self.hours[calendar.holiday], "holiday")


def _accompanied(source: Literal["header", "metadata"], name: str, wanted: Json) -> Condition:
    key = f"{source}.{name}"
    if isinstance(wanted, TextIs):
        return AccompaniedBy(key, source, name, wanted)
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    return Accompanied(key, source, name, values)


def _not(holds: bool) -> str:
    return "" if holds else "not "


def _either(items: Sequence[str]) -> str:
    """A few of them in words."""
    if len(items) > 4:
        return f"one of {len(items)}"
    return " or ".join(items)
