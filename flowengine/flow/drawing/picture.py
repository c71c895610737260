"""From a flow document to the graph that is drawn: what each card says, what each line means.

It reads the document as written, so that a flow with mistakes can be looked at too; what is not
of the expected shape is left out of the picture, and `flowengine check` names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flowengine.events import Json
from flowengine.flow.kind import NodeKinds
from flowengine.flow.layout.graph import Family, Graph, GraphEdge, GraphNode, Trigger

FAMILIES: dict[str, Family] = {
    "greeting": "speak",
    "say": "speak",
    "dialog": "listen",
    "collect": "listen",
    "menu": "listen",
    "record": "listen",
    "route": "decide",
    "extract": "act",
    "tool": "act",
    "message": "act",
    "wait": "act",
    "transfer": "move",
    "flow": "flow",
    "return": "end",
    "hangup": "end",
}

_BY_FACT: dict[str, Family] = {
    "talk": "speak",
    "decide": "decide",
    "act": "act",
    "end": "end",
}

LINE_LENGTH = 160
"""Characters of a card's words that are looked at; a card shows two short lines."""

SPOKEN = ("say", "prompt", "text", "notice")


def edge_id(position: int, edge: Mapping[str, Json]) -> str:
    """The id of an edge: its own, else `e` and its place, as decision records name it."""
    own = edge.get("id")
    return own if isinstance(own, str) and own else f"e{position}"


def graph_of(document: Mapping[str, Json], families: Mapping[str, Family] | None = None) -> Graph:
    """Make the graph of a document; `families` adds kinds that are not built in."""
    known = {**FAMILIES, **(families or {})}
    nodes = _mapping(document.get("nodes"))
    return Graph(
        start=_string(document.get("start")),
        nodes=tuple(_node(name, _mapping(node), known) for name, node in nodes.items()),
        edges=tuple(_edges(_sequence(document.get("edges")))),
        title=_string(document.get("name")) or _string(document.get("id")),
        positions=dict(_positions(_mapping(document.get("layout")))),
    )


def families_of(kinds: NodeKinds) -> dict[str, Family]:
    """The families of kinds that other packages add, by what the kinds say of themselves."""
    return {name: _BY_FACT[kind.family] for name, kind in kinds.items() if name not in FAMILIES}


def first_words(text: Json) -> str:
    """The first words of a Text, whatever form it has."""
    if isinstance(text, str):
        return text[:LINE_LENGTH]
    if isinstance(text, list):
        return next((words for words in map(first_words, text) if words), "")
    if not isinstance(text, dict):
        return ""
    if "audio" in text:
        return f"♪ {_string(text['audio'])}"
    for key in ("text", "prompt"):
        if key in text:
            return first_words(text[key])
    return next((words for words in map(first_words, text.values()) if words), "")


def _string(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _node(name: str, node: Mapping[str, Json], known: Mapping[str, Family]) -> GraphNode:
    kind = _string(node.get("kind")) or "?"
    lines = tuple(line for line in _lines(kind, node) if line)
    return GraphNode(name, kind, known.get(kind, "other"), _string(node.get("label")), lines)


def _lines(kind: str, node: Mapping[str, Json]) -> Iterator[str]:
    """What the card tells: its subject (variable, tool, number), then its words."""
    if kind == "collect":
        yield f"{_string(node.get('var'))}:" if node.get("say") else _string(node.get("var"))
    elif kind == "menu":
        choices = _mapping(node.get("choices"))
        if not node.get("say"):
            yield ", ".join(choices)
    elif kind == "tool":
        yield f"{_string(node.get('tool'))}()"
    elif kind == "transfer":
        to = node.get("to")
        yield "to " + (", ".join(map(first_words, to)) if isinstance(to, list) else first_words(to))
    elif kind == "flow":
        yield f"flow {_string(node.get('flow'))}"
    elif kind == "return":
        yield f"as {_string(node.get('as'))}"
    elif kind == "extract":
        yield ", ".join(_string(value) for value in _sequence(node.get("values")))
    if kind != "transfer":
        yield next((words for key in SPOKEN if (words := first_words(node.get(key)))), "")
    if kind == "hangup" and not node.get("say"):
        yield _string(node.get("disposition"))


def _edges(edges: Sequence[Json]) -> Iterator[GraphEdge]:
    for position, value in enumerate(edges):
        edge = _mapping(value)
        to = _string(edge.get("to"))
        sources = edge.get("from")
        trigger, words = _trigger(edge.get("on", "done"))
        guard = _string(edge.get("if"))
        if trigger == "outcome" and words == "done":
            words = ""
        label = _string(edge.get("label")) or words
        for source in sources if isinstance(sources, list) else [sources]:
            if isinstance(source, str) and to:
                yield GraphEdge(
                    edge_id(position, edge), source, to, label=label, guard=guard, trigger=trigger
                )


def _trigger(on: Json) -> tuple[Trigger, str]:
    if isinstance(on, str):
        return _outcome(on), on.replace("_", " ")
    if isinstance(on, list):
        names = [name for name in on if isinstance(name, str)]
        return _outcome(names[0] if names else ""), ", ".join(names).replace("_", " ")
    which = _mapping(on)
    if "digits" in which:
        return "key", f"key {_string(which['digits'])}"
    if "intent" in which:
        return "intent", f"“{_string(which['intent'])}”"
    return "when", _string(which.get("when"))


def _outcome(name: str) -> Trigger:
    if name == "else":
        return "else"
    return "error" if name in {"error", "failed", "timeout"} else "outcome"


def _positions(layout: Mapping[str, Json]) -> Iterator[tuple[str, tuple[float, float]]]:
    for name, value in layout.items():
        place = _mapping(value)
        x, y = place.get("x"), place.get("y")
        if isinstance(x, int | float) and isinstance(y, int | float):
            yield name, (float(x), float(y))
