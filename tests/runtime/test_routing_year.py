"""A table of 200 rules over a year's clock, hour by hour, against an independent slow model."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest

from flowengine.flow.calendar_model import Calendar
from flowengine.flow.calendars import is_holiday
from flowengine.runtime.caller import country
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.routing import Router
from tests.runtime.big_table import CALENDARS, RULES, big_table, callers
from tests.runtime.route_tables import made
from tests.runtime.slow_routing import SlowCall, rule_of
from tests.runtime.slow_routing import is_holiday as is_holiday_by_law

pytestmark = [pytest.mark.unit, pytest.mark.slow]

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 365 * 24
TURNS = [  # the days around which clocks move in those zones
    *(date(2026, 3, day) for day in (7, 8, 9, 28, 29, 30)),
    *(date(2026, 4, day) for day in (4, 5, 6)),
    *(date(2026, 10, day) for day in (3, 4, 5, 24, 25, 26, 31)),
    date(2026, 11, 1),
]


def asked(call: SlowCall) -> RouteFacts:
    return RouteFacts(
        call.caller, "+33155555555", call.at, "call_1", call.headers, load=Load(all=call.running)
    )


def calls(moments: list[datetime], seed: int, each: int) -> list[SlowCall]:
    """Some callers at each moment, with what else a call has."""
    random = Random(seed)
    known = list(callers().items())
    return [
        SlowCall(
            caller,
            country_,
            at,
            random.choice([{}, {}, {"x-line": "gold"}, {"x-line": "silver"}]),
            random.randrange(50),
        )
        for at in moments
        for caller, country_ in random.sample(known, each)
    ]


def test_the_countries_of_the_callers_are_right() -> None:
    assert {number: country(number) for number in callers()} == callers()


def test_holidays_are_those_of_the_law() -> None:
    for name in ("paris", "berlin", "boston"):
        calendar = Calendar.model_validate(CALENDARS[name])
        for year in (2025, 2026, 2027, 2028):
            days = [date(year, 1, 1) + timedelta(days=n) for n in range(366)]
            wrong = [
                day
                for day in days
                if is_holiday(calendar, day) != is_holiday_by_law(CALENDARS[name], day)
            ]
            assert wrong == [], name


def test_every_hour_of_a_year_is_routed_as_the_slow_model_routes_it() -> None:
    document = big_table()
    router = Router(made(document))
    assert len(router.rules) == RULES
    hours = [YEAR + timedelta(hours=n) for n in range(HOURS)]
    taken: Counter[str] = Counter()
    for call in calls(hours, seed=1, each=2):
        rule = router.decide(asked(call)).rule
        assert rule == rule_of(call, document), call
        taken[rule] += 1
    assert len(taken) > RULES / 2, "most rules must have had a call"
    assert taken["last"] > 0


def test_every_minute_around_a_change_of_the_clocks_is_routed_the_same() -> None:
    document = big_table(seed=8)
    router = Router(made(document))
    moments = [
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minute)
        for day in TURNS
        for minute in range(0, 24 * 60, 7)
    ]
    for call in calls(moments, seed=2, each=1):
        assert router.decide(asked(call)).rule == rule_of(call, document), call
