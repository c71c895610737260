"""Amounts: "twelve dollars fifty", "$12.50", "€12,50", "ninety nine cents", "two hundred euros".

The value is in the main unit (dollars, not cents), an `int` if it is whole. A bare number is an
amount too; "twelve fifty" without a currency is refused, as it may be 12.50 or 1250.
"""

from __future__ import annotations

import re

from flowengine.flow.spoken.numbers import read_number
from flowengine.flow.spoken.words import plain, plain_words

_SIGNS = "$€£¥"
_MAIN = frozenset(
    ("dollar", "dollars", "buck", "bucks", "euro", "euros", "pound", "pounds", "quid", "yen")
    + ("usd", "eur", "gbp", "franc", "francs", "chf")
)
_PARTS = frozenset(("cent", "cents", "pence", "penny", "pennies", "p", "centimes", "céntimos"))
_NUMBER = re.compile(r"\d[\d.,]*\d|\d")


def written_amount(token: str) -> int | float | None:
    """Digits with separators: the last one is decimal unless three digits follow it.

    A lone stop before three digits ("12.505") is neither cents nor surely thousands: refused.
    """
    last = max(token.rfind("."), token.rfind(","))
    if last < 0:
        return int(token) if token.isdigit() else None
    whole, mark, rest = token[:last], token[last], token[last + 1 :]
    other = "," if mark == "." else "."
    if len(rest) == 3:
        groups = token.split(mark)
        if mark == "." and len(groups) == 2:
            return None
        if other in token or any(len(group) != 3 for group in groups[1:]) or len(groups[0]) > 3:
            return None
        return int("".join(groups))
    if len(rest) > 2 or mark in whole:
        return None
    groups = whole.split(other)
    if any(len(group) != 3 for group in groups[1:]) or (len(groups) > 1 and len(groups[0]) > 3):
        return None
    return _tidy(float(f"{''.join(groups)}.{rest}"))


def _tidy(value: float) -> int | float:
    value = round(value, 2)
    return int(value) if float(value).is_integer() else value


def _amount(words: list[str]) -> int | float | None:
    """A number in words or digits, both kinds of separator allowed."""
    if len(words) == 1 and _NUMBER.fullmatch(words[0]):
        return written_amount(words[0])
    if len(words) == 2 and words[1] in ("k", "grand"):
        thousands = _amount(words[:1])
        return None if thousands is None else _tidy(thousands * 1000)
    value = read_number([word for word in words if word != "the"])
    return None if value is None or round(value, 2) != value else value


def _cents(words: list[str]) -> int | None:
    value = _amount(words)
    return value if isinstance(value, int) and 0 <= value < 100 else None


def _with_unit(words: list[str], at: int) -> int | float | None:
    """ "twelve dollars", "twelve dollars (and) fifty (cents)", the unit being at a place."""
    whole = _amount(words[:at])
    rest = words[at + 1 :]
    if whole is None or not rest:
        return whole
    if not isinstance(whole, int) or whole < 0:
        return None
    if rest[0] in ("and", "with"):
        rest = rest[1:]
    if rest[-1:] and rest[-1] in _PARTS:
        rest = rest[:-1]
    elif rest and len(rest) == 1 and len(rest[0]) == 1:
        return None
    cents = _cents(rest) if rest else None
    return None if cents is None else _tidy(whole + cents / 100)


def parse(text: str) -> int | float | None:
    """An amount in the main unit, or None."""
    negative = re.match(r"\s*-\s*(?=[$€£¥]?\s*\d)", plain(text))
    words = plain_words(text)
    if not words:
        return None
    if negative or words[0] in ("minus", "negative"):
        value = _parse(words if negative else words[1:])
        return None if value is None else -value
    return _parse(words)


def _parse(words: list[str]) -> int | float | None:
    if words and words[0] in ("about", "exactly"):
        words = words[1:]
    signs = [at for at, word in enumerate(words) if word in _SIGNS]
    if signs:
        if len(signs) > 1 or signs[0] not in (0, len(words) - 1):
            return None
        at = signs[0]
        words = [*words[:at], *words[at + 1 :]]
        units = [at for at, word in enumerate(words) if word in _MAIN]
        return _with_unit(words, units[0]) if units else _amount(words)
    units = [at for at, word in enumerate(words) if word in _MAIN]
    if len(units) == 1:
        at = units[0]
        if at == 0:
            return _amount(words[1:])
        if words[at - 3 : at] == ["and", "a", "half"] or words[:at] != ["a"]:
            return _with_unit(words, at)
        return _with_unit(["one", *words[1:]], at)
    if units:
        return None
    if len(words) > 1 and words[-1] in _PARTS:
        cents = _cents(["one"] if words[:-1] == ["a"] else words[:-1])
        return None if cents is None else _tidy(cents / 100)
    return _amount(words)
