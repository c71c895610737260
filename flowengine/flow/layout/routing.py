"""The lines of a layered picture: ports on the cards, curves between rows, bows for loops."""

from __future__ import annotations

from flowengine.flow.layout.items import Item, Lattice, Routes
from flowengine.flow.layout.places import Box, PlacedEdge, Point

PORT_GAP = 26.0
CORNER = 14.0
BOW = 20.0
"""How far the bow of an edge from a card to itself swings out, in pixels."""


def curve_between(start: Point, end: Point) -> list[Point]:
    """Three points of a cubic curve that leaves and arrives vertically."""
    middle = (start[1] + end[1]) / 2
    return [(start[0], middle), (end[0], middle), end]


def _spread(count: int, width: float) -> list[float]:
    step = min(PORT_GAP, (width - 2 * CORNER) / max(1, count - 1))
    return [(position - (count - 1) / 2) * step for position in range(count)]


def _ports(lattice: Lattice, *, lower_side: bool) -> dict[tuple[int, int], float]:
    """The x at which each edge touches each card's upper or lower side."""
    touching: dict[int, list[tuple[float, int]]] = {}
    for number, chain in lattice.chains.items():
        card, near = (chain[0], chain[1]) if lower_side else (chain[-1], chain[-2])
        if lattice.items[card].role == "card":
            touching.setdefault(card, []).append((lattice.items[near].x, number))
    ports: dict[tuple[int, int], float] = {}
    for card, near_edges in touching.items():
        item = lattice.items[card]
        offsets = _spread(len(near_edges), item.width)
        for (_, number), offset in zip(sorted(near_edges), offsets, strict=True):
            ports[card, number] = item.x + offset
    return ports


def route_lattice(lattice: Lattice, routes: Routes) -> list[PlacedEdge]:
    """Draw every edge of one part through the things its chain visits."""
    lower = _ports(lattice, lower_side=True)
    upper = _ports(lattice, lower_side=False)
    placed: list[PlacedEdge] = []
    for number, chain in lattice.chains.items():
        points = _points(lattice, number, chain, (lower, upper))
        upward = number in routes.backward
        stub = number in routes.stubs
        label_at = next((n for n in chain if lattice.items[n].role == "label"), None)
        box = box_of(lattice.items[label_at]) if label_at is not None else None
        if upward and not stub:
            points.reverse()
        label = routes.labels[number]
        placed.append(PlacedEdge(number, tuple(points), label, box, stub, upward))
    return placed


def box_of(item: Item) -> Box:
    """The rectangle of an item that has its place."""
    return Box(round(item.x - item.width / 2, 1), round(item.y, 1), item.width, item.height)


def _points(
    lattice: Lattice,
    number: int,
    chain: list[int],
    ports: tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]],
) -> list[Point]:
    lower, upper = ports
    first = lattice.items[chain[0]]
    points: list[Point] = [(round(lower[chain[0], number], 1), first.y + first.height)]
    if len(chain) == 3 and lattice.items[chain[1]].role == "bend":
        end = (round(upper[chain[2], number], 1), round(lattice.items[chain[2]].y, 1))
        straight = curve_between(points[0], end)
        if _has_room(lattice, chain[1], [points[0], *straight]):
            return points + straight
    for position in range(1, len(chain)):
        item = lattice.items[chain[position]]
        x = item.x
        if position == len(chain) - 1 and item.role == "card":
            x = round(upper[chain[position], number], 1)
        top = (x, round(item.y, 1))
        points += curve_between(points[-1], top)
        if position < len(chain) - 1:
            bottom = (x, _bottom_of(lattice, item))
            if bottom[1] > top[1]:
                points += [top, bottom, bottom]
    return points


def _has_room(lattice: Lattice, bend: int, curve: list[Point]) -> bool:
    """Whether a direct curve meets nothing that stands left and right of a bend."""
    item = lattice.items[bend]
    row = lattice.rows[item.row]
    place = row.index(bend)
    near = [lattice.items[other] for other in row[max(0, place - 1) : place + 2] if other != bend]
    bottom = _bottom_of(lattice, item)
    for step in range(17):
        x, y = point_on(curve, step / 16)
        if not item.y - 6 <= y <= bottom + 6:
            continue
        for other in near:
            side = 1 if other.x > item.x else -1
            if side * (other.x - x) < other.width / 2 + 6:
                return False
    return True


def point_on(curve: list[Point], t: float) -> Point:
    """The point of a cubic curve at `t` between 0 and 1."""
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    return (
        sum(w * x for w, (x, _) in zip(weights, curve, strict=True)),
        sum(w * y for w, (_, y) in zip(weights, curve, strict=True)),
    )


def _bottom_of(lattice: Lattice, item: Item) -> float:
    """Where a line that passes through a row may bend again: under the row's tallest thing."""
    tallest = max(lattice.items[other].height for other in lattice.rows[item.row])
    return round(item.y + tallest, 1)


def loop_edge(number: int, box: Box, routes: Routes, offset: float) -> PlacedEdge:
    """Draw an edge from a card to itself as a bow on its right side."""
    label = routes.labels[number]
    y = box.y + box.height / 2
    spread = 9.0 + offset / 12
    out, back = (box.right, y + spread), (box.right, y - spread)
    # A cubic curve reaches three quarters of the way to its control points.
    reach = box.right + (offset + BOW) / 0.75
    curve = (out, (reach, y + spread + 8.0), (reach, y - spread - 8.0), back)
    label_box = None
    if label:
        left = box.right + offset + BOW - 4.0
        label_box = Box(left, round(y - label.height / 2, 1), label.width, label.height)
    return PlacedEdge(number, curve, label, label_box)
