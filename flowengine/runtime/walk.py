"""Where a call is in its graph: choosing edges, entering nodes, sub-flows, and why.

Pure part of the actor. The choice itself is made by `flow.edges` (the same for engine, simulator
and checks); the walk knows the frames: an edge of the running flow first, then the `*` edges of
the flows around it, innermost first. Every choice leaves a decision record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from flowengine.events import Considered, EdgeDecided, Json
from flowengine.flow.edge_model import OnIntent
from flowengine.flow.edges import Choice, EdgeState
from flowengine.ids import EdgeId, NodeId
from flowengine.runtime.context import Context, Frame
from flowengine.runtime.drive import EnteredBy
from flowengine.runtime.prompting import IntentInForce

By = Literal["engine", "llm", "matcher"]


@dataclass(frozen=True, slots=True)
class Move:
    """Where the walk goes.

    `to`: the next node of the frame at `depth`; None with `built_in`: the spoken apology, a plain
    hang-up, or (with neither) the call's end after the caller left.
    """

    to: NodeId | None
    by: EnteredBy
    depth: int
    sets: tuple[tuple[str, Json], ...] = ()
    built_in: Literal["apology", "hangup", ""] = ""
    disposition: str = ""


class Walk:
    """Edges in force, and the record of each choice."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._idle_visits: dict[tuple[int, NodeId], int] = {}
        """Visits since the caller last did anything."""

    # --- what is in force ---

    def key_strings(self, *, own_only: bool = False) -> tuple[str, ...]:
        """The keys that edges wait for now; `own_only`: of the node's own edges."""
        found: dict[str, None] = {}
        for depth, frame in self._frames():
            if own_only and self._is_outer(depth):
                continue
            star = self._stars_in_force and not own_only
            for keys in frame.program.edges.digits(
                frame.node, only_star=self._is_outer(depth), star=star
            ):
                found[keys] = None
        return tuple(found)

    def intents(self) -> tuple[IntentInForce, ...]:
        """The intents that the caller's words may mean now, whose guards hold."""
        found = []
        for depth, frame in self._frames():
            scope = self._context.scope(frame)
            edges = frame.program.edges.intents(
                frame.node,
                scope,
                self._state(frame),
                only_star=self._is_outer(depth),
                star=self._stars_in_force,
            )
            for edge in edges:
                if isinstance(edge.on, OnIntent):
                    found.append(
                        IntentInForce(
                            self._name(edge.id, depth),
                            edge.on.intent,
                            edge.on.examples,
                            edge.on.not_,
                            depth,
                        )
                    )
        return tuple(found)

    # --- triggers ---

    def on_key(self, digits: str) -> Move | None:
        return self._first(
            lambda frame, outer: frame.program.edges.on_key(
                frame.node,
                digits,
                self._context.scope(frame),
                self._state(frame),
                only_star=outer,
                star=self._stars_in_force,
            ),
            {"digits": digits},
            "key",
        )

    def on_change(self) -> Move | None:
        return self._first(
            lambda frame, outer: frame.program.edges.on_change(
                frame.node,
                self._context.scope(frame),
                self._state(frame),
                only_star=outer,
                star=self._stars_in_force,
            ),
            {"change": True},
            "value",
            quiet=True,
        )

    def on_intent(
        self,
        intent_id: str,
        by: By,
        *,
        quote: str = "",
        score: float | None = None,
        took_ms: int = 0,
    ) -> Move | None:
        """Take the edge of an intent that was recognised, if it is still in force."""
        context = self._context
        depth, edge_id = self._named(intent_id)
        if depth >= len(context.frames):
            return None
        frame = context.frames[depth]
        choice = frame.program.edges.on_intent(
            frame.node,
            edge_id,
            context.scope(frame),
            self._state(frame),
            only_star=self._is_outer(depth),
            score=score,
        )
        trigger: dict[str, Json] = {"intent": intent_id}
        return self._take(
            choice, depth, trigger, "turn", decided_by=by, quote=quote, took_ms=took_ms
        )

    def refused(self, intent_id: str, reason: str, quote: str) -> None:
        """Record an edge that the LLM proposed and the engine did not take."""
        context = self._context
        context.report(
            EdgeDecided(
                context.frame.node,
                {"intent": intent_id},
                None,
                None,
                (Considered(intent_id, "refused", reason=reason),),
                "llm",
                quote=quote,
            )
        )

    def on_outcome(self, outcome: str) -> Move:
        """The node ended. There is always a move: at worst the built-in one of the rules."""
        context = self._context
        for depth, frame in self._frames():
            outer = self._is_outer(depth)
            choice = frame.program.edges.on_outcome(
                frame.node, outcome, context.scope(frame), self._state(frame), only_star=outer
            )
            if choice.edge is None and depth > 0:
                continue
            trigger: dict[str, Json] = {"outcome": outcome}
            move = self._take(choice, depth, trigger, "outcome")
            if move is not None:
                return move
            return self._built_in(choice, outcome)
        raise RuntimeError("a call has at least one frame")

    def on_time_up(self) -> Move | None:
        """The call has lasted as long as it may: only an edge of the flow moves it."""
        return self._first(
            lambda frame, outer: frame.program.edges.on_outcome(
                frame.node,
                "time_up",
                self._context.scope(frame),
                self._state(frame),
                only_star=outer,
            ),
            {"outcome": "time_up"},
            "outcome",
        )

    def on_operator(self, node: str, trigger: Mapping[str, Json]) -> Move:
        """Go to a node by no edge: of the running flow, else of the nearest flow around it."""
        context = self._context
        depth = self.depth_of(node)
        if depth is None:
            raise ValueError("no running flow has this node")
        left = context.frame.node
        context.report(EdgeDecided(left, trigger, None, node, (), "operator"))
        self.caller_acted()
        return Move(NodeId(node), "operator", depth)

    def depth_of(self, node: str) -> int | None:
        """The frame, innermost first, whose flow has this node."""
        for depth, frame in self._frames():
            if node in frame.program.flow.nodes:
                return depth
        return None

    # --- entering ---

    def enter(self, node: NodeId) -> int:
        """Note the entry of a node; returns which visit it is."""
        context = self._context
        frame = context.frame
        frame.node = node
        frame.tries = 1
        context.node_entry += 1
        frame.visits[node] = frame.visits.get(node, 0) + 1
        key = (len(context.frames), node)
        self._idle_visits[key] = self._idle_visits.get(key, 0) + 1
        return frame.visits[node]

    def is_spinning(self) -> bool:
        """Whether the node was entered too often without the caller doing anything."""
        context = self._context
        key = (len(context.frames), context.frame.node)
        return self._idle_visits.get(key, 0) > context.visit_limit

    def caller_acted(self) -> None:
        self._idle_visits.clear()

    # --- inside ---

    def _frames(self) -> list[tuple[int, Frame]]:
        """Frames with their depth, the running one first."""
        return list(reversed(list(enumerate(self._context.frames))))

    @property
    def _stars_in_force(self) -> bool:
        """Not in a recording notice, and not while something sensitive is asked for.

        The running node's own flow looks at that itself; the flows around it must be told.
        """
        context = self._context
        frame = context.frame
        is_private = len(context.frames) > 1 and frame.program.node(frame.node).is_private(
            frame.program.around
        )
        return context.stars_in_force and not is_private

    def _is_outer(self, depth: int) -> bool:
        return depth < len(self._context.frames) - 1

    def _state(self, frame: Frame) -> EdgeState:
        return EdgeState(self._context.now_ms, frame.fired_ms)

    def _name(self, edge_id: EdgeId, depth: int) -> str:
        return f"outer{depth}.{edge_id}" if self._is_outer(depth) else str(edge_id)

    def _named(self, name: str) -> tuple[int, EdgeId]:
        if name.startswith("outer") and "." in name:
            depth, _, edge_id = name.removeprefix("outer").partition(".")
            if depth.isdigit():
                return int(depth), EdgeId(edge_id)
        return len(self._context.frames) - 1, EdgeId(name)

    def _first(
        self,
        choose: Callable[[Frame, bool], Choice],
        trigger: Mapping[str, Json],
        by: EnteredBy,
        *,
        quiet: bool = False,
    ) -> Move | None:
        """The first frame with an edge for a trigger; without one, a record all the same."""
        nothing: tuple[Choice, int] | None = None
        for depth, frame in self._frames():
            choice = choose(frame, self._is_outer(depth))
            if choice.edge is not None:
                return self._take(choice, depth, trigger, by)
            if choice.considered and nothing is None:
                nothing = (choice, depth)
        if nothing is not None and not quiet:
            self._record(nothing[0], nothing[1], trigger, "engine")
        return None

    def _take(
        self,
        choice: Choice,
        depth: int,
        trigger: Mapping[str, Json],
        by: EnteredBy,
        *,
        decided_by: By = "engine",
        quote: str = "",
        took_ms: int = 0,
    ) -> Move | None:
        self._record(choice, depth, trigger, decided_by, quote=quote, took_ms=took_ms)
        if choice.edge is None:
            return None
        frame = self._context.frames[depth]
        frame.fired_ms[choice.edge.id] = self._context.now_ms
        left = frame.node
        to = choice.to
        entered_by = by
        if to == "@back":
            to, entered_by = frame.back or frame.node, "back"
        elif by in ("turn", "key", "value"):
            frame.back = left
        return Move(NodeId(str(to)), entered_by, depth, choice.sets)

    def _built_in(self, choice: Choice, outcome: str) -> Move:
        depth = len(self._context.frames) - 1
        if choice.built_in == "apology":
            return Move(None, "outcome", depth, built_in="apology", disposition="failed")
        return Move(None, "outcome", depth, built_in="hangup", disposition=outcome)

    def _record(
        self,
        choice: Choice,
        depth: int,
        trigger: Mapping[str, Json],
        decided_by: By,
        *,
        quote: str = "",
        took_ms: int = 0,
    ) -> None:
        self._context.report(
            EdgeDecided(
                self._context.frames[depth].node,
                trigger,
                choice.edge.id if choice.edge else None,
                str(choice.to) if choice.to else None,
                choice.considered,
                "built_in" if choice.built_in else decided_by,
                quote,
                took_ms,
            )
        )
