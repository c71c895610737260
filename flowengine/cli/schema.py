"""`flowengine schema`: the JSON Schema of flows, for editors."""

from __future__ import annotations

import json

import typer

from flowengine.flow.language import Language
from flowengine.nodes import load_kinds


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def schema() -> None:
        """Print the JSON Schema of a flow, with every kind of node that is installed."""
        print(json.dumps(Language(load_kinds()).schema(), indent=2, ensure_ascii=False))
