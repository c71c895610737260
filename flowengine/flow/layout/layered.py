"""The layered picture of a whole flow: parts laid out one by one, then set beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import networkx

from flowengine.flow.layout.cards import Card, Label, label_of
from flowengine.flow.layout.coordinates import place_items
from flowengine.flow.layout.graph import ANYWHERE, Graph
from flowengine.flow.layout.items import LOOP_ROOM, Routes, build_lattice, routes_of
from flowengine.flow.layout.layers import Pair, assign_rows
from flowengine.flow.layout.ordering import order_rows
from flowengine.flow.layout.places import Box, PlacedEdge
from flowengine.flow.layout.routing import box_of, loop_edge, route_lattice

PART_GAP = 60.0
SHELF_WIDTH = 1100.0


def moved_box(box: Box, dx: float, dy: float) -> Box:
    """The box, moved."""
    return Box(round(box.x + dx, 1), round(box.y + dy, 1), box.width, box.height)


def moved_edge(edge: PlacedEdge, dx: float, dy: float) -> PlacedEdge:
    """The edge with its label, moved."""
    curve = tuple((round(x + dx, 1), round(y + dy, 1)) for x, y in edge.curve)
    box = moved_box(edge.label_box, dx, dy) if edge.label_box else None
    return replace(edge, curve=curve, label_box=box)


def edge_routes(graph: Graph) -> tuple[Routes, tuple[int, ...]]:
    """Sort the graph's edges into lines, stubs and loops; and give every node its row."""
    number_of = {node.id: number for number, node in enumerate(graph.nodes)}
    pairs: dict[int, Pair] = {}
    lost: set[int] = set()
    loops: set[int] = set()
    for number, edge in enumerate(graph.edges):
        source = number_of.get(edge.from_)
        if edge.from_ == ANYWHERE or source is None:
            continue
        target = number_of.get(edge.to)
        if target is None:
            lost.add(number)
        elif target == source:
            loops.add(number)
        else:
            pairs[number] = (source, target)
    start = number_of.get(graph.start, 0)
    rows = assign_rows(len(graph.nodes), list(pairs.values()), start)
    routes = routes_of(pairs, rows, (), frozenset(loops))
    stubs = routes.stubs | lost
    names = {node.id: node.title for node in graph.nodes}
    labels: list[Label | None] = [
        label_of(edge, names, stub=number in stubs) for number, edge in enumerate(graph.edges)
    ]
    return replace(routes, labels=tuple(labels), stubs=stubs), rows.row


def _parts(graph: Graph, routes: Routes) -> list[list[int]]:
    """Connected parts, the start's first, then in document order."""
    net: networkx.Graph[int] = networkx.Graph()
    net.add_nodes_from(range(len(graph.nodes)))
    net.add_edges_from(pair for number, pair in routes.pairs.items() if number not in routes.stubs)
    parts = [sorted(part) for part in networkx.connected_components(net)]
    start = next((n for n, node in enumerate(graph.nodes) if node.id == graph.start), 0)
    return sorted(parts, key=lambda part: (start not in part, part[0]))


def _first_order(part: list[int], routes: Routes, start: int) -> list[int]:
    """The part's nodes depth first from its first node, so that branches begin untangled."""
    leaving: dict[int, list[int]] = {node: [] for node in part}
    for number, (source, target) in routes.pairs.items():
        if source in leaving and number not in routes.stubs:
            leaving[source].append(target)
    seen: dict[int, None] = {}
    for root in ([start] if start in leaving else []) + part:
        stack = [root]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen[node] = None
            stack.extend(reversed(leaving[node]))
    return list(seen)


def _own_edges(graph: Graph, numbers: Iterable[int]) -> dict[int, list[int]]:
    number_of = {node.id: number for number, node in enumerate(graph.nodes)}
    found: dict[int, list[int]] = {}
    for number in sorted(numbers):
        found.setdefault(number_of[graph.edges[number].from_], []).append(number)
    return found


def layered(graph: Graph, cards: list[Card]) -> tuple[dict[str, Box], list[PlacedEdge]]:
    """Arrange the whole graph: a box for each node and a line for each edge."""
    routes, row = edge_routes(graph)
    stubs_of = _own_edges(graph, routes.stubs)
    loops_of = _own_edges(graph, routes.loops)
    start = next((n for n, node in enumerate(graph.nodes) if node.id == graph.start), 0)
    boxes: dict[str, Box] = {}
    edges: list[PlacedEdge] = []
    x = y = shelf = limit = 0.0
    for part in _parts(graph, routes):
        order = _first_order(part, routes, start)
        lattice = build_lattice(order, row, cards, routes, stubs_of, loops_of)
        order_rows(lattice)
        place_items(lattice)
        width = max(item.x + item.width / 2 + item.extra for item in lattice.items)
        height = max(item.y + item.height for item in lattice.items)
        limit = limit or max(width, SHELF_WIDTH)
        if x and x + width > limit:
            x, y, shelf = 0.0, y + shelf + PART_GAP, 0.0
        part_edges = route_lattice(lattice, routes)
        for item in lattice.items:
            if item.role == "card":
                box = box_of(item)
                boxes[graph.nodes[item.number].id] = moved_box(box, x, y)
                part_edges += _loops(loops_of.get(item.number, []), box, routes)
        edges += [moved_edge(edge, x, y) for edge in part_edges]
        x, shelf = x + width + PART_GAP, max(shelf, height)
    return boxes, sorted(edges, key=lambda edge: edge.edge)


def _loops(numbers: list[int], box: Box, routes: Routes) -> list[PlacedEdge]:
    placed: list[PlacedEdge] = []
    offset = 0.0
    for number in numbers:
        placed.append(loop_edge(number, box, routes, offset))
        label = routes.labels[number]
        offset += LOOP_ROOM + (label.width if label else 0.0)
    return placed
