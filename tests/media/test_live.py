"""A listener's view of a call: frames in time, what is taken back, what is private, who is slow."""

from __future__ import annotations

import pytest

from flowengine.media.live import FRAME_BYTES, FRAME_MS, LATE_MS, MOST_BEHIND_MS, LiveMix

pytestmark = pytest.mark.unit

QUIET = 0xFF


class Call:
    """A call whose time is set by hand."""

    def __init__(self) -> None:
        self.now_ms = 5000
        self.mix = LiveMix(lambda: self.now_ms)

    def speak(self, ms: int, byte: int) -> None:
        """The caller speaks as a line brings it: 20 ms at a time."""
        for _ in range(ms // 20):
            self.now_ms += 20
            self.mix.caller(bytes([byte]) * 160)

    def heard(self, after_ms: int = LATE_MS) -> tuple[bytes, bytes]:
        self.now_ms += after_ms
        both = b"".join(self.mix.take())
        return both[0::2], both[1::2]


def test_frames_come_late_and_are_whole() -> None:
    call = Call()
    call.speak(FRAME_MS, 1)
    assert call.mix.take() == []
    call.now_ms += LATE_MS
    (frame,) = call.mix.take()
    assert len(frame) == FRAME_BYTES
    assert frame[0::2] == bytes([1]) * (FRAME_BYTES // 2)
    assert frame[1::2] == bytes([QUIET]) * (FRAME_BYTES // 2)


def test_the_bot_is_laid_where_the_line_plays_it_and_taken_back() -> None:
    call = Call()
    call.mix.bot(5100, bytes([2]) * 8 * 400)
    call.now_ms = 5200
    call.mix.bot_cut(5300)
    call.now_ms = 5500
    _, bot = call.heard()
    assert bot[: 8 * 100] == bytes([QUIET]) * 800
    assert bot[8 * 100 : 8 * 300] == bytes([2]) * 1600
    assert set(bot[8 * 300 :]) == {QUIET}


def test_what_the_line_held_when_somebody_joined_is_heard() -> None:
    call = Call()
    call.mix.bot(5000, bytes([2]) * 8 * 200)
    call.now_ms = 5200
    assert call.heard()[1] == bytes([2]) * 1600


def test_a_caller_whose_frames_were_held_up_is_set_anew() -> None:
    call = Call()
    call.speak(100, 1)
    call.now_ms += 1000
    call.speak(100, 3)
    caller, _ = call.heard()
    assert caller[:800] == bytes([1]) * 800
    assert caller[8 * 1100 : 8 * 1200] == bytes([3]) * 800
    assert set(caller[800 : 8 * 1080]) == {QUIET}


def test_what_is_private_is_not_heard() -> None:
    call = Call()
    call.speak(100, 1)
    call.mix.bot(5100, bytes([2]) * 8 * 500)
    call.mix.silence(on=True)
    call.speak(200, 3)
    call.mix.silence(on=False)
    call.speak(100, 4)
    caller, bot = call.heard()
    assert caller == bytes([1]) * 800 + bytes([QUIET]) * 1600 + bytes([4]) * 800
    assert set(bot) == {QUIET}


def test_whoever_is_too_slow_is_dropped_and_nothing_is_kept() -> None:
    call = Call()
    call.speak(MOST_BEHIND_MS, 1)
    assert not call.mix.is_overrun
    call.speak(100, 1)
    assert call.mix.is_overrun
    call.mix.bot(call.now_ms, b"2" * 800)
    assert len(call.mix._caller.audio) == len(call.mix._bot.audio) == 0


def test_when_the_call_is_over_the_rest_is_taken_at_once() -> None:
    call = Call()
    call.speak(200, 1)
    call.mix.is_over = True
    assert len(call.heard(0)[0]) == 1600
