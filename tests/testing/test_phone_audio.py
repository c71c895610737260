"""Test audio of the simulated phone."""

from __future__ import annotations

import struct

import pytest

from flowengine.media.g711 import linear_to_ulaw
from flowengine.testing.phone_audio import (
    FRAME_BYTES,
    SILENT_FRAME,
    babble,
    comfort_noise,
    frames_of,
    is_audible,
)

pytestmark = pytest.mark.unit


def test_babble_is_the_same_per_seed_and_loud_throughout() -> None:
    audio = babble(1000, seed=4)
    assert len(audio) == 8000
    assert audio == babble(1000, seed=4)
    assert audio != babble(1000, seed=5)
    assert all(is_audible(frame) for frame in frames_of(audio))


@pytest.mark.parametrize(("level", "heard"), [(0, False), (100, False), (600, True), (-600, True)])
def test_audible_is_what_is_loud_enough(level: int, heard: bool) -> None:
    assert is_audible(linear_to_ulaw(struct.pack("<h", level) * 160)) is heard


def test_nothing_is_not_audible() -> None:
    assert not is_audible(b"")
    assert not is_audible(SILENT_FRAME)


def test_the_last_frame_is_filled_up() -> None:
    frames = frames_of(b"\x01" * (FRAME_BYTES + 1))
    assert [len(frame) for frame in frames] == [FRAME_BYTES, FRAME_BYTES]
    assert frames[1] == b"\x01" + b"\xff" * (FRAME_BYTES - 1)


def test_comfort_noise_is_there_and_not_audible() -> None:
    frames = comfort_noise(3)
    assert len(frames) == 50
    assert frames == comfort_noise(3)
    assert all(len(frame) == FRAME_BYTES and frame != SILENT_FRAME for frame in frames)
    assert not any(is_audible(frame) for frame in frames)
