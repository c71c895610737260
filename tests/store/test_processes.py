"""Several processes on one database: a nonce is used once, and kill -9 leaves a prefix."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowengine.ids import CallId
from tests.databases import KINDS, prepared_database
from tests.store.calls import a_call, a_record, open_store
from tests.store.worker import CALLS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with prepared_database(request.param) as made:
        yield made


def worker(act: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.worker", act, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


async def prepared(url: str, calls: int) -> None:
    store = open_store(url)
    for index in range(calls):
        await store.add_call(a_call(f"call_{index}"))
        await store.issue_stream(CallId(f"call_{index}"), "nonce")
    await store.close()


def test_two_processes_never_win_the_same_stream(url: str) -> None:
    asyncio.run(prepared(url, CALLS))
    workers = [worker("claim", url) for _ in range(2)]
    for process in workers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in workers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [process.communicate(timeout=60)[0].split() for process in workers]
    assert [process.returncode for process in workers] == [0, 0]
    assert sorted(map(int, won[0] + won[1])) == list(range(CALLS))

    async def epochs() -> set[int]:
        store = open_store(url)
        rows = await store.calls(CALLS)
        await store.close()
        return {row.epoch for row in rows}

    assert asyncio.run(epochs()) == {1}


@pytest.mark.parametrize("promises", [1, 4, 13])
def test_a_killed_writer_leaves_a_prefix(url: str, promises: int) -> None:
    asyncio.run(prepared(url, 1))

    async def claimed() -> int | None:
        store = open_store(url)
        epoch = await store.claim_stream(CallId("call_0"), "nonce")
        await store.close()
        return epoch

    assert asyncio.run(claimed()) == 1
    process = worker("write", url)
    assert process.stdout is not None
    promised = [int(process.stdout.readline()) for _ in range(promises)][-1]
    process.kill()
    process.communicate(timeout=60)

    async def check() -> None:
        store = open_store(url)
        journal = await store.journal(CallId("call_0"))
        assert journal == [a_record(seq) for seq in range(1, len(journal) + 1)]
        assert len(journal) >= promised
        checkpoint = await store.checkpoint(CallId("call_0"))
        assert checkpoint is not None
        assert promised - 5 < checkpoint["seq"] <= len(journal)
        await store.close()

    asyncio.run(check())
