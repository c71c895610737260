"""Spelled words: "s m i t h", "S-M-I-T-H", "sierra mike", "a as in alpha", "double l", "b 4".

The value is the letters and digits in capitals.
"""

from __future__ import annotations

import re

from flowengine.flow.spoken.digits import digit
from flowengine.flow.spoken.words import plain, strip_fillers

_NATO = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar"
    " papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu"
)
LETTER_WORDS = {word: word[0] for word in _NATO.split()}
LETTER_WORDS |= {"alfa": "a", "juliett": "j", "whisky": "w", "x-ray": "x"}
LETTER_WORDS |= {
    word: letter
    for letter, names in {
        "a": "ay",
        "b": "bee",
        "c": "cee",
        "d": "dee",
        "f": "eff",
        "g": "gee",
        "h": "aitch",
        "j": "jay",
        "k": "kay",
        "l": "ell",
        "m": "em",
        "n": "en",
        "p": "pee",
        "q": "cue",
        "r": "ar",
        "s": "ess",
        "t": "tee",
        "v": "vee",
        "w": "double-u",
        "x": "ex",
        "z": "zee zed",
    }.items()
    for word in names.split()
}
_SKIPPED = frozenset(("capital", "letter", "and", "then", "dash", "hyphen", "number"))
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_REPEATS = {"double": 2, "triple": 3}


def letter(word: str) -> str | None:
    """The letter or digit that one word names."""
    if len(word) == 1 and word.isalpha():
        return word
    if word in LETTER_WORDS:
        return LETTER_WORDS[word]
    return digit(word) if word != "oh" else None


def parse(text: str) -> str | None:
    """What was spelled, in capitals, or None if anything was said that is no letter."""
    even = plain(text).replace("x-ray", "xray").replace("double u", "w").replace("double-u", "w")
    words = strip_fillers(_TOKEN.findall(even))
    spelled = ""
    at = 0
    while at < len(words):
        read = read_letter(words, at)
        if read is None:
            return None
        spelled += read[0]
        at = read[1]
    return spelled.upper() or None


def read_letter(words: list[str], at: int) -> tuple[str, int] | None:
    """The letters at a place and where they end: "double l", "a as in alpha", "b for bob"."""
    word = words[at]
    if word in _SKIPPED and at + 1 < len(words):
        return "", at + 1
    if word in _REPEATS and at + 1 < len(words):
        repeated = letter(words[at + 1])
        return (repeated * _REPEATS[word], at + 2) if repeated else None
    if word.isdigit():
        return word, at + 1
    single = letter(word)
    if single is None:
        return None
    for lead in (["as", "in"], ["like", "in"], ["for"], ["like"]):
        end = at + 1 + len(lead)
        if words[at + 1 : end] == lead:
            if end >= len(words) or words[end][0] != single:
                return None
            return single, end + 1
    return single, at + 1
