"""Which audio belongs to which clause, from the characters that a vendor aligned with it.

Pure. A vendor takes clause after clause as one text and returns pieces of audio, some with the
time at which each character is spoken. `ClauseAligner` counts characters that are no white space
(the only ones on which both sides agree), so it finds the sample at which a clause begins and
where its words lie. Audio without alignment is shared out in proportion to the characters.
Times of a piece count from the piece's start; audio is µ-law at 8000 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flowengine.events import Word
from flowengine.ports import BYTES_PER_MS, Clause, SpeechChunk

MS_A_CHARACTER = 65
"""Pace of speech where the vendor tells none: about fifteen characters a second."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """The characters spoken in a piece of audio, and when."""

    chars: Sequence[str]
    starts_ms: Sequence[int]
    durations_ms: Sequence[int]


@dataclass(slots=True)
class _Open:
    """A clause whose audio is on its way."""

    number: int
    solid: list[int]
    """Where in the text its characters that are no white space stand."""
    word_ends: frozenset[int]
    spoken: int = 0
    """How many of them were aligned."""
    begin_byte: int | None = None
    """Where in the utterance its audio begins, once it is known."""
    word_start_ms: int | None = None
    words: list[Word] = field(default_factory=list)
    has_audio: bool = False

    @property
    def is_spoken(self) -> bool:
        return self.spoken >= len(self.solid)


class ClauseAligner:
    """Cuts one utterance's audio into clauses."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._sent = 0
        self._aligned = False
        self._aligned_to = 0
        """Where the last character that was aligned ends, as a byte of the utterance."""
        self._early = b""

    @property
    def owes(self) -> bool:
        """Some clause was given whose last chunk was not returned."""
        return bool(self._open)

    @property
    def has_begun(self) -> bool:
        """Every clause that was given has audio."""
        return all(clause.has_audio for clause in self._open)

    @property
    def is_spoken(self) -> bool:
        """Every clause is aligned to its last character, and that character's audio is here."""
        return (
            self._aligned
            and self._sent * 10 >= self._aligned_to * 9
            and all(clause.is_spoken for clause in self._open)
        )

    @property
    def lacks_audio(self) -> bool:
        """The vendor aligns what it says, and of a clause with words it said nothing."""
        return self._aligned and any(
            clause.solid and not clause.has_audio and not clause.spoken for clause in self._open
        )

    @property
    def is_plausible(self) -> bool:
        """What came is enough audio to be all of what was given, as far as length tells."""
        if not self._open or self._aligned:
            return not self._open or self.is_spoken
        expected = sum(len(clause.solid) for clause in self._open) * MS_A_CHARACTER * BYTES_PER_MS
        return self.has_begun and (
            (self._sent - (self._open[0].begin_byte or 0)) * 10 >= expected * 4
        )

    def give(self, clause: Clause) -> list[SpeechChunk]:
        """The next clause goes to the vendor; one without a word is done at once."""
        solid = [at for at, char in enumerate(clause.text) if not char.isspace()]
        ends = frozenset(
            nth for nth, at in enumerate(solid) if nth + 1 == len(solid) or solid[nth + 1] != at + 1
        )
        self._open.append(_Open(clause.number, solid, ends))
        return self._take(b"")

    def take(self, audio: bytes, alignment: Alignment | None) -> list[SpeechChunk]:
        """A piece of audio came."""
        if alignment is not None and alignment.chars:
            self._align(alignment)
        return self._take(audio)

    def settle(self, *, only_heard: bool = False) -> list[SpeechChunk]:
        """The vendor is done: end every clause, or only those that have audio."""
        chunks: list[SpeechChunk] = []
        while self._open and (not only_heard or self._open[0].has_audio):
            chunks.append(self._end())
        return chunks

    def _align(self, alignment: Alignment) -> None:
        self._aligned = True
        base_ms = (self._sent + len(self._early)) // BYTES_PER_MS
        place = next((n for n, clause in enumerate(self._open) if not clause.is_spoken), None)
        if place is None:
            return
        times = zip(alignment.chars, alignment.starts_ms, alignment.durations_ms, strict=False)
        for text, start, duration in times:
            for _ in range(sum(not char.isspace() for char in text)):
                while place < len(self._open) and self._open[place].is_spoken:
                    place += 1
                if place == len(self._open):
                    return
                end_ms = base_ms + start + duration
                self._aligned_to = max(self._aligned_to, end_ms * BYTES_PER_MS)
                self._speak(self._open[place], base_ms + start, end_ms)

    def _speak(self, clause: _Open, start_ms: int, end_ms: int) -> None:
        if clause.begin_byte is None:
            known = clause is self._open[0]
            clause.begin_byte = self._sent if known else max(self._sent, start_ms * BYTES_PER_MS)
        if clause.word_start_ms is None:
            clause.word_start_ms = start_ms
        if clause.spoken in clause.word_ends:
            begin_ms = clause.begin_byte // BYTES_PER_MS
            first = max(0, clause.word_start_ms - begin_ms)
            clause.words.append(
                Word(clause.solid[clause.spoken] + 1, first, max(first, end_ms - begin_ms))
            )
            clause.word_start_ms = None
        clause.spoken += 1

    def _take(self, audio: bytes) -> list[SpeechChunk]:
        audio = self._early + audio
        self._early = b""
        chunks: list[SpeechChunk] = []
        while self._open:
            end = self._end_byte()
            if end is None or end > self._sent + len(audio):
                break
            cut = max(0, end - self._sent)
            piece, audio = audio[:cut], audio[cut:]
            chunks.append(self._end(piece))
        if audio and self._open:
            chunks.append(self._part(audio))
        elif audio:
            self._early = audio
        return chunks

    def _end_byte(self) -> int | None:
        """Where the first open clause's audio ends, if that is known."""
        first = self._open[0]
        if not first.solid:
            return self._sent
        if len(self._open) == 1:
            return None
        if self._aligned:
            return self._open[1].begin_byte
        if first.begin_byte is None:
            first.begin_byte = self._sent
        return first.begin_byte + len(first.solid) * MS_A_CHARACTER * BYTES_PER_MS

    def _part(self, audio: bytes) -> SpeechChunk:
        clause = self._open[0]
        clause.has_audio = True
        if clause.begin_byte is None:
            clause.begin_byte = self._sent
        self._sent += len(audio)
        heard_ms = (self._sent - clause.begin_byte) // BYTES_PER_MS
        ready = sum(1 for word in clause.words if word.end_ms <= heard_ms)
        words, clause.words = tuple(clause.words[:ready]), clause.words[ready:]
        return SpeechChunk(clause.number, audio, words)

    def _end(self, audio: bytes = b"") -> SpeechChunk:
        clause = self._open.pop(0)
        self._sent += len(audio)
        return SpeechChunk(clause.number, audio, tuple(clause.words), last=True)
