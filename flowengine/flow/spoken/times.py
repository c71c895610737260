"""Times of day: "half past three", "3:30 p.m.", "ten o'clock", "quarter to five", "1530", "noon".

An hour from 1 to 12 without "am", "pm" or a part of the day is ambiguous; it is taken to lie
between 08:00 and 19:59 (so "three thirty" is 15:30, "nine" 09:00). Hours from 13 on, and written
times with a leading zero ("03:30"), are on the 24-hour clock and taken as they are.
"""

from __future__ import annotations

import datetime as dt
import re

from flowengine.flow.spoken.numbers import UNITS, read_below_hundred
from flowengine.flow.spoken.words import drop, plain_words

_FIXED = {"noon": dt.time(12), "midday": dt.time(12), "midnight": dt.time(0)}
_LEADS = frozenset(
    ("at", "around", "about", "by", "o'clock", "oclock", "sharp", "exactly", "hours")
)
_PARTS = ("morning", "afternoon", "evening", "night", "tonight")
_JOINERS = frozenset(("in", "the", "this", "at"))
_WRITTEN = re.compile(r"(\d{1,2})[:.](\d{2})(?::00)?")
_COMPACT = re.compile(r"(\d{1,2})(\d{2})")
_GLUED = re.compile(r"(\d{1,2}(?:[:.]?\d{2})?)\s*([ap])\.?\s?m\b\.?", re.IGNORECASE)


def _apart(text: str) -> str:
    """ "3:30pm", "3 p. m." as "3:30 pm"."""
    text = _GLUED.sub(r"\1 \2m ", text)
    return re.sub(r"\b([ap])\.?\s(m)\b\.?", r"\1\2", text, flags=re.IGNORECASE)


def _day_part(words: list[str]) -> tuple[list[str], str] | None:
    """The words without the one that says which half of the day is meant, and that word."""
    found = [word for word in words if word in ("am", "pm") or word in _PARTS]
    if len(found) > 1 and not (len(found) == 2 and _agree(*found)):
        return None
    rest = []
    for at, word in enumerate(words):
        following = [later for later in words[at + 1 :] if later not in _JOINERS]
        leads_part = word in _JOINERS and following[:1] and following[0] in _PARTS
        if word not in found and not leads_part:
            rest.append(word)
    return rest, found[0] if found else ""


def _agree(one: str, two: str) -> bool:
    """ "am" with "morning", "pm" with any later part."""
    half, part = (one, two) if one in ("am", "pm") else (two, one)
    if half not in ("am", "pm") or part not in _PARTS:
        return False
    return (half == "am") == (part == "morning")


def _settle(hour: int, minute: int, part: str, *, is_24h: bool = False) -> dt.time | None:
    """The time, given which half of the day was meant."""
    if not 0 <= hour <= 24 or not 0 <= minute < 60 or (hour == 24 and minute):
        return None
    if hour in (0, 24) or hour > 12 or (is_24h and not part):
        wrong = (part in ("am", "morning") and 12 < hour < 24) or (part == "pm" and not hour)
        return None if wrong else dt.time(hour % 24, minute)
    if part in ("am", "morning"):
        # "Twelve in the morning" may be midnight or noon.
        return None if part == "morning" and hour == 12 else dt.time(hour % 12, minute)
    if part in ("night", "tonight"):
        is_late = 6 <= hour < 12
        return dt.time(hour + 12 if is_late else hour % 12, minute)
    if part or not 8 <= hour < 12:
        return dt.time(hour % 12 + 12, minute)
    return dt.time(hour, minute)


def _read_minute(words: list[str]) -> int | None:
    """ "thirty", "oh five", "hundred" (as in fifteen hundred)."""
    if words == ["hundred"]:
        return 0
    if len(words) == 2 and words[0] in ("oh", "o", "zero"):
        return UNITS.get(words[1]) or (int(words[1]) if re.fullmatch("[1-9]", words[1]) else None)
    if len(words) == 1 and re.fullmatch(r"[0-5]\d", words[0]):
        return int(words[0])
    read = read_below_hundred(words, 0)
    if read is None or read[1] != len(words) or not 10 <= read[0] < 60:
        return None
    return read[0]


def _read_hour(words: list[str], at: int = 0) -> tuple[int, int] | None:
    if at < len(words) and re.fullmatch(r"\d{1,2}", words[at]):
        read: tuple[int, int] | None = (int(words[at]), at + 1)
    else:
        read = read_below_hundred(words, at)
    return read if read is not None and read[0] <= 24 else None


def _offset(words: list[str]) -> int | None:
    """Minutes before "past" or "to"."""
    words = drop(words, frozenset(("a", "minutes", "minute")))
    if words == ["quarter"]:
        return 15
    if words == ["half"]:
        return 30
    if len(words) == 1 and re.fullmatch(r"\d{1,2}", words[0]):
        return int(words[0])
    read = read_below_hundred(words, 0)
    return read[0] if read is not None and read[1] == len(words) and 0 < read[0] < 60 else None


def _relative(words: list[str], part: str) -> dt.time | None:
    """ "half past three", "twenty to six", "quarter of five"; "half three" is half past."""
    if words[0] == "half" and len(words) > 1 and words[1] != "past":
        words = ["half", "past", *words[1:]]
    for word, sign in (("past", 1), ("after", 1), ("to", -1), ("till", -1), ("before", -1)):
        if word not in words:
            continue
        at = words.index(word)
        minutes = _offset(words[:at])
        rest = words[at + 1 :]
        if minutes is None or (minutes == 30 and sign < 0):
            return None
        if len(rest) == 1 and rest[0] in _FIXED and not part:
            base: dt.time | None = _FIXED[rest[0]]
        else:
            hour = _read_hour(rest)
            if hour is None or hour[1] != len(rest):
                return None
            base = _around(hour[0], minutes * sign, part)
        if base is None:
            return None
        total = (base.hour * 60 + base.minute + sign * minutes) % (24 * 60)
        return dt.time(total // 60, total % 60)
    return None


def _around(hour: int, minutes: int, part: str) -> dt.time | None:
    """The hour that "to" or "past" counts from: the rule of this module holds for the result."""
    if minutes > 0 or part or not 1 <= hour <= 12:
        return _settle(hour, 0, part)
    # "Quarter to eight" is 07:45 or 19:45, and only the latter lies in the preferred span.
    return dt.time((hour % 12 + 12) % 24) if not 9 <= hour <= 12 else dt.time(hour)


def read_time(words: list[str]) -> dt.time | None:
    """The time that these words are as a whole."""
    parted = _day_part(words)
    if parted is None:
        return None
    words, part = parted
    words = drop(words, _LEADS)
    if not words:
        return None
    if len(words) == 1 and words[0] in _FIXED:
        return _FIXED[words[0]] if part in ("", "night") else None
    if words == ["twelve", "noon"] or words == ["12", "noon"]:
        return dt.time(12)
    if words == ["twelve", "midnight"] or words == ["12", "midnight"]:
        return dt.time(0)
    if (relative := _relative(words, part)) is not None:
        return relative
    if len(words) == 1:
        token = words[0]
        found = _WRITTEN.fullmatch(token) or (len(token) > 2 and _COMPACT.fullmatch(token)) or None
        if found:
            is_24h = token[0] == "0"
            return _settle(int(found[1]), int(found[2]), part, is_24h=is_24h)
    hour = _read_hour(words)
    if hour is None:
        return None
    rest = words[hour[1] :]
    minute = _read_minute(rest) if rest else 0
    return None if minute is None else _settle(hour[0], minute, part)


def parse(text: str) -> dt.time | None:
    """A time of day to the minute, or None."""
    return read_time(plain_words(_apart(text)))


def words_of(text: str) -> list[str]:
    """The words of an answer in which a time may stand."""
    return plain_words(_apart(text))
