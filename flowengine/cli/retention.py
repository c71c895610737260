"""`flowengine retention`: delete now what is older than its project keeps it."""

from __future__ import annotations

import asyncio

import typer

from flowengine.app import recordings_of
from flowengine.cli.stored import existing
from flowengine.clock import RealClock
from flowengine.settings import Settings, load_settings
from flowengine.store.database import Database
from flowengine.store.retention import Swept, sweep
from flowengine.store.schema import prepare


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def retention() -> None:
        """Delete what is older than its project keeps it; `serve` does the same daily."""
        swept = asyncio.run(_sweep(load_settings()))
        print(
            f"deleted {swept.calls} calls; of calls that are kept, {swept.journals} journals and"
            f" {swept.transcripts} transcripts; {swept.recordings} recordings,"
            f" {swept.live_events} live events"
        )
        if swept.failed:
            print(f"not all could be deleted of {swept.failed} projects; see above")
            raise typer.Exit(1)


async def _sweep(settings: Settings) -> Swept:
    database: Database = existing(settings)
    prepare(database)
    try:
        return await sweep(database, recordings_of(settings), RealClock().wall())
    finally:
        await database.close()
