"""The phone's codec: µ-law and A-law bytes to and from 16-bit linear samples.

On the hot path (line to recogniser, voice to line) audio stays µ-law; what needs samples, such as
local speech or generated tones, comes through here. The tables are built from the formulas of
ITU-T G.711 in the form of the reference code of ITU-T G.191 (negative samples are one's
complemented before they are shifted, so that the code is symmetric).

Linear audio is signed 16-bit little endian, one channel. One byte of G.711 is one sample.
"""

from __future__ import annotations

import sys
from array import array

ULAW_RATE = 8000
"""Samples, and so bytes, a second of phone audio."""

ULAW_BYTES_PER_MS = ULAW_RATE // 1000

ULAW_SILENCE = b"\xff"
"""One sample of silence (positive zero)."""

ALAW_SILENCE = b"\xd5"
"""One sample of A-law silence (the smallest positive step; A-law has no zero)."""


def _ulaw_sample(code: int) -> int:
    """The 16-bit sample of one µ-law byte."""
    bits = ~code & 0x7F
    magnitude = (((bits & 0x0F) << 3) + 0x84 << (bits >> 4)) - 0x84
    return magnitude if code & 0x80 else -magnitude


def _alaw_sample(code: int) -> int:
    """The 16-bit sample of one A-law byte (even bits are inverted on the wire)."""
    bits = (code ^ 0x55) & 0x7F
    segment, mantissa = bits >> 4, bits & 0x0F
    magnitude = (mantissa << 4) + 8 if segment == 0 else ((mantissa << 4) + 0x108) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def _ulaw_code(magnitude: int) -> int:
    """The 7 magnitude bits, not yet inverted, of a 14-bit magnitude (G.711 clips at 8158)."""
    biased = min(magnitude + 33, 0x1FFF)
    segment = biased.bit_length() - 6
    return segment << 4 | (biased >> segment + 1) & 0x0F


def _alaw_code(magnitude: int) -> int:
    """The 7 magnitude bits of a 12-bit magnitude."""
    if magnitude < 16:
        return magnitude
    segment = magnitude.bit_length() - 4
    return segment << 4 | (magnitude >> segment - 1) & 0x0F


ULAW_SAMPLES: tuple[int, ...] = tuple(_ulaw_sample(code) for code in range(256))
"""The sample of each µ-law byte."""

ALAW_SAMPLES: tuple[int, ...] = tuple(_alaw_sample(code) for code in range(256))
"""The sample of each A-law byte."""


def _ulaw_codes() -> bytes:
    """The µ-law byte of each sample, indexed by the sample as an unsigned 16-bit number."""
    positive = b"".join(bytes([0xFF ^ _ulaw_code(level)]) * 4 for level in range(8192))
    negative = positive.translate(bytes(code & 0x7F for code in range(256)))
    return positive + negative[::-1]


def _alaw_codes() -> bytes:
    """The A-law byte of each sample, indexed by the sample as an unsigned 16-bit number."""
    positive = b"".join(bytes([_alaw_code(level) ^ 0xD5]) * 16 for level in range(2048))
    negative = positive.translate(bytes(code & 0x7F for code in range(256)))
    return positive + negative[::-1]


_ULAW_CODES = _ulaw_codes()
_ALAW_CODES = _alaw_codes()


def _split(samples: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Two tables for `bytes.translate`: the low and the high byte of each sample."""
    return bytes(s & 0xFF for s in samples), bytes(s >> 8 & 0xFF for s in samples)


_ULAW_LOW, _ULAW_HIGH = _split(ULAW_SAMPLES)
_ALAW_LOW, _ALAW_HIGH = _split(ALAW_SAMPLES)


def _interleave(low: bytes, high: bytes) -> bytes:
    linear = bytearray(2 * len(low))
    linear[0::2] = low
    linear[1::2] = high
    return bytes(linear)


def _encode(linear: bytes, codes: bytes) -> bytes:
    if len(linear) % 2:
        raise ValueError("16-bit audio has an even number of bytes")
    samples = array("H", linear)
    if sys.byteorder == "big":
        samples.byteswap()
    return bytes(map(codes.__getitem__, samples))


def ulaw_to_linear(ulaw: bytes) -> bytes:
    """µ-law to 16-bit samples: twice as many bytes."""
    return _interleave(ulaw.translate(_ULAW_LOW), ulaw.translate(_ULAW_HIGH))


def linear_to_ulaw(linear: bytes) -> bytes:
    """16-bit samples to µ-law: half as many bytes."""
    return _encode(linear, _ULAW_CODES)


def alaw_to_linear(alaw: bytes) -> bytes:
    """A-law to 16-bit samples: twice as many bytes."""
    return _interleave(alaw.translate(_ALAW_LOW), alaw.translate(_ALAW_HIGH))


def linear_to_alaw(linear: bytes) -> bytes:
    """16-bit samples to A-law: half as many bytes."""
    return _encode(linear, _ALAW_CODES)


_ULAW_TO_ALAW = linear_to_alaw(ulaw_to_linear(bytes(range(256))))
_ALAW_TO_ULAW = linear_to_ulaw(alaw_to_linear(bytes(range(256))))


def ulaw_to_alaw(ulaw: bytes) -> bytes:
    """µ-law to A-law, sample by sample."""
    return ulaw.translate(_ULAW_TO_ALAW)


def alaw_to_ulaw(alaw: bytes) -> bytes:
    """A-law to µ-law, sample by sample."""
    return alaw.translate(_ALAW_TO_ULAW)


def silence(duration_ms: int) -> bytes:
    """So much µ-law silence."""
    return ULAW_SILENCE * (duration_ms * ULAW_BYTES_PER_MS)


def duration_ms(ulaw: bytes) -> int:
    """How long so much G.711 audio lasts, whole milliseconds."""
    return len(ulaw) // ULAW_BYTES_PER_MS
