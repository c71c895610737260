"""Which edge a node leaves by: the same rules for engine, simulator and checks.

Four kinds of event reach a node: a key, a change of value, a caller's turn, an outcome. Each looks
only at edges with that trigger: the node's own, for an outcome then its `else`, then `*`, in
document order, and never at a `*` edge whose target is the node itself. Nothing here keeps state:
what was fired when comes in with each question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from flowengine.events import Considered, Json
from flowengine.flow.edge_model import Edge, OnDigits, OnIntent, OnOutcome, OnWhen, back
from flowengine.flow.expressions import Evaluation
from flowengine.flow.kind import common_outcomes, fallback_outcomes, hangup_outcomes
from flowengine.flow.scope import Scope
from flowengine.flow.types import duration_ms
from flowengine.ids import EdgeId, NodeId

if TYPE_CHECKING:
    from flowengine.flow.program import Program

time_up = "time_up"
_no_else = common_outcomes | {time_up}
DecidedBy = Literal["engine", "llm", "matcher", "built_in"]


@dataclass(frozen=True, slots=True)
class EdgeState:
    """What of the past an edge asks about: call time now, and when each edge was last taken."""

    now_ms: int = 0
    fired_ms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of an event.

    `to` is a node, or `@back`. `sets` are the edge's assignments, evaluated before it is taken
    (None forgets). Without an edge `built_in` says what the rules do: a spoken apology and
    hangup, or a hangup; None: nothing happens.
    """

    edge: Edge | None
    to: NodeId | None
    sets: tuple[tuple[str, Json], ...] = ()
    considered: tuple[Considered, ...] = ()
    decided_by: DecidedBy = "engine"
    built_in: Literal["apology", "hangup"] | None = None


class EdgeBook:
    """The edges of a program by node and trigger."""

    def __init__(self, program: Program) -> None:
        self._program = program
        own: dict[str, list[Edge]] = {name: [] for name in program.flow.nodes}
        for edge in program.flow.edges:
            for source in dict.fromkeys(edge.sources):
                if source in own:
                    own[source].append(edge)
        self._own = {name: tuple(edges) for name, edges in own.items()}
        self._star = tuple(edge for edge in program.flow.edges if edge.is_star)

    # --- what is in force -------------------------------------------------------------------

    def own(self, node: NodeId) -> tuple[Edge, ...]:
        """The node's own edges, in document order."""
        return self._own[node]

    def star_works(self, node: NodeId) -> bool:
        """Whether `*` edges on keys, intents and values are in force in the node.

        They are in every node that listens or speaks, but not in a sensitive collect. A recording
        notice and a joined transfer are moments inside a node: the engine asks with `star=False`.
        """
        this = self._program.node(node)
        return (this.speaks or this.listens) and not this.is_private(self._program.around)

    def in_force(
        self, node: NodeId, *, only_star: bool = False, star: bool = True
    ) -> Iterator[Edge]:
        """Edges on keys, intents and values: own, then `*`.

        `only_star`: `node` runs a sub-flow, whose own nodes come first; only `*` stays in force.
        """
        if not only_star:
            yield from (edge for edge in self._own[node] if not isinstance(edge.on, OnOutcome))
        if star and (only_star or self.star_works(node)):
            for edge in self._star:
                if not isinstance(edge.on, OnOutcome) and edge.to != node:
                    yield edge

    def digits(
        self, node: NodeId, *, only_star: bool = False, star: bool = True
    ) -> tuple[str, ...]:
        """The key strings that edges wait for."""
        edges = self.in_force(node, only_star=only_star, star=star)
        return tuple(dict.fromkeys(e.on.digits for e in edges if isinstance(e.on, OnDigits)))

    def intents(
        self,
        node: NodeId,
        scope: Scope,
        state: EdgeState | None = None,
        *,
        only_star: bool = False,
        star: bool = True,
    ) -> tuple[Edge, ...]:
        """The intent edges that the caller's words may take now: in force, and guard holds."""
        edges = self.in_force(node, only_star=only_star, star=star)
        return tuple(
            edge
            for edge in edges
            if isinstance(edge.on, OnIntent) and self._judge(edge, scope, state).verdict == "taken"
        )

    # --- the four kinds of event -------------------------------------------------------------

    def on_key(
        self,
        node: NodeId,
        digits: str,
        scope: Scope,
        state: EdgeState | None = None,
        *,
        only_star: bool = False,
        star: bool = True,
        first_key: bool = True,
    ) -> Choice:
        """Keys came. In a node that gathers keys into a value only the first may take an edge."""
        gathers = self._program.node(node).gathers_keys(self._program.around)
        if gathers and not first_key and not only_star:
            return Choice(None, None)
        edges = self.in_force(node, only_star=only_star, star=star)
        fitting = (e for e in edges if isinstance(e.on, OnDigits) and e.on.digits == digits)
        return self._first(fitting, scope, state)

    def on_change(
        self,
        node: NodeId,
        scope: Scope,
        state: EdgeState | None = None,
        *,
        only_star: bool = False,
        star: bool = True,
    ) -> Choice:
        """The node was entered, or a value changed: look at the `when` edges."""
        edges = self.in_force(node, only_star=only_star, star=star)
        fitting = (edge for edge in edges if isinstance(edge.on, OnWhen))
        return self._first(fitting, scope, state)

    def on_intent(
        self,
        node: NodeId,
        edge_id: EdgeId,
        scope: Scope,
        state: EdgeState | None = None,
        *,
        only_star: bool = False,
        star: bool = True,
        score: float | None = None,
        decided_by: DecidedBy = "llm",
    ) -> Choice:
        """An intent was recognised: take its edge, if it is in force and its guard holds.

        The others of the node are recorded as not looked at: the LLM or the matcher chose.
        """
        considered: list[Considered] = []
        taken: Edge | None = None
        for edge in self.in_force(node, only_star=only_star, star=star):
            if not isinstance(edge.on, OnIntent):
                continue
            if edge.id != edge_id:
                considered.append(Considered(edge.id, "not_looked_at"))
                continue
            verdict = self._judge(edge, scope, state, score=score)
            considered.append(verdict)
            taken = edge if verdict.verdict == "taken" else None
        if not any(item.edge == edge_id for item in considered):
            considered.append(Considered(edge_id, "refused", reason="no such edge here"))
        return self._choice(taken, scope, considered, decided_by)

    def on_outcome(
        self,
        node: NodeId,
        outcome: str,
        scope: Scope,
        state: EdgeState | None = None,
        *,
        only_star: bool = False,
    ) -> Choice:
        """The node ended. Without an edge the rules' fallbacks hold, in `built_in` at last."""
        considered: list[Considered] = []
        for edges in self._rounds(node, outcome, only_star=only_star):
            choice = self._first(edges, scope, state)
            considered.extend(choice.considered)
            if choice.edge is not None:
                return replace(choice, considered=tuple(considered))
        built_in = self._built_in(node, outcome, only_star=only_star)
        return Choice(None, None, (), tuple(considered), "built_in", built_in)

    # --- inside --------------------------------------------------------------------------------

    def _rounds(self, node: NodeId, outcome: str, *, only_star: bool) -> Iterator[Iterator[Edge]]:
        """Who is asked, in turn: own, `else`, `*`; then the same for `error`, if it went wrong."""
        own = () if only_star else self._own[node]
        if outcome != time_up:
            yield self._naming(own, outcome)
        if outcome not in _no_else:
            yield (e for e in own if isinstance(e.on, OnOutcome) and e.on.is_else)
        yield self._naming(self._stars_from(node), outcome)
        if outcome in fallback_outcomes or self._must_go_on(node, outcome, only_star=only_star):
            yield self._naming(own, "error")
            yield self._naming(self._stars_from(node), "error")

    def _must_go_on(self, node: NodeId, outcome: str, *, only_star: bool) -> bool:
        """Whether the call cannot just end here: an outcome needs an edge, and no guard held.

        The rules name the outcomes that go wrong; a `done` or a choice that is left over because
        no guard held is treated alike, so that the caller is not dropped in silence.
        """
        return not only_star and self._program.node(node).needs_edge_for(
            outcome, self._program.around
        )

    def _built_in(
        self, node: NodeId, outcome: str, *, only_star: bool
    ) -> Literal["apology", "hangup"]:
        if outcome in hangup_outcomes or outcome in ("hung_up", time_up):
            return "hangup"
        if outcome == "done" and not self._must_go_on(node, outcome, only_star=only_star):
            # A transfer is over and the flow says nothing of what comes then: the call ends.
            return "hangup"
        return "apology"

    def _stars_from(self, node: NodeId) -> Iterator[Edge]:
        return (edge for edge in self._star if edge.to != node)

    def _naming(self, edges: Iterable[Edge], outcome: str) -> Iterator[Edge]:
        return (e for e in edges if isinstance(e.on, OnOutcome) and outcome in e.on.outcomes)

    def _first(self, edges: Iterable[Edge], scope: Scope, state: EdgeState | None) -> Choice:
        """The first of the edges that may be taken; those after it were not looked at."""
        considered: list[Considered] = []
        taken: Edge | None = None
        for edge in edges:
            if taken is not None:
                considered.append(Considered(edge.id, "not_looked_at"))
                continue
            verdict = self._judge(edge, scope, state)
            considered.append(verdict)
            if verdict.verdict == "taken":
                taken = edge
        return self._choice(taken, scope, considered, "engine")

    def _choice(
        self,
        edge: Edge | None,
        scope: Scope,
        considered: list[Considered],
        decided_by: DecidedBy,
    ) -> Choice:
        if edge is None:
            return Choice(None, None, (), tuple(considered), decided_by)
        sets, faults = self._program.edge_sets(edge, scope)
        if faults:
            # The edge is taken all the same; what could not be set stays as it was.
            reason = "; ".join(faults)
            considered = [
                replace(item, reason=reason) if item.verdict == "taken" else item
                for item in considered
            ]
        return Choice(edge, NodeId(edge.to), sets, tuple(considered), decided_by)

    def _judge(
        self, edge: Edge, scope: Scope, state: EdgeState | None, *, score: float | None = None
    ) -> Considered:
        """Whether an edge on the right trigger may be taken: rest, need, then its guards."""
        state = state or EdgeState()
        if edge.cooldown is not None and edge.id in state.fired_ms:
            rests = state.fired_ms[edge.id] + duration_ms(edge.cooldown) - state.now_ms
            if rests > 0:
                reason = f"it rests for {rests} ms more"
                return Considered(edge.id, "cooldown", reason=reason, score=score)
        missing = [name for name in edge.need if scope.values.get(name) is None]
        if missing:
            reason = f"not known: {', '.join(missing)}"
            return Considered(edge.id, "need", reason=reason, score=score)
        return self._guarded(edge, scope, score)

    def _guarded(self, edge: Edge, scope: Scope, score: float | None) -> Considered:
        written = []
        values: dict[str, Json] = {}
        for source, expression in self._program.guards(edge):
            written.append(source)
            result = expression.evaluate(scope)
            values.update(result.reads)
            if not result.is_true:
                return _false(edge, " && ".join(written), values, result, score)
        guard = " && ".join(written)
        return Considered(edge.id, "taken", guard, values if guard else None, score=score)


def _false(
    edge: Edge, guard: str, values: Mapping[str, Json], result: Evaluation, score: float | None
) -> Considered:
    if result.unset:
        reason = f"not set: {', '.join(result.unset)}"
        return Considered(edge.id, "unset", guard, values, reason, score)
    return Considered(edge.id, "guard_false", guard, values, result.error, score)


__all__ = ["Choice", "EdgeBook", "EdgeState", "back", "time_up"]
