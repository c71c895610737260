"""How words are spelt for a voice that would say them wrong, and which words were heard for it.

A voice is given `sequel` for `SQL`; transcript, context and captions keep `SQL`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flowengine.events import Word


@dataclass(frozen=True, slots=True)
class _Change:
    """A stretch of the spoken text that stands for another one of the written text."""

    spoken_end: int
    written_start: int
    written_end: int
    spoken_start: int


@dataclass(frozen=True, slots=True)
class Respelt:
    """A text as a voice is given it."""

    text: str
    changes: tuple[_Change, ...] = ()

    def written(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """The vendor's words, counted in the written text.

        A word that is spoken as several ends when the last of them does, and begins with the first.
        """
        if not self.changes:
            return words
        found: list[Word] = []
        begun_ms: int | None = None
        for word in words:
            end_char, is_whole = self._written_end(word.end_char)
            start_ms = word.start_ms if begun_ms is None else begun_ms
            begun_ms = None if is_whole else start_ms
            if is_whole:
                found.append(Word(end_char, start_ms, word.end_ms))
        return tuple(found)

    def _written_end(self, spoken_end: int) -> tuple[int, bool]:
        """Where a word ends in the written text, and whether it is one to its end there."""
        shift = 0
        for change in self.changes:
            if spoken_end <= change.spoken_start:
                break
            if spoken_end < change.spoken_end:
                return change.written_start, False
            shift = change.written_end - change.spoken_end
        return spoken_end + shift, True


class Pronunciation:
    """A table of written words and how they are spelt for the voice.

    Whole words only, the longest first. A word written in lower case stands for any case; one with
    a capital only for itself, so that `US` does not change "us".
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = dict(table)
        words = sorted(self._table, key=lambda word: (-len(word), word))
        forms = (
            re.escape(word) if word != word.lower() else f"(?i:{re.escape(word)})" for word in words
        )
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)")

    def respelt(self, text: str) -> Respelt:
        """The text as the voice is given it."""
        parts: list[str] = []
        changes: list[_Change] = []
        done = length = 0
        for match in self._pattern.finditer(text):
            kept = text[done : match.start()]
            word = match.group()
            spoken = self._table.get(word) or self._table[word.lower()]
            start = length + len(kept)
            length = start + len(spoken)
            parts += (kept, spoken)
            changes.append(_Change(length, match.start(), match.end(), start))
            done = match.end()
        return Respelt("".join((*parts, text[done:])), tuple(changes))
