"""What holds for the actor whatever comes in, in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowengine.commands import (
    Command,
    OperatorEnded,
    OperatorMoved,
    OperatorSaid,
    OperatorTransferred,
)
from flowengine.events import (
    AudioSent,
    CallBegan,
    CalleeAnswered,
    CallEnded,
    CallResumed,
    ClauseReady,
    CommandAnswered,
    DigitPressed,
    EndpointForeseen,
    EndpointReached,
    EndpointRevoked,
    EndRequested,
    HearingFailed,
    Input,
    InterimHeard,
    LineClosed,
    LineOpened,
    MarkReached,
    ReplyEnded,
    ReplyFailed,
    SegmentHeard,
    SpeakingFailed,
    SpeechStarted,
    SpeechStopped,
    Ticked,
    ToolEnded,
    ToolProposed,
    TransferEnded,
    Usage,
    UsageCounted,
    UtteranceSpoken,
    Word,
)
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.flow.program import Program
from flowengine.flow.scope import CallFacts
from flowengine.ids import CallId
from flowengine.runtime.actor import Actor, CallSetup
from flowengine.runtime.context import ServerDefaults
from flowengine.runtime.effects import (
    AskLlm,
    CancelLlm,
    CoverSilence,
    CutSpeech,
    Effect,
    LeaveLine,
    PauseSpeech,
    Report,
    ResumeSpeech,
    RunTool,
    Speak,
)
from tests.runtime import small_flows as flows
from tests.runtime.ahead import BESIDE, AheadLedger

pytestmark = pytest.mark.unit

SETUP = CallSetup(
    CallId("call_1"),
    CallFacts("call_1", "inbound", "+14155550100", "+14155550199"),
    ServerDefaults(
        SttUse.model_validate({"provider": "s"}),
        LlmUse.model_validate({"provider": "s"}),
        TtsUse.model_validate({"provider": "s"}),
    ),
    "test",
)
WALL = "2026-03-03T10:00:00+00:00"
FLOWS: dict[str, Callable[[], Program]] = {
    "shop": flows.shop,
    "talk": flows.talk,
    "desk": flows.desk,
}
WORDS = (
    "order", "mhm", "a real person please", "goodbye", "three", "yes", "no", "friday", "hmm ok",
    "I want to talk about the weather", "", "blue",
)  # fmt: skip
LONGEST_WAITS = 2000

Op = tuple[str, int, int]
KINDS = (
    "wait wait wait digit energy hush stt_start stt_stop interim segment final endpoint play play "
    "play play audio mark mark voice_fails clause clause take note propose broken reply_ends "
    "reply_ends reply_fails tool tool_fails late_tool webhook callee transfer hearing_fails closed "
    "lost end opened turn turn turn finish finish finish reply reply foreseen revoked "
    "ahead ahead ahead op_say op_say op_cut op_move op_transfer op_back op_end"
).split()
RARE = {
    *"closed lost end hearing_fails voice_fails reply_fails transfer".split(),
    *"op_transfer op_back op_end".split(),
}
OP = st.tuples(
    st.sampled_from([kind for kind in KINDS for _ in range(1 if kind in RARE else 4)]),
    st.integers(0, 11),
    st.integers(0, 3),
)
# Long ones are wanted as well: left alone, Hypothesis draws mostly short lists.
OPS = st.one_of(st.lists(OP, max_size=20), st.lists(OP, min_size=40, max_size=80))

# The mark of what a caller broke into comes when he has it paused; then his words are known.
LATE_MARK: list[Op] = [
    ("wait", 9, 0), ("play", 0, 0), ("play", 0, 0), ("wait", 5, 0), ("ahead", 0, 0),
    ("mark", 0, 0), ("interim", 0, 0),
]  # fmt: skip


@dataclass
class World:
    """An actor, a twin that is fed the same, and what the world knows of their effects."""

    program: Program
    now_ms: int = 0
    log: list[tuple[Input, list[Effect]]] = field(default_factory=list)
    spoken: dict[int, list[str]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    marked: dict[int, int] = field(default_factory=dict)
    floor: int = 0
    is_paused: bool = False
    open_reply: int | None = None
    ahead: AheadLedger = field(default_factory=AheadLedger)
    replies: list[int] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    spent_beside: list[Usage] = field(default_factory=list)
    """What other attempts used, until it is counted."""
    has_begun: bool = False
    has_left: bool = False
    is_line_open: bool = False

    def __post_init__(self) -> None:
        self.actor = Actor(SETUP, self.program)
        self.twin = Actor(SETUP, self.program)
        self.feed(LineOpened(WALL))

    def feed(self, event: Input) -> None:
        if isinstance(event, LineOpened):
            self.is_line_open = True
        if isinstance(event, LineClosed):
            self.is_line_open = False
        is_reply_end = isinstance(event, (ReplyEnded, ReplyFailed))
        if is_reply_end and event.generation == self.open_reply:  # type: ignore[union-attr]
            self.open_reply = None
        was_over = self.actor.is_over
        effects = self.actor.receive(event, self.now_ms)
        assert effects == self.twin.receive(event, self.now_ms), "same input, same output"
        assert self.actor.waits == self.twin.waits
        assert self.actor.deadline_ms == self.twin.deadline_ms
        if isinstance(event, Command) and not was_over:
            self.check_answer(event, effects)
        self.log.append((event, effects))
        self.spent_beside += getattr(event, "spent", ())
        self.ahead.came(event, effects)
        for effect in effects:
            self.check(effect)
            self.ahead.check(effect)
        self.check_waits(event)

    def check(self, effect: Effect) -> None:
        assert not self.has_left or isinstance(effect, Report), "nothing after the line was left"
        match effect:
            case Speak():
                assert effect.generation >= self.floor, "nothing is spoken after its cut"
                assert self.is_line_open
                texts = self.spoken.setdefault(effect.generation, [])
                for piece in effect.pieces:
                    assert piece.clause == len(texts), "clauses are numbered in order"
                    texts.append(piece.text if piece.kind == "words" else "")
            case CoverSilence(generation, text):
                assert generation >= self.floor, "nothing is spoken after its cut"
                assert self.is_line_open and not self.is_paused
                later = [number for number in self.sent if number > generation]
                assert not later, "nothing stands before what has begun"
                self.spoken = dict(sorted({**self.spoken, generation: [text]}.items()))
            case CutSpeech(floor):
                assert floor > self.floor or floor == self.floor
                self.floor, self.is_paused = floor, False
            case PauseSpeech():
                assert not self.is_paused
                self.is_paused = True
            case ResumeSpeech():
                assert self.is_paused
                assert effect.generation >= self.floor
                self.is_paused = False
            case AskLlm(generation):
                assert self.open_reply is None, "one reply is open at a time"
                assert generation not in self.replies
                self.open_reply = generation
                self.replies.append(generation)
            case CancelLlm(generation):
                assert self.open_reply in (generation, None)
                self.open_reply = None
            case RunTool(key):
                assert key not in self.tools, "a key never acts twice"
                self.tools.append(key)
            case LeaveLine():
                self.has_left = True
            case Report(UtteranceSpoken() as fact):
                assert fact.text.startswith(fact.heard), "heard is a prefix of sent"
            case Report(UsageCounted(usage)) if usage == BESIDE:
                self.spent_beside.remove(BESIDE)  # which fails for what was not told
            case Report(CallBegan()):
                assert not self.has_begun
                self.has_begun = True
            case Report(CallEnded()):
                assert self.actor.is_over

    def check_answer(self, command: Command, effects: list[Effect]) -> None:
        """Every command is answered once, and what is refused changes nothing."""
        facts = [effect.fact for effect in effects if isinstance(effect, Report)]
        (answer,) = (fact for fact in facts if isinstance(fact, CommandAnswered))
        assert answer.command == command.command
        assert not answer.refused or len(effects) == 1

    def check_waits(self, event: Input) -> None:
        if self.actor.is_over:
            assert self.actor.deadline_ms is None
            return
        own = self.actor.waits - {"call", "call_grace", "stable_words"}
        assert own, f"nothing is waited for by name after {event}, at {self.actor.node}"
        due = self.actor.deadline_ms
        assert due is not None

    def advance(self, by_ms: int) -> None:
        """Let time pass; every deadline is told when it comes."""
        until_ms = self.now_ms + by_ms
        for _ in range(LONGEST_WAITS):
            due_ms = self.actor.deadline_ms
            if due_ms is None or due_ms > until_ms:
                self.now_ms = max(self.now_ms, until_ms)
                return
            self.now_ms = max(self.now_ms, due_ms)
            self.feed(Ticked())
        raise AssertionError("ticks without end")

    def play(self) -> None:
        """The next clause goes to the line whole, and its mark comes back when it was played."""
        for generation, texts in self.spoken.items():
            if self.ahead.is_silent(generation):
                continue
            at = self.sent.get(generation, 0)
            if generation >= self.floor and at < len(texts) and not self.is_paused:
                length_ms = 60 * len(texts[at]) or 200
                self.sent[generation] = at + 1
                words = (Word(len(texts[at]), 0, length_ms),) if texts[at] else ()
                self.feed(AudioSent(generation, at, 0, length_ms, words, last=True))
                return
        for generation, at in self.sent.items():
            done = self.marked.get(generation, 0)
            if generation >= self.floor and done < at and not self.is_paused:
                self.marked[generation] = done + 1
                self.advance(200)
                self.feed(MarkReached(generation, done))
                return

    def finish(self) -> None:
        """Everything that was said so far is played to its end."""
        for _ in range(20):
            before = (dict(self.sent), dict(self.marked))
            self.play()
            if before == (self.sent, self.marked) or self.actor.is_over:
                return

    def turn(self, text: str) -> None:
        """The caller says something, as it comes from a recogniser."""
        self.feed(SpeechStarted("energy"))
        self.advance(300)
        self.feed(InterimHeard(text, 0.5))
        self.advance(400)
        self.feed(SpeechStopped("energy"))
        self.advance(300)
        self.feed(SegmentHeard(text, 0.9, endpoint=True))

    def foreseen_turn(self, text: str, number: int) -> None:
        """The end of a turn is foreseen; what the LLM says until then differs, and how it ends."""
        self.feed(SpeechStarted("energy"))
        self.advance(200)
        self.feed(EndpointForeseen(text, 0.5))
        reply = None if self.ahead.has_ended else self.ahead.tentative
        if reply is not None and number % 5:
            self.feed(ClauseReady(reply, "Very well, "))
        if reply is not None and number % 5 in (2, 3):
            self.feed(ToolProposed(reply, f"a{number}", "note", {"day": "monday"}, False))
        if reply is not None and number % 5 > 2:
            spent = (BESIDE,) * (number % 2)
            self.feed(
                ReplyEnded(reply, "stop", usage=Usage("s", "m", "tokens", 10, 5), spent=spent)
            )
        self.feed(SpeechStopped("energy"))
        if number % 3:
            self.feed(SegmentHeard(f"{text.upper()}.", 0.9, endpoint=True))

    def pick(self, options: list[int], number: int) -> int:
        """A current generation, an old one, or one that never was."""
        return options[-1 - number % len(options)] if options else 1 + number


def run(world: World, op: Op) -> None:
    kind, number, other = op
    speech = world.pick(list(world.spoken), other)
    reply = world.pick(world.replies, other)
    text = WORDS[number]
    name = f"p{len(world.log)}"
    match kind:
        case "wait":
            world.advance(
                (20, 100, 250, 400, 900, 1500, 2500, 4000, 7500, 9000, 15000, 31000)[number]
            )
        case "play":
            world.play()
        case "finish":
            world.finish()
        case "turn":
            world.turn(text)
        case "ahead":
            world.foreseen_turn(text, number + other)
        case "reply" if world.replies:
            world.feed(ClauseReady(world.replies[-1], "Very well, I see. "))
            world.feed(ReplyEnded(world.replies[-1], "stop"))
        case "audio":
            world.feed(
                AudioSent(speech, other, 40 * number, 100 * number, (), last=number % 2 == 0)
            )
        case "mark":
            world.feed(MarkReached(speech, number % 3))
        case "take":
            edge = ("human", "stop", "done", "nonsense")[other]
            world.feed(
                ToolProposed(reply, name, "take_edge", {"edge": edge, "quote": text}, number < 6)
            )
        case "note":
            values = ({"day": "monday"}, {"day": "friday"}, {"day": "never"}, {"name": None})[other]
            world.feed(ToolProposed(reply, name, "note", values, True))
        case "propose":
            tool = ("look_up", "look_up", "account", "")[other]
            world.feed(ToolProposed(reply, name, tool, {"who": text}, False))
        case "tool" | "tool_fails" if world.tools:
            key = world.tools[-1 - number % len(world.tools)]
            outcome: Literal["done", "failed"] = "done" if kind == "tool" else "failed"
            tier = ({"tier": "gold"}, {"tier": "plain"}, None, "words")[other]
            world.feed(ToolEnded(key, outcome, 200, tier))
        case _:
            is_operators = kind.startswith("op_")
            event = (
                operator(kind, name, number, world.program)
                if is_operators
                else plain_event(kind, number, other, reply, speech)
            )
            if event is not None:
                world.feed(event)


def operator(kind: str, name: str, number: int, program: Program) -> Command:
    last_words = ("", "One moment.")[number % 2]
    match kind:
        case "op_move":
            nodes = [*program.flow.nodes, "nowhere"]
            return OperatorMoved(name, nodes[number % len(nodes)], "a test")
        case "op_transfer":
            return OperatorTransferred(name, ("+33123456789",), last_words)
        case "op_back":
            back = (program.flow.start, "nowhere")[number // 6]
            return OperatorTransferred(name, ("+33123456789", "+33123456780"), last_words, back)
        case "op_end":
            return OperatorEnded(name, last_words, "enough")
        case _:
            return OperatorSaid(name, "This is a person speaking.", cuts=kind == "op_cut")


def plain_event(kind: str, number: int, other: int, reply: int, speech: int) -> Input | None:
    text = WORDS[number]
    events: dict[str, Input] = {
        "digit": DigitPressed("0123456789*#"[number]),
        "energy": SpeechStarted("energy"),
        "hush": SpeechStopped("energy"),
        "stt_start": SpeechStarted("stt"),
        "stt_stop": SpeechStopped("stt"),
        "interim": InterimHeard(text, 0.5),
        "segment": SegmentHeard(text, 0.9),
        "final": SegmentHeard(text, 0.9, endpoint=True),
        "endpoint": EndpointReached(),
        "foreseen": EndpointForeseen(text, 0.5),
        "revoked": EndpointRevoked(),
        "voice_fails": SpeakingFailed(speech, "dropped"),
        "clause": ClauseReady(reply, f"{text} "),
        "broken": ToolProposed(reply, f"b{number}", "note", None, before_text=False),
        "reply_ends": ReplyEnded(reply, "stop"),
        "reply_fails": ReplyFailed(reply, "overloaded", (BESIDE,)),
        "late_tool": ToolEnded(f"call_1:{number}:0", "done", 200, None),
        "webhook": CallResumed(("ready", "other")[other % 2], {"a": 1}),
        "callee": CalleeAnswered("human"),
        "transfer": TransferEnded("busy"),
        "hearing_fails": HearingFailed("dropped"),
        "closed": LineClosed("hung_up"),
        "lost": LineClosed("lost"),
        "end": EndRequested("overloaded"),
        "opened": LineOpened(WALL),
    }
    return events.get(kind)


@pytest.mark.parametrize("flow", FLOWS)
@settings(max_examples=150)
@given(ops=OPS)
@example(ops=LATE_MARK)
def test_whatever_comes(flow: str, ops: list[Op]) -> None:
    world = World(FLOWS[flow]())
    for op in ops:
        if world.actor.is_over:
            break
        run(world, op)
    # Then nobody does anything any more, and no provider answers: the call ends all the same.
    for _ in range(LONGEST_WAITS):
        if world.actor.is_over:
            break
        due_ms = world.actor.deadline_ms
        assert due_ms is not None
        world.now_ms = max(world.now_ms, due_ms)
        world.feed(Ticked())
    assert world.actor.is_over, f"the call hangs at {world.actor.node}: {world.actor.waits}"
    assert world.actor.receive(DigitPressed("1"), world.now_ms) == []


@pytest.mark.parametrize("then", [None, EndRequested("draining")])
@pytest.mark.parametrize("fails", [False, True])
def test_what_attempts_beside_an_answer_used_is_counted(then: Input | None, *, fails: bool) -> None:
    world = World(FLOWS["talk"]())
    world.finish()
    world.turn("I want to talk about the weather")
    reply, spent = world.replies[-1], (BESIDE, BESIDE)
    if then is not None:
        world.feed(then)
    ended = ReplyEnded(reply, "stop", spent=spent)
    world.feed(ReplyFailed(reply, "overloaded", spent) if fails else ended)
    assert not world.spent_beside


def test_so_it_is_when_the_answer_was_asked_for_in_vain() -> None:
    world = World(FLOWS["talk"]())
    world.finish()
    world.feed(EndpointForeseen("hello you", 0.5))
    world.feed(ReplyEnded(world.replies[-1], "stop", spent=(BESIDE,)))
    assert world.spent_beside
    world.feed(SegmentHeard("hello to all of you", 0.9, endpoint=True))
    assert not world.spent_beside


def test_a_key_ends_a_pause_of_words_that_the_node_before_said() -> None:
    nodes = {**flows.TALK["nodes"], "person": {"kind": "collect", "var": "size"}}
    variables = {**flows.TALK["variables"], "size": {"type": "integer", "min": 1, "max": 99}}
    world = World(flows.program({**flows.TALK, "nodes": nodes, "variables": variables}))
    world.finish()
    world.turn("a real person please")
    reply = world.replies[-1]
    world.feed(ClauseReady(reply, "Then tell me how many you are. "))
    quote = {"edge": "human", "quote": "a real person please"}
    world.play()
    world.feed(ToolProposed(reply, "t1", "take_edge", quote, before_text=False))
    world.feed(ReplyEnded(reply, "stop"))
    assert world.actor.node == "person"
    world.advance(3000)
    world.feed(SpeechStarted("energy"))
    assert world.is_paused
    world.feed(DigitPressed("7"))
    assert not world.is_paused
    world.advance(5000)
    assert world.actor.values["size"] == 7
