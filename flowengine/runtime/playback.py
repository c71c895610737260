"""What goes to the line: the one place where audio waits and where stale audio is dropped.

One per line. The call's actor opens, cuts, pauses and resumes it in its own step, and the voice
feeds it; all of that is synchronous, so that nothing lies between the check of a generation and
the queue. One task writes to the line (`run`): never more than 10 s ahead of what the line should
be playing, in pieces of 200 ms, so that a `clear` is the next thing that leaves.

Audio that was sent is kept until the line has played the clause behind it: a line that cannot
pause is cleared, and sent the rest again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowengine.errors import CarrierError
from flowengine.events import AudioSent, Input, LineClosed, MarkReached, Word
from flowengine.media.g711 import ULAW_SILENCE
from flowengine.ports import BYTES_PER_MS, Line

AHEAD_MS = 10_000
"""The most that is sent before the line should have played what it has."""
STRETCH_MS = 1000
"""The longest stretch of audio that is reported as one."""
PIECE_BYTES = 200 * BYTES_PER_MS
"""Between two of these a `clear` can leave."""
_ROOM_MS = 1000
"""A full line is waited for until so much has been played."""
_ENOUGH_MS = 1500
"""With so much on the line, a voice that is still speaking is waited for."""


class SentAudio(Protocol):
    """Whoever else wants what the bot says: the recording, somebody who listens."""

    def bot(self, at_ms: int, audio: bytes) -> None: ...

    def bot_cut(self, at_ms: int) -> None: ...


@dataclass(slots=True)
class _Clause:
    """Audio of one clause; positions are bytes of it."""

    number: int
    audio: bytearray = field(default_factory=bytearray)
    words: list[Word] = field(default_factory=list)
    is_whole: bool = False
    is_closed: bool = False
    """Its last stretch was sent, its mark follows or has gone."""
    sent: int = 0
    told: int = 0
    """Up to here the actor was told of it ..."""
    told_words: int = 0
    """... and of so many words."""

    @property
    def has_begun(self) -> bool:
        return self.sent > 0 or self.is_closed


@dataclass(slots=True)
class _Utterance:
    generation: int
    clauses: dict[int, _Clause] = field(default_factory=dict)
    first_audio_ms: int | None = None
    """From the request for speech to the first audio, until it is reported."""
    is_dropped: bool = False
    """New clauses are not taken any more."""
    is_held: bool = False
    """Nothing of it, and of what stands behind it, is sent before it is released."""


class Playback:
    """The audio of one line. `run` is its one task; everything else is called between steps."""

    def __init__(
        self,
        line: Line,
        report: Callable[[Input], None],
        now_ms: Callable[[], int],
        others: Sequence[SentAudio] = (),
    ) -> None:
        self._line = line
        self._report = report
        self._now_ms = now_ms
        self._others = others
        self._utterances: dict[int, _Utterance] = {}
        self._floor = 0
        self._marks: dict[str, tuple[int, int, int]] = {}
        """Marks that are on the line: clause, and how much had been sent before each, in ms."""
        self._mark_count = 0
        self._mark_due: tuple[int, int] | None = None
        self._sent_ms = 0
        self._free_ms = 0
        self._is_paused = False
        self._clear_due = False
        self._unsent = bytearray()
        """The stretch that was reported and is on its way to the line."""
        self._news = asyncio.Event()
        self._room: asyncio.TimerHandle | None = None
        self._is_silent = False

    # --- utterances ---

    def open(self, generation: int, *, held: bool = False) -> None:
        """Begin an utterance behind those already there; a stale one is not begun.

        A `held` one gathers its audio until it is released.
        """
        if generation >= self._floor and generation not in self._utterances:
            self._utterances[generation] = _Utterance(generation, is_held=held)

    def open_before(self, generation: int) -> bool:
        """Begin an utterance before all later ones; False when one of them has begun."""
        later = [item for item in self._utterances.values() if item.generation > generation]
        has_begun = any(clause.has_begun for item in later for clause in item.clauses.values())
        if has_begun or generation < self._floor:
            return False
        self._utterances[generation] = _Utterance(generation)
        self._utterances = dict(sorted(self._utterances.items()))
        return True

    def release(self, generation: int) -> None:
        """Let the line have what was held back, and what is still to come of it."""
        utterance = self._utterances.get(generation)
        if utterance is not None:
            utterance.is_held = False
            self._news.set()

    def feed(
        self,
        generation: int,
        clause: int,
        audio: bytes,
        words: Iterable[Word] = (),
        *,
        last: bool = False,
        first_audio_ms: int | None = None,
    ) -> bool:
        """Take audio of a clause; False when nobody wants it any more."""
        utterance = self._utterances.get(generation)
        if utterance is None:
            return False
        found = utterance.clauses.get(clause)
        if found is None:
            if utterance.is_dropped:
                return False
            found = utterance.clauses[clause] = _Clause(clause)
        found.audio += audio
        found.words += words
        if first_audio_ms is not None:
            utterance.first_audio_ms = first_audio_ms
        if last and not found.is_whole:
            found.is_whole = True
            found.audio += ULAW_SILENCE * (-len(found.audio) % BYTES_PER_MS)
        self._news.set()
        return True

    def fail(self, generation: int) -> None:
        """Nothing more of it is sent; what the line has plays on."""
        self._utterances.pop(generation, None)

    def drop(self, generation: int) -> None:
        """Forget the clauses of which nothing was sent, and take no new ones."""
        utterance = self._utterances.get(generation)
        if utterance is not None and utterance.is_held:
            del self._utterances[generation]
        elif utterance is not None:
            utterance.is_dropped = True
            utterance.clauses = {
                number: clause for number, clause in utterance.clauses.items() if clause.has_begun
            }

    def wants(self, generation: int, clause: int) -> bool:
        """Whether audio of a clause would be taken."""
        utterance = self._utterances.get(generation)
        return utterance is not None and (not utterance.is_dropped or clause in utterance.clauses)

    # --- the caller breaks in ---

    def cut(self, floor: int) -> None:
        """Clear the line and drop every utterance older than `floor`."""
        self._floor = max(self._floor, floor)
        self._utterances = {
            generation: utterance
            for generation, utterance in self._utterances.items()
            if generation >= floor
        }
        self._clear()
        self._is_paused = False
        for utterance in self._utterances.values():
            for clause in utterance.clauses.values():
                clause.sent, clause.is_closed = 0, False
        self._news.set()

    def pause(self, untold: Iterable[AudioSent] = ()) -> None:
        """Clear the line but keep what it has not played.

        `untold`: stretches that were reported but that the actor has not taken; their words are
        reported again when they are sent again.
        """
        for event in untold:
            utterance = self._utterances.get(event.generation)
            clause = utterance.clauses.get(event.clause) if utterance else None
            if clause is not None:
                clause.told = min(clause.told, event.from_ms * BYTES_PER_MS)
                clause.told_words -= len(event.words)
        self._clear()
        self._is_paused = True

    def resume(self, generation: int, clause: int, from_ms: int) -> None:
        """Send what was kept again, from `from_ms` of this clause on, then what followed."""
        place = (generation, clause)
        for utterance in self._utterances.values():
            for kept in utterance.clauses.values():
                here = (utterance.generation, kept.number)
                if here < place:
                    # What began before that place was played; what did not begin is still to come.
                    if kept.has_begun:
                        kept.sent, kept.is_closed = len(kept.audio), True
                else:
                    kept.sent = min(from_ms * BYTES_PER_MS, len(kept.audio)) if here == place else 0
                    kept.is_closed = False
        self._is_paused = False
        self._news.set()

    # --- the line ---

    def mark_came(self, name: str) -> None:
        """The line sent a mark back; those of cleared audio are not known any more."""
        found = self._marks.pop(name, None)
        if found is None:
            return
        generation, clause, sent_ms = found
        # What was sent behind the mark is all that the line still has.
        self._free_ms = max(self._free_ms, self._now_ms() + self._sent_ms - sent_ms)
        self._forget_before(generation, clause)
        self._report(MarkReached(generation, clause))

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be sent or to be played."""
        if self._marks or self._mark_due is not None or self._unsent:
            return False
        return self._next() is None

    async def run(self) -> None:
        """Write to the line until it is gone or this is cancelled."""
        try:
            while not self._is_silent:
                if not await self._write():
                    self._news.clear()
                    await self._news.wait()
        except CarrierError as error:
            if error.code != "line_lost":
                raise
            self._is_silent = True
            self._report(LineClosed("lost"))
        finally:
            if self._room is not None:
                self._room.cancel()

    async def _write(self) -> bool:
        """Send one thing, the most urgent; False when there is nothing to send now."""
        if self._clear_due:
            self._clear_due = False
            await self._line.clear()
            return True
        if self._unsent:
            piece = bytes(self._unsent[:PIECE_BYTES])
            del self._unsent[:PIECE_BYTES]
            await self._line.send_audio(piece)
            return True
        if self._mark_due is not None:
            await self._send_mark(*self._mark_due)
            return True
        return self._take()

    async def _send_mark(self, generation: int, clause: int) -> None:
        self._mark_due = None
        self._mark_count += 1
        name = str(self._mark_count)
        self._marks[name] = (generation, clause, self._sent_ms)
        await self._line.send_mark(name)

    def on_line(self) -> bytes:
        """What was sent and should not have been played by now."""
        left = max(0, self._free_ms - self._now_ms()) * BYTES_PER_MS
        sent = b"".join(
            bytes(utterance.clauses[number].audio[: utterance.clauses[number].sent])
            for utterance in self._utterances.values()
            for number in sorted(utterance.clauses)
        )
        return sent[max(0, len(sent) - left) :]

    # --- inside ---

    def _take(self) -> bool:
        """Report the next stretch and put it on its way; False when there is none or no room."""
        found = None if self._is_paused else self._next()
        if found is None:
            return False
        utterance, clause = found
        now_ms = self._now_ms()
        ahead_ms = self._free_ms - now_ms
        begin = clause.sent
        size = self._size(clause, ahead_ms)
        if size is None:
            return False
        end = begin + size
        is_last = clause.is_whole and end == len(clause.audio)
        event = AudioSent(
            utterance.generation,
            clause.number,
            begin // BYTES_PER_MS,
            size // BYTES_PER_MS,
            _new_words(clause, begin, end, is_last=is_last),
            is_last,
            utterance.first_audio_ms,
        )
        utterance.first_audio_ms = None
        clause.sent, clause.is_closed = end, is_last
        clause.told = max(clause.told, end)
        self._unsent += clause.audio[begin:end]
        if is_last:
            self._mark_due = (utterance.generation, clause.number)
        starts_ms = max(now_ms, self._free_ms)
        if size:
            for other in self._others:
                other.bot(starts_ms, bytes(self._unsent))
        self._free_ms = starts_ms + size // BYTES_PER_MS
        self._sent_ms += size // BYTES_PER_MS
        self._report(event)
        return True

    def _next(self) -> tuple[_Utterance, _Clause] | None:
        """The clause to send from: strictly in order, so one that is not whole holds the rest."""
        for utterance in self._utterances.values():
            if utterance.is_held:
                return None
            for number in sorted(utterance.clauses):
                clause = utterance.clauses[number]
                if clause.is_closed:
                    continue
                ready = len(clause.audio) - clause.sent
                return (utterance, clause) if clause.is_whole or ready >= BYTES_PER_MS else None
        return None

    def _size(self, clause: _Clause, ahead_ms: int) -> int | None:
        """How much of a clause to send now; None: the line has enough for the moment."""
        size = len(clause.audio) - clause.sent
        if clause.sent < clause.told:
            # What is sent again ends where the actor's knowledge of the clause ends.
            size = min(size, clause.told - clause.sent)
        size = min(size - size % BYTES_PER_MS, STRETCH_MS * BYTES_PER_MS)
        if size and ahead_ms + size // BYTES_PER_MS > AHEAD_MS:
            self._look_again_in(ahead_ms - (AHEAD_MS - _ROOM_MS))
            return None
        if not clause.is_whole and size < STRETCH_MS * BYTES_PER_MS and ahead_ms > _ENOUGH_MS:
            # No hurry: fewer, longer stretches.
            self._look_again_in(ahead_ms - _ENOUGH_MS)
            return None
        return size

    def _look_again_in(self, wait_ms: int) -> None:
        if self._room is not None:
            self._room.cancel()
        loop = asyncio.get_running_loop()
        self._room = loop.call_later(max(1, wait_ms) / 1000, self._news.set)

    def _clear(self) -> None:
        """Empty the queue; `clear` is the next thing that leaves if the line may have audio."""
        now_ms = self._now_ms()
        if self._marks or self._unsent or self._mark_due is not None or self._free_ms > now_ms:
            self._clear_due = True
        self._marks.clear()
        self._unsent.clear()
        self._mark_due = None
        self._free_ms = now_ms
        for other in self._others:
            other.bot_cut(now_ms)
        self._news.set()

    def _forget_before(self, generation: int, clause: int) -> None:
        """Free what can never be sent again: everything before the clause that was just played."""
        for other in [key for key in self._utterances if key < generation]:
            del self._utterances[other]
        utterance = self._utterances.get(generation)
        if utterance is not None:
            for number in [key for key in utterance.clauses if key < clause]:
                del utterance.clauses[number]


def _new_words(clause: _Clause, begin: int, end: int, *, is_last: bool) -> tuple[Word, ...]:
    """The words that a stretch completes and that the actor was not told of yet."""
    if begin < clause.told:
        return ()
    end_ms = end // BYTES_PER_MS
    place = clause.told_words
    while place < len(clause.words) and (is_last or clause.words[place].end_ms <= end_ms):
        place += 1
    words = tuple(clause.words[clause.told_words : place])
    clause.told_words = place
    return words
