"""Loops that can turn without the caller doing anything: he would hear the same for ever.

The engine ends such a call by its limit of visits; here the loop is found before. A guard that
counts (`visits('x')`, or a variable that the loop itself sets) bounds a loop and is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator

import networkx

from flowengine.flow.checks.reads import expression_names
from flowengine.flow.checks.subject import Leaving, Move, Subject, finding, listed, node_path
from flowengine.flow.edge_model import OnOutcome
from flowengine.flow.findings import Finding

_silent = frozenset({"no_input", "failed", "timeout", "busy", "no_answer", "declined"})
"""Outcomes that need nothing from the caller, beside the `done` of nodes that do not listen."""


def silent_loops(subject: Subject) -> Iterator[Finding]:
    """One finding for each ring of nodes, at the first of them in the document."""
    silent = [move for move in subject.moves if _is_silent(subject, move)]
    order = {name: place for place, name in enumerate(subject.flow.nodes)}
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_edges_from((move.source, move.target) for move in silent)
    for ring in _rings(graph):
        inside = [move for move in silent if move.source in ring and move.target in ring]
        counted = {name for move in inside for name in subject.flow.edges[move.edge].set}
        free: networkx.DiGraph[str] = networkx.DiGraph()
        free.add_edges_from(
            (move.source, move.target) for move in inside if not _is_bounded(subject, move, counted)
        )
        for nodes in sorted(_rings(free), key=lambda found: min(order[name] for name in found)):
            yield _loop(free, min(nodes, key=order.__getitem__))


def _rings(graph: networkx.DiGraph[str]) -> list[set[str]]:
    return [
        nodes
        for nodes in networkx.strongly_connected_components(graph)
        if len(nodes) > 1 or any(graph.has_edge(name, name) for name in nodes)
    ]


def _loop(graph: networkx.DiGraph[str], first: str) -> Finding:
    way = min(
        (
            networkx.shortest_path(graph, after, first)
            for after in graph.successors(first)
            if networkx.has_path(graph, after, first)
        ),
        key=len,
    )
    names = [first, *way]
    return finding(
        "silent_loop",
        node_path(first),
        f"The loop over {listed(dict.fromkeys(names))} can turn without the caller doing anything.",
        f"Guard one of its edges, such as with \"visits('{first}') < 3\", and lead the rest on.",
        trace=names,
    )


def _is_silent(subject: Subject, move: Move) -> bool:
    """Whether a move can be made without the caller."""
    edge = subject.flow.edges[move.edge]
    if not isinstance(edge.on, OnOutcome) or not subject.knows_outcomes(move.source):
        return False
    node = subject.node(move.source)
    mute = _silent if node.listens else _silent | {"done"}
    possible = (spec.name for spec in subject.outcomes[move.source])
    return any(
        outcome in mute
        and any(taker.number == move.edge for taker in subject.takers(move.source, outcome))
        for outcome in possible
    )


def _is_bounded(subject: Subject, move: Move, counted: set[str]) -> bool:
    """Whether a guard that counts stands on the edge, or on one that is asked before it."""
    edge = subject.flow.edges[move.edge]
    outcomes = [spec.name for spec in subject.outcomes[move.source]]
    asked: list[Leaving] = []
    for outcome in outcomes:
        takers = list(subject.takers(move.source, outcome))
        numbers = [taker.number for taker in takers]
        if move.edge in numbers:
            asked += takers[: numbers.index(move.edge) + 1]
    guards = [leaving.edge.if_ for leaving in asked if leaving.edge.if_]
    if edge.cooldown is not None:
        return True
    return any("visits(" in guard or expression_names(guard).values & counted for guard in guards)
