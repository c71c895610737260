"""What the calls' writer does differently on SQLite and on PostgreSQL."""

from __future__ import annotations

from sqlalchemy import Connection, text


def set_sync(connection: Connection, *, is_full: bool) -> None:
    """Say whether the transaction that comes is to outlive a power cut, too.

    SQLite takes it between transactions, PostgreSQL at the beginning of one: call `begun` there.
    """
    if connection.dialect.name == "sqlite":
        # Past SQLAlchemy, which would begin a transaction for it.
        raw = connection.connection.driver_connection
        raw.execute(f"PRAGMA synchronous = {'FULL' if is_full else 'NORMAL'}")  # type: ignore[union-attr]


def begun(connection: Connection, *, is_full: bool) -> None:
    """The same on PostgreSQL, for the transaction that has begun."""
    if connection.dialect.name == "postgresql":
        mode = "on" if is_full else "off"
        connection.execute(text(f"SET LOCAL synchronous_commit = {mode}"))


def probe(connection: Connection) -> None:
    """Find out whether the database takes writes; changes nothing. Raises what the driver does."""
    if connection.dialect.name == "sqlite":
        # A write of one page, so that a disk without room is found out.
        raw = connection.connection.driver_connection
        raw.execute("PRAGMA user_version = 1")  # type: ignore[union-attr]
        return
    with connection.begin():
        connection.execute(text("SELECT pg_current_xact_id()"))
