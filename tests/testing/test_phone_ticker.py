"""One clock for all phones: absolute deadlines, no frame lost after a stall, spread in phases."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest

from flowengine.testing.phone_ticker import Tick, Ticker

pytestmark = pytest.mark.unit


class StandInLoop:
    """A loop whose time moves when told to; keeps the one timer that a ticker has."""

    def __init__(self) -> None:
        self.now_s = 5.0
        self.timer: Timer | None = None

    def time(self) -> float:
        return self.now_s

    def call_at(self, when_s: float, run: Callable[[StandInLoop], None], *_: object) -> Timer:
        self.timer = Timer(self, when_s, run)
        return self.timer

    def advance(self, by_ms: float, *, stalled: bool = False) -> None:
        """Let time go by; `stalled`: the loop was busy and runs the timer only at the end."""
        until_s = self.now_s + by_ms / 1000
        while self.timer is not None and self.timer.when_s <= until_s:
            self.now_s = until_s if stalled else max(self.timer.when_s, self.now_s)
            self.timer.run(self)
        self.now_s = until_s


class Timer:
    def __init__(
        self, loop: StandInLoop, when_s: float, run: Callable[[StandInLoop], None]
    ) -> None:
        self.loop, self.when_s, self.run = loop, when_s, run

    def cancel(self) -> None:
        self.loop.timer = None


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> StandInLoop:
    stand_in = StandInLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: stand_in)
    return stand_in


def keeping(times: list[float]) -> Tick:
    return times.append


def test_everybody_is_ticked_fifty_times_a_second(loop: StandInLoop) -> None:
    ticker, calls = Ticker(), [list[float]() for _ in range(5)]
    for times in calls:
        ticker.add(keeping(times))
    loop.advance(1001)
    assert [len(times) for times in calls] == [50] * 5
    for times in calls:
        steps = {round(later - earlier) for earlier, later in itertools.pairwise(times)}
        assert steps == {20}
    assert len({round(times[0] % 20) for times in calls}) == 4


def test_after_a_stall_all_that_was_due_is_done_and_the_pace_is_kept(loop: StandInLoop) -> None:
    ticker, times = Ticker(), list[float]()
    ticker.add(keeping(times))
    loop.advance(105)
    before = len(times)
    loop.advance(100, stalled=True)
    assert len(times) == before + 5
    loop.advance(795)
    assert len(times) == 50


def test_a_phone_that_is_gone_is_ticked_no_more_and_the_last_one_stops_the_clock(
    loop: StandInLoop,
) -> None:
    ticker, times, others = Ticker(), list[float](), list[float]()
    tick, other = keeping(times), keeping(others)
    ticker.add(tick)
    ticker.add(other)
    loop.advance(100)
    ticker.remove(tick)
    count = len(times)
    loop.advance(100)
    assert len(times) == count
    assert len(others) == 10
    ticker.remove(other)
    assert loop.timer is None
    ticker.add(tick)
    loop.advance(100)
    assert len(times) == count + 5


def test_a_tick_may_remove_itself(loop: StandInLoop) -> None:
    ticker, seen = Ticker(), list[float]()

    def once(now_ms: float) -> None:
        seen.append(now_ms)
        ticker.remove(once)

    ticker.add(once)
    loop.advance(100)
    assert len(seen) == 1
    assert loop.timer is None
