"""What the bot says: utterances, their pieces, and how much of them was heard.

Pure part of the actor. An utterance is one `generation`; several may stand in the queue, the line
plays them in order. It ends once: played to the end (by the line's marks), cut, or failed. One
more may be held back: it is synthesised ahead and stands in no queue before it is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from flowengine.events import (
    AudioSent,
    BargeIn,
    FaultMet,
    MarkReached,
    SpeakingFailed,
    UtteranceSpoken,
)
from flowengine.flow.parts import AudioFile, Part, Pause, Words
from flowengine.runtime import phrases
from flowengine.runtime.context import Context
from flowengine.runtime.conversation import Entry
from flowengine.runtime.effects import (
    CoverSilence,
    CutSpeech,
    DropClauses,
    PauseSpeech,
    Piece,
    ResumeSpeech,
    Speak,
)
from flowengine.runtime.playout import Playout, Position
from flowengine.runtime.turns import Floor

LAST_MARK_MS = 2000
SPEECH_MS = 8000
"""Backstop behind the providers' own deadlines: audio that is owed and does not come."""
APOLOGY = "@apology"
"""The recording that the engine carries, for when no voice can be had."""


@dataclass(slots=True)
class _Spoken:
    """An utterance in the queue."""

    generation: int
    node: str
    node_entry: int
    interruptible: bool
    asked_ms: int
    turn_over_ms: int | None
    is_cover: bool = False
    """It only covers the wait for what is said behind it."""
    pieces: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    response_ms: int | None = None


@dataclass(slots=True)
class _Held:
    """An utterance that is synthesised, but kept from the line."""

    generation: int
    pieces: list[Piece] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ended:
    """An utterance is over."""

    generation: int
    heard: str
    cut: bool
    failed: str = ""


class Speaking:
    """The bot's voice in one call. Its waits are `speech` and `last_mark`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._playout = Playout()
        self._queue: dict[int, _Spoken] = {}
        self._held: _Held | None = None
        self._floor = 0
        """Utterances of older generations were cut."""
        self._paused_at: Position | None = None
        self.unanswered: Literal["", "turn", "key"] = ""
        """What the caller did last, until an utterance answers it."""
        self._acted_ms = 0
        self._stages: dict[str, int] = {}

    # --- saying ---

    def open(self, *, interruptible: bool, is_answer: bool = True) -> int:
        """Begin an utterance behind those in the queue.

        `is_answer`: it answers what the caller did last, if anything waits for an answer.
        """
        generation = self._context.next_generation()
        self._enqueue(generation, interruptible=interruptible, is_answer=is_answer)
        return generation

    def _enqueue(self, generation: int, *, interruptible: bool, is_answer: bool = True) -> None:
        context = self._context
        self._playout.open(generation)
        self._queue[generation] = _Spoken(
            generation,
            context.frame.node,
            context.node_entry,
            interruptible,
            context.now_ms,
            self._acted_ms if is_answer and self.unanswered == "turn" else None,
            stages=self._stages if is_answer else {},
        )
        if is_answer:
            self.unanswered, self._stages = "", {}

    def cover(self, place: int) -> None:
        """Say that it takes a moment: first of all, or as generation `place` before what waits."""
        context = self._context
        if not self._queue:
            place = context.next_generation()
        elif place < self._floor:
            return
        text = phrases.one_moment(context.spoken_language)
        spoken = _Spoken(
            place,
            context.frame.node,
            context.node_entry,
            interruptible=True,
            asked_ms=context.now_ms,
            turn_over_ms=None,
            is_cover=True,
        )
        self._queue = dict(sorted({**self._queue, place: spoken}.items()))
        self._playout.open(place)
        self._number(spoken, (Piece(0, "words", text, static=True),))
        self._playout.end(place)
        context.do(CoverSilence(place, text, context.tts, context.spoken_language))
        self._watch()

    def open_ahead(self) -> int:
        """Begin an utterance that is held back until it is released."""
        self._held = _Held(self._context.next_generation())
        return self._held.generation

    def release(self, generation: int, *, interruptible: bool) -> None:
        """What was held back is said, from now on."""
        held, self._held = self._held, None
        if held is None or held.generation != generation:
            raise ValueError(f"utterance {generation} is not held back")
        self._enqueue(generation, interruptible=interruptible)
        self._number(self._queue[generation], held.pieces)
        self._watch()

    def drop_ahead(self, generation: int) -> None:
        """What was held back is not said."""
        self._held = None
        self._context.do(DropClauses(generation, wasted=True))

    def answer_next(self, act: Literal["", "turn", "key"], stages: dict[str, int]) -> None:
        """The caller did something, now: the next utterance answers it."""
        self.unanswered = act
        self._acted_ms = self._context.now_ms
        self._stages = dict(stages)

    def note_stage(self, stage: str, ms: int) -> None:
        """How long a part of the answer took."""
        self._stages[stage] = ms

    def add(self, generation: int, *pieces: Piece, last: bool = False) -> None:
        """Say more of an utterance; pieces get their clause numbers here."""
        spoken, held = self._queue.get(generation), self._held
        context = self._context
        tts, language = context.tts, context.spoken_language
        if held is not None and held.generation == generation:
            begin = len(held.pieces)
            held.pieces += [replace(piece, clause=begin + n) for n, piece in enumerate(pieces)]
            more = tuple(held.pieces[begin:])
            context.do(Speak(generation, more, last, tts, language, held=True))
        elif spoken is not None:
            numbered = self._number(spoken, pieces)
            if last:
                self._playout.end(generation)
            context.do(Speak(generation, numbered, last, tts, language))
            self._watch()

    def _number(self, spoken: _Spoken, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """Enter pieces into the ledger, each under its clause number."""
        begin = spoken.pieces
        spoken.pieces += len(pieces)
        numbered = tuple(replace(piece, clause=begin + n) for n, piece in enumerate(pieces))
        for piece in numbered:
            self._playout.add_clause(spoken.generation, piece.clause, _shown(piece))
        return numbered

    def say(self, parts: tuple[Part, ...], *, interruptible: bool, is_answer: bool = True) -> int:
        """Say parts as one whole utterance."""
        generation = self.open(interruptible=interruptible, is_answer=is_answer)
        self.add(generation, *pieces_of(parts), last=True)
        return generation

    def end(self, generation: int) -> list[Ended]:
        """Nothing more comes; an utterance of which nothing was ever said is over at once."""
        if generation in self._queue:
            self.add(generation, last=True)
        return self._settle()

    # --- what the line and the voice tell ---

    def sent(self, event: AudioSent) -> list[Ended]:
        context = self._context
        spoken = self._queue.get(event.generation)
        if spoken is None or not self._playout.sent(event, context.now_ms):
            return []
        if spoken.response_ms is None:
            if spoken.turn_over_ms is not None:
                spoken.response_ms = context.now_ms - spoken.turn_over_ms
            if event.first_audio_ms is not None:
                # What was synthesised ahead kept nobody waiting.
                waited_ms = context.now_ms - spoken.asked_ms
                spoken.stages["tts"] = min(event.first_audio_ms, waited_ms)
        self._watch()
        return self._settle()

    def marked(self, event: MarkReached) -> list[Ended]:
        self._playout.marked(event.generation, event.clause, self._context.now_ms)
        self._watch()
        return self._settle()

    def failed(self, event: SpeakingFailed) -> list[Ended]:
        """The voice failed: what was sent of the utterance is the end of it."""
        if event.generation not in self._queue:
            return []
        if not self._queue[event.generation].is_cover:
            self._context.report(FaultMet(event.code, "tts"))
        ended = self._finish(event.generation, cut=True, failed=event.code)
        self._watch()
        return [ended]

    def wait_passed(self, name: str) -> list[Ended]:
        """`last_mark`: the line owes a mark; `speech`: the voice owes audio."""
        generation = next(iter(self._queue), None)
        if generation is None:
            return []
        if name == "last_mark":
            self._playout.finish(generation, is_played=True)
            ended = self._finish(generation, cut=False)
        else:
            self._context.report(FaultMet("stalled", "tts"))
            self._floor = generation + 1
            self._context.do(CutSpeech(generation + 1))
            self._playout.cut(self._context.now_ms, generation + 1)
            ended = self._finish(generation, cut=True, failed="stalled")
        self._watch()
        return [ended]

    # --- the caller breaks in ---

    def floor(self, *, closed_question: bool) -> Floor:
        """What the bot is doing, for turn taking."""
        now_ms = self._context.now_ms
        first = next(iter(self._queue.values()), None)
        left_ms = self._playout.owed_ms(now_ms)
        if first is not None and not self._playout.all_sent(first.generation):
            left_ms += SPEECH_MS
        return Floor(
            speaking=self._playout.is_playing(now_ms),
            interruptible=first is None or first.interruptible,
            left_ms=left_ms,
            closed_question=closed_question,
        )

    def pause(self) -> None:
        generation = next(iter(self._queue), 0)
        self._paused_at = self._playout.pause(self._context.now_ms)
        self._context.do(PauseSpeech())
        self._context.report(BargeIn("paused", generation))
        self._context.waits.stop("speech", "last_mark")

    def resume(self) -> list[Ended]:
        """Go on where the pause began; what had been played by then is over."""
        at = self._paused_at
        self._playout.resume(self._context.now_ms)
        self._context.report(BargeIn("resumed", at.generation if at else 0))
        if at is None:
            # Everything that was sent was played: only what is still to come goes on.
            at = Position(self._context.generation + 1, 0, 0)
        self._context.do(ResumeSpeech(at.generation, at.clause, at.from_ms))
        self._paused_at = None
        self._watch()
        return self._settle()

    @property
    def is_paused(self) -> bool:
        return self._playout.is_paused

    def cut(self, *, by_caller: bool) -> list[Ended]:
        """Drop everything that was not heard. A pause ends here, also of what is over by now."""
        if not self._queue and not self.is_paused:
            return []
        context = self._context
        floor = context.generation + 1
        if by_caller:
            context.report(BargeIn("confirmed", next(iter(self._queue), 0)))
        self._floor = floor
        context.do(CutSpeech(floor))
        self._playout.cut(context.now_ms, floor)
        self._paused_at = None
        ended = [self._finish(generation, cut=True) for generation in list(self._queue)]
        self._watch()
        return ended

    def drop_waiting(self) -> None:
        """What plays goes on to its end; clauses of which nothing was sent are dropped."""
        for generation in list(self._queue):
            self._playout.drop_unsent(generation)
            self._context.do(DropClauses(generation))
        self._watch()
        self._settle()

    # --- what others ask ---

    @property
    def may_be_cut(self) -> bool:
        """Whether somebody may break into all that is being said or waits to be."""
        return all(spoken.interruptible for spoken in self._queue.values())

    @property
    def is_quiet(self) -> bool:
        """Nothing is being said or waits to be."""
        return not self._queue

    @property
    def unanswered_ms(self) -> int | None:
        """When the caller did what no utterance answers yet; None when he waits for nothing."""
        return self._acted_ms if self.unanswered else None

    @property
    def owed_ms(self) -> int:
        """How much of what was sent is not played yet."""
        return self._playout.owed_ms(self._context.now_ms)

    def has_begun(self, generation: int) -> bool:
        return self._playout.has_begun(generation)

    def said(self, generation: int) -> str:
        """All words of an utterance so far."""
        return self._playout.text(generation)

    # --- inside ---

    def _settle(self) -> list[Ended]:
        """Finish, in order, the utterances that the line has played to the end."""
        ended = []
        for generation in list(self._queue):
            if not self._playout.is_over(generation):
                break
            ended.append(self._finish(generation, cut=False))
        if ended:
            self._watch()
        return ended

    def _finish(self, generation: int, *, cut: bool, failed: str = "") -> Ended:
        context = self._context
        spoken = self._queue.pop(generation)
        text = self._playout.text(generation)
        heard = self._playout.heard(generation, context.now_ms)
        self._playout.finish(generation, is_played=not cut)
        self._playout.forget(generation)
        if heard or (not spoken.is_cover and (text or failed)):
            context.report(
                UtteranceSpoken(
                    generation, spoken.node, text, heard, cut, spoken.response_ms, spoken.stages
                )
            )
        if spoken.is_cover:
            return Ended(generation, heard, cut)
        context.conversation.add(Entry("bot", heard.strip(), spoken.node_entry))
        return Ended(generation, heard, cut, failed)

    def _watch(self) -> None:
        """Keep exactly one wait running for the utterance at the head of the queue."""
        waits, now_ms = self._context.waits, self._context.now_ms
        waits.stop("speech", "last_mark")
        head = next(iter(self._queue), None)
        if head is None or self._playout.is_paused:
            return
        owed_ms = self._playout.owed_ms(now_ms)
        if self._playout.all_sent(head):
            waits.start("last_mark", now_ms, owed_ms + LAST_MARK_MS)
        else:
            waits.start("speech", now_ms, owed_ms + SPEECH_MS)


def _shown(piece: Piece) -> str:
    """A piece as text, in records and in the conversation."""
    if piece.kind == "words":
        return piece.text
    return " " if piece.kind == "pause" else ""


def pieces_of(parts: tuple[Part, ...]) -> tuple[Piece, ...]:
    """Parts as pieces of an utterance; clause numbers come later.

    A fragment without a letter or digit (the full stop after a value) cannot be spoken by itself:
    it goes with the words before it.
    """
    pieces: list[Piece] = []
    for part in parts:
        match part:
            case Words(text, static):
                before = pieces[-1] if pieces else None
                if before and before.kind == "words" and not any(map(str.isalnum, text)):
                    pieces[-1] = Piece(0, "words", before.text + text, before.static and static)
                else:
                    pieces.append(Piece(0, "words", text, static))
            case AudioFile(file):
                pieces.append(Piece(0, "audio", file))
            case Pause(ms):
                pieces.append(Piece(0, "pause", ms=ms))
            case _:
                raise ValueError(f"{part!r} is not spoken as it is")
    return tuple(pieces)
