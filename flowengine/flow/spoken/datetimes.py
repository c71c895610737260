"""A date and a time in one answer: "tomorrow at three", "june fifth, 6 pm", "at noon on monday".

Every place where the words can be split into a date and a time, in either order, is tried. The
answer counts only if all readings are the same moment.
"""

from __future__ import annotations

import datetime as dt
import re

from flowengine.flow.spoken.dates import read_date
from flowengine.flow.spoken.times import read_time, words_of

_ISO = re.compile(r"\s*(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::\d{2})?\s*", re.IGNORECASE)
_EDGE = ("at", "on", "and", "for")


def parse(text: str, *, today: dt.date, month_first: bool = True) -> dt.datetime | None:
    """A moment on the caller's clock, without a zone, or None."""
    if iso := _ISO.fullmatch(text):
        try:
            return dt.datetime.fromisoformat(f"{iso[1]}T{iso[2]}")
        except ValueError:
            return None
    words = words_of(text)
    readings = set()
    for at in range(len(words) + 1):
        for day_words, time_words in ((words[:at], words[at:]), (words[at:], words[:at])):
            moment = _moment(day_words, time_words, today, month_first=month_first)
            if moment is not None:
                readings.add(moment)
    return readings.pop() if len(readings) == 1 else None


def _moment(
    day_words: list[str], time_words: list[str], today: dt.date, *, month_first: bool
) -> dt.datetime | None:
    is_tonight = "tonight" in day_words
    time = read_time([*_trim(time_words), "tonight"] if is_tonight else _trim(time_words))
    if time is None:
        return None
    if day_words:
        date = read_date(_trim(day_words), today, month_first=month_first)
    elif "tonight" in time_words or "this" in time_words:
        date = today
    else:
        return None
    return None if date is None else dt.datetime.combine(date, time)


def _trim(words: list[str]) -> list[str]:
    start, end = 0, len(words)
    while start < end and words[start] in _EDGE:
        start += 1
    while end > start and words[end - 1] in _EDGE:
        end -= 1
    return words[start:end]
