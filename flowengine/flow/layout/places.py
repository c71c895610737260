"""What layout hands out: a place for every part of the picture, in pixels from the top left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowengine.flow.layout.cards import Card, Label, Panel

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; `x`, `y` is its top left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """The x of its vertical middle line."""
        return self.x + self.width / 2

    def overlaps(self, other: Box, *, apart: float = 0.0) -> bool:
        """Whether the two boxes come nearer than `apart` pixels."""
        return (
            self.x < other.right + apart
            and other.x < self.right + apart
            and self.y < other.bottom + apart
            and other.y < self.bottom + apart
        )


@dataclass(frozen=True, slots=True)
class PlacedEdge:
    """An edge's line: a start point and three points for every cubic curve after it.

    `edge` is its number in the graph. A stub's line ends at its pill. `upward`: it runs against
    the reading direction.
    """

    edge: int
    curve: tuple[Point, ...]
    label: Label | None
    label_box: Box | None
    stub: bool = False
    upward: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole picture: cards by node id, lines, and the box "from anywhere"."""

    width: float
    height: float
    cards: Mapping[str, Card]
    boxes: Mapping[str, Box]
    edges: tuple[PlacedEdge, ...]
    panel: Panel | None
    panel_box: Box | None
