"""The way a call took through the graph, to be drawn on the picture of its flow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flowengine.flow.layout.graph import Graph


@dataclass(frozen=True, slots=True)
class Step:
    """One node entered; `edge` is the id of the edge that led there, "" at the start."""

    node: str
    edge: str = ""


@dataclass(frozen=True, slots=True)
class Trail:
    """Which parts were visited: order numbers by node, and by edge number of the graph."""

    nodes: dict[str, list[int]] = field(default_factory=dict)
    edges: dict[int, list[int]] = field(default_factory=dict)


def trail_of(graph: Graph, steps: Iterable[Step]) -> Trail:
    """Number the steps and find the graph's edge behind each of them.

    An edge with several sources is one edge of the document and several lines: the line from the
    node that was left is taken, else the `*` line.
    """
    number_of = {(edge.id, edge.from_): number for number, edge in enumerate(graph.edges)}
    trail = Trail()
    left = ""
    for order, step in enumerate(steps, start=1):
        trail.nodes.setdefault(step.node, []).append(order)
        number = number_of.get((step.edge, left), number_of.get((step.edge, "*")))
        if step.edge and number is not None:
            trail.edges.setdefault(number, []).append(order)
        left = step.node
    return trail


def order_text(orders: list[int]) -> str:
    """The order numbers as one short text: `1`, `2 5`, `2 5 …`."""
    shown = " ".join(str(order) for order in orders[:3])
    return shown if len(orders) <= 3 else f"{shown} …"
