"""`flowengine cost`: what a call cost, by provider, and what of it was in vain."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated

import typer

from flowengine.assurance.cost import call_cost
from flowengine.assurance.why import facts_of
from flowengine.catalog import load_catalog
from flowengine.cli.stored import stored_call
from flowengine.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def cost(
        call: Annotated[str, typer.Argument(help="The call's id, or `last`.")],
        *,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Say what a call cost by the usage that each provider reported."""
        stored = stored_call(call)
        at = date.fromisoformat(stored.row.created_at[:10])
        found = call_cost(facts_of(stored.journal), load_catalog(load_settings().catalog), at)
        print(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())
