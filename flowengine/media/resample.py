"""Changes the sample rate of linear audio. Needs numpy (the extra `local`); never on a hot path.

`resample` takes a whole utterance: what a local recogniser reads, what a local voice made.
`Stream24to8` turns a voice's 24 kHz stream into phone audio with 1.6 ms of delay, which general
streaming resamplers do not reach (they hold back tens of ms).

Both are polyphase filters over a windowed sinc (Kaiser): the output sample at input time t is the
sum of the inputs around t, each times the filter at its distance. Audio is 16-bit little endian.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

RATES = (8000, 16000, 22050, 24000, 48000)

_Samples = NDArray[np.float32]

_REACH = 24
"""How many samples of the lower rate the filter reaches to each side."""

_PASS = 0.92
"""The middle of the filter's edge, in parts of half the lower rate."""

_KAISER_BETA = 8.0
"""About 80 dB of attenuation beyond the edge."""


def _sinc(distance: NDArray[np.float64], cutoff: float, reach: float) -> NDArray[np.float64]:
    """The filter at distances in input samples; `cutoff` in parts of the input rate."""
    inside = np.clip(1 - (distance / reach) ** 2, 0, None)
    window = np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA)
    window = np.where(np.abs(distance) <= reach, window, 0.0)
    result: NDArray[np.float64] = 2 * cutoff * np.sinc(2 * cutoff * distance) * window
    return result


@lru_cache(maxsize=32)
def _bank(from_rate: int, to_rate: int) -> tuple[int, int, int, _Samples]:
    """Up and down factors, the reach in input samples, and one filter for each phase."""
    shared = gcd(from_rate, to_rate)
    up, down = to_rate // shared, from_rate // shared
    lower = min(from_rate, to_rate)
    reach = -(-_REACH * from_rate // lower)
    cutoff = 0.5 * _PASS * lower / from_rate
    taps = np.arange(-reach, reach + 1, dtype=np.float64)
    phases = np.arange(up, dtype=np.float64)[:, None] / up
    bank = _sinc(taps[None, :] - phases, cutoff, float(reach))
    bank /= bank.sum(axis=1, keepdims=True)
    return up, down, reach, bank.astype(np.float32)


def _to_samples(pcm: bytes) -> _Samples:
    if len(pcm) % 2:
        raise ValueError("16-bit audio has an even number of bytes")
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32)


def _to_pcm(samples: _Samples) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


def resample(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    """A whole utterance at another rate, as long as before and with no delay."""
    for rate in (from_rate, to_rate):
        if rate not in RATES:
            raise ValueError(f"{rate} Hz is not one of {', '.join(map(str, RATES))}")
    samples = _to_samples(pcm)
    if from_rate == to_rate or not len(samples):
        return pcm
    up, down, reach, bank = _bank(from_rate, to_rate)
    count = -(-len(samples) * up // down)
    padded = np.pad(samples, (reach, reach + down))
    windows = sliding_window_view(padded, 2 * reach + 1)
    output = np.empty(count, dtype=np.float32)
    for first in range(min(up, count)):
        base, phase = divmod(first * down, up)
        wanted = output[first::up]
        output[first::up] = windows[base::down][: len(wanted)] @ bank[phase]
    return _to_pcm(output)


class Stream24to8:
    """24 kHz to 8 kHz as it comes, in pieces of any length; 37 input samples of delay."""

    _HALF_TAPS = 37

    def __init__(self) -> None:
        taps = np.arange(-self._HALF_TAPS, self._HALF_TAPS + 1, dtype=np.float64)
        kernel = _sinc(taps, 3900 / 24000, float(self._HALF_TAPS + 1))
        self._kernel = (kernel / kernel.sum()).astype(np.float32)
        self._rest = np.zeros(2 * self._HALF_TAPS, dtype=np.float32)
        self._odd = b""

    @property
    def lag_ms(self) -> float:
        """How much later a sound comes out than it went in."""
        return self._HALF_TAPS / 24

    def feed(self, pcm: bytes) -> bytes:
        """The 8 kHz audio that this 24 kHz audio completes."""
        pcm = self._odd + pcm
        whole = len(pcm) - len(pcm) % 2
        self._odd = pcm[whole:]
        samples = np.concatenate([self._rest, _to_samples(pcm[:whole])])
        count = max(0, (len(samples) - len(self._kernel)) // 3 + 1)
        if not count:
            self._rest = samples
            return b""
        windows = sliding_window_view(samples, len(self._kernel))[::3][:count]
        self._rest = samples[3 * count :]
        return _to_pcm(windows @ self._kernel)

    def finish(self) -> bytes:
        """The last sounds, which the filter still held."""
        self._odd = b""
        return self.feed(bytes(2 * self._HALF_TAPS))
