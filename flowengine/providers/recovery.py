"""What to try next when a provider failed, and how long that may take.

The order of supervision: the first choice, the same again (when the error may pass), then the
fallbacks; everything after the first failure shares one short time.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, runtime_checkable

from flowengine.errors import ProviderError


@runtime_checkable
class Warm(Protocol):
    """A provider that can get ready before the first call."""

    async def warm(self) -> None: ...


class Recovery:
    """What is left to try, and how long each try may take.

    The first choice stands twice in the list, the second time only after an error that may pass.
    """

    def __init__(self, choices: int, first_ms: int, recovery_ms: int) -> None:
        self._order = [0, *range(choices)]
        self._first_ms = first_ms
        self._recovery_ms = recovery_ms
        self._until: float | None = None

    def next(self) -> tuple[int, float] | None:
        """The next choice's place and its limit in seconds; None when all is tried."""
        if not self._order:
            return None
        place = self._order.pop(0)
        if self._until is None:
            return place, self._first_ms / 1000
        left = self._until - asyncio.get_running_loop().time()
        if left <= 0:
            return None
        return place, min(self._first_ms / 1000, left / (len(self._order) + 1))

    def failed(self, place: int, error: ProviderError) -> None:
        """An attempt failed; the clock of recovery starts with the first one."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._recovery_ms / 1000
        if not error.retryable:
            self._order = [other for other in self._order if other != place]
