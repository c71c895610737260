"""What to try next when a provider failed, and how long that may take.

The order of supervision: the first choice, the same again (when the error may pass), then the
fallbacks; everything after the first failure shares one short time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol, runtime_checkable

from flowengine.errors import ProviderError


@runtime_checkable
class Warm(Protocol):
    """A provider that can get ready before the first call."""

    async def warm(self) -> None: ...


def is_worth_repeating(error: ProviderError, within_s: float) -> bool:
    """Whether the same provider may be asked again within that time: it may say how long not."""
    wait_ms = error.retry_after_ms or 0
    return error.retryable and wait_ms <= within_s * 1000


class Recovery:
    """What is left to try, and how long each try may take.

    The first choice stands twice in the list, the second time only after an error that may pass.
    `skipped` (their breaker is open) are tried last.
    """

    def __init__(
        self,
        choices: int,
        first_ms: int,
        recovery_ms: int,
        skipped: Collection[int] = frozenset(),
    ) -> None:
        order = sorted(range(choices), key=lambda place: place in skipped)
        self._order = [order[0], *order]
        self._first_ms = first_ms
        self._recovery_ms = recovery_ms
        self._until: float | None = None

    def next(self) -> tuple[int, float] | None:
        """The next choice's place and its limit in seconds; None when all is tried."""
        if not self._order:
            return None
        place = self._order.pop(0)
        limit_s = self._limit_s(len(self._order) + 1)
        return None if limit_s is None else (place, limit_s)

    def beside(self, place: int) -> tuple[int, float] | None:
        """Another choice to try at the same time as `place`, with its limit; None: there is none.

        Not the same again: whatever keeps it would keep both.
        """
        other = next((item for item in self._order if item != place), None)
        limit_s = self._limit_s(1)
        if other is None or limit_s is None:
            return None
        self._order.remove(other)
        return other, limit_s

    def failed(self, place: int, error: ProviderError) -> None:
        """An attempt failed; the clock of recovery starts with the first one."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._recovery_ms / 1000
        left_s = self._until - asyncio.get_running_loop().time()
        if not is_worth_repeating(error, left_s):
            self._order = [other for other in self._order if other != place]

    def _limit_s(self, shares: int) -> float | None:
        """The limit of an attempt, which leaves as much for each of the others; None: too late."""
        if self._until is None:
            return self._first_ms / 1000
        left_s = self._until - asyncio.get_running_loop().time()
        return min(self._first_ms / 1000, left_s / shares) if left_s > 0 else None
