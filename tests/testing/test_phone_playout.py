"""The simulated carrier's buffer: real-time order, marks when played, everything back on clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.testing.phone_audio import FRAME_BYTES, babble
from flowengine.testing.phone_playout import Playout

pytestmark = pytest.mark.unit

STEPS = st.lists(
    st.binary(min_size=1, max_size=900) | st.just("mark") | st.just("clear") | st.just("pull"),
    max_size=60,
)


@given(STEPS)
def test_what_is_played_is_what_was_sent_and_each_mark_comes_back_once(
    steps: list[bytes | str],
) -> None:
    playout = Playout()
    expected, waiting, played = bytearray(), bytearray(), bytearray()
    asked: list[str] = []
    returned: list[str] = []
    for number, step in enumerate(steps):
        if isinstance(step, bytes):
            playout.add(step)
            waiting += step
        elif step == "mark":
            asked.append(str(number))
            if playout.mark(str(number)):
                returned.append(str(number))
        elif step == "clear":
            dropped, names = playout.clear()
            assert dropped == len(waiting)
            waiting.clear()
            returned += names
            assert returned == asked
        else:
            frame, names = playout.pull()
            assert len(frame) == min(len(waiting), FRAME_BYTES)
            expected += waiting[:FRAME_BYTES]
            del waiting[:FRAME_BYTES]
            played += frame
            returned += names
    assert played == expected
    while waiting:
        frame, names = playout.pull()
        assert frame == bytes(waiting[:FRAME_BYTES])
        del waiting[:FRAME_BYTES]
        returned += names
    returned += playout.pull()[1]
    assert returned == asked


def test_a_mark_comes_back_when_its_frame_is_over_not_when_it_begins() -> None:
    playout = Playout()
    playout.add(bytes(FRAME_BYTES + 10))
    assert not playout.mark("a")
    assert playout.pull() == (bytes(FRAME_BYTES), [])
    assert playout.pull() == (bytes(10), [])
    assert playout.pull() == (b"", ["a"])
    assert playout.mark("b")


def test_the_buffer_knows_whether_it_ended_at_a_mark() -> None:
    playout = Playout()
    playout.add(bytes(10))
    playout.pull()
    assert not playout.ends_at_mark
    playout.mark("late")
    assert playout.ends_at_mark


def test_silence_that_waits_is_no_speech() -> None:
    playout = Playout()
    playout.add(b"\xff" * 4000)
    assert not playout.has_speech
    playout.add(babble(100))
    assert playout.has_speech
