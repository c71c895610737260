"""A circuit breaker: whether a provider is worth an attempt now, by how the last ones went.

Pure. Shared by all calls of a process, so that one call's failures spare the next one the wait. It
only puts a provider behind others: who has no other is asked all the same, for a breaker must never
end a call that might have gone well.
"""

from __future__ import annotations

from typing import Literal

from flowengine.errors import ProviderError

OPENS_AFTER = 5
"""Failures in a row, each within `WINDOW_MS` of the one before."""
WINDOW_MS = 30_000
FIRST_OPEN_MS = 5000
LONGEST_OPEN_MS = 120_000
"""Each time that the probe fails it stays open twice as long, up to this."""
ACCOUNT_OPEN_MS = 60_000
"""After `auth`, `quota` or a model that is unknown: a second attempt cannot help until somebody has
done something."""

State = Literal["closed", "open", "half_open"]
_OURS = frozenset({"bad_request"})
"""Says something of the request, nothing of the provider."""


class Breaker:
    """The breaker of one provider and kind, or of one of its models.

    Times in ms on any clock that only goes on.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._failed_ms = 0
        self._open_ms = 0
        """How long it was opened for; 0: it is closed."""
        self._until_ms = 0
        self._probe_until_ms = 0

    def state(self, now_ms: int) -> State:
        if not self._open_ms:
            return "closed"
        return "open" if now_ms < self._until_ms else "half_open"

    def allows(self, now_ms: int) -> bool:
        """Whether to ask now. Half open, one attempt is let through until it ended."""
        state = self.state(now_ms)
        if state != "half_open":
            return state == "closed"
        if now_ms < self._probe_until_ms:
            return False
        self._probe_until_ms = now_ms + self._open_ms
        return True

    def succeeded(self) -> None:
        """An attempt went well: all is forgotten."""
        self._failures = self._open_ms = self._until_ms = self._probe_until_ms = 0

    def failed(self, error: ProviderError, now_ms: int) -> None:
        """An attempt failed."""
        if error.code in _OURS and not error.is_model_unknown:
            return
        if now_ms - self._failed_ms > WINDOW_MS:
            self._failures = 0
        self._failures += 1
        self._failed_ms = now_ms
        if error.code in ("auth", "quota") or error.is_model_unknown:
            self._open(ACCOUNT_OPEN_MS, now_ms)
        elif error.retry_after_ms is not None:
            self._open(error.retry_after_ms, now_ms)
        elif self.state(now_ms) == "half_open":
            self._open(2 * self._open_ms, now_ms)
        elif self._failures >= OPENS_AFTER and self.state(now_ms) == "closed":
            self._open(FIRST_OPEN_MS, now_ms)

    def _open(self, for_ms: int, now_ms: int) -> None:
        self._open_ms = max(1, min(for_ms, LONGEST_OPEN_MS))
        self._until_ms = max(self._until_ms, now_ms + self._open_ms)
        self._probe_until_ms = 0
