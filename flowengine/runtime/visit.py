"""One visit of one node: what its requests mean, and which event answers them.

Pure part of the actor. A node awaits one request at a time; this performs it by speaking,
listening, thinking and tools, and answers it once. What concerns more than this node (values,
edges, sub-flows, leaving the line) it asks of its `Host`, the actor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowengine.errors import FlowError
from flowengine.events import (
    CalleeAnswered,
    CalleeUnreached,
    CallResumed,
    FaultMet,
    Json,
    ToolCalled,
    ToolEnded,
    ToolProposed,
    ValueSet,
)
from flowengine.flow.kind import Node
from flowengine.flow.parts import Composed, Part, Pause
from flowengine.flow.types import duration_ms
from flowengine.nodes import stage as asked
from flowengine.nodes.stage import Expect, Outcome, Request
from flowengine.runtime import answers
from flowengine.runtime.context import Context, evaluated, masked, masked_arguments
from flowengine.runtime.conversation import Entry, tool_result_text
from flowengine.runtime.covering import COVER
from flowengine.runtime.drive import Drive, EnteredBy, StageOfNode
from flowengine.runtime.effects import Piece, RunTool
from flowengine.runtime.expecting import is_open, understand
from flowengine.runtime.keys import Keys
from flowengine.runtime.replying import Replying
from flowengine.runtime.speaking import Ended, Speaking, pieces_of
from flowengine.runtime.thinking import Thinking
from flowengine.runtime.turns import Turns
from flowengine.runtime.walk import By, Walk

TOOL_GRACE_MS = 3000
"""Backstop behind a tool's own time limit."""
ANSWER_MS = 75_000
HOLD_BREAK_MS = 1000


class Host(Protocol):
    """What a visit asks of the actor around it."""

    pending_turn: str
    pending_keys: str
    line_is_open: bool
    tool_ledger: dict[str, dict[str, Json]]

    def set_value(self, name: str, value: Json, by: str) -> asked.Accepted | asked.Rejected:
        """Set a variable of the running flow."""

    def changed(self) -> bool:
        """Values changed: whether a `when` edge fires, which leaves the node."""

    def take_intent(self, intent_id: str, by: By, quote: str, took_ms: int) -> bool:
        """Take an intent's edge; whether it was taken."""

    def call_flow(self, request: asked.CallFlow) -> str:
        """Enter a sub-flow; a reason when it cannot be."""

    def leave_for(self, request: asked.Transfer) -> None:
        """Leave the line for a transfer, once everything was spoken."""


class Visit:
    """A node that is running."""

    def __init__(
        self,
        node: Node,
        host: Host,
        parts: tuple[Context, Speaking, Thinking, Turns, Keys, Walk],
        resume_words: tuple[Part, ...] = (),
    ) -> None:
        self.node = node
        self.outcome: Outcome | None = None
        self.entered_by: EnteredBy = "start"
        self.host = host
        self.context, self.speaking, self.thinking, self.turns, self.keys, self.walk = parts
        self._drive = Drive(node.run)  # type: ignore[attr-defined]  # every kind is a Behaviour
        self.utterance: int | None = None
        self._expect: Expect | None = None
        self.replying = Replying(self)
        self._to_say: list[Part] = []
        self.tools: dict[str, ToolProposed | None] = {}
        self._tool_count = 0
        self._resume_words = resume_words

    # --- begin and end ---

    def start(self, *, entered_by: EnteredBy, resumed: bool) -> None:
        """Run the node up to what it first waits for."""
        self.thinking.is_foreseeable = True
        self.entered_by = entered_by
        if self.node.kind == "dialog" and self.context.llm is None:
            self.outcome = Outcome("failed", {"reason": "no_llm"})
            return
        stage = self.stage(resumed=resumed)
        self._step(lambda: self._drive.start(stage))

    def stage(self, *, resumed: bool = False) -> StageOfNode:
        """The stage as the node sees it."""
        return StageOfNode(self.context, entered_by=self.entered_by, resumed=resumed)

    def wait_for_subflow(self) -> None:
        """After a checkpoint: stand where the sub-flow above was entered, doing nothing."""
        self._drive.start(StageOfNode(self.context, entered_by="resume", resumed=True))

    @property
    def lets_llm_decide(self) -> bool:
        """Whether intents are for the LLM here, not for the local matcher."""
        return self.node.kind == "dialog"

    def close(self) -> None:
        """Leave the node where it waits; tools that run go on."""
        self._drive.close()
        self.thinking.cancel()
        self.keys.forget()
        self._expect = None
        self.context.stars_in_force = True
        self.context.waits.stop("no_input", "tool", "hold", "answer", COVER)

    def fail(self, reason: str) -> None:
        """End the node with `error`."""
        self.close()
        self.outcome = Outcome("error", {"reason": reason})

    def answer(self, answer: object) -> None:
        self.utterance = None
        self._expect = None
        self.context.stars_in_force = True
        self.context.waits.stop("no_input", "tool", "hold", "answer", COVER)
        self._step(lambda: self._drive.answer(answer))
        self.replying.catch_up()

    def _step(self, step: Callable[[], Request | Outcome]) -> None:
        """Let the node run on; a Text or value that cannot be had ends it with `error`."""
        try:
            self._go_on(step())
        except FlowError as error:
            self.context.report(FaultMet(error.code, "flow", error.where))
            self.fail(error.code)

    def _go_on(self, step: Request | Outcome) -> None:
        while True:
            if isinstance(step, Outcome):
                self.outcome = step
                return
            answer = self._perform(step)
            if answer is None:
                return
            step = self._drive.answer(answer)

    def _perform(self, request: Request) -> Any:
        """Begin what a request asks for; an answer when it is answered at once."""
        if not isinstance(request, (asked.Think, asked.SetValue)):
            self.thinking.drop_ahead()
        match request:
            case asked.Say():
                return self._say(request)
            case asked.Ask():
                return self._ask(request)
            case asked.Think():
                return self.replying.think_about(request)
            case asked.CallTool():
                return self._call_tool(request)
            case asked.SetValue(name, value):
                return self._set(name, value)
            case asked.Extract():
                return self.replying.extract(request)
            case asked.SendDigits(digits):
                return self._send_digits(digits)
            case asked.Wait():
                return self._hold(request)
            case asked.AwaitAnswer():
                self.context.waits.start("answer", self.context.now_ms, ANSWER_MS)
                return None
            case asked.CallFlow():
                reason = self.host.call_flow(request)
                return asked.SubflowEnded("failed", failed=reason) if reason else None
            case asked.Transfer():
                return self._transfer(request)
            case asked.SendMessage():
                return asked.Sent(failed="not_supported")
            case asked.Record():
                return asked.Recorded(failed="not_supported")

    # --- saying ---

    def _say(self, request: asked.Say) -> asked.Spoken | None:
        parts = self._opening(request.parts)
        if not parts or not self.host.line_is_open:
            return asked.Spoken("", cut=False)
        self.context.stars_in_force = not request.is_notice
        self._speak(parts, interruptible=request.interruptible)
        return None

    def _opening(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """After a crash the first words of the node are the resume sentence."""
        if not self._resume_words:
            return parts
        words, self._resume_words = self._resume_words, ()
        return words

    def _speak(self, parts: tuple[Part, ...], *, interruptible: bool) -> None:
        if not any(isinstance(part, Composed) for part in parts):
            self.utterance = self.speaking.say(parts, interruptible=interruptible)
            return
        self.utterance = self.speaking.open(interruptible=interruptible)
        self._to_say = list(parts)
        self.say_rest()

    def say_rest(self) -> None:
        """Say parts up to the next that the LLM composes."""
        utterance = self.utterance
        if utterance is None:
            return
        while self._to_say:
            part = self._to_say.pop(0)
            if isinstance(part, Composed):
                if self.context.llm is None:
                    self.fail("no_llm")
                    return
                self.thinking.compose(part.prompt, utterance)
                return
            self.speaking.add(utterance, *pieces_of((part,)))
        self.spoken(self.speaking.end(utterance))

    def _send_digits(self, digits: str) -> asked.Spoken | None:
        if not self.host.line_is_open:
            return asked.Spoken("", cut=False)
        self.utterance = self.speaking.open(interruptible=False)
        self.speaking.add(self.utterance, Piece(0, "tones", digits), last=True)
        return None

    def spoken(self, ended: list[Ended]) -> None:
        """Utterances are over."""
        for item in ended:
            if item.failed and (item.generation == self.utterance or self.replying.is_thinking):
                self.fail(item.failed)
                return
            if item.generation == self.utterance:
                self._own_words_over(item)
        if self._expect is not None and self.speaking.is_quiet:
            self._await_input()

    def _own_words_over(self, item: Ended) -> None:
        self.utterance = None
        request = self._drive.request
        if isinstance(request, (asked.Say, asked.SendDigits)):
            self.thinking.cancel()
            self.answer(asked.Spoken(item.heard, item.cut))
        elif isinstance(request, asked.Think):
            self.replying.over(item.heard, cut=item.cut)
        elif isinstance(request, asked.Wait):
            self._hold_again(request)

    # --- listening ---

    def _ask(self, request: asked.Ask) -> asked.Answer | None:
        expect = self._expect = request.expect
        self.listen(expect)
        pending = self._pending(expect)
        if pending is not None:
            self._expect = None
            return pending
        parts = request.parts
        if self._resume_words:
            words = self._opening(())
            parts = words if is_open(expect) else (*words, Pause(250), *parts)
        if parts:
            self._speak(parts, interruptible=request.interruptible)
        elif self.speaking.is_quiet:
            self._await_input()
        return None

    def listen(self, expect: Expect) -> None:
        self.context.do(answers.listening_for(self.context, expect))

    def _pending(self, expect: Expect) -> asked.Answer | None:
        """What the caller said or keyed before he was asked, if it fits."""
        host = self.host
        keys, host.pending_keys = host.pending_keys, ""
        if expect.keys is not None:
            for place, key in enumerate(keys):
                entry = self.keys.press(key, self.context.now_ms, expect.keys, ())
                if entry is not None:
                    host.pending_keys = keys[place + 1 :]
                    answer = answers.keyed(self.context, expect, entry.digits)
                    return answer if answer.matched else None
        text, host.pending_turn = host.pending_turn, ""
        if text and not expect.sensitive:
            heard = answers.spoken(self.context, expect, text, 1.0)
            return heard if heard.matched else None
        return None

    def _await_input(self) -> None:
        """Silence counts from the moment that nobody speaks."""
        expect = self._expect
        if expect is None or "no_input" in self.context.waits:
            return
        if not self.turns.is_caller_speaking and not self.keys.entered:
            self.context.waits.start("no_input", self.context.now_ms, expect.after_ms)

    def interrupted(self) -> None:
        """The caller took the floor: what the LLM still writes is dropped."""
        if self.replying.is_thinking and not self.tools:
            self.thinking.cancel()

    def evidence(self) -> None:
        """The caller does something: silence is over."""
        self.context.waits.stop("no_input")

    def quiet(self) -> None:
        """What seemed to be speech was nothing."""
        if self._expect is not None and self.speaking.is_quiet:
            self._await_input()

    @property
    def request(self) -> Request | None:
        """What the node waits for."""
        return self._drive.request

    @property
    def expect(self) -> Expect | None:
        """What the node listens for now, if it does."""
        return self._expect

    @property
    def is_closed_question(self) -> bool:
        return self._expect is not None and not is_open(self._expect)

    @property
    def is_sensitive(self) -> bool:
        return self._expect is not None and self._expect.sensitive

    def score(self, text: str) -> float:
        """How well words fit what the node listens for; 0.0 when it does not."""
        if self._expect is None or is_open(self._expect):
            return 0.0
        context = self.context
        return understand(self._expect, text, context.frame, context.scope()).score

    def turn(self, text: str, confidence: float) -> bool:
        """A caller's turn for this node; False when the node has no use for it."""
        if self._expect is not None:
            self.cut_own_words()
            self.answer(answers.spoken(self.context, self._expect, text, confidence))
            return True
        if isinstance(self._drive.request, asked.Think):
            if self.tools:
                # The turn stands in the conversation: the LLM sees it with the tool's result.
                return True
            self.replying.abandon()
            expect = self.expect
            if expect is not None:
                self.answer(answers.spoken(self.context, expect, text, confidence))
                return True
        return False

    def keyed(self, digits: str) -> None:
        """An entry by keypad for this node."""
        if self._expect is not None:
            self.cut_own_words()
            self.answer(answers.keyed(self.context, self._expect, digits))

    def cut_own_words(self) -> None:
        if self.utterance is not None:
            self.utterance = None
            self.speaking.cut(by_caller=True)

    # --- values and tools ---

    def _set(self, name: str, value: Json) -> asked.Accepted | asked.Rejected | None:
        taken = self.host.set_value(name, value, "caller")
        if isinstance(taken, asked.Accepted) and self.host.changed():
            return None
        return taken

    def _call_tool(self, request: asked.CallTool) -> asked.ToolOutcome | None:
        context = self.context
        key = f"{context.call_id}:{context.node_entry}:{self._tool_count}"
        self._tool_count += 1
        known = self.host.tool_ledger.get(key)
        if known is not None and known.get("outcome"):
            event = ToolEnded(
                key, known["outcome"], known.get("status"), known.get("body"), known["error"]
            )
            return self._tool_outcome(request.name, event, request.arguments)
        if request.meanwhile and self.host.line_is_open:
            self.speaking.say(
                tuple(part for part in request.meanwhile if not isinstance(part, Composed)),
                interruptible=False,
            )
        self.tools[key] = None
        self.run_tool(key, request.name, request.arguments, "node")
        return None

    def run_tool(self, key: str, name: str, arguments: Mapping[str, Json], by: Any) -> None:
        context = self.context
        tool = context.program.flow.tools[name]
        barrier = getattr(tool, "method", "POST") != "GET"
        shown = masked_arguments(context.frame, arguments)
        context.report(ToolCalled(key, name, shown, by))
        self.host.tool_ledger[key] = {"tool": name, "outcome": "", "error": ""}
        context.do(RunTool(key, name, arguments, barrier, context.program.flow.id, context.scope()))
        limit_ms = duration_ms(tool.timeout or "5s") + TOOL_GRACE_MS
        context.waits.start("tool", context.now_ms, limit_ms)

    def tool_ended(self, event: ToolEnded) -> None:
        """A tool of this visit has its outcome."""
        if event.key not in self.tools:
            return
        proposal = self.tools.pop(event.key)
        if not self.tools:
            self.context.waits.stop("tool")
        request = self._drive.request
        if proposal is None:
            if isinstance(request, asked.CallTool):
                outcome = self._tool_outcome(request.name, event, request.arguments)
                if not self.host.changed():
                    self.answer(outcome)
            return
        self._tool_outcome(proposal.name, event, proposal.arguments or {})
        self.context.conversation.add(
            Entry(
                "tool_result",
                tool_result_text(
                    {"outcome": event.outcome, "body": event.body, "error": event.error}
                ),
                self.context.node_entry,
                tool=proposal.name,
                tool_id=proposal.id,
            )
        )
        if self.host.changed() or self.tools:
            return
        self.replying.go_on()

    def _tool_outcome(
        self, name: str, event: ToolEnded, arguments: Mapping[str, Json]
    ) -> asked.ToolOutcome:
        """Run the tool's own `save`, and give its outcome."""
        context = self.context
        if event.outcome == "done":
            result = {"status": event.status, "body": event.body}
            tool = context.program.flow.tools[name]
            for variable, value in evaluated(context, tool.save, result):
                self.host.set_value(variable, value, "tool")
        return asked.ToolOutcome(event.outcome, event.status, event.body, event.error)

    # --- the rest ---

    def _hold(self, request: asked.Wait) -> None:
        self.context.waits.start("hold", self.context.now_ms, request.longest_ms)
        self._hold_again(request)

    def _hold_again(self, request: asked.Wait) -> None:
        if request.hold and self.host.line_is_open:
            parts = tuple(part for part in request.hold if not isinstance(part, Composed))
            self.utterance = self.speaking.say((*parts, Pause(HOLD_BREAK_MS)), interruptible=False)

    def _transfer(self, request: asked.Transfer) -> asked.Transferred | None:
        if request.mode != "bridge":
            return asked.Transferred("not_supported", reason="not_supported")
        self.host.leave_for(request)
        return None

    def resumed(self, event: CallResumed) -> None:
        request = self._drive.request
        if isinstance(request, asked.Wait) and request.resume and request.resume == event.name:
            self._stop_holding()
            self.answer(asked.Waited(resumed=True, body=event.body))

    def _stop_holding(self) -> None:
        if self.utterance is not None:
            self.utterance = None
            self.speaking.cut(by_caller=False)

    def callee(self, event: CalleeAnswered | CalleeUnreached) -> None:
        if isinstance(self._drive.request, asked.AwaitAnswer):
            if isinstance(event, CalleeAnswered):
                self.answer(asked.Answered(event.by))
            else:
                self.answer(asked.Answered("unreached", event.reason))

    def wait_passed(self, name: str) -> None:
        """A wait of this visit came to its limit."""
        match name:
            case "no_input":
                self.speaking.answer_next("", {})
                self.answer(asked.Silence())
            case "hold":
                self._stop_holding()
                self.answer(asked.Waited(resumed=False))
            case "answer":
                self.answer(asked.Answered("unreached", "no_answer"))
            case "tool":
                for key in list(self.tools):
                    self.tool_ended(ToolEnded(key, "timeout", error="timeout"))
            case "reply":
                self.replying.overdue()
            case _ if name == COVER:
                self.replying.cover()


def value_set(context: Context, name: str, value: Json, by: Any) -> ValueSet:
    """The fact that a value was set, masked where it is sensitive."""
    return ValueSet(name, masked(context.frame, name, value), by)
