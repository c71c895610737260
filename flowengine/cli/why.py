"""`flowengine why`: the way of a call, with the reason of every hop."""

from __future__ import annotations

from typing import Annotated

import typer

from flowengine.assurance.why import facts_of, way
from flowengine.assurance.why import why as reasons
from flowengine.cli.stored import stored_call


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def why(call: Annotated[str, typer.Argument(help="The call's id, or `last`.")]) -> None:
        """Say why a call went where it went: edges considered, values, verdict, who decided."""
        facts = facts_of(stored_call(call).journal)
        print(way(facts))
        print(reasons(facts))
