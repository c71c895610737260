"""How wide words will be, without a font engine: enough to size a card and to break its lines.

Widths are in thousandths of the font size, rounded up from common sans-serif fonts, so that what
fits here fits in the reader's font too.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_NARROW = 360
_WIDE = 920
_UPPER = 690
_LOWER = 580
_FULL_WIDTH = 1000
_BY_CHARACTER = {
    **dict.fromkeys("iljI.,:;'|!`", _NARROW - 40),
    **dict.fromkeys('ftr()[]{}/\\-" ', _NARROW + 30),
    **dict.fromkeys("mwMW@%—…", _WIDE),
    **dict.fromkeys("0123456789", 620),
    **dict.fromkeys("=<>+~^", 760),
}
MONOSPACE = 610
"""Width of every character of a monospaced font, in thousandths of its size."""


@lru_cache(maxsize=4096)
def _character_width(character: str) -> int:
    known = _BY_CHARACTER.get(character)
    if known is not None:
        return known
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Mn"}:
        return 0
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return _FULL_WIDTH
    return _UPPER if character.isupper() else _LOWER


def text_width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Estimate the width of one line in pixels; `size` is the font size in pixels."""
    if mono:
        wide = sum(2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1 for c in text)
        return wide * MONOSPACE * size / 1000
    units = sum(_character_width(character) for character in text)
    return units * size / 1000 * (1.17 if bold else 1.0)


def shorten(text: str, size: float, width: float, *, bold: bool = False, mono: bool = False) -> str:
    """Cut one line to a width in pixels; what was cut is shown by an ellipsis."""
    if text_width(text, size, bold=bold, mono=mono) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle] + "…", size, bold=bold, mono=mono) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def wrap(
    text: str, size: float, width: float, at_most: int, *, bold: bool = False, mono: bool = False
) -> tuple[str, ...]:
    """Break text into at most so many lines of a width in pixels; the last one is shortened."""
    words = text.split()
    lines: list[str] = []
    current = ""
    for position, word in enumerate(words):
        joined = f"{current} {word}" if current else word
        if not current or text_width(joined, size, bold=bold, mono=mono) <= width:
            current = joined
            continue
        if len(lines) == at_most - 1:
            current = " ".join([current, *words[position:]])
            break
        lines.append(current)
        current = word
    if current:
        lines.append(current)
    return tuple(shorten(line, size, width, bold=bold, mono=mono) for line in lines[:at_most])
