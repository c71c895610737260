"""Digit strings: "four seven two", "double five oh", "forty two", "472 91", "4 7 2, 9 1".

Each word stands for the digits that it would be written with; a value is always a `str`, leading
zeros kept. "Hundred" and "thousand" are zeros ("one eight hundred" = 1800) unless that could be
meant as one number ("one hundred twenty three"): then the answer is refused.
"""

from __future__ import annotations

from flowengine.flow.spoken.numbers import TEENS, TENS, UNITS
from flowengine.flow.spoken.words import drop, plain_words

ZEROS = frozenset(("zero", "oh", "o", "nought", "naught", "nil"))
_REPEATS = {"double": 2, "triple": 3, "treble": 3}
_ROUND = {"hundred": "00", "thousand": "000"}
_BETWEEN = frozenset(("dash", "hyphen", "space", "then", "-", "/", "#", "number", "digits"))


def digit(word: str) -> str | None:
    """The one digit that a word names."""
    if word in ZEROS:
        return "0"
    if word in UNITS:
        return str(UNITS[word])
    return word if len(word) == 1 and word in "0123456789" else None


def parse(text: str) -> str | None:
    """The digits, or None if anything else was said."""
    return read_digits(drop(plain_words(text), _BETWEEN))


def read_digits(words: list[str]) -> str | None:
    """The digits that these words are as a whole."""
    found: list[str] = []
    at = 0
    while at < len(words):
        read = _piece(words, at)
        if read is None:
            return None
        piece, at = read
        found.append(piece)
    return "".join(found) or None


def _piece(words: list[str], at: int) -> tuple[str, int] | None:
    """The digits of the word or words at a place, and where they end."""
    word = words[at]
    following = words[at + 1] if at + 1 < len(words) else ""
    if word in _REPEATS:
        repeated = digit(following) if following else None
        return (repeated * _REPEATS[word], at + 2) if repeated else None
    single = digit(word)
    if single is not None and following in _ROUND:
        return _rounded(words, at, single)
    if single is not None:
        return single, at + 1
    if word in TEENS:
        if following in _ROUND:
            return _rounded(words, at, str(TEENS[word]))
        return str(TEENS[word]), at + 1
    if word in TENS:
        unit = UNITS.get(following, 0)
        return (str(TENS[word] + unit), at + 2) if unit else (str(TENS[word]), at + 1)
    if word[0].isdigit():
        plain = word
        for mark in ",-.":
            plain = plain.replace(mark, "")
        return (plain, at + 1) if plain.isascii() and plain.isdigit() else None
    return None


def _rounded(words: list[str], at: int, lead: str) -> tuple[str, int] | None:
    """ "eight hundred": zeros, if what follows cannot belong to the same number."""
    rest = words[at + 2 :]
    if rest and (rest[0] in TENS or rest[0] in TEENS or rest[0] in ("and", "thousand")):
        return None
    if len(rest) == 1 and digit(rest[0]) is not None:
        return None
    return lead + _ROUND[words[at + 1]], at + 2
