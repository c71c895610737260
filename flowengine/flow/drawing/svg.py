"""The picture of a flow as one self-contained SVG, light or dark as the reader's page is.

`draw_svg` draws a laid-out graph; with a trail it also shows the way a call took: order numbers
on the cards, thick lines, everything else faded. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import atan2, cos, pi, sin
from xml.sax.saxutils import escape, quoteattr

from flowengine.flow.drawing.look import ICONS, style_sheet
from flowengine.flow.drawing.trail import Step, Trail, order_text, trail_of
from flowengine.flow.layout import Box, Graph, GraphEdge, GraphNode, Layout, PlacedEdge, lay_out
from flowengine.flow.layout.cards import (
    CARD_LEFT,
    ICON,
    LABEL_LINE,
    LABEL_SIZE,
    PILL_HEIGHT,
    Card,
    Label,
    Line,
    PanelRow,
)
from flowengine.flow.layout.text import text_width

TIP_LENGTH = 8.0


def draw_svg(graph: Graph, layout: Layout | None = None, *, steps: Iterable[Step] = ()) -> str:
    """Draw the graph; `steps` are the nodes a call entered, with the edges that led there."""
    layout = layout or lay_out(graph)
    trail = trail_of(graph, steps)
    size = f'width="{_n(layout.width)}" height="{_n(layout.height)}"'
    name = graph.title or graph.start
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
            f'viewBox="0 0 {_n(layout.width)} {_n(layout.height)}" role="img" '
            f"aria-label={quoteattr(_clean(f'Flow {name}'))}>"
        ),
        f"<style>{style_sheet()}</style>",
        '<rect class="page" width="100%" height="100%"/>',
    ]
    # Taken lines last, so that no other line covers them.
    for edge in sorted(layout.edges, key=lambda placed: placed.edge in trail.edges):
        parts.append(_edge(graph, edge, trail))
    if graph.start in layout.boxes:
        parts.append(_start_mark(layout.boxes[graph.start]))
    for node in graph.nodes:
        parts.append(_node(graph, layout, node, trail))
    parts += [_label(graph, edge, trail) for edge in layout.edges if edge.label]
    if layout.panel and layout.panel_box:
        parts.append(_panel(graph, layout, layout.panel_box, trail))
    parts.append("</svg>")
    return "\n".join(part for part in parts if part) + "\n"


def _n(value: float) -> str:
    """A number as short as it can be written."""
    return f"{value:.1f}".removesuffix(".0")


def _clean(text: str) -> str:
    """Drop what XML cannot hold: control characters and lone surrogates."""
    return "".join(
        c
        for c in text
        if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")
    )


def _text(x: float, y: float, words: str, css: str, *, anchor: str = "") -> str:
    place = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}"{place}>{escape(_clean(words))}</text>'


def _rect(box: Box, css: str, radius: float) -> str:
    return (
        f'<rect class="{css}" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" '
        f'height="{_n(box.height)}" rx="{_n(radius)}"/>'
    )


def _state(trail: Trail, *, taken: bool) -> str:
    if not trail.nodes:
        return ""
    return " taken" if taken else " faded"


def _badge(x: float, y: float, orders: list[int]) -> str:
    words = order_text(orders)
    width = max(20.0, text_width(words, LABEL_SIZE, bold=True) + 12)
    box = Box(x - width / 2, y - 10, width, 20)
    return _rect(box, "badge", 10) + _text(x, y + 4, words, "number", anchor="middle")


def _node(graph: Graph, layout: Layout, node: GraphNode, trail: Trail) -> str:
    box, card = layout.boxes[node.id], layout.cards[node.id]
    orders = trail.nodes.get(node.id, [])
    said = "\n".join([node.title, *node.lines])
    parts = [
        (
            f'<g class="{node.family}{_state(trail, taken=bool(orders))}" '
            f"data-node={quoteattr(_clean(node.id))}>"
        ),
        f"<title>{escape(_clean(said))}</title>",
        _shape(box, node),
        _face(box, card, node),
    ]
    if any(edge.to == node.id for edge in graph.anywhere):
        parts.append(_star(box))
    if orders:
        parts.append(_badge(box.right - 12, box.y, orders))
    return "".join([*parts, "</g>"])


def _shape(box: Box, node: GraphNode) -> str:
    """The card: round ends for what ends a call, cut corners for a decision, else a bar."""
    if node.family == "decide":
        cut = 12.0
        x, y, right, bottom = box.x, box.y, box.right, box.bottom
        outline = (
            f"M{_n(x + cut)} {_n(y)}H{_n(right - cut)}L{_n(right)} {_n(y + cut)}"
            f"V{_n(bottom - cut)}L{_n(right - cut)} {_n(bottom)}H{_n(x + cut)}"
            f"L{_n(x)} {_n(bottom - cut)}V{_n(y + cut)}Z"
        )
        bar = Box(x + 5, y + 14, 4, box.height - 28)
        return f'<path class="card" d="{outline}"/>' + _rect(bar, "bar", 2)
    radius = {"end": 18.0, "move": 18.0}.get(node.family, 8.0)
    bar = Box(box.x + 5, box.y + 9, 4, box.height - 18)
    second = ""
    if node.family == "flow":
        second = _rect(Box(box.x + 4, box.y + 4, box.width, box.height), "card", radius)
    return second + _rect(box, "card", radius) + _rect(bar, "bar", 2)


def _face(box: Box, card: Card, node: GraphNode) -> str:
    x, y = box.x + CARD_LEFT, box.y + 12
    tag = Box(x - 1, y - 1, ICON + 3, ICON + 2)
    parts = [
        _rect(tag, "tag", 4),
        (
            f'<path class="icon" transform="translate({_n(x + 1.3)} {_n(y + 0.8)}) scale(.9)" '
            f'd="{ICONS[node.family]}"/>'
        ),
        _text(x + ICON + 8, y + 12, card.kind.upper(), "kind"),
    ]
    y += ICON + 4
    for line in card.title:
        y += 18
        parts.append(_text(x, y - 3, line, "title"))
    y += 4
    for line in card.lines:
        y += 16
        parts.append(_text(x, y - 4, line, "say"))
    return "".join(parts)


def _star(box: Box) -> str:
    """A small star on the corner: edges lead here from anywhere."""
    x, y = box.x + 13, box.y
    return (
        f'<circle class="star" cx="{_n(x)}" cy="{_n(y)}" r="8"/>'
        f'<path class="arrow" d="M{_n(x)} {_n(y - 4)}v8M{_n(x - 3.5)} {_n(y - 2)}l7 4'
        f'M{_n(x - 3.5)} {_n(y + 2)}l7-4"/>'
    )


def _start_mark(box: Box) -> str:
    """A dot with a short arrow: here the call begins."""
    x, y = box.middle, box.y
    return (
        f'<circle class="dot" cx="{_n(x)}" cy="{_n(y - 20)}" r="4.5"/>'
        f'<path class="line" d="M{_n(x)} {_n(y - 16)}V{_n(y - 7)}"/>'
        f'<path class="tip" d="M{_n(x)} {_n(y)}l-4.5-8h9z"/>'
    )


def _edge_class(graph: Graph, placed: PlacedEdge, trail: Trail) -> str:
    css = f"edge on-{graph.edges[placed.edge].trigger}"
    css += " upward" if placed.upward and not placed.stub else ""
    return css + _state(trail, taken=placed.edge in trail.edges)


def _edge(graph: Graph, placed: PlacedEdge, trail: Trail) -> str:
    edge = graph.edges[placed.edge]
    points = placed.curve
    path = f"M{_n(points[0][0])} {_n(points[0][1])}"
    tip = ""
    shown = list(points)
    if not placed.stub:
        angle = _arrival(shown)
        tip = _tip(shown[-1], angle)
        end = shown[-1]
        shown[-1] = (end[0] - (TIP_LENGTH - 1) * cos(angle), end[1] - (TIP_LENGTH - 1) * sin(angle))
    for position in range(1, len(shown), 3):
        c1, c2, end = shown[position : position + 3]
        path += f"C{_n(c1[0])} {_n(c1[1])} {_n(c2[0])} {_n(c2[1])} {_n(end[0])} {_n(end[1])}"
    group = (
        f'<g class="{_edge_class(graph, placed, trail)}" data-edge={quoteattr(_clean(edge.id))}>'
    )
    return f'{group}<path class="line" d="{path}"/>{tip}</g>'


def _arrival(points: list[tuple[float, float]]) -> float:
    """The direction, in radians, in which the line arrives."""
    end = points[-1]
    for before in reversed(points[:-1]):
        if before != end:
            return atan2(end[1] - before[1], end[0] - before[0])
    return pi / 2


def _tip(end: tuple[float, float], angle: float) -> str:
    left = (
        end[0] - TIP_LENGTH * cos(angle) + 4.5 * sin(angle),
        end[1] - TIP_LENGTH * sin(angle) - 4.5 * cos(angle),
    )
    right = (
        end[0] - TIP_LENGTH * cos(angle) - 4.5 * sin(angle),
        end[1] - TIP_LENGTH * sin(angle) + 4.5 * cos(angle),
    )
    return (
        f'<path class="tip" d="M{_n(end[0])} {_n(end[1])}L{_n(left[0])} {_n(left[1])}'
        f'L{_n(right[0])} {_n(right[1])}Z"/>'
    )


def _label(graph: Graph, placed: PlacedEdge, trail: Trail) -> str:
    label, box = placed.label, placed.label_box
    if label is None or box is None:
        return ""
    edge = graph.edges[placed.edge]
    words_height = LABEL_LINE * len(label.lines) + 5 if label.lines else 0.0
    parts = [f'<g class="{_edge_class(graph, placed, trail)}">', _tooltip(edge)]
    halo = ""
    if label.lines:
        # Outside the group: a faded label still covers the line behind it.
        halo = _rect(Box(box.x, box.y, box.width, words_height), "halo", 4)
        if any(line.style == "key" for line in label.lines):
            parts.append(_key_cap(label, box))
        parts += _label_lines(label.lines, box.middle, box.y + 1)
    if label.pill:
        parts.append(_stub(graph, label, box, words_height, edge))
        orders = trail.edges.get(placed.edge)
        if orders:
            parts.append(_badge(box.right - 4, box.bottom - PILL_HEIGHT, orders))
    return halo + "".join([*parts, "</g>"])


def _key_cap(label: Label, box: Box) -> str:
    """The frame around the lines that name a key."""
    lines = [line.text for line in label.lines if line.style == "key"]
    width = max(text_width(line, LABEL_SIZE) for line in lines) + 14
    cap = Box(box.middle - width / 2, box.y, width, LABEL_LINE * len(lines) + 2)
    return _rect(cap, "cap", 4)


def _stub(graph: Graph, label: Label, box: Box, words_height: float, edge: GraphEdge) -> str:
    """The little line under a stub's label, and the pill with its target's name."""
    width = text_width(label.pill, LABEL_SIZE) + 38
    pill = Box(box.middle - width / 2, box.bottom - PILL_HEIGHT, width, PILL_HEIGHT)
    top = box.y + words_height
    line = f'<path class="line" d="M{_n(box.middle)} {_n(top)}V{_n(pill.y)}"/>'
    return line + _pill(graph, pill, label.pill, edge)


def _pill(graph: Graph, box: Box, name: str, edge: GraphEdge) -> str:
    """A pill that names a card which stands elsewhere."""
    family = next((node.family for node in graph.nodes if node.id == edge.to), "other")
    x, y = box.x + 11, box.y + box.height / 2
    arrow = f"M{_n(x)} {_n(y)}h10m-4-4l4 4-4 4"
    if edge.to == "@back":
        arrow = f"M{_n(x + 10)} {_n(y)}h-10m4-4l-4 4 4 4"
    return (
        f'<g class="{family}">{_rect(box, "pill", 12)}<path class="icon" d="{arrow}"/>'
        f"{_text(x + 16, y + 4, name, 'name')}</g>"
    )


def _tooltip(edge: GraphEdge) -> str:
    words = edge.label + (f" if {edge.guard}" if edge.guard else "")
    return f"<title>{escape(_clean(f'{words} → {edge.to}'))}</title>"


def _label_lines(
    lines: tuple[Line, ...], middle: float, top: float, anchor: str = "middle"
) -> list[str]:
    css = {"plain": "label", "key": "label", "intent": "label intent", "code": "label mono"}
    return [
        _text(
            middle,
            top + LABEL_LINE * (number + 1) - 3,
            line.text,
            css.get(line.style, "label"),
            anchor=anchor,
        )
        for number, line in enumerate(lines)
    ]


def _panel(graph: Graph, layout: Layout, box: Box, trail: Trail) -> str:
    """The box of edges that leave from anywhere."""
    parts = [
        "<g>",
        _rect(box, "panel", 10),
        _text(box.x + 14, box.y + 22, "From anywhere", "head"),
    ]
    for row in layout.panel.rows if layout.panel else ():
        parts.append(_panel_row(graph, box, row, trail))
    return "".join([*parts, "</g>"])


def _panel_row(graph: Graph, box: Box, row: PanelRow, trail: Trail) -> str:
    edge = graph.edges[row.edge]
    orders = trail.edges.get(row.edge, [])
    top = box.y + row.y
    height = row.height - 11.0
    pill = Box(
        box.right - 12 - row.pill_width,
        top + (height - PILL_HEIGHT) / 2,
        row.pill_width,
        PILL_HEIGHT,
    )
    css = f"edge on-{edge.trigger}{_state(trail, taken=bool(orders))}"
    words_top = top + (height - LABEL_LINE * len(row.lines)) / 2
    parts = [
        f'<g class="{css}" data-edge={quoteattr(_clean(edge.id))}>',
        _tooltip(edge),
        *_label_lines(row.lines, box.x + 14, words_top - 1, "start"),
        _pill(graph, pill, row.pill, edge),
    ]
    if orders:
        parts.append(_badge(pill.right - 2, pill.y, orders))
    return "".join([*parts, "</g>"])
