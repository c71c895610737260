"""Numbers: "forty two", "minus three point five", "1,234.50", "the twenty first", "a dozen"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flowengine.flow.spoken.words import plain_words

UNITS = {
    word: value
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    )
}
TEENS = {
    word: value
    for value, word in enumerate(
        (
            *("ten", "eleven", "twelve", "thirteen", "fourteen"),
            *("fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
        ),
        start=10,
    )
}
TENS = {
    word: 10 * value
    for value, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
} | {"fourty": 40}
_SCALES = {"thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}

_ORDINAL_UNITS = {
    word: value
    for value, word in enumerate(
        (
            *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"),
            *("ninth", "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth"),
            *("sixteenth", "seventeenth", "eighteenth", "nineteenth"),
        ),
        start=1,
    )
}
_ORDINAL_TENS = {word[:-1] + "ieth": value for word, value in TENS.items()}
_ORDINAL_DIGITS = re.compile(r"(\d+)(?:st|nd|rd|th)")

_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_GROUPED_COMMA = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+(?:,\d+)?")

_BEFORE = frozenset(("a", "table", "for", "party", "of", "about", "number", "exactly", "group"))
_AFTER = frozenset(("people", "persons", "person", "guests", "of", "us", "years", "old", "percent"))
_AFTER_SIGNS = frozenset(("%",))


def read_below_hundred(words: Sequence[str], at: int) -> tuple[int, int] | None:
    """A number below 100 in words at a place: its value and where it ends."""
    if at >= len(words):
        return None
    word = words[at]
    if word in TENS:
        if at + 1 < len(words) and UNITS.get(words[at + 1], 0):
            return TENS[word] + UNITS[words[at + 1]], at + 2
        return TENS[word], at + 1
    for table in (UNITS, TEENS):
        if word in table:
            return table[word], at + 1
    return None


def _read_below_thousand(words: Sequence[str], at: int) -> tuple[int, int] | None:
    if at < len(words) and words[at] in ("a", "an") and words[at + 1 : at + 2] == ["hundred"]:
        read: tuple[int, int] | None = (1, at + 1)
    else:
        read = read_below_hundred(words, at)
    if read is None:
        return None
    value, at = read
    if value == 0 or words[at : at + 1] != ["hundred"]:
        return value, at
    value, at = value * 100, at + 1
    joined = at + 1 if words[at : at + 1] == ["and"] else at
    rest = read_below_hundred(words, joined)
    if rest is not None and rest[0]:
        return value + rest[0], rest[1]
    return value, at


def read_cardinal(words: Sequence[str], at: int = 0) -> tuple[int, int] | None:
    """The longest whole number in words at a place: its value and where it ends."""
    words = list(words)
    total, ceiling, end = 0, 10**12, at
    while True:
        joined = end + 1 if end > at and words[end : end + 1] == ["and"] else end
        if joined < len(words) - 1 and words[joined] == "a" and words[joined + 1] in _SCALES:
            group: tuple[int, int] | None = (1, joined + 1)
        else:
            group = _read_below_thousand(words, joined)
        if group is None or (end > at and group[0] == 0):
            break
        value, after = group
        scale = _SCALES.get(words[after], 1) if after < len(words) else 1
        if scale >= ceiling or (end > at and ceiling == 1):
            break
        total, ceiling, end = total + value * scale, scale, after + (scale > 1)
        if scale == 1:
            break
    return (total, end) if end > at else None


def read_ordinal(words: Sequence[str], at: int = 0) -> tuple[int, int] | None:
    """An ordinal below 100 at a place ("twenty first", "21st"): its value and where it ends."""
    if at >= len(words):
        return None
    word = words[at]
    if found := _ORDINAL_DIGITS.fullmatch(word):
        return int(found[1]), at + 1
    if word in TENS and at + 1 < len(words) and 0 < _ORDINAL_UNITS.get(words[at + 1], 0) < 10:
        return TENS[word] + _ORDINAL_UNITS[words[at + 1]], at + 2
    for table in (_ORDINAL_UNITS, _ORDINAL_TENS):
        if word in table:
            return table[word], at + 1
    return None


def written(token: str, *, decimal_comma: bool = False) -> int | float | None:
    """The value of digits with separators: "1,234.5"; "1.234,5" where the comma is decimal."""
    grouped, thousands = (_GROUPED_COMMA, ".") if decimal_comma else (_GROUPED, ",")
    if not grouped.fullmatch(token):
        return None
    value = float(token.replace(thousands, "").replace(",", "."))
    return int(value) if value.is_integer() else value


def _fraction(words: Sequence[str]) -> float | None:
    """What follows "point": single digits, or one number below 100 ("point twenty five")."""
    digits = ""
    for word in words:
        if word.isdigit():
            digits += word
        elif word in UNITS or word in ("oh", "o"):
            digits += str(UNITS.get(word, 0))
        else:
            break
    else:
        return float(f"0.{digits}") if digits else None
    read = read_below_hundred(words, 0)
    if read is None or read[1] != len(words):
        return None
    return float(f"0.{read[0]}")


def _positive(words: list[str], *, decimal_comma: bool) -> int | float | None:
    if words[-3:] == ["and", "a", "half"] and len(words) > 3:
        whole = _positive(words[:-3], decimal_comma=decimal_comma)
        return whole + 0.5 if isinstance(whole, int) else None
    for mark in ("point", "dot", "comma"):
        if mark in words:
            at = words.index(mark)
            whole = _positive(words[:at], decimal_comma=decimal_comma) if at else 0
            fraction = _fraction(words[at + 1 :])
            if not isinstance(whole, int) or fraction is None:
                return None
            return round(whole + fraction, 12)
    if words in (["a", "dozen"], ["dozen"]):
        return 12
    if len(words) == 2 and words[1] in _SCALES:
        scaled = written(words[0], decimal_comma=decimal_comma)
        if scaled is not None:
            value = scaled * _SCALES[words[1]]
            return int(value) if float(value).is_integer() else value
    if len(words) == 1 and words[0][0].isdigit():
        ordinal = read_ordinal(words)
        return ordinal[0] if ordinal else written(words[0], decimal_comma=decimal_comma)
    for read in (read_cardinal(words), read_ordinal(words)):
        if read is not None and read[1] == len(words):
            return read[0]
    return None


def read_number(words: list[str], *, decimal_comma: bool = False) -> int | float | None:
    """The number that these words are as a whole, negative ones too."""
    if not words:
        return None
    if words[0] in ("minus", "negative"):
        value = _positive(words[1:], decimal_comma=decimal_comma) if words[1:] else None
        return None if value is None else -value
    return _positive(words, decimal_comma=decimal_comma)


def parse(text: str, *, decimal_comma: bool = False) -> int | float | None:
    """A number; whole ones are `int`."""
    if negative := re.match(r"\s*-\s*(?=\d)", text):
        text = "minus " + text[negative.end() :]
    words = plain_words(text)
    value = read_number(words, decimal_comma=decimal_comma)
    if value is not None:
        return value
    start, end = 0, len(words)
    while end > start and words[end - 1] in _AFTER | _AFTER_SIGNS:
        end -= 1
    while start < end and words[start] in _BEFORE | {"the", "one"} and start + 1 < end:
        if words[start] == "one":
            break
        start += 1
    if words[end:] and words[end] == "of" and words[end:] != ["of", "us"]:
        return None
    return read_number(words[start:end], decimal_comma=decimal_comma)


def parse_integer(text: str, *, decimal_comma: bool = False) -> int | None:
    """A whole number."""
    value = parse(text, decimal_comma=decimal_comma)
    return value if isinstance(value, int) else None
