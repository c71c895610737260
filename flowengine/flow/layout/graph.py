"""The neutral picture of a flow that layout and drawing work on: cards and lines, no settings.

`drawing/picture.py` makes a `Graph` of a flow document; `lay_out` gives every part a place;
the SVG, Mermaid and DOT writers draw it. Nothing here knows what a node does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Family = Literal["speak", "listen", "decide", "act", "move", "flow", "end", "other"]
"""Kinds that look alike: they speak, listen, decide, act, move the caller, nest or end."""

Trigger = Literal["outcome", "error", "else", "key", "intent", "when"]

BACK = "@back"
"""The target of an edge that returns to where the last edge left."""

ANYWHERE = "*"
"""The source of an edge that every node has."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One card: its kind, its title and the first words of what it says or does."""

    id: str
    kind: str
    family: Family = "other"
    label: str = ""
    lines: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What stands in bold on the card."""
        return self.label or self.id


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """One line. `from_` may be `*`, `to` may be `@back` or a node that does not exist."""

    id: str
    from_: str
    to: str
    label: str = ""
    guard: str = ""
    trigger: Trigger = "outcome"


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole flow to be drawn. `positions`: saved top-left corners by node id, in pixels."""

    start: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    title: str = ""
    positions: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def anywhere(self) -> tuple[GraphEdge, ...]:
        """The edges that every node has, in document order."""
        return tuple(edge for edge in self.edges if edge.from_ == ANYWHERE)
