"""`flowengine schema`: the JSON Schema of flows and of routing tables, for editors."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flowengine.flow.language import Language
from flowengine.nodes import load_kinds
from flowengine.runtime.route_reading import table_schema


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def schema(
        *,
        routes: Annotated[
            bool, typer.Option("--routes", help="That of a routing table instead.")
        ] = False,
    ) -> None:
        """Print the JSON Schema of a flow, with every kind of node that is installed."""
        made = table_schema() if routes else Language(load_kinds()).schema()
        print(json.dumps(made, indent=2, ensure_ascii=False))
