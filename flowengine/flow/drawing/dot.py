"""A flow as DOT source, and as PNG or PDF through Graphviz where its `dot` is installed."""

from __future__ import annotations

from typing import Literal

import graphviz

from flowengine.errors import ConfigError
from flowengine.flow.drawing.look import COLOURS
from flowengine.flow.layout.graph import ANYWHERE, BACK, Graph, GraphEdge, GraphNode
from flowengine.flow.layout.text import wrap

FONT = "Helvetica"


def draw_dot(graph: Graph) -> str:
    """Write the graph as DOT source."""
    return str(_source(graph).source)


def render_dot(graph: Graph, format_: Literal["png", "pdf", "svg"] = "png") -> bytes:
    """Draw the graph with Graphviz; without its `dot` program it says what to install."""
    try:
        drawn: bytes = _source(graph).pipe(format=format_, quiet=True)
    except graphviz.ExecutableNotFound as missing:
        raise ConfigError(
            "dot_missing",
            f"{format_.upper()} is drawn by Graphviz, whose program `dot` is not on the PATH.",
            where="dot",
            fix="Install Graphviz (Debian, Ubuntu: apt-get install graphviz; macOS: brew install "
            "graphviz), or draw SVG, which needs nothing.",
        ) from missing
    except graphviz.CalledProcessError as failed:
        raise ConfigError(
            "dot_failed",
            f"Graphviz could not draw the flow: exit status {failed.returncode}.",
            where="dot",
            fix="Draw SVG instead, or look at the DOT source with `dot -v`.",
        ) from failed
    return drawn


def _source(graph: Graph) -> graphviz.Digraph:
    source = graphviz.Digraph(
        graph_attr={"rankdir": "TB", "bgcolor": "white", "nodesep": "0.35", "ranksep": "0.55"},
        node_attr={
            "fontname": FONT, "fontsize": "11", "shape": "box", "style": "rounded",
            "margin": "0.16,0.1",
        },
        edge_attr={"fontname": FONT, "fontsize": "9", "color": "#8391a7", "arrowsize": "0.7"},
    )  # fmt: skip
    ids = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        _add_node(source, ids[node.id], node)
    if graph.start in ids:
        source.node("start", label="", shape="point", width="0.12")
        source.edge("start", ids[graph.start])
    if graph.anywhere:
        source.node("anywhere", label="from anywhere", style="dashed,rounded")
    for number, edge in enumerate(graph.edges):
        _add_edge(source, number, edge, ids)
    return source


def _add_node(source: graphviz.Digraph, name: str, node: GraphNode) -> None:
    words = [node.kind.upper(), node.title, *wrap(" ".join(node.lines), 11, 190, 2)]
    shape = {"decide": "diamond", "flow": "box3d", "end": "oval"}.get(node.family, "box")
    source.node(
        name, label=_plain("\n".join(words)), shape=shape, color=COLOURS[node.family][0]
    )  # fmt: skip


def _plain(words: str) -> str:
    """Words that DOT takes as they are: no escapes, no HTML label, no NUL."""
    return str(graphviz.escape(words.replace("\0", "").replace("\n", "\u2028"))).replace(
        "\u2028", "\\n"
    )


def _add_edge(source: graphviz.Digraph, number: int, edge: GraphEdge, ids: dict[str, str]) -> None:
    start = "anywhere" if edge.from_ == ANYWHERE else ids.get(edge.from_)
    if start is None:
        return
    target = ids.get(edge.to)
    if target is None:
        target = f"x{number}"
        words = "back to where it was" if edge.to == BACK else f"{edge.to}?"
        source.node(target, label=_plain(words), style="dotted")
    words = edge.label + (f"\nif {edge.guard}" if edge.guard else "")
    style = "dashed" if edge.from_ == ANYWHERE else "solid"
    source.edge(start, target, label=_plain(words.strip()), style=style)
