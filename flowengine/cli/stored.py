"""A call as the store of this machine keeps it, for the commands that look back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from flowengine.errors import CallError, ConfigError
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.settings import Settings, load_settings
from flowengine.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call's row and its journal."""

    row: CallRow
    journal: tuple[JournalRecord, ...]


def stored_call(name: str) -> StoredCall:
    """The call of this id, or the latest for `last`. Raises CallError, ConfigError, StoreError."""
    return asyncio.run(_read(name, load_settings()))


async def _read(name: str, settings: Settings) -> StoredCall:
    path = database_file(settings)
    if not path.is_file():
        raise ConfigError(
            "no_store",
            "No calls were stored here.",
            where=str(path),
            fix="Run it where `flowengine serve` runs, or set FLOWENGINE_DATA.",
        )
    store = SqliteStore(path)
    try:
        if name == "last":
            latest = await store.calls(1)
            row = latest[0] if latest else None
        else:
            row = await store.call(CallId(name))
        if row is None:
            raise CallError("no_such_call", "The store has no call of this id.", where=name)
        return StoredCall(row, tuple(await store.journal(row.id)))
    finally:
        await store.close()


def database_file(settings: Settings) -> Path:
    """The file in which calls are stored. Raises ConfigError for a database of another kind."""
    scheme, _, path = settings.database().partition(":///")
    if scheme != "sqlite":
        raise ConfigError(
            "unknown_database", "Only sqlite can be read.", where="FLOWENGINE_DATABASE_URL"
        )
    return Path(path)
