"""Left to right in each row: fewer crossings, by barycentre sweeps and swaps of neighbours.

The first order is the document's, and the best order seen wins, so a small edit moves little.
"""

from __future__ import annotations

from bisect import bisect_left

from flowengine.flow.layout.items import Lattice

SWEEPS = 12
SWAP_PASSES = 4
SWAP_LIMIT = 4000
"""Above so many items the swaps of neighbours are left out: they would cost seconds."""


def crossings_between(upper: list[int], below: list[list[int]], place: list[int]) -> int:
    """Count crossings between a row and the one under it (`place`: position by item)."""
    ends: list[int] = []
    for item in upper:
        ends.extend(sorted(place[other] for other in below[item]))
    seen: list[int] = []
    count = 0
    size = max(ends, default=-1) + 1
    tree = [0] * (size + 1)
    for end in ends:
        position, before = end + 1, 0
        while position > 0:
            before += tree[position]
            position -= position & -position
        count += len(seen) - before
        seen.append(end)
        position = end + 1
        while position <= size:
            tree[position] += 1
            position += position & -position
    return count


def crossings(lattice: Lattice) -> int:
    """Count all crossings of the straight pieces between rows."""
    place = _places(lattice)
    return sum(crossings_between(row, lattice.below, place) for row in lattice.rows)


def _places(lattice: Lattice) -> list[int]:
    place = [0] * len(lattice.items)
    for row in lattice.rows:
        for position, item in enumerate(row):
            place[item] = position
    return place


def order_rows(lattice: Lattice) -> None:
    """Reorder the rows in place for few crossings."""
    best = [list(row) for row in lattice.rows]
    fewest = crossings(lattice)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        place = _places(lattice)
        downward = sweep % 2 == 0
        rows = lattice.rows if downward else list(reversed(lattice.rows))
        links = lattice.above if downward else lattice.below
        for row in rows:
            _sort_row(row, links, place)
        if len(lattice.items) <= SWAP_LIMIT:
            _swap_neighbours(lattice, place)
        count = crossings(lattice)
        if count < fewest:
            fewest, best = count, [list(row) for row in lattice.rows]
    lattice.rows[:] = best


def _sort_row(row: list[int], links: list[list[int]], place: list[int]) -> None:
    """Sort by the mean position of the neighbours; items without any keep their place."""
    weight: dict[int, float] = {}
    for position, item in enumerate(row):
        others = links[item]
        weight[item] = sum(place[o] for o in others) / len(others) if others else position
    row.sort(key=lambda item: weight[item])
    for position, item in enumerate(row):
        place[item] = position


def _swap_neighbours(lattice: Lattice, place: list[int]) -> None:
    for _ in range(SWAP_PASSES):
        changed = False
        for row in lattice.rows:
            for position in range(len(row) - 1):
                left, right = row[position], row[position + 1]
                if _gain(lattice, left, right, place) > 0:
                    row[position], row[position + 1] = right, left
                    place[left], place[right] = position + 1, position
                    changed = True
        if not changed:
            return


def _gain(lattice: Lattice, left: int, right: int, place: list[int]) -> int:
    gain = 0
    for links in (lattice.above, lattice.below):
        lefts = sorted(place[other] for other in links[left])
        rights = sorted(place[other] for other in links[right])
        if lefts and rights:
            gain += _inversions(lefts, rights) - _inversions(rights, lefts)
    return gain


def _inversions(lefts: list[int], rights: list[int]) -> int:
    """Pairs in which the left item's end lies right of the right item's end (both sorted)."""
    return sum(bisect_left(rights, end) for end in lefts)
