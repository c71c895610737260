"""Time as a thing that is handed in: a real clock for phones, a manual one for tests.

Nothing that decides reads a clock; the shell that drives it does, through this port.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Monotonic milliseconds for waits, an aware UTC datetime for calendars and records."""

    def now_ms(self) -> int:
        """Monotonic time in ms; only differences mean anything."""
        ...

    def wall(self) -> datetime:
        """The time of day, aware, in UTC."""
        ...


class RealClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime, now_ms: int = 0) -> None:
        self._start = start.astimezone(UTC)
        self._start_ms = now_ms
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def wall(self) -> datetime:
        return self._start + timedelta(milliseconds=self._now_ms - self._start_ms)

    def advance_to(self, now_ms: int) -> None:
        """Move to `now_ms`; never backwards."""
        if now_ms < self._now_ms:
            raise ValueError(f"the clock stands at {self._now_ms} ms, {now_ms} ms is in the past")
        self._now_ms = now_ms
