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
from urllib.parse import urlsplit, urlunsplit

import typer

from flowengine import __version__
from flowengine.app import Engine
from flowengine.catalog import SOON_DAYS, Catalog, load_catalog
from flowengine.cli.stored import is_there, opened, shown
from flowengine.clock import RealClock
from flowengine.errors import FlowengineError
from flowengine.providers.local.install import HEARING, SPEAKING
from flowengine.providers.registry import provider_names
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.vendors import server_defaults
from flowengine.runtime.context import ServerDefaults
from flowengine.settings import Settings, load_settings
from flowengine.store.database import Database

_EXTRAS = {
    "cartesia": ("cartesia",),
    "google": ("google.genai",),
    "local": (*HEARING, *SPEAKING),
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
    yield Line("ok", f"flowengine {__version__}, Python {sys.version.split()[0]}")
    for extra in _EXTRAS:
        verdict: Literal["ok", "note"] = "ok" if _has_extra(extra) else "note"
        yield Line(verdict, f"extra {extra} is {'' if verdict == 'ok' else 'not '}there")
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


def _has_extra(extra: str) -> bool:
    return all(_is_there(module) for module in _EXTRAS[extra])


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
    try:
        database = Database(settings.database())
        if is_there(database):
            asyncio.run(_read(database))
            yield Line("ok", f"calls are stored in {shown(database)}")
        else:
            yield Line("note", f"no calls are stored in {shown(database)} yet")
    except FlowengineError as error:
        yield Line("error", error.what, error.fix)


async def _read(database: Database) -> None:
    async with opened(database) as store:
        await store.calls(1)


def _vendors(settings: Settings, catalog: Catalog) -> Iterator[Line]:
    today = RealClock().wall().date()
    age_days = (today - catalog.checked).days
    verdict: Literal["ok", "warning"] = "warning" if age_days > SOON_DAYS else "ok"
    yield Line(verdict, f"models and prices are of {catalog.checked} ({age_days} days ago)")
    values = settings.provider_settings()
    known = ProviderSettings(values)
    keyed = [name for name in provider_names() if known.has_key(name)]
    yield Line("ok" if keyed else "note", f"keys are set for: {', '.join(keyed) or 'nobody'}")
    for name, url in sorted(values.items()):
        if name.endswith("_BASE_URL"):
            yield Line("note", f"{name} is {_without_secrets(url)}")
    yield from _ordinary(server_defaults(values, catalog))
    for model in catalog.models:
        if model.default and model.provider in keyed and model.goes_soon(today):
            is_gone = model.sunset is not None and model.sunset <= today
            yield Line(
                "error" if is_gone else "warning",
                f"{model.provider}'s ordinary {model.kind}, {model.name}, "
                f"{'was' if is_gone else 'is'} shut down on {model.sunset}.",
                f"Name {model.successor or 'another model'} in the flow, or in FLOWENGINE_CATALOG.",
            )


def _ordinary(server: ServerDefaults) -> Iterator[Line]:
    """Who serves flows that name no provider."""
    llm = server.llm.provider if server.llm else "no LLM"
    stt, tts = server.stt.provider, server.tts.provider
    yield Line("ok", f"flows that name no provider: {stt} hears, {llm} thinks, {tts} speaks")
    if "local" in (stt, tts) and not _has_extra("local"):
        yield Line(
            "warning",
            "local speech is not installed, so such flows cannot be served.",
            "pip install 'flowengine[local]', or set DEEPGRAM_API_KEY and ELEVENLABS_API_KEY.",
        )


def _without_secrets(url: str) -> str:
    """A URL without a user's name, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _flow(settings: Settings, path: Path) -> Iterator[Line]:
    try:
        engine = Engine(settings, path)
    except FlowengineError as error:
        yield Line("error", f"{path}: {error}")
        return
    for finding in engine.flow.warnings if engine.flow is not None else ():
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
