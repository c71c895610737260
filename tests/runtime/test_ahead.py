"""Asking ahead changes when a caller is answered, never what comes of his call."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import event as noted
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.events import (
    AudioSent,
    ClauseReady,
    DigitPressed,
    EdgeDecided,
    EndpointForeseen,
    EndpointRevoked,
    Fact,
    FaultMet,
    Input,
    InterimHeard,
    LineClosed,
    LineOpened,
    MarkReached,
    NodeEntered,
    ReplyEnded,
    ReplyFailed,
    SegmentHeard,
    SpeakingFailed,
    SpeechStarted,
    SpeechStopped,
    Ticked,
    ToolCalled,
    ToolEnded,
    ToolProposed,
    TurnEnded,
    Usage,
    UtteranceSpoken,
    ValueSet,
    Word,
)
from flowengine.flow.program import Program
from flowengine.ports import LlmRequest
from flowengine.runtime import foreseen
from flowengine.runtime.actor import Actor
from flowengine.runtime.conversation import plain_words
from flowengine.runtime.effects import (
    AskLlm,
    CancelLlm,
    CutSpeech,
    DropClauses,
    Effect,
    PauseSpeech,
    Report,
    ResumeSpeech,
    RunTool,
    Speak,
)
from tests.runtime.ahead import AheadLedger
from tests.runtime.small_flows import TALK, program, talk
from tests.runtime.test_properties import SETUP, WALL

pytestmark = pytest.mark.unit

Item = tuple[str, object]
ANSWERS: tuple[tuple[Item, ...], ...] = (
    (("clause", "I see. "), ("clause", "Go on, please. ")),
    (("clause", "Very well."),),
    (("tool", ("note", {"day": "monday"})), ("clause", "On Monday, then. ")),
    (("tool", ("note", {"day": "friday"})),),
    (("clause", "Let me look. "), ("tool", ("look_up", {"who": "me"}))),
    (("tool", ("take_edge", {"edge": "human", "quote": "a real person"})), ("clause", "Yes. ")),
    (("clause", "Wait. "), ("tool", ("take_edge", {"edge": "stop", "quote": "no such"}))),
    (("tool", ("take_edge", {"edge": "done", "quote": ""})),),
    (("clause", "Oh, "), ("fails", "overloaded")),
    (("fails", "dropped"),),
    (("tool", ("note", None)),),
    (),
)
WORDS = ("a real person please", "on monday", "mhm", "what about the weather", "yes", "three of us")


@dataclass(frozen=True)
class Exchange:
    """One thing that the caller does, and what a recogniser and the world make of it."""

    act: str = "says"
    text: str = "yes"
    foresees: tuple[str, ...] = ()
    """Before the turn is over: words, or `revoked`."""
    stands_still: bool = False
    """An interim of all the words comes in the quiet, and time passes."""
    said_ahead: int = 0
    """How much of a reply comes before the turn is over."""
    voice_fails: bool = False
    clauses_played: int = 9
    """Of what is said next, until the caller does the next thing."""
    is_cut_in: bool = False
    """The clause after those is playing then."""


EXCHANGES = st.lists(
    st.builds(
        Exchange,
        act=st.sampled_from(["says", "says", "says", "says", "key", "silence"]),
        text=st.sampled_from(WORDS),
        foresees=st.lists(st.sampled_from([*WORDS, "revoked", "revoked"]), max_size=5).map(tuple),
        stands_still=st.booleans(),
        said_ahead=st.integers(0, 4),
        voice_fails=st.sampled_from([False, False, False, True]),
        clauses_played=st.sampled_from([0, 1, 9, 9]),
        is_cut_in=st.booleans(),
    ),
    max_size=6,
)


@dataclass
class Talk:
    """A call with an LLM that answers the same question in the same way."""

    answers: Sequence[int]
    program: Program = field(default_factory=talk)
    now_ms: int = 0
    spoken: dict[int, list[str]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    floor: int = 0
    is_paused: bool = False
    llm: dict[int, list[Input]] = field(default_factory=dict)
    """What is still to come of each request."""
    tools: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    ahead: AheadLedger = field(default_factory=AheadLedger)

    def __post_init__(self) -> None:
        self.actor = Actor(SETUP, self.program)
        self.feed(LineOpened(WALL))

    def feed(self, event: Input) -> None:
        effects = self.actor.receive(event, self.now_ms)
        self.ahead.came(event, effects)
        for effect in effects:
            self.ahead.check(effect)
            self.do(effect)

    def do(self, effect: Effect) -> None:
        match effect:
            case Speak(generation):
                words = [piece.text for piece in effect.pieces if piece.kind == "words"]
                self.spoken.setdefault(generation, []).extend(words)
            case CutSpeech(floor):
                self.floor, self.is_paused = floor, False
            case PauseSpeech():
                self.is_paused = True
            case ResumeSpeech(generation, clause):
                self.is_paused = False
                self.sent[generation] = clause
            case DropClauses(generation):
                del self.spoken.setdefault(generation, [])[self.sent.get(generation, 0) :]
            case AskLlm(generation, request):
                self.llm[generation] = list(self.answer(generation, request))
            case CancelLlm(generation):
                self.llm.pop(generation, None)
            case RunTool(key):
                self.tools.append(key)
            case Report(fact):
                self.facts.append(fact)

    def answer(self, generation: int, request: LlmRequest) -> Iterator[Input]:
        """The same events for the same words, whatever their case and punctuation."""
        asked = " ".join(word for message in request.messages for word in plain_words(message.text))
        number = zlib.crc32(asked.encode())
        has_result = request.messages[-1].role == "tool"
        answer = ANSWERS[0 if has_result else self.answers[number % len(self.answers)]]
        for nth, (kind, what) in enumerate(answer):
            match kind, what:
                case "clause", str(text):
                    yield ClauseReady(generation, text)
                case "tool", (str(name), arguments):
                    use_id = f"t{number}.{nth}"
                    yield ToolProposed(generation, use_id, name, arguments, nth == 0)  # type: ignore[arg-type]
                case "fails", str(code):
                    yield ReplyFailed(generation, code)
                    return
        yield ReplyEnded(generation, "stop", usage=Usage("s", "m", "tokens", 10, 5))

    # --- the world goes on ---

    def advance(self, by_ms: int) -> None:
        until_ms = self.now_ms + by_ms
        while (due_ms := self.actor.deadline_ms) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.feed(Ticked())
        self.now_ms = until_ms

    def settle(self) -> None:
        """The LLM says all that it has to say, and tools end."""
        for _ in range(100):
            running = [key for key, rest in self.llm.items() if rest]
            if running:
                self.feed(self.llm[running[0]].pop(0))
            elif self.tools:
                self.feed(ToolEnded(self.tools.pop(0), "done", 200, "gold"))
            else:
                return
        raise AssertionError("the LLM is asked without end")

    def play(self, clauses: int, *, is_cut_in: bool = False) -> None:
        """The caller hears so many clauses of what was said, each for a second, and of one more
        the first half.
        """
        for count in range(clauses + is_cut_in):
            found = next(
                (
                    (generation, self.sent.get(generation, 0))
                    for generation, texts in self.spoken.items()
                    if generation >= self.floor
                    and not self.ahead.is_silent(generation)
                    and self.sent.get(generation, 0) < len(texts)
                ),
                None,
            )
            if found is None or self.is_paused:
                return
            generation, at = found
            text = self.spoken[generation][at]
            self.sent[generation] = at + 1
            half = max(1, text.find(" "))
            words = (Word(half, 0, 400), Word(len(text), 400, 1000))
            self.feed(AudioSent(generation, at, 0, 1000, words, last=True))
            if count == clauses:
                self.advance(500)
                return
            self.advance(1000)
            self.feed(MarkReached(generation, at))

    def exchange(self, one: Exchange, *, is_ahead: bool) -> None:
        if self.actor.is_over:
            return
        match one.act:
            case "key":
                self.feed(DigitPressed("7"))
            case "silence":
                self.advance(8000)
            case _:
                self.say(one, is_ahead=is_ahead)
        self.settle()
        self.play(one.clauses_played, is_cut_in=one.is_cut_in)

    def say(self, one: Exchange, *, is_ahead: bool) -> None:
        self.feed(SpeechStarted("energy"))
        self.advance(300)
        self.feed(InterimHeard(one.text.split()[0], 0.5))
        self.advance(300)
        self.feed(SpeechStopped("energy"))
        for words in one.foresees if is_ahead else ():
            self.feed(EndpointRevoked() if words == "revoked" else EndpointForeseen(words, 0.5))
            self.hear_ahead(one.said_ahead)
        if one.stands_still:
            self.feed(InterimHeard(one.text, 0.5))
            self.advance(200)
            self.hear_ahead(one.said_ahead)
        if one.voice_fails and self.ahead.held is not None:
            self.feed(SpeakingFailed(self.ahead.held, "dropped"))
        self.feed(SegmentHeard(f"{one.text.capitalize()}.", 0.9, endpoint=True))

    def hear_ahead(self, count: int) -> None:
        """So much of a reply comes while it is tentative."""
        for _ in range(count):
            rest = self.llm.get(self.ahead.tentative or 0)
            if rest:
                self.feed(rest.pop(0))

    @property
    def outcome(self) -> list[object]:
        """All that a caller, or whoever reads the record, can tell of the call."""
        told: list[object] = list(self.actor.conversation)
        told.append(dict(self.actor.values))
        for fact in self.facts:
            match fact:
                case UtteranceSpoken():
                    told.append((fact.node, fact.text, fact.heard, fact.cut))
                case NodeEntered() | EdgeDecided() | ValueSet() | TurnEnded():
                    told.append(fact)
                case ToolCalled() | FaultMet():
                    told.append(fact)
        return told


@contextmanager
def switched_off() -> Iterator[None]:
    """The engine as it is when nothing is ever asked for ahead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreseen, "MOST_A_TURN", 0)
        yield


def called(exchanges: Sequence[Exchange], answers: Sequence[int], *, is_ahead: bool) -> Talk:
    call = Talk(answers)
    call.play(9)
    for one in exchanges:
        call.exchange(one, is_ahead=is_ahead)
    call.settle()
    call.play(9)
    return call


@settings(max_examples=300)
@given(EXCHANGES, st.lists(st.integers(0, len(ANSWERS) - 1), min_size=1, max_size=8))
def test_what_comes_of_a_call_is_the_same_without(
    exchanges: list[Exchange], answers: list[int]
) -> None:
    ahead = called(exchanges, answers, is_ahead=True)
    with switched_off():
        plain = called(exchanges, answers, is_ahead=False)
    for what in ("asked", "confirmed", "dropped"):
        if ahead.ahead.counts[what]:
            noted(what)
    assert not plain.ahead.counts
    assert ahead.outcome == plain.outcome
    assert ahead.now_ms == plain.now_ms


def in_dialog(made: Program | None = None) -> Talk:
    """The clinic has asked what it can do."""
    call = Talk([0]) if made is None else Talk([0], made)
    call.play(9)
    return call


def said(call: Talk, text: str) -> None:
    call.feed(SegmentHeard(text, 0.9, endpoint=True))


def test_silence_drops_what_was_asked_for_ahead() -> None:
    call = in_dialog()
    call.feed(EndpointForeseen("hello you", 0.5))
    call.hear_ahead(1)
    assert call.ahead.held is not None
    call.advance(8000)
    assert call.ahead.counts == {"asked": 1, "dropped": 1}


def test_a_caller_who_hangs_up_drops_it_too() -> None:
    call = in_dialog()
    call.feed(EndpointForeseen("hello you", 0.5))
    call.hear_ahead(1)
    call.feed(LineClosed("hung_up"))
    assert call.ahead.counts == {"asked": 1, "dropped": 1}


def test_nothing_is_asked_for_while_the_bot_speaks() -> None:
    call = in_dialog()
    said(call, "hello you")
    call.settle()
    call.play(0, is_cut_in=True)
    call.feed(EndpointForeseen("stop it", 0.5))
    assert not call.ahead.counts["asked"]


def test_a_question_that_holds_the_very_letters_of_the_turn_is_foreseen_but_once() -> None:
    node = {**TALK["nodes"]["talk"], "prompt": "He said {{ turn.text }}."}
    call = in_dialog(program({**TALK, "nodes": {**TALK["nodes"], "talk": node}}))
    for text in ("hello you", "hello again"):
        call.feed(EndpointForeseen(text, 0.5))
        said(call, text.upper())
        call.settle()
        call.play(9)
    assert call.ahead.counts == {"asked": 1, "dropped": 1}


def test_other_words_do_not_end_foresight() -> None:
    call = in_dialog()
    for text in ("hello you", "hello again"):
        call.feed(EndpointForeseen("hello", 0.5))
        said(call, text)
        call.settle()
        call.play(9)
    assert call.ahead.counts == {"asked": 2, "dropped": 2}
