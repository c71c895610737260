"""Where the words of a sentence lie in its audio, when the voice does not say. Pure.

Characters are shared out over the audible part in proportion; a comma takes longer than a letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flowengine.events import Word

_PAUSES = {",": 4, ";": 5, ":": 5, "\u2013": 4, "\u2014": 4, ".": 4, "?": 4, "!": 4}
_DIGIT_WEIGHT = 4
"""A digit is spoken as a word."""


def words_in(text: str, *, first_char: int, begin_ms: int, end_ms: int) -> tuple[Word, ...]:
    """The words of `text`, spoken between two times; it stands at `first_char` of its clause."""
    found = list(_words(text))
    total = sum(weight for _, weight, pause in found) + sum(p for _, _, p in found[:-1])
    words: list[Word] = []
    at = 0
    span_ms = end_ms - begin_ms
    for end, weight, pause in found:
        start = begin_ms + span_ms * at // total
        at += weight
        words.append(Word(first_char + end, start, begin_ms + span_ms * at // total))
        at += pause
    return tuple(words)


def _words(text: str) -> Iterator[tuple[int, int, int]]:
    """End, weight and the weight of the pause behind it, of each word."""
    for match in re.finditer(r"\S+", text):
        word = match.group()
        weight = sum(_DIGIT_WEIGHT if char.isdigit() else 1 for char in word)
        yield match.end(), weight, 1 + _PAUSES.get(word[-1], 0)


def sentences_in(text: str, sentences: list[str]) -> list[tuple[int, str]]:
    """Where each sentence begins in the text, with the text up to the next one's beginning.

    A sentence that cannot be found (the voice rewrote it) joins the one before; nothing is lost.
    """
    if not sentences:
        return []
    starts: list[int] = []
    at = 0
    for sentence in sentences:
        found = text.find(sentence.strip(), at)
        if found >= 0:
            starts.append(found)
            at = found + len(sentence.strip())
    starts = [0, *starts[1:]]
    ends = [*starts[1:], len(text)]
    return [(start, text[start:end]) for start, end in zip(starts, ends, strict=True)]
