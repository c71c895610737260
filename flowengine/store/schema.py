"""Tables of the SQLite store, their migrations, and how a connection to them is opened.

Each migration is a step of `PRAGMA user_version`; a file that is newer than this engine is refused.
The file is in WAL mode, so readers never wait for the writer, and readable by its owner alone.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from flowengine.errors import StoreError

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # An ordinary table: its rows hold the flow's document and are too wide for WITHOUT ROWID;
        # the rowid gives "latest first".
        """
        CREATE TABLE call (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            carrier TEXT NOT NULL,
            carrier_sid TEXT NOT NULL,
            direction TEXT NOT NULL,
            from_number TEXT NOT NULL,
            to_number TEXT NOT NULL,
            flow_id TEXT NOT NULL,
            version TEXT NOT NULL,
            flow TEXT NOT NULL,
            status TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            ended_at TEXT,
            disposition TEXT NOT NULL,
            pending TEXT,
            nonce TEXT
        )
        """,
        "CREATE UNIQUE INDEX call_sid ON call (carrier, carrier_sid) WHERE carrier_sid <> ''",
        """
        CREATE TABLE call_event (
            call_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            at_ms INTEGER NOT NULL,
            family TEXT NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (call_id, seq)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE call_checkpoint (
            call_id TEXT NOT NULL PRIMARY KEY,
            epoch INTEGER NOT NULL,
            body TEXT NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)

_WAL_TRIES = 50
_WAL_PAUSE_S = 0.1


def prepare(path: Path, busy_ms: int) -> None:
    """Make the file and bring its tables up to date. Blocks; raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        connection = connect(path, busy_ms)
        try:
            _use_wal(connection, path)
            _migrate(connection, path)
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        # Not str() of an OSError: it holds the whole path.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(
            "store_unreadable",
            f"The call store cannot be opened ({reason}).",
            where=path.name,
            fix="Check that the file is a flowengine store and that its folder can be written.",
        ) from error


def connect(path: Path, busy_ms: int) -> sqlite3.Connection:
    """Open a connection for the calling thread; transactions are begun by hand."""
    connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None)
    # A commit is then in the WAL at once (kill -9 loses nothing) and on disk by the next sync.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    # Two processes that turn to WAL at once lock each other out without the busy handler.
    for last_try in (*(False,) * _WAL_TRIES, True):
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError:
            if last_try:
                raise
            time.sleep(_WAL_PAUSE_S)
            continue
        if mode == "wal":
            return
        break
    raise StoreError(
        "no_wal",
        "The call store's file system does not allow SQLite's WAL mode.",
        where=path.name,
        fix="Put the store on a local disk.",
    )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise StoreError(
                "schema_too_new",
                f"The call store has schema {version}, this engine knows {len(MIGRATIONS)}.",
                where=path.name,
                fix="Use the flowengine version that wrote it, or a newer one.",
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
