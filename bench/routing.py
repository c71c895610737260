"""How long it takes to decide where a call goes: 200 rules, at hours spread over a year.

The table is the one that tests drive against a slow model; a second one is as bad as it gets: 200
rules for all callers, each with a calendar of its own, of which mostly none holds. No webhook is
asked. The table is prepared for each day, as a server does at midnight; that is not counted.

Run from the repository's root: `python -m bench.routing`. Exits 1 when a decision takes 1 ms.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from random import Random
from typing import Any

from bench.figures import Figure, machine, show
from flowengine.runtime.route_explaining import explain
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.route_reading import load_table
from flowengine.runtime.routing import Router
from tests.runtime.big_table import CALENDARS, RULES, big_table, callers

LIMIT_US = 1000.0
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = 100


def calls(count: int, hours: int = 365 * 24, seed: int = 3) -> list[RouteFacts]:
    """Calls at hours spread over a year (or less of it), in the order of time."""
    random = Random(seed)
    known = list(callers())
    moments = sorted(random.randrange(hours) for _ in range(count))
    return [
        RouteFacts(
            random.choice(known),
            "+33155555555",
            YEAR + timedelta(hours=moment),
            f"call_{number}",
            random.choice([{}, {"X-Line": "gold"}]),
            load=Load(all=random.randrange(50)),
        )
        for number, moment in enumerate(moments)
    ]


def timed(router: Router, asked: Sequence[RouteFacts]) -> list[float]:
    """Microseconds of each decision, least first."""
    took = []
    for day, of_day in groupby(asked, key=lambda facts: facts.now.date()):
        router.prepare(day)
        for facts in of_day:
            start_ns = time.perf_counter_ns()
            router.decide(facts)
            took.append((time.perf_counter_ns() - start_ns) / 1000)
    return sorted(took)


def share_of(took: Sequence[float], share: float) -> float:
    """The value under which a share of the sorted values lies."""
    return took[min(int(len(took) * share), len(took) - 1)]


def worst_table() -> dict[str, Any]:
    """A calendar of its own for each rule, and no caller's number to tell the rules apart."""
    kinds = list(CALENDARS.values())
    weekly = {"mon-fri": ["09:00-12:30", "14:00-18:00"], "sat": ["09:00-12:00"]}
    return {
        "routes": "1",
        "calendars": {f"c{n}": {**kinds[n % len(kinds)], "weekly": weekly} for n in range(RULES)},
        "rules": [
            {
                "name": f"r{n}",
                "when": {"calendar": {"open": f"c{n}"}, "load": {"of": "all", "at_least": 49}},
                "to": {"flow": "desk"},
            }
            for n in range(RULES)
        ],
        "last": {"flow": "front-desk"},
    }


def measure(table: dict[str, Any], count: int) -> list[Figure]:
    """Load a table, then decide."""
    source = json.dumps(table)
    start_s = time.perf_counter()
    router = Router(load_table(source))
    loaded_s = time.perf_counter() - start_s
    router.prepare(YEAR.date())
    prepared_s = time.perf_counter() - start_s - loaded_s
    first = timed(router, calls(FIRST, hours=24))
    asked = calls(count)
    took = timed(router, asked)
    start_s = time.perf_counter()
    for facts in asked[:FIRST]:
        explain(router, facts)
    explained_us = (time.perf_counter() - start_s) / FIRST * 1e6
    return [
        Figure("rules", RULES),
        Figure("decisions", count),
        Figure("a decision, p50", share_of(took, 0.5), "µs", LIMIT_US),
        Figure("a decision, p95", share_of(took, 0.95), "µs", LIMIT_US),
        Figure("a decision, p99.9", share_of(took, 0.999), "µs"),
        Figure(f"the first {FIRST} decisions, p50", share_of(first, 0.5), "µs", LIMIT_US),
        Figure(f"the first {FIRST} decisions, p95", share_of(first, 0.95), "µs", LIMIT_US),
        Figure("an explanation, mean", explained_us, "µs"),
        Figure("reading and checking the table, once", loaded_s * 1000, "ms"),
        Figure("preparing for the first decision, once", prepared_s * 1000, "ms"),
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=50_000)
    count = parser.parse_args(arguments).decisions
    print(machine())
    missed = show(
        "Rules by number, list, prefix, country, hours, load", measure(big_table(), count)
    )
    missed += show("A calendar of its own for each rule", measure(worst_table(), count // 10))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
