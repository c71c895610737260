"""A call's queue: order, the reserved half, overflow, waking up."""

from __future__ import annotations

import asyncio

import pytest

from flowengine.events import (
    AudioSent,
    DigitPressed,
    EndRequested,
    InterimHeard,
    LineClosed,
    MarkReached,
)
from flowengine.runtime.queue import EVENTS, RESERVED, EventQueue

pytestmark = pytest.mark.unit


def test_words_overflow_at_half_and_digits_still_come_through() -> None:
    told: list[None] = []
    queue = EventQueue(lambda: told.append(None))
    for _ in range(EVENTS - RESERVED + 5):
        queue.put(InterimHeard("words"))
    queue.put(DigitPressed("1"))
    taken = [queue.take() for _ in range(len(queue))]
    assert len(told) == 1
    assert taken.count(EndRequested("overloaded")) == 1
    assert taken[-1] == DigitPressed("1")
    assert queue.take() is None


def test_the_end_of_the_line_is_never_lost() -> None:
    queue = EventQueue(lambda: None)
    for _ in range(EVENTS + 50):
        queue.put(DigitPressed("1"))
    queue.put(LineClosed("hung_up"))
    taken = [queue.take() for _ in range(len(queue))]
    assert taken[-2:] == [EndRequested("overloaded"), LineClosed("hung_up")]


def test_reports_of_audio_can_be_withdrawn_and_the_rest_keeps_its_order() -> None:
    queue = EventQueue(lambda: None)
    sent = AudioSent(1, 0, 0, 20)
    for event in (DigitPressed("1"), sent, MarkReached(1, 0)):
        queue.put(event)
    assert queue.withdraw_audio() == [sent]
    assert [queue.take(), queue.take()] == [DigitPressed("1"), MarkReached(1, 0)]


def test_waiting_ends_with_an_event_or_at_its_time() -> None:
    async def run() -> None:
        queue = EventQueue(lambda: None)
        loop = asyncio.get_running_loop()
        await queue.wait(loop.time())
        assert queue.take() is None
        waiting = asyncio.create_task(queue.wait(None))
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.put(DigitPressed("1"))
        await waiting
        assert queue.take() == DigitPressed("1")

    asyncio.run(run())
