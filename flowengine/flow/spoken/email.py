"""E-mail addresses: "john dot smith at gmail dot com", "j o h n 9 9 at example dot org".

Exactly one "at"; every word left and right of it must belong to the address. The value is in
small letters.
"""

from __future__ import annotations

import re

from flowengine.flow.spoken.numbers import UNITS, read_below_hundred
from flowengine.flow.spoken.spelling import letter
from flowengine.flow.spoken.words import plain, strip_fillers

_ADDRESS = re.compile(
    r"[a-z0-9](?:[a-z0-9._%+-]{0,62}[a-z0-9_])?@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}"
)
_SIGNS = {
    "dot": ".",
    "period": ".",
    "point": ".",
    "underscore": "_",
    "dash": "-",
    "hyphen": "-",
    "minus": "-",
    "plus": "+",
    "at": "@",
    "@": "@",
    ".": ".",
    "_": "_",
    "-": "-",
    "+": "+",
}
_SKIPPED = re.compile(
    r"\b(?:all (?:in )?(?:lower ?case|one word|together)|lower ?case|the letter)\b"
)
_NO_ADDRESS = frozenset(
    ("me", "you", "it", "is", "can", "my", "the", "reach", "email", "mail", "on", "or", "and", "to")
    + ("that", "have", "but", "don't", "not", "know", "send", "address", "use", "this", "i'm")
)
_MOST_WORDS = 3
"""So many words in a row, without a sign between them, may be one name."""


def _pieces(words: list[str]) -> list[str] | None:
    """The address in pieces: signs, letters, names; None if a word cannot belong to it."""
    pieces: list[str] = []
    at = run = 0
    while at < len(words):
        word = words[at]
        if word in _SIGNS:
            pieces.append(_SIGNS[word])
            at, run = at + 1, 0
            continue
        if word in _NO_ADDRESS:
            return None
        if word in ("double", "triple") and at + 1 < len(words):
            repeated = letter(words[at + 1])
            if repeated is None:
                return None
            pieces.append(repeated * (2 if word == "double" else 3))
            at += 2
            continue
        if words[at + 1 : at + 3] == ["as", "in"] and at + 3 < len(words) and len(word) == 1:
            if words[at + 3][0] != word:
                return None
            pieces.append(word)
            at += 4
            continue
        number = read_below_hundred(words, at)
        if number is not None:
            pieces.append(str(number[0]))
            at = number[1]
            continue
        pieces.append("0" if word == "oh" else word)
        run += len(word) > 1 and not word.isdigit()
        if run > _MOST_WORDS:
            return None
        at += 1
    return pieces


def parse(text: str) -> str | None:
    """An address in small letters, or None."""
    even = _SKIPPED.sub(" ", plain(text))
    written = even.replace(" ", "").rstrip(".!?,")
    if _ADDRESS.fullmatch(written) and even.count(" ") == 0:
        return written
    words = strip_fillers(re.findall(r"[^\s,;:!?()\"]+", even))
    if not words:
        return None
    words[-1] = words[-1].rstrip(".") or words[-1]
    split = [token for word in words for token in _split(word)]
    pieces = _pieces(split)
    if pieces is None:
        return None
    address = "".join(pieces)
    return address if _ADDRESS.fullmatch(address) else None


def _split(word: str) -> list[str]:
    """A word as it is, or "s-m-i-t-h" and "smith@example.com" in pieces."""
    if word in UNITS or word in _SIGNS:
        return [word]
    if "@" in word or re.fullmatch(r"(?:[a-z0-9]-)+[a-z0-9]", word):
        return [part for part in re.split(r"(@)|-(?=[a-z0-9](?:-|$))", word) if part]
    return [word]
