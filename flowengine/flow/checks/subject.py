"""What the checks look at: a parsed flow, the flows around it, and the moves between its nodes.

Every check is a pure function `(subject) -> Iterator[Finding]`. The moves follow the same rules by
which a call chooses an edge: the node's own edges, its `else`, then `*`, in document order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import networkx

from flowengine.flow.checks.codes import CODES
from flowengine.flow.document import Flow, Surroundings
from flowengine.flow.edge_model import Edge, OnOutcome, back
from flowengine.flow.findings import Finding
from flowengine.flow.kind import Node, OutcomeSpec, common_outcomes
from flowengine.flow.paths import at_index, at_key, root

star_outcomes_only = "time_up"
"""An outcome that comes once in a call, and only on `*`."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """One edge as it leaves one node; `number` is its place in the document."""

    number: int
    edge: Edge

    @property
    def is_open(self) -> bool:
        """Whether it takes its trigger always: no guard, nothing needed, no rest."""
        return self.edge.if_ is None and not self.edge.need and self.edge.cooldown is None

    @property
    def path(self) -> str:
        """The edge's JSON path."""
        return edge_path(self.number)


@dataclass(frozen=True, slots=True)
class Move:
    """One step that a call can take."""

    source: str
    target: str
    edge: int


@dataclass(frozen=True)
class Subject:
    """A flow under check.

    `bound`: the inputs that number, route or campaign bind; None: not known. `has_subflows`:
    whether `subflows` are all that there are, so that a flow which is not among them is unknown.
    """

    flow: Flow
    subflows: Mapping[str, Flow] = field(default_factory=dict)
    bound: frozenset[str] | None = None
    has_subflows: bool = True

    @cached_property
    def around(self) -> Surroundings:
        """What nodes may ask about the flow."""
        return Surroundings(self.flow, {**self.subflows, self.flow.id: self.flow})

    @cached_property
    def outcomes(self) -> Mapping[str, tuple[OutcomeSpec, ...]]:
        """The outcomes of each node, beside `error` and `hung_up`."""
        return {name: node.outcomes(self.around) for name, node in self.flow.nodes.items()}

    @cached_property
    def own(self) -> Mapping[str, tuple[Leaving, ...]]:
        """Each node's own edges, in document order."""
        found: dict[str, list[Leaving]] = {name: [] for name in self.flow.nodes}
        for number, edge in enumerate(self.flow.edges):
            for source in dict.fromkeys(edge.sources):
                if source in found:
                    found[source].append(Leaving(number, edge))
        return {name: tuple(edges) for name, edges in found.items()}

    @cached_property
    def stars(self) -> tuple[Leaving, ...]:
        """The `*` edges, in document order."""
        edges = enumerate(self.flow.edges)
        return tuple(Leaving(number, edge) for number, edge in edges if edge.is_star)

    def node(self, name: str) -> Node:
        """The node of that name."""
        return self.flow.nodes[name]

    def outcome_names(self, node: str) -> frozenset[str]:
        """Every outcome that can happen in a node."""
        return frozenset(spec.name for spec in self.outcomes[node]) | common_outcomes

    def knows_outcomes(self, node: str) -> bool:
        """Whether the node's outcomes are all known (a sub-flow's may not be at hand)."""
        named = getattr(self.node(node), "flow", None)
        return not isinstance(named, str) or named in self.subflows or named == self.flow.id

    def takers(self, node: str, outcome: str) -> Iterator[Leaving]:
        """The edges that may take an outcome, in the order in which they are asked.

        What comes after an open one is never asked, so it is left out.
        """
        for leaving in self._asked(node, outcome):
            yield leaving
            if leaving.is_open:
                return

    def _asked(self, node: str, outcome: str) -> Iterator[Leaving]:
        for leaving in self.own[node]:
            if isinstance(leaving.edge.on, OnOutcome) and outcome in leaving.edge.on.outcomes:
                yield leaving
        if outcome not in common_outcomes:
            for leaving in self.own[node]:
                if isinstance(leaving.edge.on, OnOutcome) and leaving.edge.on.is_else:
                    yield leaving
        for leaving in self.stars:
            on = leaving.edge.on
            if isinstance(on, OnOutcome) and outcome in on.outcomes and leaving.edge.to != node:
                yield leaving

    def stars_work(self, node: str) -> bool:
        """Whether `*` edges on keys, intents and values are in force in a node."""
        this = self.node(node)
        return (this.listens or this.speaks) and not this.is_private(self.around)

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """Every step that a call can take, in document order; `@back` is left out."""
        found: dict[Move, None] = {}
        for name in self.flow.nodes:
            for leaving in (*self.own[name], *self.stars):
                target = leaving.edge.to
                if target in self.flow.nodes and self._can_leave(name, leaving):
                    found[Move(name, target, leaving.number)] = None
        return tuple(found)

    def _can_leave(self, node: str, leaving: Leaving) -> bool:
        edge = leaving.edge
        if edge.is_star and edge.to == node:
            return False
        if not isinstance(edge.on, OnOutcome):
            return not edge.is_star or self.stars_work(node)
        if edge.on.is_else:
            return bool(self.outcomes[node])
        if star_outcomes_only in edge.on.outcomes and edge.is_star:
            return True
        if not edge.is_star and not self.knows_outcomes(node):
            return True
        return bool(self.outcome_names(node) & set(edge.on.outcomes))

    @cached_property
    def graph(self) -> networkx.DiGraph[str]:
        """The moves as a graph over the nodes."""
        graph: networkx.DiGraph[str] = networkx.DiGraph()
        graph.add_nodes_from(self.flow.nodes)
        graph.add_edges_from((move.source, move.target) for move in self.moves)
        return graph

    @cached_property
    def reachable(self) -> frozenset[str]:
        """The nodes that a call can enter; empty when the start is unknown."""
        start = self.flow.start
        if start not in self.flow.nodes:
            return frozenset()
        return frozenset(networkx.descendants(self.graph, start)) | {start}

    @cached_property
    def returning(self) -> frozenset[str]:
        """The nodes with an own edge `@back`."""
        return frozenset(
            name
            for name, edges in self.own.items()
            if any(leaving.edge.to == back for leaving in edges)
        )


def edge_path(number: int) -> str:
    """The JSON path of an edge."""
    return at_index(at_key(root, "edges"), number)


def node_path(name: str) -> str:
    """The JSON path of a node."""
    return at_key(at_key(root, "nodes"), name)


def finding(
    code: str, path: str, message: str, fix: str = "", trace: Iterable[str] = ()
) -> Finding:
    """A finding with the severity that the table of codes gives it."""
    return Finding(
        code=code,
        severity=CODES[code].severity,
        path=path,
        message=message,
        fix=fix,
        trace=tuple(trace),
    )


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Advice that names the nearest known name, or lists what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    if names and len(names) <= 12:
        return f"Known are: {', '.join(names)}."
    return otherwise


def listed(names: Iterable[str], at_most: int = 4) -> str:
    """Names in quotes, the first few of them."""
    shown = [repr(name) for name in names]
    if len(shown) > at_most:
        return f"{', '.join(shown[:at_most])} and {len(shown) - at_most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
