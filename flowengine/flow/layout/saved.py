"""Pictures that keep saved positions: placed cards stay, new ones find room beside them.

A card without a position is moved with its nearest placed neighbour of the layered picture, then
down until nothing is under it. Lines are single curves, since no rows are left to run between.
"""

from __future__ import annotations

from collections.abc import Mapping

from flowengine.flow.layout.cards import label_of
from flowengine.flow.layout.graph import ANYWHERE, Graph
from flowengine.flow.layout.items import Routes
from flowengine.flow.layout.places import Box, PlacedEdge, Point
from flowengine.flow.layout.routing import curve_between, loop_edge, point_on

APART = 18.0
STUB_DROP = 26.0
FAR = 900.0
"""A line longer than this, in pixels, is a stub; one upwards or across a card is one too."""

LEAST_ROOM = 18.0
"""Pixels between two cards that a line needs beside its label; else it is a stub."""

TOLERANCE = 1.0
"""Pixels by which a saved corner may be off (editors save whole pixels)."""


def keep_positions(graph: Graph, arranged: Mapping[str, Box]) -> dict[str, Box]:
    """Give placed nodes their saved corner and fit the others in around them."""
    known = {
        node_id: graph.positions[node_id] for node_id in arranged if node_id in graph.positions
    }
    boxes = {
        node_id: Box(x, y, arranged[node_id].width, arranged[node_id].height)
        for node_id, (x, y) in known.items()
    }
    for node_id, box in arranged.items():
        if node_id in known:
            continue
        near = min(known, key=lambda other: _distance(box, arranged[other]))
        dx, dy = known[near][0] - arranged[near].x, known[near][1] - arranged[near].y
        boxes[node_id] = _free_place(Box(box.x + dx, box.y + dy, box.width, box.height), boxes)
    return {node_id: boxes[node_id] for node_id in arranged}


def common_move(
    boxes: Mapping[str, Box], arranged: Mapping[str, Box]
) -> tuple[float, float] | None:
    """How far the arranged picture was moved as a whole; None if cards moved apart."""
    moves = [
        (boxes[node_id].x - box.x, boxes[node_id].y - box.y) for node_id, box in arranged.items()
    ]
    dx, dy = moves[0]
    if all(abs(x - dx) <= TOLERANCE and abs(y - dy) <= TOLERANCE for x, y in moves):
        return dx, dy
    return None


def _distance(one: Box, other: Box) -> float:
    return abs(one.middle - other.middle) + abs(one.y - other.y)


def _free_place(box: Box, taken: Mapping[str, Box]) -> Box:
    while True:
        hit = next((other for other in taken.values() if box.overlaps(other, apart=APART)), None)
        if hit is None:
            return box
        box = Box(box.x, round(hit.bottom + APART + 1, 1), box.width, box.height)


def direct_edges(graph: Graph, boxes: Mapping[str, Box], loops: Routes) -> list[PlacedEdge]:
    """Draw every edge as one curve from the lower side of its card."""
    leaving: dict[str, list[int]] = {}
    for number, edge in enumerate(graph.edges):
        if edge.from_ != ANYWHERE and edge.from_ in boxes:
            leaving.setdefault(edge.from_, []).append(number)
    names = {node.id: node.title for node in graph.nodes}
    taken = list(boxes.values())
    placed: list[PlacedEdge] = []
    for source, numbers in leaving.items():
        box = boxes[source]
        step = min(30.0, (box.width - 28.0) / max(1, len(numbers) - 1))
        loop_offset = 0.0
        for position, number in enumerate(numbers):
            edge = graph.edges[number]
            if edge.to == source:
                loop = loop_edge(number, box, loops, loop_offset)
                loop_offset += 26.0 + (loop.label.width if loop.label else 0.0)
                placed.append(loop)
                continue
            start = (round(box.middle + (position - (len(numbers) - 1) / 2) * step, 1), box.bottom)
            placed.append(_direct(graph, number, start, boxes, names, taken))
    return sorted(placed, key=lambda edge: edge.edge)


def _direct(
    graph: Graph,
    number: int,
    start: Point,
    boxes: Mapping[str, Box],
    names: Mapping[str, str],
    taken: list[Box],
) -> PlacedEdge:
    edge = graph.edges[number]
    target = boxes.get(edge.to)
    plain = label_of(edge, names)
    room = LEAST_ROOM + (plain.height + STUB_DROP if plain else 0.0)
    stub = (
        target is None
        or target.y < start[1] + room
        or _is_in_the_way(start, target, boxes, {edge.from_, edge.to})
    )
    label = label_of(edge, names, stub=stub)
    label_box = None
    if label:
        wanted = Box(
            round(start[0] - label.width / 2, 1), start[1] + STUB_DROP, label.width, label.height
        )
        label_box = _free_label(wanted, taken)
        taken.append(label_box)
    if target is None or stub:
        end = (label_box.middle, label_box.y) if label_box else (start[0], start[1] + STUB_DROP)
        return PlacedEdge(number, (start, *curve_between(start, end)), label, label_box, stub=True)
    end = (target.middle, target.y)
    points: list[Point] = [start]
    if label_box:
        into, out = (label_box.middle, label_box.y), (label_box.middle, label_box.bottom)
        points += [*curve_between(start, into), into, out, out]
    points += _open_curve(points[-1], end)
    return PlacedEdge(number, tuple(points), label, label_box)


def _open_curve(start: Point, end: Point) -> list[Point]:
    """A curve that leaves downwards and arrives from above."""
    bend = (end[1] - start[1]) / 2
    return [(start[0], start[1] + bend), (end[0], end[1] - bend), end]


def _is_in_the_way(start: Point, target: Box, boxes: Mapping[str, Box], ends: set[str]) -> bool:
    """Whether a line would be too long or pass under a card on its way."""
    end = (target.middle, target.y)
    if abs(end[0] - start[0]) + abs(end[1] - start[1]) > FAR:
        return True
    curve = [start, *_open_curve(start, end)]
    points = [point_on(curve, step / 24) for step in range(25)]
    return any(
        box.x < x < box.right and box.y < y < box.bottom
        for node_id, box in boxes.items()
        if node_id not in ends
        for x, y in points
    )


def _free_label(box: Box, taken: list[Box]) -> Box:
    for shift in (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0):
        moved = Box(round(box.x + shift * (box.width * 0.6), 1), box.y, box.width, box.height)
        if not any(moved.overlaps(other, apart=4.0) for other in taken):
            return moved
    y = max((other.bottom for other in taken if other.overlaps(box, apart=4.0)), default=box.y)
    return Box(box.x, y + 6.0, box.width, box.height)
