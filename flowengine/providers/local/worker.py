"""Runs a model's work in one thread, off the event loop, with a bound on what may wait.

All calls of the process share a worker: models are loaded once and never run side by side, so
they need no lock. When more work waits than the bound, a call is told `overloaded` at once: words
that come seconds late are worth less than an error that the flow can act on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import ParamSpec, TypeVar

from flowengine.errors import ProviderError

WAITING_LIMIT = 32
"""Jobs that may wait: about 2 s of recognition, at 60 ms an utterance."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Worker:
    """One thread with a bounded queue. The thread starts with the first job."""

    def __init__(self, name: str, *, waiting_limit: int = WAITING_LIMIT) -> None:
        self._name = name
        self._limit = waiting_limit
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"local-{name}")
        self._count = 0
        self._lock = Lock()

    @property
    def count(self) -> int:
        """Jobs that wait or run."""
        return self._count

    async def run(self, job: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a job after those before it; cancelled, it is not begun.

        Raises ProviderError(`overloaded`) when too many wait.
        """
        with self._lock:
            if self._count > self._limit:
                raise ProviderError(
                    "overloaded",
                    f"{self._limit} jobs wait for local {self._name} already",
                    where="local",
                    fix="Take fewer calls at a time on this machine (FLOWENGINE_MAX_CALLS), or"
                    " use a provider with a key.",
                    retryable=True,
                )
            self._count += 1
        future = self._executor.submit(job, *args, **kwargs)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[_T]) -> None:
        with self._lock:
            self._count -= 1


HEARING = Worker("speech recognition")
SPEAKING = Worker("speech synthesis")
