"""A flow as Mermaid flowchart text, which many Markdown readers draw themselves."""

from __future__ import annotations

from flowengine.flow.drawing.look import COLOURS
from flowengine.flow.layout.graph import ANYWHERE, BACK, Family, Graph, GraphEdge, GraphNode

_SHAPES: dict[Family, tuple[str, str]] = {
    "decide": ("{{", "}}"),
    "move": ("([", "])"),
    "end": ("([", "])"),
    "flow": ("[[", "]]"),
}

LABEL_LENGTH = 80


def draw_mermaid(graph: Graph) -> str:
    """Write the graph as a Mermaid flowchart. Ids are numbered, so that any node name works."""
    ids = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    lines += [f"    {_node(ids[node.id], node)}" for node in graph.nodes]
    if graph.start in ids:
        lines.append(f"    start((start)) --> {ids[graph.start]}")
    if graph.anywhere:
        lines.append('    anywhere>"from anywhere"]')
    for number, edge in enumerate(graph.edges):
        lines += [f"    {line}" for line in _edge(number, edge, ids)]
    for family in sorted({node.family for node in graph.nodes}):
        colour = COLOURS[family][0]
        members = ",".join(ids[node.id] for node in graph.nodes if node.family == family)
        lines.append(f"    classDef {_class(family)} stroke:{colour},stroke-width:2px")
        lines.append(f"    class {members} {_class(family)}")
    return "\n".join(lines) + "\n"


def _class(family: Family) -> str:
    # `end` and `flow` would be read as words of the language.
    return f"family_{family}"


def mermaid_text(text: str) -> str:
    """Write words so that Mermaid takes none of them for its own syntax."""
    words = " ".join(text.split())
    if len(words) > LABEL_LENGTH:
        words = words[: LABEL_LENGTH - 1] + "…"
    return "".join(
        c if c.isalnum() or c in " .,:?!-_/'()+…“”→" or ord(c) > 127 else f"#{ord(c)};"
        for c in words
        if c.isprintable()
    )


def _node(name: str, node: GraphNode) -> str:
    opening, closing = _SHAPES.get(node.family, ("[", "]"))
    words = f"<b>{mermaid_text(node.title)}</b><br/>{mermaid_text(node.kind)}"
    if node.lines:
        words += f"<br/>{mermaid_text(node.lines[-1])}"
    return f'{name}{opening}"{words}"{closing}'


def _edge(number: int, edge: GraphEdge, ids: dict[str, str]) -> list[str]:
    source = "anywhere" if edge.from_ == ANYWHERE else ids.get(edge.from_)
    if source is None:
        return []
    lines: list[str] = []
    target = ids.get(edge.to)
    if target is None:
        target = f"x{number}"
        words = "back to where it was" if edge.to == BACK else f"{edge.to}?"
        lines.append(f'{target}(["{mermaid_text(words)}"])')
    label = " ".join(
        part for part in (edge.label, f"if {edge.guard}" if edge.guard else "") if part
    )
    arrow = "-.->" if edge.from_ == ANYWHERE else "-->"
    middle = f'|"{mermaid_text(label)}"|' if label else ""
    return [*lines, f"{source} {arrow}{middle} {target}"]
