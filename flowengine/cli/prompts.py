"""`flowengine prompts`: make the static prompts of a flow ahead of its first call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from flowengine.app import Engine
from flowengine.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def prompts(
        flow: Annotated[Path, typer.Argument(help="The flow's JSON file.")],
    ) -> None:
        """Have everything synthesised that is the same in every call, and keep it."""
        asyncio.run(_make(flow))


async def _make(flow: Path) -> None:
    engine = Engine(load_settings(), flow)
    folder = engine.settings.data / "prompts"
    before = _count(folder)
    print(f"{flow}: {before} prompts are there; making the rest …", flush=True)
    try:
        await engine.warm()
        await engine.warmed()
    finally:
        await engine.close(0)
    after = _count(folder)
    print(f"{after - before} made, {after} in {folder}")


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*.prompt"))
