"""The voice and the line of a simulated call, in one: speech as text with a length, in real order.

It owes the actor what the real voice and playback owe it: `AudioSent` for each stretch that goes
to the line, a mark for each clause that was played to its end, nothing of what was cleared. And it
keeps the truth (what was really played), against which the actor's belief can be held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flowengine.events import AudioSent, MarkReached, SpeakingFailed, Word
from flowengine.runtime.effects import CoverSilence, Piece, ResumeSpeech, Speak
from flowengine.testing.timeline import Due, Timeline

MS_PER_CHARACTER = 1000 / 15
FIRST_AUDIO_MS = 80
STRETCH_MS = 400
BETWEEN_STRETCHES_MS = 20
AHEAD_MS = 10_000
AUDIO_FILE_MS = 2000
TONE_MS = 200

LineReport = AudioSent | MarkReached | SpeakingFailed


@dataclass(slots=True)
class _Clause:
    number: int
    kind: str
    text: str
    audio_ms: int
    sent_ms: int = 0
    """How far it went to the line since the last clear."""
    told_ms: int = 0
    """How far its words were told."""
    is_sent: bool = False
    was_sent: bool = False
    """Some of it went to the line at some time."""
    heard_ms: int = 0

    def words_between(self, from_ms: int, to_ms: int) -> Iterator[Word]:
        """The words that end in (from_ms, to_ms]."""
        if self.kind != "words" or not self.text.strip():
            return
        per_character = self.audio_ms / len(self.text)
        for found in re.finditer(r"\S+", self.text):
            end_ms = round(found.end() * per_character)
            if from_ms < end_ms <= to_ms:
                yield Word(found.end(), round(found.start() * per_character), end_ms)

    @property
    def heard_text(self) -> str:
        """The words that were played whole."""
        if self.kind != "words":
            return ""
        if self.heard_ms >= self.audio_ms:
            return self.text
        ends = [word.end_char for word in self.words_between(0, self.heard_ms)]
        return self.text[: max(ends, default=0)]


@dataclass(slots=True)
class _Utterance:
    generation: int
    asked_ms: int
    clauses: list[_Clause] = field(default_factory=list)
    is_whole: bool = False
    is_dropped: bool = False
    is_held: bool = False
    first_sent_ms: int | None = None
    started_ms: int | None = None

    def next_clause(self) -> _Clause | None:
        return next((clause for clause in self.clauses if not clause.is_sent), None)


@dataclass(frozen=True, slots=True)
class _Stretch:
    clause: _Clause
    utterance: _Utterance
    from_ms: int
    audio_ms: int
    starts_ms: int


class SimulatedLine:
    """Plays what the bot says to the caller."""

    def __init__(
        self,
        timeline: Timeline,
        report: Callable[[LineReport], None],
        fails: Callable[[str], str],
    ) -> None:
        self._timeline = timeline
        self._report = report
        self._fails = fails
        self._utterances: dict[int, _Utterance] = {}
        self._on_line: list[_Stretch] = []
        self._free_ms = 0
        self._is_paused = False
        self._marks: list[Due] = []
        self._pump_due: Due | None = None

    # --- what the actor asks for ---

    def speak(self, effect: Speak) -> None:
        """Append pieces to an utterance, behind those in the queue."""
        utterance = self._utterances.get(effect.generation)
        if utterance is None:
            utterance = _Utterance(effect.generation, self._timeline.now_ms, is_held=effect.held)
            self._utterances[effect.generation] = utterance
        if utterance.is_dropped:
            return
        utterance.clauses += [
            _Clause(piece.clause, piece.kind, piece.text, length_ms(piece))
            for piece in effect.pieces
        ]
        utterance.is_whole = utterance.is_whole or effect.last
        if effect.held:
            self._timeline.after(FIRST_AUDIO_MS, lambda: self._synthesise(utterance))
        self._pump_soon(0)

    def cover(self, effect: CoverSilence) -> None:
        """Say something that is at hand before all that has not begun."""
        later = [item for item in self._utterances.values() if item.generation > effect.generation]
        if any(clause.was_sent for item in later for clause in item.clauses):
            self._report(SpeakingFailed(effect.generation, "not_at_hand"))
            return
        piece = Piece(0, "words", effect.text)
        clause = _Clause(0, piece.kind, piece.text, length_ms(piece))
        ready_ms = self._timeline.now_ms - FIRST_AUDIO_MS
        utterance = _Utterance(effect.generation, ready_ms, [clause], is_whole=True)
        self._utterances[effect.generation] = utterance
        self._utterances = dict(sorted(self._utterances.items()))
        self._pump_soon(0)

    def cut(self, floor: int) -> None:
        """Clear the line and drop utterances older than `floor`."""
        self._clear()
        self._is_paused = False
        for utterance in self._utterances.values():
            if utterance.generation < floor:
                self._drop(utterance)
        self._pump_soon(0)

    def pause(self) -> None:
        """Clear the line; what was not heard is kept."""
        self._clear()
        self._is_paused = True

    def resume(self, effect: ResumeSpeech) -> None:
        """Send what was kept again, from a place on."""
        self._is_paused = False
        place = (effect.generation, effect.clause)
        for utterance in self._utterances.values():
            if utterance.is_dropped:
                continue
            for clause in utterance.clauses:
                here = (utterance.generation, clause.number)
                if here < place:
                    # What began before that place was played; the rest is still to come.
                    clause.is_sent = clause.is_sent or clause.was_sent
                    continue
                clause.is_sent = False
                clause.sent_ms = effect.from_ms if here == place else 0
        self._pump_soon(0)

    def release(self, generation: int) -> None:
        """Send what was held back."""
        self._utterances[generation].is_held = False
        self._pump_soon(0)

    def drop_clauses(self, generation: int) -> None:
        """Drop the clauses of which nothing was sent; the utterance then ends."""
        utterance = self._utterances.get(generation)
        if utterance is not None:
            utterance.clauses = [clause for clause in utterance.clauses if clause.was_sent]
            utterance.is_whole, utterance.is_held = True, False

    def close(self) -> None:
        """The line is gone; a later one begins anew, and what was heard stays heard."""
        self._clear()
        self._is_paused = False
        for utterance in self._utterances.values():
            self._drop(utterance)

    # --- what the caller hears ---

    @property
    def is_playing(self) -> bool:
        """Whether something sounds now or will without further ado."""
        return self._free_ms > self._timeline.now_ms

    @property
    def is_idle(self) -> bool:
        """Whether nothing sounds and nothing waits to."""
        return not self.is_playing and self._next() is None

    @property
    def heard_ms(self) -> int:
        """How many milliseconds of speech the caller has heard in the whole call."""
        self._look()
        return sum(clause.heard_ms for clause in self._clauses())

    @property
    def heard_text(self) -> str:
        """All words that were really played, of every utterance, in order."""
        self._look()
        parts = ["".join(c.heard_text for c in u.clauses) for u in self._utterances.values()]
        return " ".join(part.strip() for part in parts if part.strip())

    def heard_of(self, generation: int) -> str:
        """What was really played of one utterance."""
        self._look()
        utterance = self._utterances.get(generation)
        return "".join(c.heard_text for c in utterance.clauses) if utterance else ""

    def started_ms(self, generation: int) -> int | None:
        """When an utterance began to sound."""
        utterance = self._utterances.get(generation)
        return utterance.started_ms if utterance else None

    # --- inside ---

    def _clauses(self) -> Iterator[_Clause]:
        for utterance in self._utterances.values():
            yield from utterance.clauses

    def _drop(self, utterance: _Utterance) -> None:
        utterance.is_dropped = utterance.is_whole = True
        for clause in utterance.clauses:
            clause.is_sent = True

    def _look(self) -> None:
        now_ms = self._timeline.now_ms
        for stretch in self._on_line:
            passed_ms = min(now_ms - stretch.starts_ms, stretch.audio_ms)
            if passed_ms > 0:
                clause = stretch.clause
                clause.heard_ms = max(clause.heard_ms, stretch.from_ms + passed_ms)
        self._on_line = [s for s in self._on_line if s.starts_ms + s.audio_ms > now_ms]

    def _clear(self) -> None:
        self._look()
        self._on_line.clear()
        self._free_ms = self._timeline.now_ms
        for mark in self._marks:
            mark.cancel()
        self._marks.clear()

    def _next(self) -> tuple[_Utterance, _Clause] | None:
        """What goes to the line next; an utterance waits until the one before it is whole."""
        if self._is_paused:
            return None
        for utterance in self._utterances.values():
            if utterance.is_held:
                return None
            clause = utterance.next_clause()
            if clause is not None:
                return utterance, clause
            if not utterance.is_whole:
                return None
        return None

    def _pump_soon(self, delay_ms: int) -> None:
        if self._pump_due is not None:
            self._pump_due.cancel()
        self._pump_due = self._timeline.after(delay_ms, self._pump)

    def _pump(self) -> None:
        """Send one stretch, if the voice has it and the line is not too far ahead."""
        found = self._next()
        if found is None:
            return
        utterance, clause = found
        now_ms = self._timeline.now_ms
        ready_ms = utterance.asked_ms + FIRST_AUDIO_MS
        if ready_ms > now_ms:
            self._pump_soon(ready_ms - now_ms)
            return
        too_far_ms = self._free_ms + STRETCH_MS - now_ms - AHEAD_MS
        if too_far_ms > 0:
            self._pump_soon(too_far_ms)
            return
        code = self._fails(clause.text) if clause.kind == "words" else ""
        if code:
            self._drop(utterance)
            self._pump_soon(0)
            self._report(SpeakingFailed(utterance.generation, code))
            return
        self._send(utterance, clause)
        self._pump_soon(BETWEEN_STRETCHES_MS)

    def _synthesise(self, utterance: _Utterance) -> None:
        """What is held back can fail before anything of it is sent."""
        if not utterance.is_held:
            return
        codes = [self._fails(clause.text) for clause in utterance.clauses if clause.kind == "words"]
        if any(codes):
            self.drop_clauses(utterance.generation)
            self._report(SpeakingFailed(utterance.generation, max(codes)))

    def _send(self, utterance: _Utterance, clause: _Clause) -> None:
        now_ms = self._timeline.now_ms
        starts_ms = max(now_ms, self._free_ms)
        from_ms = clause.sent_ms
        to_ms = min(clause.audio_ms, from_ms + STRETCH_MS)
        words = tuple(clause.words_between(max(from_ms, clause.told_ms), to_ms))
        clause.sent_ms, clause.told_ms = to_ms, max(clause.told_ms, to_ms)
        clause.is_sent, clause.was_sent = to_ms >= clause.audio_ms, True
        self._on_line.append(_Stretch(clause, utterance, from_ms, to_ms - from_ms, starts_ms))
        self._free_ms = starts_ms + to_ms - from_ms
        first_audio_ms = None
        if utterance.first_sent_ms is None:
            utterance.first_sent_ms, utterance.started_ms = now_ms, starts_ms
            first_audio_ms = now_ms - utterance.asked_ms
        generation = utterance.generation
        if clause.is_sent:
            mark = MarkReached(generation, clause.number)
            self._marks.append(
                self._timeline.after(self._free_ms - now_ms, lambda: self._report(mark))
            )
        self._report(
            AudioSent(
                generation,
                clause.number,
                from_ms,
                to_ms - from_ms,
                words,
                clause.is_sent,
                first_audio_ms,
            )
        )


def length_ms(piece: Piece) -> int:
    """How long a piece sounds."""
    match piece.kind:
        case "words":
            return round(len(piece.text) * MS_PER_CHARACTER)
        case "pause":
            return piece.ms
        case "tones":
            return TONE_MS * len(piece.text)
        case _:
            return AUDIO_FILE_MS
