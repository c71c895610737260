"""G.711: the tables against ITU-T's values, and round trips."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.media import g711

pytestmark = pytest.mark.unit

ALL = bytes(range(256))


def _sample(linear: bytes) -> int:
    return int(struct.unpack("<h", linear)[0])


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xFF, 0), (0x7F, 0), (0x80, 32124), (0x00, -32124), (0xFE, 8), (0x7E, -8), (0xEF, 132)]
    + [(0xF0, 120), (0x9F, 8316), (0x90, 15996), (0xBF, 1980), (0x3F, -1980)],
)
def test_ulaw_values_of_the_standard(code: int, sample: int) -> None:
    assert g711.ULAW_SAMPLES[code] == sample
    assert _sample(g711.ulaw_to_linear(bytes([code]))) == sample


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xC5, 264), (0x45, -264)],
)
def test_alaw_values_of_the_standard(code: int, sample: int) -> None:
    assert g711.ALAW_SAMPLES[code] == sample
    assert _sample(g711.alaw_to_linear(bytes([code]))) == sample


def test_ulaw_round_trip_is_the_identity_but_for_negative_zero() -> None:
    again = g711.linear_to_ulaw(g711.ulaw_to_linear(ALL))
    assert [code for code in range(256) if again[code] != code] == [0x7F]
    assert again[0x7F] == 0xFF


def test_alaw_round_trip_is_the_identity() -> None:
    assert g711.linear_to_alaw(g711.alaw_to_linear(ALL)) == ALL


def test_silence() -> None:
    assert g711.linear_to_ulaw(bytes(4)) == g711.ULAW_SILENCE * 2
    assert g711.silence(20) == b"\xff" * 160
    assert g711.duration_ms(g711.silence(20)) == 20
    assert g711.linear_to_alaw(bytes(2)) == g711.ALAW_SILENCE


@given(st.integers(-32768, 32767))
def test_ulaw_takes_the_step_a_sample_lies_in(sample: int) -> None:
    """The error is at most half a step: a 32nd of the biased magnitude, or clipping."""
    decoded = g711.ULAW_SAMPLES[g711.linear_to_ulaw(struct.pack("<h", sample))[0]]
    clipped = max(-32635, min(32635, sample))
    assert abs(decoded - clipped) <= max(8, (abs(clipped) + 132) / 31)


@given(st.integers(-32768, 32767))
def test_alaw_takes_the_step_a_sample_lies_in(sample: int) -> None:
    decoded = g711.ALAW_SAMPLES[g711.linear_to_alaw(struct.pack("<h", sample))[0]]
    assert abs(decoded - sample) <= max(16, abs(sample) / 31)


@given(st.integers(0, 32767), st.integers(0, 32767))
def test_encoding_keeps_the_order(one: int, two: int) -> None:
    low, high = sorted((one, two))
    pair = g711.linear_to_ulaw(struct.pack("<hh", low, high))
    assert g711.ULAW_SAMPLES[pair[0]] <= g711.ULAW_SAMPLES[pair[1]]


@given(st.binary(max_size=400))
def test_lengths(audio: bytes) -> None:
    linear = g711.ulaw_to_linear(audio)
    assert len(linear) == 2 * len(audio)
    assert len(g711.linear_to_ulaw(linear)) == len(audio)
    assert len(g711.alaw_to_linear(audio)) == 2 * len(audio)


@given(st.binary(max_size=100))
def test_between_the_laws(audio: bytes) -> None:
    assert g711.ulaw_to_alaw(audio) == g711.linear_to_alaw(g711.ulaw_to_linear(audio))
    assert g711.alaw_to_ulaw(audio) == g711.linear_to_ulaw(g711.alaw_to_linear(audio))


@pytest.mark.parametrize("encode", [g711.linear_to_ulaw, g711.linear_to_alaw])
def test_half_a_sample_is_refused(encode: object) -> None:
    assert callable(encode)
    with pytest.raises(ValueError, match="even number"):
        encode(b"\x00")
