"""A call as the store of this machine keeps it, for the commands that look back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from flowengine.errors import CallError, ConfigError
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.settings import Settings, load_settings
from flowengine.store.calls import SqlStore
from flowengine.store.database import Database
from flowengine.store.schema import prepare


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call's row and its journal."""

    row: CallRow
    journal: tuple[JournalRecord, ...]


def stored_call(name: str) -> StoredCall:
    """The call of this id, or the latest for `last`. Raises CallError, ConfigError, StoreError."""
    return asyncio.run(_read(name, load_settings()))


async def _read(name: str, settings: Settings) -> StoredCall:
    database = existing(settings)
    async with opened(database) as store:
        if name == "last":
            latest = await store.calls(1)
            row = latest[0] if latest else None
        else:
            row = await store.call(CallId(name))
        if row is None:
            raise CallError("no_such_call", "The store has no call of this id.", where=name)
        return StoredCall(row, tuple(await store.journal(row.id)))


def existing(settings: Settings) -> Database:
    """The database of these settings. Raises ConfigError when there is none yet."""
    database = Database(settings.database())
    if not is_there(database):
        raise ConfigError(
            "no_store",
            "No calls were stored here.",
            where=shown(database),
            fix="Run it where `flowengine serve` runs, or set FLOWENGINE_DATA.",
        )
    return database


def is_there(database: Database) -> bool:
    """Whether there is something to look into: a command that looks back makes no file."""
    return database.kind != "sqlite" or Path(database.url.database or "").is_file()


def shown(database: Database) -> str:
    """Where a database is, without its password."""
    if database.kind == "sqlite":
        return database.url.database or ""
    return database.url.render_as_string(hide_password=True)


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[SqlStore]:
    """The calls of a database, which is closed afterwards. Raises StoreError."""
    prepare(database)
    store = SqlStore(database)
    try:
        yield store
    finally:
        await store.close()
        await database.close()
