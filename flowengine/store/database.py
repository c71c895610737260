"""One database, SQLite or PostgreSQL by its URL: how it is opened, and its transactions.

What differs between the two stands here and in `dialects` and nowhere else. `Database.reading` and
`Database.writing` are the two kinds of transactions that everything but the calls' writer uses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from flowengine.errors import ConfigError, StoreError
from flowengine.store.scope import PROJECT, ScopedSession

BUSY_MS = 2000
"""How long one transaction waits for another's locks."""

FAULTS = (SQLAlchemyError, sqlite3.Error, OSError)
"""What a database's failure raises. SQLite's own: from what is said to it past SQLAlchemy, and when
a connection is made."""

_URL_FIX = (
    "Set it like sqlite:///flowengine-data/flowengine.db or postgresql://user:password@host/name."
)
_DRIVERS = {
    "sqlite": ("sqlite+pysqlite", "sqlite+aiosqlite"),
    "postgresql": ("postgresql+psycopg",) * 2,
}
_IS_WRITING = "flowengine_is_writing"


def sqlite_url(path: Path | str) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{Path(path).absolute()}"


class Database:
    """A database that is prepared: its file made, its tables up to date."""

    def __init__(self, url: str, *, busy_ms: int = BUSY_MS) -> None:
        """Raises ConfigError for a URL that is none of ours. Nothing is opened yet."""
        self.url = _parsed(url)
        self.kind = self.url.get_backend_name()
        self.busy_ms = busy_ms
        self.engine = self._sync_engine()
        self._async: AsyncEngine | None = None

    @property
    def name(self) -> str:
        """What messages call it: no path, no password."""
        return Path(self.url.database or "").name

    @asynccontextmanager
    async def reading(self, project_id: str | None) -> AsyncIterator[AsyncSession]:
        """A session that only reads, and never waits for writers. Raises StoreError.

        It sees the rows of this project and no other's; with None those of all, which is for
        what belongs to nobody yet: who holds this key, which project's number is called.
        """
        async with self._session(project_id, is_writing=False) as session:
            yield session

    @asynccontextmanager
    async def writing(self, project_id: str | None) -> AsyncIterator[AsyncSession]:
        """A session that is committed at its end, or rolled back by what is raised in it.

        Raises StoreError; `StaleDataError` of a row that somebody changed meanwhile and
        `IntegrityError` pass.
        """
        async with self._session(project_id, is_writing=True) as session:
            yield session
            await session.commit()

    def reader(self) -> Connection:
        """A connection for a thread that only reads. Raises what the driver raises."""
        return self.engine.connect().execution_options(**{_IS_WRITING: False})

    async def close(self) -> None:
        """Close every connection of `reading` and `writing`, and those that threads left."""
        if self._async is not None:
            await self._async.dispose()
            self._async = None
        self.engine.dispose()

    @asynccontextmanager
    async def _session(
        self, project_id: str | None, *, is_writing: bool
    ) -> AsyncIterator[AsyncSession]:
        if self._async is None:
            self._async = self._async_engine()
        options = {_IS_WRITING: is_writing}
        try:
            async with AsyncSession(
                self._async.execution_options(**options),
                sync_session_class=ScopedSession,
                expire_on_commit=False,
                info={PROJECT: project_id},
            ) as session:
                yield session
        except IntegrityError:
            raise
        except (DBAPIError, sqlite3.Error, OSError) as error:
            raise unreadable(self.name, error) from error

    def _sync_engine(self) -> Engine:
        driver = _DRIVERS[self.kind][0]
        engine = create_engine(
            self.url.set(drivername=driver),
            poolclass=NullPool,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            **self._options(),
        )
        if self.kind == "sqlite":
            _tune_sqlite(engine, self.busy_ms)
        return engine

    def _async_engine(self) -> AsyncEngine:
        driver = _DRIVERS[self.kind][1]
        engine = create_async_engine(
            self.url.set(drivername=driver),
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            pool_pre_ping=self.kind != "sqlite",
            **self._options(),
        )
        if self.kind == "sqlite":
            _tune_sqlite(engine.sync_engine, self.busy_ms)
        return engine

    def _options(self) -> dict[str, dict[str, object]]:
        if self.kind == "sqlite":
            return {"connect_args": {"timeout": self.busy_ms / 1000}}
        return {
            "connect_args": {
                "connect_timeout": 5,
                "options": f"-c lock_timeout={self.busy_ms} -c timezone=UTC",
            }
        }


def unreadable(where: str, error: Exception) -> StoreError:
    """Refuse what the database did not do; the message holds no values of the statement."""
    reason = getattr(error, "orig", None) or error
    return StoreError(
        "store_unreadable",
        f"The store cannot be used ({type(reason).__name__}: {_first_line(reason)}).",
        where=where,
        fix="Check that the database is up, whole, and lets this engine in.",
        retryable=True,
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise _bad_url("It is no URL.") from error
    kind = parsed.get_backend_name()
    if kind == "postgres":
        parsed, kind = parsed.set(drivername="postgresql"), "postgresql"
    if kind not in _DRIVERS:
        raise _bad_url(f"No store speaks {kind!r}.")
    if not parsed.database:
        raise _bad_url("It names no database.")
    if kind == "postgresql":
        try:
            import psycopg  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise ConfigError(
                "not_installed",
                "PostgreSQL needs a package that is not installed.",
                where="FLOWENGINE_DATABASE_URL",
                fix="Install flowengine[postgres].",
            ) from error
    return parsed


def _bad_url(what: str) -> ConfigError:
    return ConfigError("bad_database_url", what, where="FLOWENGINE_DATABASE_URL", fix=_URL_FIX)


def _tune_sqlite(engine: Engine, busy_ms: int) -> None:
    """Transactions begin when we say so, and a writing one takes its lock at once.

    A transaction that reads first and writes later would fail, not wait, when somebody else wrote
    in between (SQLITE_BUSY_SNAPSHOT).
    """

    @event.listens_for(engine, "connect")
    def connected(connection: object, _record: object) -> None:
        # The driver's own begins and commits would come in between.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"PRAGMA busy_timeout = {busy_ms}")
        # A commit is then in the WAL at once (kill -9 loses nothing), on disk by the next sync.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get(_IS_WRITING, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")
