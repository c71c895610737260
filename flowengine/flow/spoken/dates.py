"""Dates: "tomorrow", "next tuesday", "the fifth of june", "june 5 2027", "in two weeks", "31/1".

Relative to a given `today`. What leaves room is settled by these rules:

- a weekday alone, or with "this" or "coming", is the next such day after today;
- "next" weekday is that day of the next week (weeks begin on Monday);
- a day and month without a year, or a day of the month alone, is the next one, today included;
- `31/1` is day first or month first by `month_first`, unless only the other order is a date;
- a two-digit year lies at most 20 years ahead, otherwise in the past;
- a weekday beside a date must be that date's, otherwise the answer is refused.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from flowengine.flow.spoken.numbers import (
    read_below_hundred,
    read_cardinal,
    read_ordinal,
)
from flowengine.flow.spoken.words import drop, plain_words

_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
MONTHS |= {name[:3]: number for name, number in MONTHS.items()} | {"sept": 9}

_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEKDAYS = {name: number for number, name in enumerate(_DAY_NAMES)}
WEEKDAYS |= {name[:3]: number for name, number in WEEKDAYS.items()}
WEEKDAYS |= {"tues": 1, "thur": 3, "thurs": 3}

_NEAR = {
    ("today",): 0,
    ("tonight",): 0,
    ("tomorrow",): 1,
    ("day", "after", "tomorrow"): 2,
    ("yesterday",): -1,
    ("day", "before", "yesterday"): -2,
}
_LEADS = frozenset(("on", "for", "the", "of", "in", "year", "about", "by"))
_SPANS = {"day": 1, "days": 1, "week": 7, "weeks": 7, "fortnight": 14}
_NUMERIC = re.compile(r"(\d{1,4})[-/.](\d{1,2})(?:[-/.](\d{1,4}))?")


def full_year(year: int, today: dt.date) -> int:
    """A year with its century: of two digits, the one at most 20 years ahead."""
    if year >= 100:
        return year
    century = today.year - today.year % 100
    return century + year if century + year <= today.year + 20 else century + year - 100


def _date(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None


def coming(month: int, day: int, today: dt.date) -> dt.date | None:
    """The next such day, today included; the 29th of February may be eight years away."""
    for year in range(today.year, today.year + 9):
        found = _date(year, month, day)
        if found is not None and found >= today:
            return found
    return None


def _coming_day(day: int, today: dt.date) -> dt.date | None:
    """The next day of the month with that number."""
    for ahead in range(13):
        month = today.month - 1 + ahead
        found = _date(today.year + month // 12, month % 12 + 1, day)
        if found is not None and found >= today:
            return found
    return None


def read_year(words: Sequence[str]) -> int | None:
    """A year in words or digits: "twenty twenty six", "nineteen oh five", "2027"."""
    if len(words) == 1 and words[0].isdigit():
        return int(words[0]) if len(words[0]) == 4 else None
    read = read_cardinal(words)
    if read is not None and read[1] == len(words) and 1000 <= read[0] < 3000:
        return read[0]
    century = read_below_hundred(words, 0)
    if century is None or not 10 <= century[0] <= 29:
        return None
    rest = list(words[century[1] :])
    if len(rest) == 2 and rest[0] in ("oh", "o", "zero"):
        unit = read_below_hundred(rest, 1)
        return century[0] * 100 + unit[0] if unit and unit[0] < 10 else None
    read = read_below_hundred(rest, 0)
    if read is None or read[1] != len(rest) or read[0] < 10:
        return None
    return century[0] * 100 + read[0]


def _read_day(words: Sequence[str], at: int) -> tuple[int, int] | None:
    """A day of the month at a place, in words or digits."""
    if at < len(words) and words[at].isdigit() and len(words[at]) <= 2:
        read: tuple[int, int] | None = (int(words[at]), at + 1)
    else:
        read = read_ordinal(words, at) or read_below_hundred(words, at)
    return read if read is not None and 1 <= read[0] <= 31 else None


def _numeric(token: str, today: dt.date, *, month_first: bool) -> dt.date | None:
    """ "2026-01-31", "31.01.2026", "1/31", "31/1/26"."""
    found = _NUMERIC.fullmatch(token)
    if found is None:
        return None
    first, second, third = found[1], found[2], found[3]
    if len(first) == 4:
        return _date(int(first), int(second), int(third)) if third else None
    if len(first) > 2 or (third and len(third) not in (2, 4)):
        return None
    month_leads = month_first and "." not in token
    one, two = int(first), int(second)
    orders = [(one, two), (two, one)] if month_leads else [(two, one), (one, two)]
    for month, day in orders:
        if third:
            result = _date(full_year(int(third), today), month, day)
        else:
            result = coming(month, day, today)
        if result is not None:
            return result
    return None


def _with_month(words: list[str], today: dt.date) -> dt.date | None:
    """A day and a month in either order, with or without a year."""
    places = [at for at, word in enumerate(words) if word in MONTHS]
    if len(places) != 1:
        return None
    at = places[0]
    month = MONTHS[words[at]]
    if at == 0:
        day = _read_day(words, 1)
    else:
        day = _read_day(words, 0)
        day = (day[0], at + 1) if day is not None and day[1] == at else None
    if day is None:
        return None
    rest = words[day[1] :]
    if not rest:
        return coming(month, day[0], today)
    year = read_year(rest)
    return None if year is None else _date(year, month, day[0])


def _weekday(words: list[str], today: dt.date) -> dt.date | None:
    """ "monday", "this friday", "next tuesday"."""
    if not words or words[-1] not in WEEKDAYS or len(words) > 2:
        return None
    wanted = WEEKDAYS[words[-1]]
    if len(words) == 2 and words[0] == "next":
        monday = today + dt.timedelta(days=7 - today.weekday())
        return monday + dt.timedelta(days=wanted)
    if len(words) == 2 and words[0] not in ("this", "coming"):
        return None
    return today + dt.timedelta(days=(wanted - today.weekday() - 1) % 7 + 1)


def _count(words: Sequence[str]) -> int | None:
    if words in (["a"], ["one"], ["an"]):
        return 1
    if len(words) == 1 and words[0].isdigit():
        return int(words[0]) if len(words[0]) <= 3 else None
    read = read_cardinal(words)
    return read[0] if read is not None and read[1] == len(words) else None


def _add_months(start: dt.date, months: int) -> dt.date | None:
    month = start.month - 1 + months
    for day in range(start.day, 27, -1):
        if found := _date(start.year + month // 12, month % 12 + 1, day):
            return found
    return _date(start.year + month // 12, month % 12 + 1, start.day)


def _after_span(words: list[str], today: dt.date) -> dt.date | None:
    """ "in two weeks", "three days from tomorrow", "a week from friday", "five days ago"."""
    start: dt.date | None = today
    sign = 1
    if words[0] == "in":
        words = words[1:]
    elif words[-1] == "ago":
        words, sign = words[:-1], -1
    elif "from" in words:
        at = words.index("from")
        after = words[at + 1 :]
        start = today if after in (["now"], ["today"]) else _near_or_weekday(after, today)
        words = words[:at]
    else:
        return None
    if not words or start is None:
        return None
    count = _count(words[:-1])
    if count is None or count > 1000:
        return None
    if words[-1] in ("month", "months"):
        return _add_months(start, sign * count)
    if words[-1] in ("year", "years"):
        return _add_months(start, sign * 12 * count)
    span = _SPANS.get(words[-1])
    return None if span is None else start + dt.timedelta(days=sign * count * span)


def _near_or_weekday(words: list[str], today: dt.date) -> dt.date | None:
    words = drop(words, frozenset(("the", "on")))
    if tuple(words) in _NEAR:
        return today + dt.timedelta(days=_NEAR[tuple(words)])
    return _weekday(words, today)


def read_date(words: list[str], today: dt.date, *, month_first: bool = True) -> dt.date | None:
    """The date that these words are as a whole."""
    if not words:
        return None
    if len(words) > 1 and (found := _after_span(words, today)) is not None:
        return found
    words = drop(words, _LEADS)
    if not words:
        return None
    near = _near_or_weekday(words, today)
    if near is not None:
        return near
    if words[0] in WEEKDAYS and len(words) > 1:
        found = read_date(words[1:], today, month_first=month_first)
        return found if found and found.weekday() == WEEKDAYS[words[0]] else None
    if len(words) == 1 and (found := _numeric(words[0], today, month_first=month_first)):
        return found
    if found := _with_month(words, today):
        return found
    ordinal = read_ordinal(words)
    if ordinal is not None and ordinal[1] == len(words) and 1 <= ordinal[0] <= 31:
        return _coming_day(ordinal[0], today)
    return None


def parse(text: str, *, today: dt.date, month_first: bool = True) -> dt.date | None:
    """A date, or None. `today` is the caller's; `month_first` as in the United States."""
    return read_date(plain_words(text), today, month_first=month_first)
