"""Pictures of a flow.

Reading order: `picture` (from a document to a graph), `look` (colours, icons), `trail` (the way a
call took), `svg` (by our own layout, nothing to install), `mermaid` (text), `dot` (Graphviz).
"""

from __future__ import annotations

from flowengine.flow.drawing.dot import draw_dot, render_dot
from flowengine.flow.drawing.mermaid import draw_mermaid
from flowengine.flow.drawing.picture import families_of, graph_of
from flowengine.flow.drawing.svg import draw_svg
from flowengine.flow.drawing.trail import Step

__all__ = ["Step", "draw_dot", "draw_mermaid", "draw_svg", "families_of", "graph_of", "render_dot"]
