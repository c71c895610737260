"""Audio for simulated callers: speech-like test audio, line noise, loudness."""

from __future__ import annotations

import math
import random
import struct
from array import array

from flowengine.media.g711 import ULAW_RATE, ULAW_SAMPLES, ULAW_SILENCE, linear_to_ulaw

FRAME_MS = 20
FRAME_BYTES = FRAME_MS * ULAW_RATE // 1000
SILENT_FRAME = ULAW_SILENCE * FRAME_BYTES

AUDIBLE_LEVEL = 300
"""A frame is audible when one of its samples is louder than this (of 32767; about -41 dB)."""

_LEVELS = bytes(min(abs(sample) // 128, 255) for sample in ULAW_SAMPLES)
_AUDIBLE_STEP = AUDIBLE_LEVEL // 128


def is_audible(ulaw: bytes) -> bool:
    """Whether somebody would hear this piece of µ-law audio."""
    return bool(ulaw) and max(ulaw.translate(_LEVELS)) > _AUDIBLE_STEP


def frames_of(ulaw: bytes) -> list[bytes]:
    """Audio in frames of 20 ms; the last one is filled up with silence."""
    return [
        ulaw[start : start + FRAME_BYTES].ljust(FRAME_BYTES, ULAW_SILENCE)
        for start in range(0, len(ulaw), FRAME_BYTES)
    ]


def babble(duration_ms: int, seed: int = 1) -> bytes:
    """Something like speech: voiced syllables, four a second, with noise; the same per seed.

    It carries no words. It is loud from its first frame to its last, as a clock for measures
    wants it.
    """
    chance = random.Random(seed)
    count = duration_ms * ULAW_RATE // 1000
    samples = array("h", bytes(2 * count))
    position, phase = 0, 0.0
    while position < count:
        length = min(int(chance.uniform(0.15, 0.3) * ULAW_RATE), count - position)
        pitch = chance.uniform(110.0, 220.0)
        breath = chance.uniform(0.1, 0.4)
        for offset in range(length):
            swell = 0.25 + 0.75 * math.sin(math.pi * offset / length)
            phase += pitch / ULAW_RATE
            voice = 2.0 * (phase % 1.0) - 1.0
            noise = chance.uniform(-breath, breath)
            samples[position + offset] = int(6000 * swell * (voice + noise) / 1.4)
        position += length
    return linear_to_ulaw(struct.pack(f"<{count}h", *samples))


def comfort_noise(seed: int = 1) -> tuple[bytes, ...]:
    """A second of faint noise in frames: what a quiet line really carries; never audible."""
    chance = random.Random(seed)
    count = ULAW_RATE
    noise = struct.pack(f"<{count}h", *(int(chance.gauss(0, 12)) for _ in range(count)))
    return tuple(frames_of(linear_to_ulaw(noise)))
