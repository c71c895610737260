"""The call's actor: typed events in, effects out. It composes turn taking, playout and the walk.

Pure: no clock, no I/O, no asyncio. `receive(event, now_ms)` is one step; `deadline_ms` says when it
wants a `Ticked`. The same actor answers the phone, runs a text call on a virtual clock, and is
driven again by a replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flowengine.commands import (
    OperatorEnded,
    OperatorMoved,
    OperatorSaid,
    OperatorTransferred,
)
from flowengine.events import (
    AudioSent,
    CallBegan,
    CalleeAnswered,
    CalleeUnreached,
    CallEnded,
    CallResumed,
    ClauseReady,
    DigitPressed,
    EndpointForeseen,
    EndpointReached,
    EndpointRevoked,
    EndRequested,
    FaultMet,
    HearingFailed,
    Input,
    InterimHeard,
    Json,
    LineClosed,
    LineOpened,
    MarkReached,
    MoveRefused,
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
    WaitPassed,
)
from flowengine.flow.program import Program
from flowengine.flow.scope import CallFacts
from flowengine.ids import CallId, NodeId
from flowengine.runtime.context import Context, ServerDefaults, outputs
from flowengine.runtime.conversation import Entry
from flowengine.runtime.effects import Effect, LeaveLine, Piece
from flowengine.runtime.foreseen import STABLE_WORDS
from flowengine.runtime.journey import Journey
from flowengine.runtime.keys import Keys
from flowengine.runtime.listening import Listening
from flowengine.runtime.snapshot import restore
from flowengine.runtime.speaking import APOLOGY, Ended, Speaking
from flowengine.runtime.steering import Steering
from flowengine.runtime.thinking import Thinking
from flowengine.runtime.turns import Turns
from flowengine.runtime.visit import Visit
from flowengine.runtime.walk import Walk

GRACE_MS = 30_000
"""From `time_up` to the end; and the most that last words may take to be spoken."""
TRANSFER_MS = 5000
"""After a restart in a transfer, how it went is told at once, or never."""

_SHORT_WAITS = frozenset({"barge_in", "resume", "endpoint", "inter_digit", STABLE_WORDS})
"""Waits that mostly come to their limit: that is no news."""
_LISTENING_WAITS = _SHORT_WAITS | {"stt_final", "utterance"}


@dataclass(frozen=True, slots=True)
class CallSetup:
    """What a call begins with."""

    call_id: CallId
    call: CallFacts
    server: ServerDefaults
    carrier: str
    inputs: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the media phase will end, once everything was spoken."""

    step: Mapping[str, Json]
    disposition: str
    reason: str


class Actor:
    """One call."""

    def __init__(self, setup: CallSetup, program: Program) -> None:
        self._setup = setup
        context = self._context = Context(setup.call, program, setup.server, setup.call_id)
        speaking = self._speaking = Speaking(context)
        thinking = self._thinking = Thinking(context, speaking)
        turns, keys, walk = Turns(context.waits), Keys(context.waits), Walk(context)
        self._turns, self._keys = turns, keys
        self._walk = walk
        self._journey = Journey(context, (speaking, thinking, turns, keys, walk), self)
        self._listening = Listening(context, self._journey, (speaking, turns, keys, walk))
        self._steering = Steering(context, self._journey, (speaking, thinking, turns, keys), self)
        self._ending: _Ending | None = None
        self._is_resumed = False
        self._has_opened = False
        self.is_over = False

    @classmethod
    def restore(
        cls,
        setup: CallSetup,
        program: Program,
        checkpoint: Mapping[str, Json],
        sensitive: Mapping[str, Mapping[str, Json]] | None = None,
    ) -> Actor:
        """The call as its checkpoint has it; it goes on with `LineOpened(resumed=True)`."""
        actor = cls(setup, program)
        restored = restore(actor._context, checkpoint, sensitive or {})
        actor._journey.tool_ledger = restored.tool_ledger
        actor._journey.turn_count = restored.turn_count
        actor._is_resumed = True
        return actor

    # --- what others ask ---

    @property
    def deadline_ms(self) -> int | None:
        """When a `Ticked` is wanted; None once the call is over."""
        return None if self.is_over else self._context.waits.deadline_ms

    @property
    def hears_sensitive(self) -> bool:
        """Whether digits and words that come now must not be journalled as they are."""
        return bool(self._journey.visits) and self._journey.visits[-1].is_sensitive

    @property
    def waits(self) -> frozenset[str]:
        """The names of what the call waits for."""
        return self._context.waits.names

    @property
    def conversation(self) -> tuple[Entry, ...]:
        """The conversation as the caller heard it."""
        return self._context.conversation.entries

    @property
    def values(self) -> Mapping[str, Json]:
        """The values of the call's own flow."""
        return self._context.frames[0].values

    @property
    def node(self) -> NodeId:
        """The running node."""
        return self._context.frame.node

    # --- the step ---

    def receive(self, event: Input, now_ms: int) -> list[Effect]:
        """Take one event; returns what is to be done about it, in order."""
        if self.is_over:
            return []
        self._context.begin(now_ms)
        self._take(event)
        self._settle()
        return self._context.take_effects()

    def _take(self, event: Input) -> None:
        match event:
            case LineOpened():
                self._line_opened(event)
            case LineClosed(reason):
                self._line_closed(reason)
            case AudioSent():
                self._thinking.covering.sounds(event.generation)
                self._spoken(self._speaking.sent(event))
            case MarkReached():
                self._spoken(self._speaking.marked(event))
            case SpeakingFailed():
                if not self._thinking.voice_failed(event):
                    self._spoken(self._speaking.failed(event))
            case Ticked():
                self._ticked()
            case EndRequested(reason):
                self._context.report(FaultMet(reason, "engine"))
                self.apologise(reason)
            case OperatorSaid() | OperatorMoved() | OperatorTransferred() | OperatorEnded():
                self._steering.take(event, None if self._ending is None else self._ending.step)
            case ToolEnded():
                self._journey.tool_ended(event)
            case TransferEnded():
                self._context.waits.stop("transfer")
                self._journey.transfer_ended(event)
            case _:
                self._while_running(event)

    def _while_running(self, event: Input) -> None:
        """Events that concern a node; a call that is only ending has none."""
        visit = self._visit
        if visit is None:
            # Nobody waits for it, but what it used counts.
            if isinstance(event, ReplyEnded):
                self._thinking.ended(event)
            elif isinstance(event, ReplyFailed):
                self._thinking.failed(event)
            return
        match event:
            case ClauseReady():
                visit.replying.clause(event)
            case ToolProposed():
                self._thinking.proposed(event)
            case ReplyEnded():
                visit.replying.reply_ended(event)
            case ReplyFailed():
                visit.replying.reply_failed(event)
            case CalleeAnswered() | CalleeUnreached():
                visit.callee(event)
            case CallResumed():
                visit.resumed(event)
            case _ if self._journey.line_is_open:
                self._hear(event)

    def _hear(self, event: Input) -> None:
        match event:
            case DigitPressed(digit):
                self._listening.press(digit)
            case HearingFailed(code):
                self._listening.failed(code)
            case (
                SpeechStarted()
                | SpeechStopped()
                | InterimHeard()
                | SegmentHeard()
                | EndpointReached()
            ):
                self._listening.hear(event)
            case EndpointForeseen() | EndpointRevoked():
                self._listening.foresee(event)

    @property
    def _visit(self) -> Visit | None:
        """The node that runs, unless the call is only waiting to end."""
        visits = self._journey.visits
        return visits[-1] if visits and self._ending is None else None

    def _settle(self) -> None:
        """Go on until the call waits for something."""
        while not self.is_over and self._ending is None:
            if not (self._journey.settle() or self._steering.settle()):
                break
        if self._ending is not None and not self.is_over and self._speaking.is_quiet:
            self._finish(self._ending)

    def _spoken(self, ended: list[Ended]) -> None:
        ended = self._steering.without_faults(ended)
        visit = self._visit
        if visit is not None:
            visit.spoken(ended)
        elif any(item.failed for item in ended):
            self._speaking.cut(by_caller=False)

    # --- the line ---

    def _line_opened(self, event: LineOpened) -> None:
        context, journey = self._context, self._journey
        if self._has_opened:
            context.report(MoveRefused("line_opened", "an actor has one line"))
            return
        self._has_opened = journey.line_is_open = True
        context.set_wall(datetime.fromisoformat(event.wall).astimezone(UTC))
        context.waits.start("call", context.now_ms, context.call_limit_ms)
        if self._is_resumed:
            journey.go_on()
            if journey.awaits_transfer:
                context.waits.start("transfer", context.now_ms, TRANSFER_MS)
            return
        flow = context.program.flow
        context.report(
            CallBegan(
                context.call_id,
                context.call.direction,
                flow.id,
                context.program.version,
                self._setup.carrier,
                event.wall,
            )
        )
        journey.bind(self._setup.inputs)
        journey.start()

    def _line_closed(self, reason: str) -> None:
        context, journey = self._context, self._journey
        if not journey.line_is_open:
            return
        journey.line_is_open = False
        self._speaking.cut(by_caller=False)
        self._steering.drop()
        self._turns.forget()
        self._keys.forget()
        context.waits.stop_all_but("tool", "call", "call_grace", "reply")
        if self._ending is not None:
            self._finish(self._ending)
        elif reason == "lost":
            # The carrier comes back by its next webhook, and any worker goes on from here.
            journey.checkpoint()
            journey.close()
            self.is_over = True
        else:
            journey.caller_left()

    # --- time ---

    def _ticked(self) -> None:
        context = self._context
        while not self.is_over:
            wait = context.waits.passed(context.now_ms)
            if wait is None:
                return
            if wait.name not in _SHORT_WAITS:
                context.report(WaitPassed(wait.name, wait.limit_ms))
            self._wait_passed(wait.name)
            self._settle()

    def _wait_passed(self, name: str) -> None:
        context = self._context
        visit = self._visit
        match name:
            case "last_mark" | "speech":
                self._spoken(self._speaking.wait_passed(name))
            case "call":
                context.waits.start("call_grace", context.now_ms, GRACE_MS)
                if visit is not None and self._journey.take(self._walk.on_time_up()):
                    # The last words must not wait behind a long reply.
                    self._speaking.cut(by_caller=False)
            case "call_grace":
                self._finish(self._ending or _Ending({"do": "hang_up"}, "time_up", "time_up"))
            case "leave" if self._ending is not None:
                self._finish(self._ending)
            case "transfer":
                self._journey.restart_transfer()
            case _ if name in _LISTENING_WAITS:
                if visit is not None:
                    self._listening.wait_passed(name)
            case _ if visit is not None:
                visit.wait_passed(name)

    # --- the end (Exit) ---

    def leave(self, step: Mapping[str, Json], disposition: str = "", reason: str = "flow") -> None:
        """End the media phase once everything was spoken: say, drain, then hang up or transfer."""
        if not self._journey.line_is_open:
            self._finish(_Ending(step, disposition, reason))
            return
        self._ending = _Ending(step, disposition, reason)
        self._steering.drop()
        self._turns.forget()
        self._keys.forget()
        self._thinking.cancel()
        if self._speaking.is_paused:
            self._speaking.resume()
        context = self._context
        context.waits.stop_all_but("call", "call_grace", "speech", "last_mark", "tool")
        context.waits.start("leave", context.now_ms, GRACE_MS)

    def apologise(self, disposition: str) -> None:
        """Say that something went wrong, and hang up."""
        self._journey.close()
        if not self._journey.line_is_open:
            self.finish(disposition, "failed")
            return
        if self._ending is not None:
            return
        self._speaking.cut(by_caller=False)
        utterance = self._speaking.open(interruptible=False)
        self._speaking.add(utterance, Piece(0, "audio", APOLOGY), last=True)
        self.leave({"do": "hang_up"}, disposition or "failed", "failed")

    def finish(self, disposition: str, reason: str) -> None:
        """The call is over now."""
        self._finish(_Ending({"do": "hang_up"}, disposition, reason))

    def _finish(self, ending: _Ending) -> None:
        """The media phase, and unless it is for a transfer the call, is over now."""
        context, journey = self._context, self._journey
        if ending.step.get("do") == "dial" and journey.line_is_open:
            journey.checkpoint()
        else:
            context.report(
                CallEnded(
                    ending.disposition or "completed",
                    ending.reason,
                    outputs(context.frames[0]),
                    context.now_ms,
                )
            )
        journey.close()
        if journey.line_is_open:
            context.do(LeaveLine(ending.step))
        context.waits.stop_all_but()
        self.is_over = True
