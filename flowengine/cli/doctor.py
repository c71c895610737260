"""`flowengine doctor`: whether this machine, its settings and its flows are fit for calls."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from flowengine.app import Engine
from flowengine.catalog import SOON_DAYS, Catalog, load_catalog
from flowengine.clock import RealClock
from flowengine.errors import FlowengineError
from flowengine.providers.registry import provider_names
from flowengine.providers.settings import ProviderSettings
from flowengine.settings import Settings, load_settings

_EXTRAS = {
    "local": ("moonshine_voice", "hibari_tts", "onnxruntime"),
    "google": ("google.genai",),
    "mcp": ("mcp",),
}
"""What an extra brings: its modules, by which it is known to be there."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    verdict: Literal["ok", "note", "warning", "error"]
    what: str
    fix: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        flows: Annotated[list[Path] | None, typer.Argument(help="Flows to look at.")] = None,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Look at settings, keys, models that go, and flows; exit code 1 on an error."""
        lines = list(_lines(flows or []))
        if as_json:
            print(json.dumps([asdict(line) for line in lines], indent=2))
        else:
            for line in lines:
                print(f"{line.verdict:<8} {line.what} {line.fix}".rstrip())
        if any(line.verdict == "error" for line in lines):
            raise typer.Exit(1)


def _lines(flows: list[Path]) -> Iterator[Line]:
    yield Line("ok", f"Python {sys.version.split()[0]}")
    for extra, modules in _EXTRAS.items():
        is_there = all(_is_there(module) for module in modules)
        yield Line(
            "ok" if is_there else "note", f"extra {extra} is {'' if is_there else 'not '}there"
        )
    try:
        settings = load_settings()
        catalog = load_catalog(settings.catalog)
    except FlowengineError as error:
        yield Line("error", str(error))
        return
    yield from _settings(settings)
    yield from _vendors(settings, catalog)
    for flow in flows:
        yield from _flow(settings, flow)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _settings(settings: Settings) -> Iterator[Line]:
    for note in settings.notes():
        yield Line("note", note)
    place = next(
        (
            folder
            for folder in (settings.data, *settings.data.absolute().parents)
            if folder.exists()
        ),
        settings.data,
    )
    if os.access(place, os.W_OK):
        yield Line("ok", f"data goes to {settings.data}")
    else:
        yield Line("error", f"{settings.data} cannot be written.", "Set FLOWENGINE_DATA.")


def _vendors(settings: Settings, catalog: Catalog) -> Iterator[Line]:
    today = RealClock().wall().date()
    age_days = (today - catalog.checked).days
    verdict: Literal["ok", "warning"] = "warning" if age_days > SOON_DAYS else "ok"
    yield Line(verdict, f"models and prices are of {catalog.checked} ({age_days} days ago)")
    values = ProviderSettings(settings.provider_settings())
    keyed = [name for name in provider_names() if values.has_key(name)]
    yield Line("ok" if keyed else "note", f"keys are set for: {', '.join(keyed) or 'nobody'}")
    for model in catalog.models:
        if model.default and model.provider in keyed and model.goes_soon(today):
            yield Line(
                "warning",
                f"{model.provider}'s ordinary {model.name} is shut down on {model.sunset}.",
                f"Name {model.successor or 'another model'} in the flow.",
            )


def _flow(settings: Settings, path: Path) -> Iterator[Line]:
    try:
        engine = Engine(settings, path)
    except FlowengineError as error:
        yield Line("error", f"{path}: {error}")
        return
    for finding in engine.flow.warnings:
        yield Line("warning", f"{path} {finding.path}: {finding.message}", finding.fix)
    try:
        asyncio.run(_warm(engine))
    except FlowengineError as error:
        yield Line("error", f"{path}: {error}")
    else:
        yield Line("ok", f"{path} can be served")


async def _warm(engine: Engine) -> None:
    """What `serve` does before it listens, but for the prompts, which cost money."""
    try:
        await engine.warm(prompts=False)
    finally:
        await engine.close(0)
