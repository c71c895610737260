"""Simulates whole calls on a virtual clock, with the very actor that answers the phone.

    call = simulate(program, [Caller.hears("How can I help"), Caller.says("I want to book")])
    assert call.nodes == ("welcome", "booking", "bye")

The world around the actor is scripted: the caller, the LLM, the tools, transfers; voice and line
are modelled in time (15 characters a second), so barge-in, silence and marks happen as on a phone.
Pure and synchronous: seconds of speech take microseconds, and the same script gives the same call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from flowengine.errors import FlowengineError
from flowengine.events import (
    CalleeAnswered,
    CalleeUnreached,
    Fact,
    Input,
    Json,
    LineClosed,
    LineOpened,
    Ticked,
    TransferEnded,
    UtteranceSpoken,
)
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.flow.program import Program
from flowengine.flow.scope import CallFacts
from flowengine.ids import CallId
from flowengine.ports import JournalRecord, ToolResult
from flowengine.runtime.actor import Actor, CallSetup
from flowengine.runtime.context import ServerDefaults
from flowengine.runtime.effects import (
    AskLlm,
    CancelLlm,
    ConfirmReply,
    CoverSilence,
    CutSpeech,
    DropClauses,
    Effect,
    LeaveLine,
    Listen,
    PauseSpeech,
    Report,
    ResumeSpeech,
    RunTool,
    SaveCheckpoint,
    Speak,
)
from flowengine.testing.hops import hops_of
from flowengine.testing.records import effect_record, input_body
from flowengine.testing.result import Said, SimulatedCall, ended
from flowengine.testing.scripts import Caller, Step
from flowengine.testing.simulated_caller import SimulatedCaller, Unmet
from flowengine.testing.simulated_line import SimulatedLine
from flowengine.testing.simulated_llm import (
    LlmAsked,
    LlmFails,
    LlmResponder,
    LlmStalls,
    Proposes,
    Responder,
    SimulatedLlm,
)
from flowengine.testing.simulated_tools import SimulatedTools, Tools, ToolStalls, not_scripted
from flowengine.testing.timeline import Due, Timeline

__all__ = [
    "Caller",
    "LlmFails",
    "LlmStalls",
    "Proposes",
    "Responder",
    "SimulatedCall",
    "SimulationError",
    "ToolStalls",
    "Transfer",
    "simulate",
]

WALL = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
"""A Tuesday morning."""
MOST_EVENTS = 100_000
RECONNECT_MS = 1500
ANSWER_MS = 2000


class SimulationError(FlowengineError, AssertionError):
    """The call did not go as the script expects; its text shows the transcript so far."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """How one transfer goes: rings, and if somebody answers, lasts.

    `stays` False: the caller hangs up before the other side does, so the call is over.
    """

    outcome: Literal["done", "busy", "no_answer", "declined", "failed"] = "done"
    seconds: int = 60
    stays: bool = True
    reason: str = ""


@dataclass(frozen=True)
class World:
    """Everything around the actor but the caller's script."""

    llm: LlmResponder | None = None
    tools: Tools = field(default_factory=dict)
    transfers: Sequence[Transfer] = ()
    inputs: Mapping[str, Json] = field(default_factory=dict)
    from_number: str = "+14155550100"
    to_number: str = "+14155550199"
    direction: Literal["inbound", "outbound"] = "inbound"
    answered: str = "human"
    """Outbound: `human`, `machine`, `unknown`, or why nobody was reached (`busy`, `no_answer`)."""
    wall: datetime = WALL
    call_id: str = "call_simulated"
    keeps_sensitive: bool = True
    """Whether a checkpoint keeps sensitive values (it does where there is a secret key)."""
    voice_fails: Callable[[str], str] = field(default=lambda text: "")
    """From a clause to the code with which its synthesis fails, or ""."""
    foresees_after_ms: int | None = None
    """How long after the last word the recogniser foresees the end of a turn, if it does."""
    last_interim_after_ms: int | None = None
    """How long after the last word an interim has all of them, if one does."""
    on_said: Callable[[Said], None] = field(default=lambda said: None)
    server: ServerDefaults | None = None
    """Providers as they stand in requests; None: simulated ones."""
    ask_llm: LlmAsked | None = None
    """Answers requests instead of `llm`, and sees the provider too."""
    run_tool: Callable[[RunTool], ToolResult] = not_scripted
    """Runs the tools that are not in `tools`."""
    is_live: bool = False
    """Somebody writes the script as the call goes: what is left of it when it ends is no fault."""


def simulate(
    program: Program,
    script: Iterable[Step] = (),
    *,
    llm: LlmResponder | None = None,
    tools: Tools | None = None,
    transfers: Sequence[Transfer] = (),
    inputs: Mapping[str, Json] | None = None,
    from_number: str = "+14155550100",
    wall: datetime = WALL,
    **world: object,
) -> SimulatedCall:
    """Run one call to its end; after the script the caller is silent.

    Without `llm` the call has none. `tools`: by name a result, or a function of the arguments.
    `transfers`: how each transfer goes, in order. Further keywords are the fields of `World`.
    Raises SimulationError when the script's expectations are not met.
    """
    around = World(
        llm=llm,
        tools=tools or {},
        transfers=transfers,
        inputs=inputs or {},
        from_number=from_number,
        wall=wall,
        **world,  # type: ignore[arg-type]  # a wrong name or type is a TypeError of World
    )
    return Simulation(program, iter(script), around).run()


class Simulation:
    """One call being simulated."""

    def __init__(self, program: Program, script: Iterator[Step], world: World) -> None:
        self._program = program
        self._world = world
        self.timeline = Timeline()
        self._setup = setup_of(world)
        self.actor = Actor(self._setup, program)
        self.line = SimulatedLine(self.timeline, self.feed, world.voice_fails)
        responder = world.llm or Responder()
        asked = world.ask_llm or (lambda effect: responder(effect.request))
        self._llm = SimulatedLlm(self.timeline, self.feed, asked)
        self._tools = SimulatedTools(self.timeline, self.feed, world.tools, world.run_tool)
        self._caller = SimulatedCaller(script, self)
        self._transfers = list(world.transfers)
        self._facts: list[tuple[int, Fact]] = []
        self._journal: list[JournalRecord] = []
        self._checkpoints: list[Mapping[str, Json]] = []
        self._steps_taken: list[Mapping[str, Json]] = []
        self.transcript: list[Said] = []
        self.endpointing_ms = 300
        self.foresees_after_ms = world.foresees_after_ms
        self.last_interim_after_ms = world.last_interim_after_ms
        self.is_line_open = False
        self.is_over = False
        self._tick: Due | None = None
        self._events = 0

    # --- running ---

    def run(self) -> SimulatedCall:
        """Run to the end of the call."""
        self._open_line(resumed=False)
        if self._world.direction == "outbound" and not self._setup.call.answered_by:
            self.timeline.after(ANSWER_MS, self._callee)
        try:
            while not self.is_over:
                self._caller.look()
                if self.is_over:
                    break
                if self.timeline.next_ms is None:
                    raise self._error("stuck", f"nothing is due at {self.actor.node!r}")
                self.timeline.step()
            if not self._world.is_live:
                self._caller.call_over()
        except Unmet as unmet:
            raise self._error("unmet", str(unmet)) from None
        return self._result()

    def feed(self, event: Input) -> None:
        """Give the actor an event now, and do what it says."""
        self._events += 1
        if self._events > MOST_EVENTS:
            raise self._error("endless", f"more than {MOST_EVENTS} events")
        if self.actor.is_over:
            return
        now_ms = self.timeline.now_ms
        self._record("input", input_body(event, is_sensitive=self.actor.hears_sensitive))
        for effect in self.actor.receive(event, now_ms):
            self._do(effect)
        self._watch_time()
        if self.actor.is_over:
            self._actor_over()

    def hang_up(self) -> None:
        """The caller hangs up."""
        self.say(Said(self.timeline.now_ms, "line", "(the caller hangs up)"))
        self.is_line_open = False
        self.line.close()
        self.feed(LineClosed("hung_up"))

    def lose_line(self) -> None:
        """The stream breaks; the carrier opens another."""
        self.say(Said(self.timeline.now_ms, "line", "(the line breaks)"))
        self.is_line_open = False
        self.line.close()
        self.feed(LineClosed("lost"))
        if not self.is_over:
            raise self._error("stuck", "the call did not leave its broken line")
        self.is_over = False
        self.timeline.after(RECONNECT_MS, self._resume)

    def say(self, said: Said) -> None:
        """Add a line to the transcript."""
        self.transcript.append(said)
        self._world.on_said(said)

    # --- what the actor says ---

    def _do(self, effect: Effect) -> None:
        self._record(*effect_record(effect))
        match effect:
            case Report(fact):
                self._facts.append((self.timeline.now_ms, fact))
                if isinstance(fact, UtteranceSpoken):
                    self._utterance(fact)
            case SaveCheckpoint(checkpoint):
                self._checkpoints.append(checkpoint)
            case AskLlm():
                self._llm.ask(effect)
            case CancelLlm(generation, wasted):
                self._llm.cancel(generation, wasted=wasted)
            case RunTool():
                self._tools.run(effect)
            case Listen():
                self.endpointing_ms = effect.endpointing_ms
            case LeaveLine(step):
                self._leave(step)
            case _:
                self._sound(effect)

    def _sound(self, effect: Effect) -> None:
        """What concerns the bot's voice."""
        match effect:
            case Speak():
                self.line.speak(effect)
            case CoverSilence():
                self.line.cover(effect)
            case CutSpeech(floor):
                self.line.cut(floor)
            case PauseSpeech():
                self.line.pause()
            case ResumeSpeech():
                self.line.resume(effect)
            case DropClauses(generation):
                self.line.drop_clauses(generation)
            case ConfirmReply(_, utterance) if utterance is not None:
                self.line.release(utterance)

    def _utterance(self, fact: UtteranceSpoken) -> None:
        at_ms = self.line.started_ms(fact.generation)
        if at_ms is None:
            return
        text = fact.text.strip()
        self.say(Said(at_ms, "bot", text, fact.heard.strip(), fact.cut, fact.node))

    def _leave(self, step: Mapping[str, Json]) -> None:
        self._steps_taken.append(step)
        self.is_line_open = False
        self.line.close()

    def _actor_over(self) -> None:
        """The media phase is over: the call too, unless a transfer brings it back."""
        step = self._steps_taken[-1] if self._steps_taken else {}
        is_transfer = step.get("do") == "dial" and ended(self._facts) is None
        if not is_transfer or self._caller.has_hung_up:
            self.is_over = True
            return
        plan = self._transfers.pop(0) if self._transfers else Transfer()
        numbers = ", ".join(step["to"])
        self.say(Said(self.timeline.now_ms, "line", f"(transfer to {numbers}: {plan.outcome})"))
        if plan.outcome == "done" and not plan.stays:
            self.is_over = True
            return
        rings_ms = step["ring_s"] * 1000 if plan.outcome == "no_answer" else 5000
        lasts_ms = plan.seconds * 1000 if plan.outcome == "done" else 0
        to = step["to"][-1] if step["to"] else ""
        outcome = TransferEnded(plan.outcome, to, lasts_ms // 1000, plan.reason)
        self.timeline.after(rings_ms + lasts_ms, lambda: self._resume(outcome))

    # --- the line ---

    def _open_line(self, *, resumed: bool) -> None:
        self.is_line_open = True
        wall = self._world.wall + timedelta(milliseconds=self.timeline.now_ms)
        self.feed(LineOpened(wall.isoformat(), resumed))

    def _resume(self, outcome: TransferEnded | None = None) -> None:
        """Go on from the last checkpoint in a new actor, as another worker would."""
        checkpoint = self._checkpoints[-1]
        sensitive = checkpoint["sensitive"] if self._world.keeps_sensitive else {}
        self.actor = Actor.restore(self._setup, self._program, checkpoint, sensitive)
        self._open_line(resumed=True)
        if outcome is not None:
            self.feed(outcome)

    def _callee(self) -> None:
        match self._world.answered:
            case "human" | "machine" | "unknown" as by:
                self.feed(CalleeAnswered(by))
            case reason:
                self.feed(CalleeUnreached(reason))

    # --- time and records ---

    def _watch_time(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        due_ms = self.actor.deadline_ms
        if due_ms is not None:
            delay_ms = due_ms - self.timeline.now_ms
            self._tick = self.timeline.after(
                delay_ms, lambda: self.feed(Ticked()), is_background=True
            )

    def _record(self, family: Literal["input", "fact", "effect"], body: Mapping[str, Json]) -> None:
        self._journal.append(
            JournalRecord(len(self._journal) + 1, self.timeline.now_ms, family, body)
        )

    def _error(self, code: str, what: str) -> SimulationError:
        lines = "\n".join(str(said) for said in self.transcript) or "(nothing was said)"
        nodes = " → ".join(hop.node for hop in hops_of(self._facts))
        waits = ", ".join(sorted(self.actor.waits))
        return SimulationError(
            code,
            f"{what}\n\n{lines}\n\nway: {nodes}\nwaiting for: {waits or 'nothing'}",
            where=f"{self._program.flow.id} at {self.timeline.now_ms / 1000:.1f} s",
        )

    def _result(self) -> SimulatedCall:
        last = ended(self._facts)
        return SimulatedCall(
            transcript=tuple(sorted(self.transcript, key=lambda said: said.at_ms)),
            path=hops_of(self._facts),
            values=dict(self.actor.values),
            disposition=last.disposition if last else "transferred",
            reason=last.reason if last else "",
            outputs=last.outputs if last else {},
            duration_ms=self.timeline.now_ms,
            facts=tuple(self._facts),
            journal=tuple(self._journal),
            checkpoints=tuple(self._checkpoints),
            conversation=self.actor.conversation,
            llm_requests=tuple(self._llm.requests),
            transfers=tuple(s for s in self._steps_taken if s.get("do") == "dial"),
            really_heard=self.line.heard_text,
        )


def setup_of(world: World) -> CallSetup:
    """What the actor of a simulated call begins with."""
    incoming = world.direction == "inbound"
    ours, theirs = world.to_number, world.from_number
    call = CallFacts(
        id=world.call_id,
        direction=world.direction,
        from_=theirs if incoming else ours,
        to=ours if incoming else theirs,
    )
    return CallSetup(
        CallId(world.call_id), call, world.server or _server(world), "simulated", world.inputs
    )


def _server(world: World) -> ServerDefaults:
    simulated = {"provider": "simulated"}
    return ServerDefaults(
        SttUse.model_validate(simulated),
        None if world.llm is None else LlmUse.model_validate(simulated),
        TtsUse.model_validate(simulated),
    )
