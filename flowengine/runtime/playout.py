"""Which words the caller has really heard: a ledger of what was sent, against marks and a clock.

Pure. The line plays what it is sent in one queue. Each stretch of audio that was sent is expected
to play when the one before it ends, or at once when the line was silent; that estimate is capped
by what was sent and corrected by the line's marks: a mark says that its clause was played, and how
late the line runs behind the estimate. What was heard is always a prefix of what was sent, and it
never shrinks, not even when a clear throws the rest away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flowengine.events import AudioSent, Word


@dataclass(slots=True)
class _Stretch:
    """Audio [from_ms, from_ms + audio_ms) of a clause, expected to start at `starts_ms`."""

    from_ms: int
    audio_ms: int
    starts_ms: int


@dataclass(slots=True)
class _Clause:
    number: int
    text: str
    words: list[Word] = field(default_factory=list)
    stretches: list[_Stretch] = field(default_factory=list)
    audio_ms: int = 0
    is_complete: bool = False
    is_played: bool = False
    heard_ms: int = 0
    chars: int = 0

    def played_ms(self, now_ms: int, lag_ms: int) -> int:
        """How far into the clause the line should have come."""
        if self.is_played:
            return self.audio_ms
        played = self.heard_ms
        for stretch in self.stretches:
            passed = min(now_ms - lag_ms - stretch.starts_ms, stretch.audio_ms)
            if passed > 0:
                played = max(played, stretch.from_ms + passed)
        return played

    def heard_chars(self) -> int:
        """How much of the text was heard. It only grows, also when an estimate gets better."""
        self.chars = max(self.chars, self._estimated_chars())
        return self.chars

    def _estimated_chars(self) -> int:
        if self.is_played or (self.is_complete and self.heard_ms >= self.audio_ms):
            return len(self.text)
        if self.words:
            return max(
                (word.end_char for word in self.words if word.end_ms <= self.heard_ms), default=0
            )
        if not self.is_complete or not self.audio_ms:
            return self._whole_words(self.heard_ms * 15 // 1000)
        return self._whole_words(len(self.text) * self.heard_ms // self.audio_ms)

    def _whole_words(self, chars: int) -> int:
        """The last word end at or before `chars`, when only proportions are known."""
        if chars >= len(self.text):
            return len(self.text)
        space = self.text.rfind(" ", 0, chars + 1)
        return max(space, 0)

    def cut_word_start_ms(self) -> int:
        """Where the word that was being played begins, so that it can be said again."""
        starts = [word.start_ms for word in self.words if word.end_ms > self.heard_ms]
        if starts:
            return min(*starts, self.heard_ms)
        return self.heard_ms if self.words or not self.audio_ms else self._proportional_start()

    def _proportional_start(self) -> int:
        if not self.is_complete or not self.text:
            return max(0, self.heard_ms - 300)
        return self.audio_ms * self.heard_chars() // len(self.text)


@dataclass(slots=True)
class _Utterance:
    generation: int
    clauses: dict[int, _Clause] = field(default_factory=dict)
    is_last_known: bool = False
    is_closed: bool = False
    """Nothing more of it will play."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in what was sent: a clause and a time in its audio."""

    generation: int
    clause: int
    from_ms: int


class Playout:
    """The ledger of one line."""

    def __init__(self) -> None:
        self._utterances: dict[int, _Utterance] = {}
        self._line_free_ms = 0
        self._lag_ms = 0
        self._is_paused = False

    # --- what is sent ---

    def open(self, generation: int) -> None:
        """Begin an utterance; those of later generations, if any, are still to be sent."""
        self._utterances[generation] = _Utterance(generation)
        self._utterances = dict(sorted(self._utterances.items()))

    def add_clause(self, generation: int, clause: int, text: str) -> None:
        """Say that a clause will be sent (empty text for a pause, tones or an audio file)."""
        self._utterances[generation].clauses[clause] = _Clause(clause, text)

    def end(self, generation: int) -> None:
        """No more clauses come."""
        self._utterances[generation].is_last_known = True

    def sent(self, event: AudioSent, now_ms: int) -> bool:
        """Note audio that went to the line; False when it is stale or unknown."""
        clause = self._clause(event.generation, event.clause)
        if clause is None or self._is_paused:
            return False
        if event.words and event.from_ms >= clause.audio_ms:
            clause.words.extend(event.words)
        starts_ms = max(now_ms, self._line_free_ms)
        if event.audio_ms:
            clause.stretches.append(_Stretch(event.from_ms, event.audio_ms, starts_ms))
        self._line_free_ms = starts_ms + event.audio_ms
        if not clause.is_complete:
            clause.audio_ms = max(clause.audio_ms, event.from_ms + event.audio_ms)
        clause.is_complete = clause.is_complete or event.last
        return True

    def marked(self, generation: int, clause_number: int, now_ms: int) -> bool:
        """The line played a clause to its end; False when that mark is stale or unknown."""
        clause = self._clause(generation, clause_number)
        if clause is None or self._is_paused or not clause.is_complete or clause.is_played:
            return False
        if clause.stretches:
            last = clause.stretches[-1]
            self._lag_ms = max(0, now_ms - (last.starts_ms + last.audio_ms))
        clause.is_played = True
        clause.heard_ms = clause.audio_ms
        for other in self._before(generation, clause_number):
            other.is_played = True
            other.heard_ms = other.audio_ms
        return True

    # --- what was heard ---

    def heard(self, generation: int, now_ms: int) -> str:
        """The words of an utterance that the caller has heard: a prefix of what was sent."""
        utterance = self._utterances.get(generation)
        if utterance is None:
            return ""
        if not utterance.is_closed and not self._is_paused:
            self._look(utterance, now_ms)
        pieces = []
        for clause in self._ordered(utterance):
            chars = clause.heard_chars()
            pieces.append(clause.text[:chars])
            if not (clause.is_played or self._past(clause)):
                break
        return "".join(pieces)

    def text(self, generation: int) -> str:
        """All words of an utterance so far."""
        utterance = self._utterances.get(generation)
        if utterance is None:
            return ""
        return "".join(clause.text for clause in self._ordered(utterance))

    def is_playing(self, now_ms: int) -> bool:
        """Whether the caller is hearing something now, or is owed something that was sent."""
        if self._is_paused:
            return False
        return any(
            not clause.is_played and (clause.stretches and now_ms >= clause.stretches[0].starts_ms)
            for utterance in self._live()
            for clause in utterance.clauses.values()
        )

    def is_over(self, generation: int) -> bool:
        """Whether an utterance was played to its end, by the line's marks."""
        utterance = self._utterances.get(generation)
        if utterance is None or utterance.is_closed:
            return True
        return utterance.is_last_known and all(
            clause.is_played for clause in utterance.clauses.values()
        )

    def has_begun(self, generation: int) -> bool:
        """Whether any audio of it went to the line."""
        utterance = self._utterances.get(generation)
        return utterance is not None and any(
            clause.stretches or clause.is_played for clause in utterance.clauses.values()
        )

    def owed_ms(self, now_ms: int) -> int:
        """How much of what was sent is not played yet, by the estimate."""
        return max(0, self._line_free_ms + self._lag_ms - now_ms)

    def all_sent(self, generation: int) -> bool:
        """Whether every clause of a finished utterance went to the line in full."""
        utterance = self._utterances.get(generation)
        return utterance is None or (
            utterance.is_last_known
            and all(clause.is_complete for clause in utterance.clauses.values())
        )

    # --- pause, resume, cut ---

    def pause(self, now_ms: int) -> Position | None:
        """The line is cleared, but what was not heard is kept.

        Returns where to go on: the start of the word that was cut. None when nothing was playing.
        """
        for utterance in self._live():
            self._look(utterance, now_ms)
        self._is_paused = True
        self._line_free_ms = now_ms
        for utterance in self._live():
            for clause in self._ordered(utterance):
                if clause.is_played or (self._past(clause) and clause.is_complete):
                    clause.is_played = True
                    continue
                clause.stretches.clear()
                return Position(utterance.generation, clause.number, clause.cut_word_start_ms())
        return None

    def resume(self, now_ms: int) -> None:
        """What was kept is sent again from now on."""
        self._is_paused = False
        self._line_free_ms = now_ms
        for utterance in self._live():
            for clause in utterance.clauses.values():
                clause.stretches.clear()

    def cut(self, now_ms: int, floor: int) -> None:
        """Utterances older than `floor` play no further; what was heard of them stands."""
        for utterance in self._live():
            if utterance.generation < floor:
                if not self._is_paused:
                    self._look(utterance, now_ms)
                utterance.is_closed = True
        self._is_paused = False
        self._line_free_ms = now_ms

    def drop_unsent(self, generation: int) -> None:
        """Forget the clauses of which no audio was sent; the utterance ends with the others."""
        utterance = self._utterances.get(generation)
        if utterance is not None:
            utterance.clauses = {
                number: clause
                for number, clause in utterance.clauses.items()
                if clause.stretches or clause.is_complete or clause.heard_ms
            }
            utterance.is_last_known = True

    def finish(self, generation: int, *, is_played: bool) -> None:
        """Close an utterance; `is_played`: its last mark is overdue and it counts as heard."""
        utterance = self._utterances.get(generation)
        if utterance is None:
            return
        if is_played:
            for clause in utterance.clauses.values():
                if clause.is_complete:
                    clause.is_played = True
                    clause.heard_ms = clause.audio_ms
        utterance.is_closed = True

    def forget(self, generation: int) -> None:
        """Drop an utterance from the ledger once its heard words were taken."""
        self._utterances.pop(generation, None)

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    # --- inside ---

    def _live(self) -> list[_Utterance]:
        return [item for item in self._utterances.values() if not item.is_closed]

    def _clause(self, generation: int, number: int) -> _Clause | None:
        utterance = self._utterances.get(generation)
        if utterance is None or utterance.is_closed:
            return None
        return utterance.clauses.get(number)

    @staticmethod
    def _ordered(utterance: _Utterance) -> list[_Clause]:
        return [utterance.clauses[number] for number in sorted(utterance.clauses)]

    def _before(self, generation: int, number: int) -> list[_Clause]:
        """Complete clauses that the line got earlier: it plays in order, so they were played."""
        return [
            clause
            for utterance in self._live()
            for clause in utterance.clauses.values()
            if (utterance.generation, clause.number) < (generation, number) and clause.is_complete
        ]

    def _look(self, utterance: _Utterance, now_ms: int) -> None:
        """Bring what was heard up to now; it only grows."""
        for clause in utterance.clauses.values():
            clause.heard_ms = max(clause.heard_ms, clause.played_ms(now_ms, self._lag_ms))

    @staticmethod
    def _past(clause: _Clause) -> bool:
        return clause.is_complete and clause.heard_ms >= clause.audio_ms
