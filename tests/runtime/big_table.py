"""A routing table of 200 rules, as a company with desks on four continents may have it."""

from __future__ import annotations

from random import Random
from typing import Any

RULES = 200
CALENDARS: dict[str, dict[str, Any]] = {
    "paris": {
        "timezone": "Europe/Paris",
        "weekly": {"mon-fri": ["09:00-12:30", "14:00-18:00"], "sat": ["09:00-12:00"]},
        "holidays": "FR",
        "closed": ["2026-12-24"],
        "open": {"2026-12-31": ["09:00-12:00"], "2026-07-14": ["20:00-23:00"]},
    },
    "berlin": {
        "timezone": "Europe/Berlin",
        "weekly": {"mon-thu": ["08:00-17:00"], "fri": ["08:00-13:00"]},
        "holidays": "DE",
    },
    "boston": {
        "timezone": "America/New_York",
        "weekly": {"mon-fri": ["08:30-17:30"], "wed": ["10:00-20:00"]},
        "holidays": "US",
        "open": {"2026-11-27": ["10:00-14:00"]},
    },
    "nights": {
        "timezone": "America/New_York",
        "weekly": {"fri-sat": ["20:00-02:30"], "sun-thu": ["22:00-01:00"]},
    },
    "lord-howe": {  # where clocks move by half an hour
        "timezone": "Australia/Lord_Howe",
        "weekly": {"sat-mon": ["01:30-02:30", "07:00-19:00"]},
        "closed": ["2026-04-05"],
    },
    "delhi": {
        "timezone": "Asia/Kolkata",
        "weekly": {"mon-sun": ["06:00-22:00"]},
        "closed": ["2026-01-26", "2026-08-15", "2026-10-02"],
    },
}
COUNTRIES = {
    "FR": ("+33612", 12),
    "DE": ("+493012", 12),
    "US": ("+16175", 12),
    "GB": ("+4420794", 13),
    "IN": ("+9198765", 13),
    "JP": ("+81312", 12),
}
"""How the numbers of a country begin, and how long they are."""


def callers() -> dict[str, str]:
    """Sixty numbers with their countries, and one caller who withholds his."""
    found = {
        start + f"{index * 7919:0>9}"[-(length - len(start)) :]: country
        for country, (start, length) in COUNTRIES.items()
        for index in range(71, 81)
    }
    return {**found, "": ""}


def big_table(seed: int = 7) -> dict[str, Any]:
    """The table: special rules first, wide ones last, as people write them."""
    random = Random(seed)
    numbers = [number for number in callers() if number]
    lists = {f"list-{n}": random.sample(numbers, 6) for n in range(10)}
    rules = []
    for index in range(RULES):
        is_wide = index > 0.8 * RULES
        when: dict[str, Any] = {}
        if not is_wide or random.random() < 0.7:
            when["caller"] = _caller(random, numbers, is_wide=is_wide)
        if random.random() < 0.8 or not when:
            state = random.choice(["open", "open", "closed", "holiday"])
            names = [
                name for name in CALENDARS if state != "holiday" or "holidays" in CALENDARS[name]
            ]
            when["calendar"] = {state: random.choice(names)}
        if random.random() < 0.35:
            when["header"] = {"x-line": random.choice(["gold", "silver"])}
        if random.random() < 0.3:
            when["load"] = {"of": "all", "at_least": random.randrange(5, 45)}
        if random.random() < 0.4:
            when["share"] = {"percent": random.randrange(5, 60)}
        if is_wide:
            when["load"] = {"of": "all", "at_least": random.randrange(35, 49)}
        rules.append({"name": f"rule-{index}", "when": when, "to": {"flow": f"flow-{index}"}})
    return {
        "routes": "1",
        "calendars": CALENDARS,
        "lists": lists,
        "rules": rules,
        "last": {"flow": "front-desk"},
    }


def _caller(random: Random, numbers: list[str], *, is_wide: bool) -> dict[str, Any]:
    kinds = ["country", "not", "anonymous"] if is_wide else ["exact", "exact", "list", "prefix"]
    match random.choice(kinds):
        case "exact":
            return {"exact": random.sample(numbers, 2)}
        case "list":
            return {"list": f"list-{random.randrange(10)}"}
        case "prefix":
            return {"prefix": [number[:-1] for number in random.sample(numbers, 2)]}
        case "country":
            return {"country": random.sample(list(COUNTRIES), 2)}
        case "not":
            return {"not": {"country": random.sample(list(COUNTRIES), 4)}, "anonymous": False}
        case _:
            return {"anonymous": True}
