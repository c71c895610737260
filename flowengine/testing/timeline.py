"""Virtual time: things that will happen, in order, and a clock that jumps from one to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class Due:
    """Something that will happen; things of the same millisecond happen in the order asked."""

    at_ms: int
    order: int
    act: Callable[[], None] = field(compare=False)
    is_background: bool = field(compare=False, default=False)
    """It alone keeps nobody waiting (a caller's patience, a look at the clock)."""
    is_cancelled: bool = field(compare=False, default=False)

    def cancel(self) -> None:
        self.is_cancelled = True


class Timeline:
    """The world's agenda of one simulated call."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._heap: list[Due] = []
        self._count = 0

    def after(self, delay_ms: int, act: Callable[[], None], *, is_background: bool = False) -> Due:
        """Have something happen in `delay_ms`."""
        self._count += 1
        due = Due(self.now_ms + max(0, delay_ms), self._count, act, is_background)
        heapq.heappush(self._heap, due)
        return due

    @property
    def next_ms(self) -> int | None:
        """When the next thing happens; None when nothing will."""
        while self._heap and self._heap[0].is_cancelled:
            heapq.heappop(self._heap)
        return self._heap[0].at_ms if self._heap else None

    @property
    def is_busy(self) -> bool:
        """Whether the world still brings something of its own accord."""
        return any(not (due.is_cancelled or due.is_background) for due in self._heap)

    def advance_to(self, at_ms: int) -> None:
        """Move the clock; never backwards."""
        self.now_ms = max(self.now_ms, at_ms)

    def step(self) -> None:
        """Jump to the next thing and let it happen."""
        if self.next_ms is None:
            return
        due = heapq.heappop(self._heap)
        self.advance_to(due.at_ms)
        due.act()
