"""A database's tables, brought up to date; a newer one than this engine knows is refused.

A SQLite file is in WAL mode, so readers never wait for the writer, and readable by its owner
alone. Two processes that start at once upgrade one after the other.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import DBAPICursor

from flowengine.errors import StoreError
from flowengine.store.database import FAULTS, Database, unreadable

FIRST = "0001"
"""The tables of calls; files that were made before there were revisions have them."""

_UPGRADE_LOCK = 0x666C6F77
"""Held while a PostgreSQL database is upgraded (`flow` in ASCII)."""
_WAL_TRIES = 50
_WAL_PAUSE_S = 0.1


def prepare(database: Database) -> None:
    """Make the file if need be and bring the tables up to date. Blocks; raises StoreError."""
    try:
        if database.kind == "sqlite":
            _prepare_file(database)
        with database.engine.begin() as connection:
            upgrade(connection, database.name)
    except FAULTS as error:
        # Not str() of an OSError: it holds the whole path.
        if isinstance(error, OSError):
            raise unreadable(database.name, OSError(error.strerror)) from error
        raise unreadable(database.name, error) from error


def upgrade(connection: Connection, name: str, to: str = "head") -> None:
    """Run the steps that are missing, inside the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    config = configured(connection)
    _refuse_newer(connection, config, name)
    if _is_before_revisions(connection):
        command.stamp(config, FIRST)
    command.upgrade(config, to)


def configured(connection: Connection) -> Config:
    """Alembic's configuration for our steps on this connection."""
    config = Config()
    config.set_main_option("script_location", "flowengine.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _refuse_newer(connection: Connection, config: Config, name: str) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    has = MigrationContext.configure(connection).get_current_heads()
    before = 0
    if connection.dialect.name == "sqlite":
        before = connection.execute(text("PRAGMA user_version")).scalar_one()
    unknown = [revision for revision in has if revision not in known]
    if unknown or before > 1:
        raise StoreError(
            "schema_too_new",
            f"The store has schema {unknown[0] if unknown else before}, this engine knows up to"
            f" {max(known)}.",
            where=name,
            fix="Use the flowengine version that wrote it, or a newer one.",
        )


def _is_before_revisions(connection: Connection) -> bool:
    tables = inspect(connection).get_table_names()
    return "call" in tables and "alembic_version" not in tables


def _prepare_file(database: Database) -> None:
    path = Path(database.url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    # Outside of a transaction: the mode cannot be changed in one.
    raw = database.engine.raw_connection()
    try:
        _use_wal(raw.cursor(), path)
    finally:
        raw.close()


def _use_wal(cursor: DBAPICursor, path: Path) -> None:
    # Two processes that turn to WAL at once lock each other out without the busy handler.
    for last_try in (*(False,) * _WAL_TRIES, True):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            mode = cursor.fetchone()
        except sqlite3.OperationalError:
            if last_try:
                raise
            time.sleep(_WAL_PAUSE_S)
            continue
        if mode is not None and mode[0] == "wal":
            return
        break
    raise StoreError(
        "no_wal",
        "The store's file system does not allow SQLite's WAL mode.",
        where=path.name,
        fix="Put the store on a local disk.",
    )
