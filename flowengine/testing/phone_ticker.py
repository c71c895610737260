"""One clock for all simulated phones: every call gets a tick per 20 ms, at absolute deadlines.

A timer per call costs twice as much and a chain of sleeps runs slow. Calls are spread over four
phases of 5 ms, as real ones are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flowengine.testing.phone_audio import FRAME_MS

_PHASES = 4
_STEP_S = FRAME_MS / 1000 / _PHASES

Tick = Callable[[float], None]
"""Called with the loop's time in milliseconds."""


class Ticker:
    """Runs while somebody wants ticks; belongs to one event loop at a time."""

    def __init__(self) -> None:
        self._phases: list[list[Tick]] = [[] for _ in range(_PHASES)]
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._step = 0

    def add(self, tick: Tick) -> None:
        """Begin to call `tick`, in the phase with the fewest others."""
        min(self._phases, key=len).append(tick)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._due_s = loop.time() + _STEP_S
            self._timer = loop.call_at(self._due_s, self._run, loop)

    def remove(self, tick: Tick) -> None:
        for phase in self._phases:
            if tick in phase:
                phase.remove(tick)
        if self._timer is not None and not any(self._phases):
            self._timer.cancel()
            self._timer = None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do what is due; after a stall, all of it at once, as frames bunch up on a network."""
        while self._due_s <= loop.time() and self._timer is not None:
            now_ms = loop.time() * 1000
            for tick in tuple(self._phases[self._step % _PHASES]):
                tick(now_ms)
            self._step += 1
            self._due_s += _STEP_S
        if self._timer is not None:
            self._timer = loop.call_at(self._due_s, self._run, loop)
