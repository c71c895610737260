"""`flowengine providers`: who can be asked here; `providers test`: whether the accounts work."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from flowengine.catalog import Catalog, load_catalog
from flowengine.providers.registry import provider_kinds, provider_names
from flowengine.providers.round_trip import round_trips
from flowengine.providers.settings import ProviderSettings
from flowengine.settings import Settings, load_settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Speech and language providers.", invoke_without_command=True)

    @group.callback()
    def providers(
        context: typer.Context,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """List the providers, what they do, and whether their key is set."""
        if context.invoked_subcommand is not None:
            return
        settings = load_settings()
        rows = [_row(name, settings, load_catalog(settings.catalog)) for name in provider_names()]
        if as_json:
            print(json.dumps(rows, indent=2, default=str))
            return
        for row in rows:
            key = {True: "key set", False: "no key"}[row["has_key"]]
            kinds = ", ".join(f"{kind} {model}".strip() for kind, model in row["kinds"].items())
            print(f"{row['name']:<12} {key:<8} {kinds}")

    @group.command("test")
    def test(
        names: Annotated[
            list[str] | None, typer.Argument(help="Providers; all with a key if none is named.")
        ] = None,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Speak, hear and ask once with the keys that are set; exit code 1 if one fails."""
        settings = load_settings()
        catalog = load_catalog(settings.catalog)
        chosen = names or [
            name for name in provider_names() if _row(name, settings, catalog)["has_key"]
        ]
        values = ProviderSettings(settings.provider_settings())
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


def _row(name: str, settings: Settings, catalog: Catalog) -> dict[str, Any]:
    return {
        "name": name,
        "has_key": ProviderSettings(settings.provider_settings()).has_key(name),
        "kinds": {kind: catalog.default_model(name, kind) for kind in provider_kinds(name)},
    }
