"""Coroutines on a loop whose time passes only while nothing is to be done: waits cost nothing."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0 s and jumps to whatever is waited for.

    `has_wires`: sockets of this process talk to each other; then a jump is preceded by a moment in
    which the kernel may hand over what is on its way, a longer one where more is at stake.
    """

    def __init__(self, *, has_wires: bool = False) -> None:
        self._now_s = 0.0
        super().__init__(_Jumps(self, has_wires=has_wires))

    def time(self) -> float:
        return self._now_s

    def jump(self, by_s: float) -> None:
        self._now_s += by_s


class _Jumps(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop, *, has_wires: bool) -> None:
        super().__init__()
        self._loop = loop
        self._has_wires = has_wires

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(self._patience_s(timeout) if self._has_wires else 0)
        if not ready:
            assert timeout is not None, "everything waits, and for nothing"
            self._loop.jump(max(0.0, timeout))
        return ready

    @staticmethod
    def _patience_s(timeout: float | None) -> float:
        if timeout is None:
            return 2.0
        return next(patience_s for up_to_s, patience_s in _PATIENCE if timeout <= up_to_s)


_PATIENCE = ((0.0, 0.0), (0.25, 0.0001), (0.9, 0.002), (math.inf, 0.015))
"""For a jump of up to so many seconds: how long the kernel is waited for."""


def run_virtually(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end, and see that no task is left behind."""

    async def watched() -> _T:
        try:
            return await work
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks outlive their work: {left}"

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(watched())
