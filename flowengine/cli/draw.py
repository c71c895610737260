"""`flowengine draw`: a picture of a flow."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from flowengine.errors import FlowError
from flowengine.flow.drawing import (
    draw_dot,
    draw_mermaid,
    draw_svg,
    families_of,
    graph_of,
    render_dot,
)
from flowengine.flow.layout.graph import Graph
from flowengine.nodes import load_kinds


class Format(StrEnum):
    """What is drawn."""

    SVG = "svg"
    MERMAID = "mermaid"
    DOT = "dot"
    PNG = "png"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def draw(
        flow: Annotated[Path, typer.Argument(help="The flow's JSON file.")],
        format_: Annotated[
            Format | None,
            typer.Option("--format", help="Default: what the output's name ends in, else svg."),
        ] = None,
        output: Annotated[
            Path | None, typer.Option("--output", "-o", help="The file; else standard output.")
        ] = None,
    ) -> None:
        """Draw a flow; svg and mermaid need nothing installed, png needs Graphviz."""
        graph = graph_of(_document(flow), families_of(load_kinds()))
        picture = _drawn(graph, format_ or _format_of(output))
        if output is not None:
            output.write_bytes(picture)
        else:
            sys.stdout.buffer.write(picture)
            sys.stdout.flush()


def _document(path: Path) -> dict[str, object]:
    """Even a flow with mistakes can be drawn, as long as it is a JSON object."""
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FlowError(
            "no_flow_file",
            f"The flow cannot be read ({type(error).__name__}).",
            where=str(path),
            fix="Give the path of a flow's JSON file.",
        ) from error
    if not isinstance(document, dict):
        raise FlowError("no_flow", "A flow is a JSON object.", where=str(path))
    return document


def _format_of(output: Path | None) -> Format:
    endings = {".mmd": Format.MERMAID, ".dot": Format.DOT, ".gv": Format.DOT, ".png": Format.PNG}
    return endings.get(output.suffix if output else "", Format.SVG)


def _drawn(graph: Graph, format_: Format) -> bytes:
    match format_:
        case Format.SVG:
            return draw_svg(graph).encode()
        case Format.MERMAID:
            return draw_mermaid(graph).encode()
        case Format.DOT:
            return draw_dot(graph).encode()
        case Format.PNG:
            return render_dot(graph, "png")
