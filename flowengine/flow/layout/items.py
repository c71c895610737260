"""The things that stand in rows: cards, labels, stubs and the bends of edges that pass by.

Rows alternate: even ones hold cards, odd ones hold the labels of the edges that leave the cards
above (or, for edges drawn upwards, enter from below). An edge is the chain of things it visits,
from top to bottom, so every piece of line runs between two neighbouring rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from flowengine.flow.layout.cards import Card, Label
from flowengine.flow.layout.layers import Pair, Rows

Role = Literal["card", "label", "bend"]

LOOP_ROOM = 26.0
"""Pixels right of a card for the bow of an edge from a node to itself."""


@dataclass(slots=True)
class Item:
    """One thing in a row; `extra` is room kept free right of it, `number` its node or edge."""

    role: Role
    number: int
    row: int
    width: float
    height: float
    extra: float = 0.0
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class Lattice:
    """All items, rows of them, links between neighbouring rows, and each edge's chain."""

    items: list[Item] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    chains: dict[int, list[int]] = field(default_factory=dict)

    def add(self, item: Item) -> int:
        """Put an item at the right end of its row."""
        number = len(self.items)
        self.items.append(item)
        while len(self.rows) <= item.row:
            self.rows.append([])
        self.rows[item.row].append(number)
        self.above.append([])
        self.below.append([])
        return number

    def link(self, upper: int, lower: int) -> None:
        """Join two items of neighbouring rows."""
        self.below[upper].append(lower)
        self.above[lower].append(upper)


@dataclass(frozen=True, slots=True)
class Routes:
    """What layout knows of the edges between existing nodes, by the edge's number."""

    pairs: dict[int, Pair]
    labels: Sequence[Label | None]
    backward: frozenset[int]
    stubs: frozenset[int]
    loops: frozenset[int]


def routes_of(
    pairs: dict[int, Pair], rows: Rows, labels: Sequence[Label | None], loops: frozenset[int]
) -> Routes:
    """Translate `Rows`, which counts only drawn edges, back to the graph's edge numbers."""
    numbers = list(pairs)
    backward = frozenset(numbers[position] for position in rows.backward)
    stubs = frozenset(numbers[position] for position in rows.stubs)
    return Routes(pairs, labels, backward, stubs, loops)


def build_lattice(
    order: Sequence[int],
    row: Sequence[int],
    cards: Sequence[Card],
    routes: Routes,
    stubs_of: dict[int, list[int]],
    loops_of: dict[int, list[int]],
) -> Lattice:
    """Make the rows of one connected part; `order` is the first guess from left to right."""
    lattice = Lattice()
    top = min(row[node] for node in order)
    at: dict[int, int] = {}
    leaving: dict[int, list[int]] = {node: [] for node in order}
    for number, (source, target) in routes.pairs.items():
        if number in routes.stubs or source not in leaving:
            continue
        leaving[target if number in routes.backward else source].append(number)
    for node in order:
        card = cards[node]
        room = sum(_loop_room(routes.labels[loop]) for loop in loops_of.get(node, []))
        item = Item("card", node, 2 * (row[node] - top), card.width, card.height, room)
        at[node] = lattice.add(item)
    for node in order:
        for number in sorted(leaving[node] + stubs_of.get(node, [])):
            _add_edge(lattice, at, node, number, routes)
    return lattice


def _loop_room(label: Label | None) -> float:
    return LOOP_ROOM + (label.width if label else 0.0)


def _add_edge(lattice: Lattice, at: dict[int, int], node: int, number: int, routes: Routes) -> None:
    label = routes.labels[number]
    width, height = (label.width, label.height) if label else (8.0, 0.0)
    first_row = lattice.items[at[node]].row + 1
    if number in routes.stubs:
        end = lattice.add(Item("label", number, first_row, width, height))
        lattice.link(at[node], end)
        lattice.chains[number] = [at[node], end]
        return
    source, target = routes.pairs[number]
    upward = number in routes.backward
    upper, lower = (target, source) if upward else (source, target)
    last_row = lattice.items[at[lower]].row
    label_row = last_row - 1 if upward else first_row
    chain = [at[upper]]
    for place in range(first_row, last_row):
        bend = Item("bend", number, place, 8.0, 0.0)
        if place == label_row and label:
            bend = Item("label", number, place, width, height)
        chain.append(lattice.add(bend))
    chain.append(at[lower])
    for one, other in pairwise(chain):
        lattice.link(one, other)
    lattice.chains[number] = chain
