"""Speech-like µ-law audio that carries a number, so that a listener can tell what was said.

About fifteen characters a second, loud and soft like syllables, on a tone whose pitch is the tag:
`tag_of` finds it again in any 50 ms of the audio. µ-law at 8000 Hz.
"""

from __future__ import annotations

import math
from array import array
from functools import cache

from flowengine.media.g711 import linear_to_ulaw, ulaw_to_linear
from flowengine.ports import BYTES_PER_MS

MS_A_CHARACTER = 65
TAGS = 56
_LOWEST_HZ = 300
_STEP_HZ = 50
_RATE = 8000
_LOUD = 8000
_QUIET_BELOW = 400


@cache
def _second(tag: int) -> bytes:
    """One second of a tag's sound; pitches and syllables are whole numbers of Hz, so it loops."""
    pitch = 2 * math.pi * (_LOWEST_HZ + _STEP_HZ * tag) / _RATE
    syllable = 2 * math.pi * 4 / _RATE
    samples = array(
        "h",
        (
            int(_LOUD * (0.65 + 0.35 * math.cos(syllable * n)) * math.sin(pitch * n))
            for n in range(_RATE)
        ),
    )
    return linear_to_ulaw(samples.tobytes())


def speech(duration_ms: int, tag: int = 0) -> bytes:
    """Audio of that length which carries `tag` (0 to 55)."""
    if not 0 <= tag < TAGS:
        raise ValueError(f"a tag lies between 0 and {TAGS - 1}, not {tag}")
    size = duration_ms * BYTES_PER_MS
    second = _second(tag)
    return (second * (size // len(second) + 1))[:size]


def silence(duration_ms: int) -> bytes:
    """Quiet audio of that length."""
    return b"\xff" * (duration_ms * BYTES_PER_MS)


def spoken_ms(text: str) -> int:
    """How long the fakes take to say a text."""
    return max(1, len(text)) * MS_A_CHARACTER


def tag_of(audio: bytes) -> int | None:
    """The number that audio carries, or None when it is quiet or too short (under 50 ms)."""
    samples = array("h", ulaw_to_linear(audio[: 100 * BYTES_PER_MS]))
    if len(samples) < 50 * BYTES_PER_MS or max(map(abs, samples)) < _QUIET_BELOW:
        return None
    power = [_power(samples, _LOWEST_HZ + _STEP_HZ * tag) for tag in range(TAGS)]
    return power.index(max(power))


def is_loud(audio: bytes) -> bool:
    """Whether somebody speaks in a frame."""
    samples = array("h", ulaw_to_linear(audio))
    return bool(samples) and max(map(abs, samples)) >= _QUIET_BELOW


def _power(samples: array[int], hertz: int) -> float:
    """Goertzel's measure of one frequency."""
    factor = 2 * math.cos(2 * math.pi * hertz / _RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    return before * before + last * last - factor * before * last
