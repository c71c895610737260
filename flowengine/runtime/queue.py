"""A call's one queue of events: bounded, with a half that only the line and tools may use.

Overflow is told once; the call then ends with speech, it never loses events silently.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from flowengine.commands import OperatorEnded, OperatorMoved, OperatorSaid, OperatorTransferred
from flowengine.events import (
    AudioSent,
    CallResumed,
    DigitPressed,
    EndRequested,
    Input,
    LineClosed,
    MarkReached,
    SpeakingFailed,
    ToolEnded,
)

EVENTS = 256
RESERVED = 128

_FIRST_RATE = (
    AudioSent,
    CallResumed,
    DigitPressed,
    EndRequested,
    LineClosed,
    MarkReached,
    OperatorEnded,
    OperatorMoved,
    OperatorSaid,
    OperatorTransferred,
    SpeakingFailed,
    ToolEnded,
)
"""What may use the reserved half."""


class EventQueue:
    """Events in the order in which they came; one reader."""

    def __init__(self, overflowed: Callable[[], None]) -> None:
        self._events: deque[Input] = deque()
        self._overflowed = overflowed
        self._is_full = False
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Input) -> None:
        """Add an event; when there is no room the call is told to end as overloaded."""
        limit = EVENTS if isinstance(event, _FIRST_RATE) else EVENTS - RESERVED
        if len(self._events) >= limit and not isinstance(event, LineClosed):
            if not self._is_full:
                self._is_full = True
                self._overflowed()
                self._events.append(EndRequested("overloaded"))
                self._wake()
            return
        self._events.append(event)
        self._wake()

    def take(self) -> Input | None:
        """The next event, if there is one."""
        return self._events.popleft() if self._events else None

    def withdraw_audio(self) -> list[AudioSent]:
        """Take out the reports of audio that nobody has seen yet."""
        found = [event for event in self._events if isinstance(event, AudioSent)]
        if found:
            kept = [event for event in self._events if not isinstance(event, AudioSent)]
            self._events = deque(kept)
        return found

    async def wait(self, until_s: float | None) -> None:
        """Wait for an event, or until this time of the loop."""
        if self._events:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if until_s is None else loop.call_at(until_s, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
