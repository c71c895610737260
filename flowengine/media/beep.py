"""Hears the beep of an answering machine.

A beep is one steady tone: for 120 ms or longer, between 300 and 2600 Hz, at least 0.93 of the
energy of each 50 ms window lies on one frequency that does not wander. Speech holds no such tone.
Neither do dual tones (keys, North American ringback, dial and busy tones). Tones that are single
but mean something else are left out by their frequency: European ringback and busy (425 Hz) and
fax calling (1100 Hz).

A frame costs some tens of microseconds, so it listens only where a machine may have answered.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from functools import lru_cache
from operator import mul

from flowengine.media.g711 import ULAW_BYTES_PER_MS, ULAW_RATE, ULAW_SAMPLES

WINDOW_BYTES = 50 * ULAW_BYTES_PER_MS
HOP_BYTES = 20 * ULAW_BYTES_PER_MS
_HALF = WINDOW_BYTES // 2

LEAST_MS = 120
LOWEST_HZ, HIGHEST_HZ = 300.0, 2600.0
PURITY = 0.93
WANDER_HZ = 8.0
"""The furthest two windows of one beep may lie apart."""

NOT_BEEPS_HZ = ((417.0, 433.0), (1080.0, 1120.0))
"""European ringback; fax calling tone."""

_LEAST_ENERGY = WINDOW_BYTES * 100**2
"""A beep quieter than RMS 100 (about -50 dBFS) is not heard."""

_GRID_HZ = 20
_MOST_OFF_HZ = 14.0


@dataclass(frozen=True, slots=True)
class BeepHeard:
    """A beep sounds: where it began (ms since the stream began) and its frequency."""

    began_ms: int
    frequency_hz: float


@lru_cache(maxsize=160)
def _waves(frequency_hz: int) -> tuple[array[float], array[float]]:
    """Cosine and sine of a grid frequency, half a window long."""
    angles = [2 * math.pi * frequency_hz * n / ULAW_RATE for n in range(_HALF)]
    return array("d", map(math.cos, angles)), array("d", map(math.sin, angles))


def _guess_hz(samples: list[int], energy: int) -> float | None:
    """The frequency of a tone in noise from the correlation with the next two samples."""
    first = sum(map(mul, samples, samples[1:])) / (WINDOW_BYTES - 1)
    second = sum(map(mul, samples, samples[2:])) / (WINDOW_BYTES - 2)
    mean = energy / WINDOW_BYTES
    if abs(first) < 0.02 * mean:
        return ULAW_RATE / 4
    cosine = (second + math.sqrt(second * second + 8 * first * first)) / (4 * first)
    if abs(cosine) >= 1:
        return None
    # A tone of that frequency has these two correlations; anything else is not worth a look.
    power = first / cosine
    if power < 0.85 * mean:
        return None
    return math.acos(cosine) * ULAW_RATE / (2 * math.pi)


def _tone_hz(samples: list[int]) -> float | None:
    """The frequency of the tone that fills this window, or None."""
    energy = sum(map(mul, samples, samples))
    if energy < _LEAST_ENERGY:
        return None
    guess = _guess_hz(samples, energy)
    if guess is None or not LOWEST_HZ - _GRID_HZ < guess < HIGHEST_HZ + _GRID_HZ:
        return None
    grid_hz = round(guess / _GRID_HZ) * _GRID_HZ
    cosine, sine = _waves(grid_hz)
    early, late = samples[:_HALF], samples[_HALF:]
    one = complex(sum(map(mul, early, cosine)), -sum(map(mul, early, sine)))
    two = complex(sum(map(mul, late, cosine)), -sum(map(mul, late, sine)))
    # 25 ms hold a whole number of half periods of every grid frequency (multiples of 20 Hz).
    turn = two * one.conjugate() * (-1) ** (grid_hz // _GRID_HZ)
    off_hz = math.atan2(turn.imag, turn.real) / (2 * math.pi * _HALF / ULAW_RATE)
    if abs(off_hz) > _MOST_OFF_HZ:
        return None
    spread = math.pi * off_hz * _HALF / ULAW_RATE
    lost = (math.sin(spread) / spread) ** 2 if spread else 1.0
    on_tone = (abs(one) ** 2 + abs(two) ** 2) * 2 / _HALF / lost
    if on_tone < PURITY * energy:
        return None
    frequency_hz = grid_hz + off_hz
    if not LOWEST_HZ <= frequency_hz <= HIGHEST_HZ:
        return None
    if any(low <= frequency_hz <= high for low, high in NOT_BEEPS_HZ):
        return None
    return frequency_hz


class BeepDetector:
    """Listens to µ-law at 8000 Hz, in frames of any length, for one beep after another."""

    def __init__(self) -> None:
        self.sounding = False
        """True from the moment a beep is heard until it ends: wait for that before speaking."""
        self._audio = b""
        self._start = 0
        self._pitches: list[float] = []

    def feed(self, frame: bytes) -> BeepHeard | None:
        """Listen on; a beep is reported once, some 140 ms after it began."""
        heard = None
        self._audio += frame
        while len(self._audio) >= WINDOW_BYTES:
            samples = [ULAW_SAMPLES[code] for code in self._audio[:WINDOW_BYTES]]
            heard = self._window(_tone_hz(samples)) or heard
            self._audio = self._audio[HOP_BYTES:]
            self._start += HOP_BYTES
        return heard

    def _window(self, pitch: float | None) -> BeepHeard | None:
        if pitch is None:
            self._pitches.clear()
            self.sounding = False
            return None
        if self._pitches and abs(pitch - self._pitches[0]) > WANDER_HZ:
            self._pitches.clear()
            self.sounding = False
        self._pitches.append(pitch)
        hops = len(self._pitches) - 1
        covered = WINDOW_BYTES + hops * HOP_BYTES
        if self.sounding:
            del self._pitches[1:]
            return None
        if covered < LEAST_MS * ULAW_BYTES_PER_MS:
            return None
        self.sounding = True
        began = self._start - hops * HOP_BYTES
        return BeepHeard(began // ULAW_BYTES_PER_MS, sum(self._pitches) / len(self._pitches))
