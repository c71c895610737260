"""Where the items of ordered rows stand: straight lines first, then short ones.

Each sweep wants every item under (or over) its neighbours; isotonic regression (pool adjacent
violators) gives the nearest places that keep the order and the gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from flowengine.flow.layout.items import Item, Lattice

CARD_GAP = 34.0
SMALL_GAP = 14.0
SWEEPS = 16
ROW_GAP = 20.0
"""Least pixels between two rows; more where lines run far sideways."""


def isotonic(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The non-decreasing values nearest to the wanted ones (weighted least squares)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        mean, total, size = value, weight, 1
        while blocks and blocks[-1][0] > mean:
            before, heavy, length = blocks.pop()
            mean = (before * heavy + mean * total) / (heavy + total)
            total += heavy
            size += length
        blocks.append((mean, total, size))
    values: list[float] = []
    for mean, _, size in blocks:
        values.extend([mean] * size)
    return values


def _gap(left: Item, right: Item) -> float:
    between = CARD_GAP if left.role == right.role == "card" else SMALL_GAP
    return left.width / 2 + left.extra + between + right.width / 2


def _pull(one: Item, other: Item) -> float:
    """How strongly a line between two items wants to be straight."""
    cards = (one.role == "card") + (other.role == "card")
    return (6.0, 2.0, 1.0)[cards]


def place_items(lattice: Lattice) -> None:
    """Give every item the x of its middle and the y of its top, from (0, 0)."""
    items = lattice.items
    offsets: list[list[float]] = []
    for row in lattice.rows:
        run = [0.0]
        for left, right in pairwise(row):
            run.append(run[-1] + _gap(items[left], items[right]))
        offsets.append(run)
        for number, x in zip(row, run, strict=False):
            items[number].x = x - run[-1] / 2
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 1
        places = range(len(lattice.rows))
        for place in places if downward else reversed(places):
            _move_row(lattice, place, offsets[place], downward=downward)
    # Last, labels slide between their two ends; cards stay.
    for place in range(1, len(lattice.rows), 2):
        _move_row(lattice, place, offsets[place], downward=None)
    edge = min(thing.x - thing.width / 2 for thing in items)
    for thing in items:
        thing.x = round(thing.x - edge, 1)
    _stack_rows(lattice)


def _move_row(
    lattice: Lattice, place: int, offsets: Sequence[float], *, downward: bool | None
) -> None:
    items = lattice.items
    row = lattice.rows[place]
    wanted: list[float] = []
    weights: list[float] = []
    for item in row:
        near = lattice.above[item] if downward else lattice.below[item]
        if downward is None or not near:
            near = lattice.above[item] + lattice.below[item]
        pulls = [_pull(items[item], items[other]) for other in near]
        total = sum(pulls)
        if near:
            mean = sum(p * items[o].x for p, o in zip(pulls, near, strict=True)) / total
        else:
            mean = items[item].x
        wanted.append(mean)
        weights.append(max(total, 0.5))
    moved = isotonic([w - o for w, o in zip(wanted, offsets, strict=False)], weights)
    for item, value, offset in zip(row, moved, offsets, strict=False):
        items[item].x = value + offset


def _stack_rows(lattice: Lattice) -> None:
    items = lattice.items
    y = 0.0
    for row in lattice.rows:
        height = max((items[item].height for item in row), default=0.0)
        for item in row:
            items[item].y = y
        sideways = max(
            (abs(items[item].x - items[o].x) for item in row for o in lattice.below[item]),
            default=0.0,
        )
        y += height + ROW_GAP + min(44.0, sideways * 0.07)
