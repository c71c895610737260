"""Steps up and down on both databases, older files, and two that start at once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from flowengine.ids import CallId
from flowengine.store.database import Database, sqlite_url
from flowengine.store.schema import configured, prepare, upgrade
from flowengine.store.tables import metadata
from tests.databases import KINDS, fresh_database
from tests.store.calls import a_call, open_store

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
OLD = """
CREATE TABLE call (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, carrier TEXT NOT NULL,
    carrier_sid TEXT NOT NULL, direction TEXT NOT NULL, from_number TEXT NOT NULL,
    to_number TEXT NOT NULL, flow_id TEXT NOT NULL, version TEXT NOT NULL, flow TEXT NOT NULL,
    status TEXT NOT NULL, epoch INTEGER NOT NULL, created_at TEXT NOT NULL, ended_at TEXT,
    disposition TEXT NOT NULL, pending TEXT, nonce TEXT
);
CREATE UNIQUE INDEX call_sid ON call (carrier, carrier_sid) WHERE carrier_sid <> '';
CREATE TABLE call_event (
    call_id TEXT NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    family TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (call_id, seq)
) WITHOUT ROWID;
CREATE TABLE call_checkpoint (
    call_id TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO call VALUES (1, 'call_1', 'twilio', 'CA1', 'inbound', '+1', '+2', 'clinic', 'aaaa',
    '{"id":"clinic"}', 'completed', 1, '2026-11-20T10:00:00+00:00', NULL, 'served', NULL, NULL);
INSERT INTO call_event VALUES ('call_1', 1, 1, 20, 'fact', '{"type":"x"}');
PRAGMA user_version = 1;
"""
"""A store as it was made before there were steps."""


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with fresh_database(request.param) as made:
        yield made


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_the_steps_lead_to_the_tables(url: str) -> None:
    database = Database(url)
    prepare(database)
    with database.engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert tables(database) == set(metadata.tables)


def test_step_by_step_up_down_and_up_again_with_calls_in_it(url: str) -> None:
    database = Database(url)
    with database.engine.begin() as connection:
        upgrade(connection, database.name, "0001")
    assert tables(database) == {"call", "call_event", "call_checkpoint"}
    with database.engine.begin() as connection:
        upgrade(connection, database.name)

    async def add() -> None:
        store = open_store(url)
        await store.add_call(a_call())
        await store.close()

    asyncio.run(add())
    with database.engine.begin() as connection:
        command.downgrade(configured(connection), "0001")
    assert tables(database) == {"call", "call_event", "call_checkpoint"}
    with database.engine.begin() as connection:
        assert connection.execute(text("SELECT id FROM call")).scalar_one() == "call_1"
    prepare(database)

    async def read() -> None:
        store = open_store(url)
        assert await store.call(CallId("call_1")) == a_call()
        await store.close()

    asyncio.run(read())
    with database.engine.begin() as connection:
        command.downgrade(configured(connection), "base")
    assert tables(database) == set()


def test_a_file_from_before_there_were_steps_keeps_its_calls(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD)

    async def read() -> None:
        store = open_store(path)
        row = await store.call(CallId("call_1"))
        assert row is not None
        assert (row.flow_id, row.project_id, row.variables) == ("clinic", "default", {})
        assert [record.seq for record in await store.journal(CallId("call_1"))] == [1]
        await store.add_call(a_call("call_2"))
        assert [one.id for one in await store.calls(5)] == ["call_2", "call_1"]
        await store.close()

    asyncio.run(read())
    database = Database(sqlite_url(path))
    assert tables(database) == set(metadata.tables)


def test_two_that_start_at_once_upgrade_one_after_the_other(url: str) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        try:
            prepare(Database(url))
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    script = (
        "import sys; from flowengine.store.database import Database;"
        " from flowengine.store.schema import prepare; prepare(Database(sys.argv[1]))"
    )
    with fresh_database(Database(url).kind) as fresh:
        processes = [
            subprocess.Popen([sys.executable, "-c", script, fresh], cwd=ROOT) for _ in range(2)
        ]
        assert [process.wait(60) for process in processes] == [0, 0]
        assert tables(Database(fresh)) == set(metadata.tables)
