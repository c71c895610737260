"""A call's way through its flow: visits of nodes, values, sub-flows; entering and leaving.

Pure part of the actor. It is the `Host` of the visits. Leaving a node is one step: close the
coroutine, drop or keep what is being said as the trigger asks, record the decision, enter,
checkpoint, one opening. How a call ends is the business of its `Exit`, the actor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flowengine.events import FaultMet, Json, MoveRefused, NodeEntered, ToolEnded, TransferEnded
from flowengine.flow import values
from flowengine.flow.parts import Part
from flowengine.ids import NodeId
from flowengine.nodes import stage as asked
from flowengine.nodes.stage import Outcome
from flowengine.runtime import phrases
from flowengine.runtime.context import Context, Frame, evaluated
from flowengine.runtime.drive import EnteredBy
from flowengine.runtime.effects import SaveCheckpoint
from flowengine.runtime.keys import Keys
from flowengine.runtime.snapshot import snapshot
from flowengine.runtime.speaking import Speaking
from flowengine.runtime.thinking import Thinking
from flowengine.runtime.turns import Turns
from flowengine.runtime.visit import Visit, value_set
from flowengine.runtime.walk import By, Move, Walk

HOPS = 1000
DEEPEST = 16
_BY_CALLER = ("dialog", "menu", "collect")


class Exit(Protocol):
    """How the journey ends."""

    def leave(self, step: Mapping[str, Json], disposition: str = "", reason: str = "flow") -> None:
        """End the media phase by `step` once everything was spoken."""

    def apologise(self, disposition: str) -> None:
        """Say that something went wrong, then hang up."""

    def finish(self, disposition: str, reason: str) -> None:
        """The call is over now."""


class Journey:
    """Where a call is, and how it goes on."""

    def __init__(
        self,
        context: Context,
        parts: tuple[Speaking, Thinking, Turns, Keys, Walk],
        exit_: Exit,
    ) -> None:
        self._context = context
        self._parts = parts
        self._speaking, self._thinking, self._turns, self._keys, self._walk = parts
        self._exit = exit_
        self.visits: list[Visit] = []
        self._move: Move | None = None
        self._entering: tuple[NodeId, EnteredBy] | None = None
        self._hops = 0
        self.line_is_open = False
        self.pending_turn = ""
        self.pending_keys = ""
        self.tool_ledger: dict[str, dict[str, Json]] = {}
        self.turn_count = 0
        self._awaits_transfer = False
        self._hears_otherwise = False
        """An edge changed whether the call is recorded: the next node says so at once."""

    # --- begin ---

    def bind(self, inputs: Mapping[str, Json]) -> None:
        """Give the flow its inputs and defaults, through each variable's own grammar."""
        self._fill(self._context.frame, inputs)

    def start(self) -> None:
        self._entering = (NodeId(self._context.program.flow.start), "start")

    def go_on(self) -> None:
        """After a checkpoint: outer nodes to where they wait, then the one that was running."""
        context = self._context
        is_away = context.operated.away is not None
        frames, context.frames = context.frames, []
        for frame in frames:
            context.frames.append(frame)
            self._report_entry(frame.node, "resume")
            is_inner = frame is frames[-1]
            is_cut_off = is_inner and not is_away
            words = phrases.cut_off(context.spoken_language) if is_cut_off else ()
            visit = self._new_visit(frame.node, words)
            self.visits.append(visit)
            if not is_inner:
                visit.wait_for_subflow()
            elif is_away or visit.node.kind == "transfer":
                self._awaits_transfer = True
            else:
                visit.start(entered_by="resume", resumed=True)

    @property
    def awaits_transfer(self) -> bool:
        """Restored at a transfer: how it went is still to be told."""
        return self._awaits_transfer

    def restart_transfer(self) -> None:
        """Nothing was told of the transfer: its node runs again."""
        self._awaits_transfer = False
        self._context.operated.away = None
        self.visits[-1].start(entered_by="resume", resumed=True)

    def _fill(self, frame: Frame, inputs: Mapping[str, Json]) -> list[str]:
        """Set inputs and defaults; returns required inputs that are missing or not valid."""
        context = self._context
        missing = []
        for name, variable in frame.program.flow.variables.items():
            given = inputs.get(name) if variable.input else None
            value = variable.default if given is None else given
            taken = (
                None
                if value is None
                else values.accept(variable, value, frame.program, context.scope(frame))
            )
            if isinstance(taken, values.Accepted):
                frame.values[name] = taken.value
            elif taken is not None:
                context.report(MoveRefused("input", f"{name} does not take this value"))
            is_required = variable.input and "default" not in variable.model_fields_set
            if is_required and name not in frame.values:
                missing.append(name)
        return missing

    # --- what a visit asks for (Host) ---

    def set_value(self, name: str, value: Json, by: str) -> asked.Accepted | asked.Rejected:
        """Set a variable of the running flow; its own grammar and `valid` decide."""
        context = self._context
        frame = context.frame
        if value is None:
            frame.values.pop(name, None)
            context.report(value_set(context, name, None, by))
            self.checkpoint()
            return asked.Accepted(None)
        variable = frame.program.flow.variables[name]
        taken = values.accept(variable, value, frame.program, context.scope())
        if isinstance(taken, values.Rejected):
            return asked.Rejected(taken.invalid)
        frame.values[name] = taken.value
        context.report(value_set(context, name, taken.value, by))
        self.checkpoint()
        return asked.Accepted(taken.value)

    def changed(self) -> bool:
        """Values changed: whether a `when` edge fires, which leaves the node."""
        return self.take(self._walk.on_change())

    def take_intent(self, intent_id: str, by: By, quote: str, took_ms: int) -> bool:
        return self.take(self._walk.on_intent(intent_id, by, quote=quote, took_ms=took_ms))

    def take(self, move: Move | None) -> bool:
        """Go by an edge, at the end of this step; whether there is one."""
        if move is not None:
            self._move = move
        return move is not None

    def call_flow(self, request: asked.CallFlow) -> str:
        """Enter a sub-flow: a frame of its own above this one; a reason when it cannot be."""
        context = self._context
        program = context.program.subflows.get(request.flow)
        if program is None:
            return "unknown_flow"
        if len(context.frames) >= DEEPEST:
            return "too_deep"
        frame = Frame(program, node=NodeId(program.flow.start))
        missing = self._fill(frame, request.inputs)
        if missing:
            return f"missing_input: {', '.join(missing)}"
        context.frames.append(frame)
        self._entering = (frame.node, self.visits[-1].entered_by)
        return ""

    def leave_for(self, request: asked.Transfer) -> None:
        """Leave the line for a transfer; what is being said is said to the end first."""
        self._exit.leave(
            {
                "do": "dial",
                "to": list(request.to),
                "ring_s": max(1, request.ring_ms // 1000),
                "longest_s": max(1, request.longest_ms // 1000),
                "caller_id": request.caller_id,
                "press": request.press,
            }
        )

    # --- what comes from outside ---

    def tool_ended(self, event: ToolEnded) -> None:
        """Every tool has one outcome in the ledger, also when nobody waits for it any more."""
        entry = self.tool_ledger.get(event.key)
        if entry is None or entry["outcome"]:
            self._context.report(MoveRefused("tool_ended", "unknown or repeated tool outcome"))
            return
        entry.update(outcome=event.outcome, status=event.status, body=event.body, error=event.error)
        self.checkpoint()
        for visit in self.visits:
            visit.tool_ended(event)

    def transfer_ended(self, event: TransferEnded) -> None:
        """How the transfer went, for which the call had left its line."""
        if not self._awaits_transfer:
            self._context.report(MoveRefused("transfer_ended", "no transfer is under way"))
            return
        self._awaits_transfer = False
        operated = self._context.operated
        if operated.away is not None:
            back, operated.away = operated.away, None
            self._back_from_operators(back, event)
            return
        result = {"to": event.to, "seconds": event.seconds, "reason": event.reason}
        self.visits[-1].outcome = Outcome(event.outcome, result)

    def _back_from_operators(self, back: str, event: TransferEnded) -> None:
        """A transfer that no node asked for is over: to the node that was named for it, else on."""
        if back:
            self.move_to(back, {"transfer": event.outcome})
        elif event.outcome == "done":
            self._exit.leave({"do": "hang_up"}, "transferred", "operator")
        else:
            self.visits[-1].start(entered_by="resume", resumed=True)

    def has_node(self, node: str) -> bool:
        """Whether the call can be moved to a node: one of a flow that runs."""
        return self._walk.depth_of(node) is not None

    def move_to(self, node: str, trigger: Mapping[str, Json]) -> None:
        """Leave the running node as by an edge, for this one."""
        self.take(self._walk.on_operator(node, trigger))

    def caller_left(self) -> None:
        """The caller hung up: the `hung_up` edge, or the end."""
        self._move = self._entering = None
        if self.visits and self.visits[-1].node.kind == "hangup":
            disposition = getattr(self.visits[-1].node, "disposition", "")
            self._exit.finish(disposition or "hung_up", "hung_up")
            return
        self._move = self._walk.on_outcome("hung_up")

    # --- going on ---

    def settle(self) -> bool:
        """One move of the walk, if there is one to make; whether there was."""
        visit = self.visits[-1] if self.visits else None
        if self._move is not None:
            move, self._move = self._move, None
            self._go(move)
        elif self._entering is not None:
            (node, by), self._entering = self._entering, None
            self._enter(node, by)
        elif visit is not None and visit.outcome is not None:
            self._node_ended(visit, visit.outcome)
        else:
            return False
        return True

    def close(self) -> None:
        """Leave every node where it waits."""
        self._move = self._entering = None
        self._awaits_transfer = False
        for visit in self.visits:
            visit.close()

    def _node_ended(self, visit: Visit, outcome: Outcome) -> None:
        visit.outcome = None
        visit.close()
        context = self._context
        if visit.node.kind == "hangup" and outcome.name != "error":
            self._exit.leave({"do": "hang_up"}, outcome.disposition or "completed")
            return
        if visit.node.kind == "return" and outcome.name != "error":
            self._return(outcome)
            return
        context.result = dict(outcome.result)
        for name, value in evaluated(context, visit.node.save, outcome.result):
            taken = self.set_value(name, value, "save")
            if isinstance(taken, asked.Rejected):
                context.report(MoveRefused("save", f"{name} does not take this value"))
        self._go(self._walk.on_outcome(outcome.name))
        context.result = None

    def _return(self, outcome: Outcome) -> None:
        """Leave a sub-flow; at the outermost flow it is the call's end."""
        context = self._context
        if len(context.frames) == 1:
            self._exit.leave({"do": "hang_up"}, outcome.name)
            return
        inner = context.frames.pop()
        self.visits.pop()
        given = {**_outputs(inner), **outcome.result}
        self.visits[-1].answer(asked.SubflowEnded(outcome.name, given))

    def _go(self, move: Move) -> None:
        """Leave the running node by an edge, or by the built-in end."""
        context = self._context
        for visit in self.visits[move.depth :]:
            visit.close()
        if move.to is None:
            self._built_in(move)
            return
        if move.by in ("key", "value", "operator"):
            self._turns.forget()
            self._speaking.cut(by_caller=False)
        elif move.by == "turn":
            self._speaking.drop_waiting()
        del context.frames[move.depth + 1 :]
        del self.visits[move.depth :]
        for name, value in move.sets:
            self._assign(name, value)
        context.result = None
        unanswered = self._speaking.unanswered
        by = unanswered if move.by == "outcome" and unanswered else move.by
        self._entering = (move.to, by)

    def _assign(self, name: str, value: Json) -> None:
        context = self._context
        if name == "language":
            context.language = None if value is None else str(value)
        elif name == "recording":
            context.recording = None if value is None else bool(value)
            self._hears_otherwise = True
        elif isinstance(self.set_value(name, value, "edge"), asked.Rejected):
            context.report(MoveRefused("set", f"{name} does not take this value"))

    def _built_in(self, move: Move) -> None:
        if not self.line_is_open:
            self._exit.finish(move.disposition, "hung_up")
        elif move.built_in == "apology":
            self._exit.apologise(move.disposition)
        else:
            self._exit.leave({"do": "hang_up"}, move.disposition)

    def _enter(self, node: NodeId, by: EnteredBy) -> None:
        context = self._context
        self._hops += 1
        if self._hops > HOPS:
            context.report(FaultMet("too_many_hops", "walk"))
            self._exit.apologise("failed")
            return
        self._walk.enter(node)
        self._report_entry(node, by)
        visit = self._new_visit(node, ())
        if not self.line_is_open and visit.node.needs_line:
            self._exit.finish("hung_up", "hung_up")
            return
        self.visits.append(visit)
        self.checkpoint()
        if self._walk.is_spinning():
            context.report(FaultMet("node_visits", "walk"))
            self._walk.caller_acted()
            visit.fail("node_visits")
            return
        if self._hears_otherwise:
            self._hears_otherwise = False
            visit.listen(asked.Expect())
        if not self.changed():
            visit.start(entered_by=by, resumed=False)

    def _report_entry(self, node: NodeId, by: EnteredBy) -> None:
        frame = self._context.frame
        kind = frame.program.node(node).kind
        self._context.report(NodeEntered(node, kind, frame.visits.get(node, 1), by))

    def _new_visit(self, node: NodeId, resume_words: tuple[Part, ...]) -> Visit:
        parts = (self._context, *self._parts)
        return Visit(self._context.program.node(node), self, parts, resume_words)

    def checkpoint(self) -> None:
        document = snapshot(self._context, self.tool_ledger, self.turn_count)
        self._context.do(SaveCheckpoint(document))


def _outputs(frame: Frame) -> dict[str, Json]:
    return {
        name: frame.values[name]
        for name, variable in frame.program.flow.variables.items()
        if variable.output and frame.values.get(name) is not None
    }
