"""What a caller's words or keys mean for a variable of a given type.

`understand` reads speech, `keyed` reads a keypad; both return a JSON-able value or None: what does
not parse as a whole is never guessed. In reading order: `words` (what is left of an answer without
politeness), `numbers`, `digits`, `money`, `dates`, `times`, `datetimes`, `yes_no`, `spelling`,
`email`, `phone`, `names`. The grammars are English; they also take what recognisers write
("472916", "3:30 p.m."), which serves other languages. Yes and no work in five languages.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from flowengine.errors import FlowError
from flowengine.flow.matcher import Matcher
from flowengine.flow.spoken import (
    dates,
    datetimes,
    digits,
    email,
    money,
    names,
    numbers,
    phone,
    spelling,
    times,
    yes_no,
)

TYPES = (
    *("string", "text", "name", "phone", "email", "address", "integer", "number", "boolean"),
    *("digits", "date", "time", "datetime", "money"),
)
"""The types of variables that a caller can say."""

WORD_TYPES = frozenset(("string", "text", "address"))
"""Types whose value is the caller's own words."""

MONTH_FIRST_REGIONS = frozenset(("US", "PH", "PR", "GU", "VI", "AS", "MP", "FM", "MH", "PW"))
"""Regions where 1/12 is the 12th of January."""

__all__ = ["MONTH_FIRST_REGIONS", "TYPES", "WORD_TYPES", "keyed", "understand"]


def understand(
    type_name: str,
    text: str,
    *,
    today: dt.date,
    language: str = "en-US",
    region: str = "US",
    enum: Sequence[str] | None = None,
) -> object | None:
    """The value that the caller said, or None.

    Dates are "2026-01-31", times "18:00", moments "2026-01-31T18:00", money a number in the main
    unit, phone numbers E.164. With `enum` only one of its members comes back.
    """
    _check(type_name)
    said = text.strip()
    if not said:
        return None
    if enum is not None and type_name in WORD_TYPES | {"name"}:
        return _member(said, enum)
    value = _value(type_name, said, today=today, language=language, region=region)
    if enum is not None and value is not None and str(value) not in {str(e) for e in enum}:
        return None
    return value


def keyed(type_name: str, digits: str, *, today: dt.date, region: str = "US") -> object | None:
    """The value that the caller keyed, or None.

    Dates are MMDDYYYY or MMDD in month-first regions, DDMMYYYY or DDMM elsewhere; times HHMM;
    moments a date and a time; `*` is the decimal point of money and numbers; 1 is yes, 2 is no.
    """
    _check(type_name)
    month_first = region.upper() in MONTH_FIRST_REGIONS
    if type_name in ("number", "money"):
        return _keyed_number(digits)
    if not (digits.isascii() and digits.isdigit()):
        return None
    match type_name:
        case "digits" | "string":
            return digits
        case "integer":
            return int(digits)
        case "boolean":
            return {"1": True, "2": False}.get(digits)
        case "phone":
            return phone.to_e164(digits, region)
        case "date":
            date = _keyed_date(digits, today, month_first=month_first)
            return None if date is None else date.isoformat()
        case "time":
            time = _keyed_time(digits)
            return None if time is None else time.isoformat("minutes")
        case "datetime":
            date = _keyed_date(digits[:-4], today, month_first=month_first)
            time = _keyed_time(digits[-4:])
            return None if date is None or time is None else f"{date}T{time:%H:%M}"
        case _:
            return None


def _check(type_name: str) -> None:
    if type_name not in TYPES:
        raise FlowError(
            "type_not_spoken",
            f"A caller cannot say or key a value of type {type_name}.",
            fix=f"Collect a variable of one of the types {', '.join(TYPES)}.",
        )


def _member(text: str, enum: Sequence[str]) -> str | None:
    """The member of an enum that the words mean, near forms too."""
    phrases = {member: [member.replace("_", " ").replace("-", " ")] for member in enum}
    best = Matcher(phrases).best(text)
    return None if best is None else best.name


def _value(
    type_name: str, text: str, *, today: dt.date, language: str, region: str
) -> object | None:
    month_first = region.upper() in MONTH_FIRST_REGIONS
    decimal_comma = not language.lower().startswith("en")
    match type_name:
        case "string" | "text" | "address":
            return " ".join(text.split())
        case "name":
            return names.parse(text) or _spelled_name(text)
        case "phone":
            return phone.parse(text, region=region)
        case "email":
            return email.parse(text)
        case "integer":
            return numbers.parse_integer(text, decimal_comma=decimal_comma)
        case "number":
            return numbers.parse(text, decimal_comma=decimal_comma)
        case "boolean":
            return yes_no.parse(text, language)
        case "digits":
            return digits.parse(text)
        case "money":
            return money.parse(text)
        case "date":
            date = dates.parse(text, today=today, month_first=month_first)
            return None if date is None else date.isoformat()
        case "time":
            time = times.parse(text)
            return None if time is None else time.isoformat("minutes")
        case _:
            moment = datetimes.parse(text, today=today, month_first=month_first)
            return None if moment is None else moment.isoformat(timespec="minutes")


def _spelled_name(text: str) -> str | None:
    spelled = spelling.parse(text)
    return spelled.capitalize() if spelled is not None and spelled.isalpha() else None


def _keyed_number(keys: str) -> int | float | None:
    whole, point, rest = keys.partition("*")
    if not (keys.isascii() and (whole + rest).isdigit()):
        return None
    value = float(f"{whole or '0'}.{rest or '0'}") if point else int(whole)
    return int(value) if value == int(value) else value


def _keyed_date(keys: str, today: dt.date, *, month_first: bool) -> dt.date | None:
    if len(keys) not in (4, 8):
        return None
    one, two = keys[:2], keys[2:4]
    month, day = (one, two) if month_first else (two, one)
    if len(keys) == 8:
        try:
            return dt.date(int(keys[4:]), int(month), int(day))
        except ValueError:
            return None
    return dates.coming(int(month), int(day), today)


def _keyed_time(keys: str) -> dt.time | None:
    if len(keys) != 4 or int(keys[:2]) > 23 or int(keys[2:]) > 59:
        return None
    return dt.time(int(keys[:2]), int(keys[2:]))
