"""Named waits of a call: everything that may take time stands here with its own limit.

Pure. The actor's next deadline is the earliest of them; a wait that passes its limit is reported
under its name, so that nothing in a call can hang without a name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait: when it is due, and how long it was given."""

    name: str
    due_ms: int
    limit_ms: int


class Waits:
    """The waits that are running now, at most one of each name."""

    def __init__(self) -> None:
        self._running: dict[str, Wait] = {}

    def start(self, name: str, now_ms: int, limit_ms: int) -> None:
        """Begin a wait, or begin it anew."""
        self._running[name] = Wait(name, now_ms + limit_ms, limit_ms)

    def stop(self, *names: str) -> None:
        for name in names:
            self._running.pop(name, None)

    def stop_all_but(self, *names: str) -> None:
        self._running = {name: self._running[name] for name in names if name in self._running}

    def __contains__(self, name: str) -> bool:
        return name in self._running

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._running)

    @property
    def deadline_ms(self) -> int | None:
        """When the next wait is due; None when nothing is waited for."""
        return min((wait.due_ms for wait in self._running.values()), default=None)

    def passed(self, now_ms: int) -> Wait | None:
        """Take out the earliest wait that is due, if any."""
        due = [wait for wait in self._running.values() if wait.due_ms <= now_ms]
        if not due:
            return None
        first = min(due, key=lambda wait: (wait.due_ms, wait.name))
        del self._running[first.name]
        return first
