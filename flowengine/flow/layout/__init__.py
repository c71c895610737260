"""Where everything of a flow's picture stands: our own layered layout, nothing to install.

Reading order: `graph` (what comes in), `text` and `cards` (sizes), `layers` (rows, stubs),
`items` (what stands in rows), `ordering` (crossings), `coordinates`, `routing` (lines), `layered`
(all of it), `saved` (positions kept from the document), `places` (what comes out).
The same graph always gives the same layout.
"""

from __future__ import annotations

from flowengine.flow.layout.cards import Panel, card_of, panel_of
from flowengine.flow.layout.graph import Family, Graph, GraphEdge, GraphNode, Trigger
from flowengine.flow.layout.layered import edge_routes, layered, moved_box, moved_edge
from flowengine.flow.layout.places import Box, Layout, PlacedEdge
from flowengine.flow.layout.saved import common_move, direct_edges, keep_positions

__all__ = [
    "Box",
    "Family",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "Layout",
    "PlacedEdge",
    "Trigger",
    "lay_out",
]

MARGIN = 28.0
PANEL_APART = 40.0
START_ROOM = 28.0
"""Pixels above the first card for the mark that shows where the call begins."""


def lay_out(graph: Graph) -> Layout:
    """Give every card, line and label of the graph its place."""
    cards = [card_of(node) for node in graph.nodes]
    boxes, edges = layered(graph, cards) if graph.nodes else ({}, [])
    if any(node_id in graph.positions for node_id in boxes):
        arranged, boxes = boxes, keep_positions(graph, boxes)
        move = common_move(boxes, arranged)
        if move:
            edges = [moved_edge(edge, *move) for edge in edges]
        else:
            edges = direct_edges(graph, boxes, edge_routes(graph)[0])
    panel = panel_of(graph)
    panel_box = _panel_place(panel, boxes, edges) if panel else None
    return _framed(graph, boxes, edges, panel, panel_box)


def _solid(boxes: dict[str, Box], edges: list[PlacedEdge]) -> list[Box]:
    """Every rectangle that nothing else may cover; a curve stays within its points."""
    solid = list(boxes.values())
    for edge in edges:
        if edge.label_box:
            solid.append(edge.label_box)
        for start in range(0, len(edge.curve) - 1, 3):
            piece = edge.curve[start : start + 4]
            xs, ys = [x for x, _ in piece], [y for _, y in piece]
            solid.append(Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)))
    return solid


def _panel_place(panel: Panel, boxes: dict[str, Box], edges: list[PlacedEdge]) -> Box:
    """An upper corner of the picture if one is free, else a place left of everything."""
    solid = _solid(boxes, edges)
    if not solid:
        return Box(0.0, 0.0, panel.width, panel.height)
    left, right = min(box.x for box in solid), max(box.right for box in solid)
    top = min(box.y for box in solid)
    for x in (left, right - panel.width):
        place = Box(x, top, panel.width, panel.height)
        if not any(place.overlaps(box, apart=PANEL_APART) for box in solid):
            return place
    first = min(boxes.values(), key=lambda box: box.y)
    near = [box for box in solid if box.y < first.y + panel.height + PANEL_APART]
    left_edge = min(box.x for box in near) - panel.width - PANEL_APART
    return Box(round(left_edge, 1), top, panel.width, panel.height)


def _framed(
    graph: Graph,
    boxes: dict[str, Box],
    edges: list[PlacedEdge],
    panel: Panel | None,
    panel_box: Box | None,
) -> Layout:
    """Move the picture so that it begins at the margin, and measure it."""
    solid = _solid(boxes, edges) + ([panel_box] if panel_box else [])
    first = boxes.get(graph.start)
    if first:
        solid.append(Box(first.x, first.y - START_ROOM, first.width, START_ROOM))
    if not solid:
        return Layout(2 * MARGIN, 2 * MARGIN, {}, {}, (), None, None)
    dx, dy = MARGIN - min(box.x for box in solid), MARGIN - min(box.y for box in solid)
    width = max(box.right for box in solid) + dx + MARGIN
    height = max(box.bottom for box in solid) + dy + MARGIN
    return Layout(
        width=round(width, 1),
        height=round(height, 1),
        cards={node.id: card_of(node) for node in graph.nodes},
        boxes={node_id: moved_box(box, dx, dy) for node_id, box in boxes.items()},
        edges=tuple(moved_edge(edge, dx, dy) for edge in edges),
        panel=panel,
        panel_box=moved_box(panel_box, dx, dy) if panel_box else None,
    )
