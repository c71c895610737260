"""The speech gate on synthesised lines: what starts it, what must not, and where."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.media.g711 import silence
from flowengine.media.gate import GateChange, SpeechGate
from tests.media.signals import mixed, noise, speech, tone, ulaw

pytestmark = pytest.mark.unit


def _run(audio: bytes, frame: int = 160, *, quiet_ms: int = 200) -> list[tuple[int, GateChange]]:
    """The changes, each with how many ms had come in when it was reported."""
    gate = SpeechGate(quiet_ms=quiet_ms)
    changes = []
    for start in range(0, len(audio), frame):
        change = gate.feed(audio[start : start + frame])
        if change is not None:
            changes.append((min(start + frame, len(audio)) // 8, change))
    return changes


def _swelling(duration_ms: int, low: float, high: float) -> list[float]:
    hiss = noise(duration_ms, 1.0)
    return [x * low * (high / low) ** (n / len(hiss)) for n, x in enumerate(hiss)]


@pytest.mark.parametrize(
    "line",
    [
        silence(5000),
        ulaw(noise(5000, 30)),
        ulaw(noise(5000, 100)),
        ulaw(noise(5000, 600)),
        silence(1000) + ulaw(noise(3000, 120)),
        ulaw(tone(5000, 50, 300)),
        ulaw(tone(5000, 100, 1400)),
        ulaw(mixed(tone(5000, 60, 700), noise(5000, 80))),
        ulaw(_swelling(20_000, 50, 3000)),
        ulaw(noise(2000, 60)) + silence(40) + ulaw(noise(2000, 60)),
        ulaw(noise(2000, 60) + noise(40, 8000) + noise(2000, 60)),
    ],
    ids=[
        *("silence", "comfort_noise", "line_noise", "loud_noise", "noise_after_silence", "hum_50"),
        *("loud_hum", "hum_and_noise", "slow_swell", "lost_packets", "a_click"),
    ],
)
def test_a_line_without_speech_is_quiet(line: bytes) -> None:
    assert _run(line) == []


@pytest.mark.parametrize("background", [0.0, 30.0, 150.0])
@pytest.mark.parametrize("shift", [0, 1, 40, 80, 120, 159])
def test_speech_is_noticed_within_80_ms(background: float, shift: int) -> None:
    onset = 8000 + shift
    before = noise(1000, background) + [0.0] * shift
    samples = before + speech(1000, 3000)
    audio = ulaw(mixed(samples, noise(len(samples) // 8, background, seed=5)))
    at_ms, change = _run(audio)[0]
    assert change.speaking
    assert at_ms * 8 - onset <= 80 * 8
    assert abs(change.began_ms * 8 - onset) <= 20 * 8


def test_the_end_of_speech_is_told_with_its_place() -> None:
    audio = ulaw(noise(500, 40) + speech(1500, 3000) + noise(1000, 40))
    (_, started), (at_ms, stopped) = _run(audio)
    assert started == GateChange(speaking=True, began_ms=500)
    assert not stopped.speaking
    assert stopped.began_ms == 500
    assert stopped.ended_ms == 2000
    assert at_ms == 2200


def test_quiet_time_is_configurable() -> None:
    audio = ulaw(noise(500, 20) + speech(500, 3000) + noise(320, 20) + speech(500, 3000))
    assert len(_run(audio, quiet_ms=200)) == 3
    assert len(_run(audio, quiet_ms=400)) == 1


def test_a_long_tone_becomes_line_noise() -> None:
    changes = _run(ulaw(noise(1000, 30) + tone(6000, 400, 4000)))
    assert [change.speaking for _, change in changes] == [True, False]
    assert changes[1][0] < 3500


def test_two_utterances() -> None:
    audio = ulaw((noise(600, 30) + speech(700, 2500)) * 2 + noise(600, 30))
    assert [change.speaking for _, change in _run(audio)] == [True, False, True, False]


def test_a_frame_with_a_whole_utterance_tells_both_ends() -> None:
    audio = ulaw(noise(500, 30) + speech(700, 3000) + noise(500, 30))
    assert SpeechGate().feed(audio) == GateChange(speaking=False, began_ms=500, ended_ms=1200)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=60))
def test_the_length_of_frames_does_not_matter(lengths: list[int]) -> None:
    audio = ulaw(noise(300, 30) + speech(400, 3000))
    whole = SpeechGate()
    by_hop = [c for at in range(0, len(audio), 160) if (c := whole.feed(audio[at : at + 160]))]
    gate = SpeechGate()
    changes, at = [], 0
    for length in [*lengths, *([160] * 60)]:
        change = gate.feed(audio[at : at + length])
        at += length
        if change is not None:
            changes.append(change)
    assert changes == by_hop
    assert gate.heard_ms == len(audio) // 8


@given(st.binary(max_size=3000))
def test_any_bytes_are_taken(audio: bytes) -> None:
    gate = SpeechGate()
    change = gate.feed(audio)
    assert gate.heard_ms == len(audio) // 160 * 20
    assert change is None or change.began_ms <= gate.heard_ms
