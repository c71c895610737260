"""Which row each card stands in, which edges run backwards and which become stubs.

Rows follow the longest way from the start. An edge to a card that many edges share, or one that
would run over many rows, is drawn as a stub: its label and a pill with the target's name. That
keeps the picture readable and the layout cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARED_BY = 3
"""From so many edges on, a target counts as shared and long edges to it become stubs."""

SHARED_SPAN = 2
LONGEST_SPAN = 4
LONGEST_BACK = 2

Pair = tuple[int, int]
"""An edge as (source, target), numbers of nodes."""


@dataclass(frozen=True, slots=True)
class Rows:
    """`row` by node, and the edges (by position) that run backwards or are stubs."""

    row: tuple[int, ...]
    backward: frozenset[int]
    stubs: frozenset[int]


def backward_edges(count: int, edges: list[Pair], start: int) -> frozenset[int]:
    """Edges that close a cycle, found depth first from the start in document order."""
    leaving: list[list[int]] = [[] for _ in range(count)]
    entered = [0] * count
    for number, (source, target) in enumerate(edges):
        leaving[source].append(number)
        entered[target] += 1
    found: set[int] = set()
    state = [0] * count
    roots = [start] + [n for n in range(count) if entered[n] == 0] + list(range(count))
    for root in roots:
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(leaving[root]))]
        while stack:
            node, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[node] = 2
                stack.pop()
                continue
            target = edges[following][1]
            if state[target] == 1:
                found.add(following)
            elif state[target] == 0:
                state[target] = 1
                stack.append((target, iter(leaving[target])))
    return frozenset(found)


def _longest_way(count: int, forward: list[Pair]) -> list[int]:
    leaving: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in forward:
        leaving[source].append(target)
        waiting[target] += 1
    row = [0] * count
    ready = [node for node in range(count) if not waiting[node]]
    for node in ready:
        for target in leaving[node]:
            row[target] = max(row[target], row[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return row


def _lower_sources(row: list[int], forward: list[Pair]) -> None:
    """Let a card that nothing enters stand right above what it leads to."""
    entered = {target for _, target in forward}
    lowest: dict[int, int] = {}
    for source, target in forward:
        if source not in entered:
            lowest[source] = min(lowest.get(source, row[target] - 1), row[target] - 1)
    for source, place in lowest.items():
        row[source] = place


def assign_rows(count: int, edges: list[Pair], start: int) -> Rows:
    """Give every node a row and say which edges are drawn against the flow or as stubs."""
    backward = backward_edges(count, edges, start)
    entered = [0] * count
    for _, target in edges:
        entered[target] += 1
    stubs: set[int] = set()
    row: list[int] = []
    for _ in range(4):
        kept = [
            pair
            for number, pair in enumerate(edges)
            if number not in stubs and number not in backward
        ]
        row = _longest_way(count, kept)
        _lower_sources(row, kept)
        found = _too_long(edges, row, backward, entered) - stubs
        if not found:
            break
        stubs |= found
    return Rows(tuple(row), backward, frozenset(stubs))


def _too_long(
    edges: list[Pair], row: list[int], backward: frozenset[int], entered: list[int]
) -> set[int]:
    found: set[int] = set()
    for number, (source, target) in enumerate(edges):
        if number in backward:
            if row[source] - row[target] > LONGEST_BACK or row[source] <= row[target]:
                found.add(number)
            continue
        span = row[target] - row[source]
        if span > LONGEST_SPAN or (span >= SHARED_SPAN and entered[target] >= SHARED_BY):
            found.add(number)
    return found
