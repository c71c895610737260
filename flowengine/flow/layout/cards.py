"""The size of everything that is drawn: cards, edge labels, stubs and the box "from anywhere".

Layout reserves these sizes and the SVG writer draws exactly these lines, so nothing overlaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from flowengine.flow.layout.graph import BACK, Graph, GraphEdge, GraphNode
from flowengine.flow.layout.text import shorten, text_width, wrap

KIND_SIZE = 10.5
TITLE_SIZE = 14.0
LINE_SIZE = 12.0
LABEL_SIZE = 11.0

CARD_PAD = 13.0
CARD_LEFT = 17.0
CARD_MIN = 150.0
CARD_MAX = 236.0
ICON = 16.0

LABEL_MAX = 150.0
LABEL_PAD = 7.0
LABEL_LINE = 15.0
PILL_HEIGHT = 24.0
PILL_GAP = 12.0

PANEL_WIDTH = 330.0
PANEL_HEAD = 34.0
PANEL_ROW_PAD = 11.0

LineStyle = Literal["plain", "key", "intent", "code", "error"]


@dataclass(frozen=True, slots=True)
class Card:
    """A node's card: its size and the lines on it, already broken to fit."""

    width: float
    height: float
    kind: str
    title: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an edge's label."""

    text: str
    style: LineStyle


@dataclass(frozen=True, slots=True)
class Label:
    """What stands on an edge; `pill` is the name of the target when the edge is a stub."""

    width: float
    height: float
    lines: tuple[Line, ...]
    pill: str = ""


def card_of(node: GraphNode) -> Card:
    """Measure a node's card."""
    inner = CARD_MAX - CARD_LEFT - CARD_PAD
    title = wrap(node.title, TITLE_SIZE, inner, 2, bold=True)
    said = [" ".join(line.split()) for line in node.lines if line.strip()]
    subject = tuple(shorten(line, LINE_SIZE, inner) for line in said[:-1][:1])
    lines = subject + (wrap(said[-1], LINE_SIZE, inner, 2) if said else ())
    kind = shorten(node.kind, KIND_SIZE, inner - ICON - 8)
    widest = max(
        [text_width(kind.upper(), KIND_SIZE, bold=True) * 1.1 + ICON + 8]
        + [text_width(line, TITLE_SIZE, bold=True) for line in title]
        + [text_width(line, LINE_SIZE) for line in lines]
    )
    width = min(CARD_MAX, max(CARD_MIN, widest + CARD_LEFT + CARD_PAD))
    height = 12 + ICON + 4 + 18 * len(title) + (4 + 16 * len(lines) if lines else 0) + 10
    return Card(round(width), float(height), kind, title, lines)


def _style(edge: GraphEdge) -> LineStyle:
    styles: dict[str, LineStyle] = {"key": "key", "intent": "intent", "when": "code"}
    return "error" if edge.trigger == "error" else styles.get(edge.trigger, "plain")


def label_lines(edge: GraphEdge, width: float, at_most: int = 2) -> tuple[Line, ...]:
    """Break an edge's label and guard into lines of a width in pixels."""
    style = _style(edge)
    label = wrap(edge.label, LABEL_SIZE, width, at_most, mono=style == "code")
    guard = wrap(f"if {edge.guard}", LABEL_SIZE, width, 2, mono=True) if edge.guard else ()
    return tuple(Line(text, style) for text in label) + tuple(Line(text, "code") for text in guard)


def _widest(lines: tuple[Line, ...]) -> float:
    return max(
        (text_width(line.text, LABEL_SIZE, mono=line.style == "code") for line in lines),
        default=0.0,
    )


def label_of(edge: GraphEdge, names: Mapping[str, str], *, stub: bool = False) -> Label | None:
    """Measure an edge's label, or a stub's label and pill; None when there is nothing to draw."""
    lines = label_lines(edge, LABEL_MAX)
    pill = pill_name(edge, names) if stub else ""
    if not lines and not pill:
        return None
    width = _widest(lines) + 2 * LABEL_PAD if lines else 0.0
    height = LABEL_LINE * len(lines) + 5 if lines else 0.0
    if pill:
        width = max(width, text_width(pill, LABEL_SIZE) + 38)
        height += PILL_HEIGHT + (PILL_GAP if lines else 6)
    return Label(round(width), height, lines, pill)


def pill_name(edge: GraphEdge, names: Mapping[str, str]) -> str:
    """The short name of an edge's target on a pill."""
    if edge.to == BACK:
        return "back to where it was"
    return shorten(names.get(edge.to, f"{edge.to}?"), LABEL_SIZE, LABEL_MAX - 30)


@dataclass(frozen=True, slots=True)
class PanelRow:
    """One `*` edge in the box "from anywhere"; `y` counts from the top of the box."""

    edge: int
    lines: tuple[Line, ...]
    pill: str
    pill_width: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Panel:
    """The box "from anywhere"."""

    width: float
    height: float
    rows: tuple[PanelRow, ...]


def panel_of(graph: Graph) -> Panel | None:
    """Measure the box of `*` edges; None when the flow has none."""
    names = {node.id: node.title for node in graph.nodes}
    rows: list[PanelRow] = []
    y = PANEL_HEAD
    for index, edge in enumerate(graph.edges):
        if edge.from_ != "*":
            continue
        pill = pill_name(edge, names)
        pill_width = text_width(pill, LABEL_SIZE) + 38
        lines = label_lines(edge, PANEL_WIDTH - pill_width - 44)
        height = max(PILL_HEIGHT, LABEL_LINE * len(lines) + 2) + PANEL_ROW_PAD
        rows.append(PanelRow(index, lines, pill, pill_width, y, height))
        y += height
    return Panel(PANEL_WIDTH, y + 3, tuple(rows)) if rows else None
