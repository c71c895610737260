"""Synthesised line audio for the tests: noise, tones and something modulated like speech."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterable

from flowengine.media.g711 import linear_to_ulaw

RATE = 8000


def ulaw(samples: Iterable[float]) -> bytes:
    """Samples as µ-law."""
    limited = (max(-32768, min(32767, round(sample))) for sample in samples)
    return linear_to_ulaw(array("h", limited).tobytes())


def noise(duration_ms: int, rms: float, *, seed: int = 1) -> list[float]:
    """White noise."""
    rng = random.Random(seed)
    return [rng.gauss(0, rms) for _ in range(duration_ms * 8)]


def tone(duration_ms: int, hz: float, peak: float) -> list[float]:
    """A sine wave."""
    return [peak * math.sin(2 * math.pi * hz * n / RATE) for n in range(duration_ms * 8)]


def speech(duration_ms: int, rms: float, *, seed: int = 2) -> list[float]:
    """Noise over a voiced tone, its loudness rising and falling four times a second."""
    rng = random.Random(seed)
    samples = []
    for n in range(duration_ms * 8):
        loudness = 0.15 + 0.85 * abs(math.cos(math.pi * 4 * n / RATE))
        voiced = math.sin(2 * math.pi * 150 * n / RATE) + math.sin(2 * math.pi * 450 * n / RATE)
        samples.append(rms * loudness * (voiced + 0.5 * rng.gauss(0, 1)))
    return samples


def mixed(*parts: list[float]) -> list[float]:
    """Signals laid over each other, the longest gives the length."""
    length = max(map(len, parts))
    return [sum(part[n] for part in parts if n < len(part)) for n in range(length)]
