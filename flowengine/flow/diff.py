"""What differs between two documents of a flow: nodes, edges, and every other part by its path.

Nodes go by their names and edges by their ids, or where they have none by what they join, so that
an edge that moved in the list has not changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from flowengine.events import Json
from flowengine.flow.canonical import canonical_json
from flowengine.flow.paths import at_index, at_key, root


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that differs.

    `path` is a JSON path: in the older document for what was `removed`, else in the newer one.
    """

    what: Literal["node", "edge", "part"]
    change: Literal["added", "removed", "changed"]
    name: str
    path: str
    before: Json = None
    after: Json = None


def differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> list[Difference]:
    """Nodes first, then edges, then the rest; each in the order of the documents."""
    return [
        *_nodes(_object(before.get("nodes")), _object(after.get("nodes"))),
        *_edges(_list(before.get("edges")), _list(after.get("edges"))),
        *_parts(before, after),
    ]


def _nodes(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[Difference]:
    place = at_key(root, "nodes")
    for name in {**before, **after}:
        path = at_key(place, name)
        if name not in after:
            yield Difference("node", "removed", name, path, before=before[name])
        elif name not in before:
            yield Difference("node", "added", name, path, after=after[name])
        elif before[name] != after[name]:
            for inner, one, other in _leaves(path, before[name], after[name]):
                yield Difference("node", "changed", name, inner, one, other)


def _edges(before: list[Json], after: list[Json]) -> Iterator[Difference]:
    place = at_key(root, "edges")
    old, new = _named(before), _named(after)
    for name, (index, edge) in old.items():
        if name not in new:
            yield Difference("edge", "removed", name, at_index(place, index), before=edge)
    for name, (index, edge) in new.items():
        path = at_index(place, index)
        if name not in old:
            yield Difference("edge", "added", name, path, after=edge)
        elif old[name][1] != edge:
            yield Difference("edge", "changed", name, path, old[name][1], edge)


def _parts(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[Difference]:
    for name in {**before, **after}:
        if name in ("nodes", "edges"):
            continue
        path = at_key(root, name)
        if name not in after:
            yield Difference("part", "removed", name, path, before=before[name])
        elif name not in before:
            yield Difference("part", "added", name, path, after=after[name])
        else:
            for inner, one, other in _leaves(path, before[name], after[name]):
                yield Difference("part", "changed", name, inner, one, other)


def _leaves(path: str, before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    """The innermost places that differ; lists are compared whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            yield from _leaves(at_key(path, name), before.get(name), after.get(name))
    elif before != after or type(before) is not type(after):
        yield path, before, after


def _named(edges: list[Json]) -> dict[str, tuple[int, Json]]:
    """Edges by id or by what they join; the second of the same kind gets a number."""
    found: dict[str, tuple[int, Json]] = {}
    for index, edge in enumerate(edges):
        if isinstance(edge, dict) and isinstance(edge.get("id"), str):
            name = edge["id"]
        elif isinstance(edge, dict):
            trigger = {key: value for key, value in edge.items() if key in ("on", "when")}
            shown = canonical_json(trigger).decode() if trigger else ""
            name = f"{edge.get('from')} {shown} -> {edge.get('to')}".replace("  ", " ")
        else:
            name = "?"
        while name in found:
            name += "'"
        found[name] = (index, edge)
    return found


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
