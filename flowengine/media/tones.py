"""Signals that we play ourselves: keys for another machine, the beep, ringback, a hold tone.

All are µ-law bytes at 8000 Hz, whole and ready to be sent, computed once per process. Frequencies
of keys: ITU-T Q.23; ringback: the North American precise tone plan.
"""

from __future__ import annotations

import math
from functools import lru_cache

from flowengine.media.g711 import ULAW_RATE, linear_to_ulaw, silence

_LOW_HZ = (697, 770, 852, 941)
_HIGH_HZ = (1209, 1336, 1477, 1633)
_KEYS = ("123A", "456B", "789C", "*0#D")

DTMF_HZ: dict[str, tuple[int, int]] = {
    key: (low, high)
    for row, low in zip(_KEYS, _LOW_HZ, strict=True)
    for key, high in zip(row, _HIGH_HZ, strict=True)
}
"""The two frequencies of each key."""

DTMF_ON_MS = 100
DTMF_OFF_MS = 80
DTMF_WAIT_MS = 500
"""How long `w` between keys waits."""

_DTMF_PEAK = 5800
"""Of each of the two tones: together about -9 dBFS RMS, some -7 dBm0 as carriers send it."""

_FADE_MS = 5


def tone(frequencies_hz: tuple[float, ...], duration_ms: int, *, peak: int, fade_ms: int) -> bytes:
    """Sine waves laid over each other, each with that peak, faded in and out against clicks."""
    count = duration_ms * ULAW_RATE // 1000
    fade = max(1, fade_ms * ULAW_RATE // 1000)
    steps = [2 * math.pi * hz / ULAW_RATE for hz in frequencies_hz]
    linear = bytearray()
    for n in range(count):
        gain = min(1.0, (n + 1) / fade, (count - n) / fade)
        sample = round(peak * gain * sum(math.sin(step * n) for step in steps))
        linear += max(-32768, min(32767, sample)).to_bytes(2, "little", signed=True)
    return linear_to_ulaw(bytes(linear))


@lru_cache(maxsize=len(DTMF_HZ))
def _key(key: str) -> bytes:
    sound = tone(DTMF_HZ[key], DTMF_ON_MS, peak=_DTMF_PEAK, fade_ms=1)
    return sound + silence(DTMF_OFF_MS)


def dtmf_tones(digits: str) -> bytes:
    """The keys `0-9 * # A-D` as dual tones, 100 ms on and 80 ms off; `w` waits half a second."""
    sounds = []
    for key in digits:
        if key in "wW":
            sounds.append(silence(DTMF_WAIT_MS))
        elif key.upper() in DTMF_HZ:
            sounds.append(_key(key.upper()))
        else:
            raise ValueError("keys are 0-9, *, #, A-D and w for a pause")
    return b"".join(sounds)


@lru_cache(maxsize=1)
def beep() -> bytes:
    """The tone before a recording: 1000 Hz for 400 ms."""
    return tone((1000,), 400, peak=8000, fade_ms=_FADE_MS)


@lru_cache(maxsize=1)
def ringback() -> bytes:
    """One cadence of ringing, to be looped: 440 + 480 Hz for 2 s, 4 s of silence."""
    return tone((440, 480), 2000, peak=3000, fade_ms=_FADE_MS) + silence(4000)


@lru_cache(maxsize=1)
def hold_tone() -> bytes:
    """A soft chord that swells and fades every 6 s, to be looped without a seam."""
    notes = ((262, 330), (294, 370), (262, 392))
    chords = (tone(chord, 1500, peak=900, fade_ms=600) for chord in notes)
    return b"".join(chords) + silence(1500)
