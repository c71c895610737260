"""`flowengine providers`: who can be asked here; `providers test`: whether the accounts work."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from flowengine.catalog import load_catalog
from flowengine.providers.offers import provider_rows
from flowengine.providers.registry import provider_names
from flowengine.providers.round_trip import round_trips
from flowengine.providers.settings import ProviderSettings
from flowengine.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Speech and language providers.", invoke_without_command=True)

    @group.callback()
    def providers(
        context: typer.Context,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """List the providers, what they do by which model, and whether they are set up."""
        if context.invoked_subcommand is not None:
            return
        settings = load_settings()
        catalog = load_catalog(settings.catalog)
        values = ProviderSettings(settings.provider_settings())
        rows: list[dict[str, Any]] = provider_rows(values, catalog)
        if as_json:
            print(json.dumps(rows, indent=2))
            return
        for row in rows:
            print(_line(row))

    @group.command("test")
    def test(
        names: Annotated[
            list[str] | None,
            typer.Argument(help="Providers; all that are set up if none is named."),
        ] = None,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Speak, hear and ask once with what is set up; exit code 1 if one fails."""
        settings = load_settings()
        catalog = load_catalog(settings.catalog)
        values = ProviderSettings(settings.provider_settings())
        chosen = names or [name for name in provider_names() if values.is_set_up(name)]
        trips = asyncio.run(round_trips(chosen, values, catalog))
        if as_json:
            print(json.dumps([trip.to_json() for trip in trips], indent=2))
        else:
            for trip in trips:
                print(trip.to_text())
            if not trips:
                print("No key of a provider is set. Set for example OPENAI_API_KEY.")
        if not trips or any(trip.error for trip in trips):
            raise typer.Exit(1)

    app.add_typer(group, name="providers")


def _line(row: dict[str, Any]) -> str:
    state = "key set" if row["has_key"] else "URL set" if row["is_set_up"] else "–"
    parts = []
    for kind, told in row["does"].items():
        until = f" (until {told['sunset']})" if told["sunset"] else ""
        parts.append(f"{kind} {told['model']}".strip() + until)
    return f"{row['name']:<12} {state:<8} {', '.join(parts)}"
