"""One thread, in order, with a bound on what waits."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flowengine.errors import ProviderError
from flowengine.providers.local.worker import Worker

pytestmark = pytest.mark.unit


def test_jobs_run_in_one_thread_in_order() -> None:
    done: list[tuple[int, str]] = []

    def job(number: int) -> int:
        done.append((number, threading.current_thread().name))
        return number * 2

    async def scenario() -> list[int]:
        worker = Worker("test")
        return await asyncio.gather(*(worker.run(job, number) for number in range(5)))

    assert asyncio.run(scenario()) == [0, 2, 4, 6, 8]
    assert [number for number, _ in done] == [0, 1, 2, 3, 4]
    assert len({name for _, name in done}) == 1
    assert done[0][1] != threading.current_thread().name


def test_too_much_waiting_is_refused_at_once_and_frees_again() -> None:
    gate = threading.Event()

    async def scenario() -> None:
        worker = Worker("test", waiting_limit=2)
        running = [asyncio.create_task(worker.run(gate.wait, 10)) for _ in range(3)]
        await asyncio.sleep(0)
        assert worker.count == 3
        with pytest.raises(ProviderError) as caught:
            await worker.run(gate.wait)
        assert caught.value.code == "overloaded"
        assert caught.value.retryable
        gate.set()
        assert await asyncio.gather(*running) == [True, True, True]
        assert await worker.run(len, "abc") == 3
        assert worker.count == 0

    asyncio.run(scenario())


def test_a_cancelled_job_is_not_begun() -> None:
    gate = threading.Event()
    begun: list[int] = []

    async def scenario() -> None:
        worker = Worker("test")
        first = asyncio.create_task(worker.run(gate.wait, 10))
        second = asyncio.create_task(worker.run(begun.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        gate.set()
        await first
        await worker.run(begun.append, 2)

    asyncio.run(scenario())
    assert begun == [2]


def test_errors_of_a_job_reach_the_caller() -> None:
    async def scenario() -> None:
        await Worker("test").run(int, "no number")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(scenario())
