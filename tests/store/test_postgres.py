"""What only a server can do: throw a connection out, be away, hold a lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import psycopg
import pytest

from flowengine.errors import StoreError
from flowengine.ids import CallId
from flowengine.store.calls import SqlStore
from flowengine.store.database import Database
from flowengine.store.schema import prepare
from tests.databases import prepared_database
from tests.store.calls import a_call, a_record

pytestmark = pytest.mark.unit

ONE = CallId("call_1")
LONG_S = 30.0
"""Ends a test that would hang; nothing is measured by it."""


@pytest.fixture
def url() -> Iterator[str]:
    with prepared_database("postgresql") as made:
        yield made


def throw_out(url: str) -> int:
    """End every other connection to the database; returns how many there were."""
    with psycopg.connect(url, autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(ended)


def test_a_connection_that_is_thrown_out_loses_nothing(url: str) -> None:
    is_degraded, is_recovered = threading.Event(), threading.Event()

    async def play() -> None:
        store = SqlStore(
            Database(url),
            on_degraded=lambda error: is_degraded.set(),
            on_recovered=is_recovered.set,
        )
        await store.add_call(a_call())
        await store.issue_stream(ONE, "nonce")
        assert await store.claim_stream(ONE, "nonce") == 1
        store.append(ONE, 1, [a_record(1)])
        await store.written(ONE)
        assert await asyncio.to_thread(throw_out, url) >= 1
        store.append(ONE, 1, [a_record(2)])
        with pytest.raises(StoreError) as caught:
            await store.written(ONE)
        assert (caught.value.code, caught.value.retryable) == ("journal_degraded", True)
        assert is_degraded.is_set()
        assert await asyncio.to_thread(is_recovered.wait, LONG_S)
        await store.written(ONE)
        for _ in range(2):
            # The reader's connection may be found gone once.
            try:
                records = await store.journal(ONE)
            except StoreError:
                continue
        assert records == [a_record(1), a_record(2)]
        await store.close()

    asyncio.run(play())


def test_a_server_that_is_away_is_told_without_its_password() -> None:
    database = Database("postgresql://me:hidden@127.0.0.1:1/calls")
    with pytest.raises(StoreError) as caught:
        prepare(database)
    assert (caught.value.code, caught.value.where) == ("store_unreadable", "calls")
    assert "hidden" not in str(caught.value)

    async def read() -> None:
        async with database.reading(None) as session:
            await session.connection()

    with pytest.raises(StoreError) as caught:
        asyncio.run(read())
    assert "hidden" not in str(caught.value)


def test_a_lock_that_somebody_holds_degrades_and_goes_on(url: str) -> None:
    async def play() -> None:
        is_recovered = threading.Event()
        store = SqlStore(Database(url, busy_ms=50), on_recovered=is_recovered.set)
        await store.add_call(a_call())
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE call IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreError) as caught:
                await store.set_status(ONE, "completed")
            assert caught.value.code == "journal_degraded"
            other.rollback()
        assert await asyncio.to_thread(is_recovered.wait, LONG_S)
        await store.set_status(ONE, "completed")
        await store.close()

    asyncio.run(play())
