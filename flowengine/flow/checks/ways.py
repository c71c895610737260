"""Ways through the graph: nodes that nothing leads to, and nodes from which no call ends."""

from __future__ import annotations

from collections.abc import Iterator

import networkx

from flowengine.flow.checks.subject import Subject, finding, listed, node_path
from flowengine.flow.edge_model import OnOutcome
from flowengine.flow.findings import Finding


def unreachable_nodes(subject: Subject) -> Iterator[Finding]:
    """Nodes that no call can enter."""
    if not subject.reachable:
        return
    for name in subject.flow.nodes:
        if name in subject.reachable:
            continue
        entering = [move for move in subject.moves if move.target == name and move.source != name]
        message = f"No way leads from the start {subject.flow.start!r} to {name!r}."
        fix = f"Lead an edge to {name!r}, or drop the node and its edges."
        if entering:
            sources = listed(dict.fromkeys(move.source for move in entering))
            fix = f"Only {sources} leads to it, and nothing leads there. {fix}"
        yield finding("unreachable_node", node_path(name), message, fix)


def dead_ends(subject: Subject) -> Iterator[Finding]:
    """Reachable nodes from which no hangup, transfer or return can be reached.

    Nodes that can only go round among themselves are one finding, at the first of them; what
    leads into them is reported too when it leads nowhere else.
    """
    graph = _with_returns(subject)
    ends = [name for name, node in subject.flow.nodes.items() if node.may_end]
    saved: set[str] = set(ends)
    for end in ends:
        if end in graph:
            saved |= networkx.ancestors(graph, end)
    order = {name: place for place, name in enumerate(subject.flow.nodes)}
    lost = graph.subgraph(name for name in subject.reachable if name not in saved)
    for group in sorted(
        networkx.strongly_connected_components(lost), key=lambda g: min(order[n] for n in g)
    ):
        names = sorted(group, key=order.__getitem__)
        ring = f" They only lead to each other: {listed(names)}." if len(names) > 1 else ""
        onward = [n for n in graph.successors(names[0]) if n not in group]
        if onward:
            ring += f" It leads only to {listed(onward)}."
        yield finding(
            "dead_end",
            node_path(names[0]),
            f"From {names[0]!r} no hangup, transfer or return can be reached.{ring}",
            'Lead an edge from there to a node that ends the call, such as {"kind": "hangup"}.',
            trace=_way_to(subject, names[0]),
        )


def _way_to(subject: Subject, name: str) -> list[str]:
    way: list[str] = networkx.shortest_path(subject.graph, subject.flow.start, name)
    return way


def _with_returns(subject: Subject) -> networkx.DiGraph[str]:
    """The graph with `@back` edges: they lead to every node that such a call can have left."""
    graph = subject.graph.copy()
    if not subject.returning:
        return graph
    left = {
        move.source
        for move in subject.moves
        if not isinstance(subject.flow.edges[move.edge].on, OnOutcome)
    }
    graph.add_edges_from((name, other) for name in subject.returning for other in left)
    return graph
