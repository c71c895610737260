"""The line through this computer's sound: audio both ways, marks in their place, clear, keys."""

from __future__ import annotations

import pytest

from flowengine.carriers.microphone import MicrophoneLine
from flowengine.media.g711 import linear_to_ulaw, silence, ulaw_to_linear
from flowengine.ports import LineAudio, LineDigit, LineEvent, LineMark, LineStopped

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

FRAME = ulaw_to_linear(bytes([0x10]) * 160)
QUIET = ulaw_to_linear(silence(20))


async def _until_stopped(line: MicrophoneLine) -> list[LineEvent]:
    line.hang_up()
    return [event async for event in line.events()]


async def test_what_is_heard_comes_as_telephone_audio() -> None:
    line = MicrophoneLine()
    assert line.exchange(FRAME) == QUIET
    heard, stopped = await _until_stopped_after_callbacks(line)
    assert heard == LineAudio(linear_to_ulaw(FRAME))
    assert stopped == LineStopped("hung_up")


async def _until_stopped_after_callbacks(line: MicrophoneLine) -> list[LineEvent]:
    """The device's thread speaks through the loop: its callbacks run before the caller hangs up."""
    import anyio.lowlevel

    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    return await _until_stopped(line)


async def test_audio_is_played_in_order_and_a_mark_comes_behind_it() -> None:
    line = MicrophoneLine()
    await line.send_audio(bytes([0x10]) * 240)
    await line.send_mark("a")
    await line.send_audio(bytes([0x20]) * 80)
    first, second = line.exchange(QUIET), line.exchange(QUIET)
    assert first == FRAME
    assert second == ulaw_to_linear(bytes([0x10]) * 80 + bytes([0x20]) * 80)
    events = await _until_stopped_after_callbacks(line)
    kinds = [type(event) for event in events]
    assert kinds == [LineAudio, LineAudio, LineMark, LineStopped]


async def test_a_clear_drops_audio_and_gives_marks_back() -> None:
    line = MicrophoneLine()
    await line.send_audio(bytes([0x10]) * 1600)
    await line.send_mark("a")
    await line.clear()
    assert line.exchange(QUIET) == QUIET
    events = await _until_stopped_after_callbacks(line)
    assert LineMark("a") in events


async def test_keys_are_typed() -> None:
    line = MicrophoneLine()
    line.press("5")
    assert await _until_stopped(line) == [LineDigit("5"), LineStopped("hung_up")]
