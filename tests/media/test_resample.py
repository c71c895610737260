"""Sample rates: length, level, aliases, and the lag of the streaming form."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")

from flowengine.media.resample import RATES, Stream24to8, resample

pytestmark = pytest.mark.unit

PAIRS = [(one, other) for one in RATES for other in RATES if one != other]


def _tone(hz: float, rate: int, *, seconds: float = 0.5) -> bytes:
    wave = 10_000 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)
    return bytes(wave.astype("<i2").tobytes())


def _db(pcm: bytes) -> float:
    """Against the level of the tone that went in, without the ends."""
    samples = np.frombuffer(pcm, "<i2").astype(float)[300:-300]
    return float(20 * np.log10(max(np.sqrt((samples**2).mean()), 1e-3) / (10_000 / np.sqrt(2))))


def _hz(pcm: bytes, rate: int) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_a_tone_keeps_its_pitch_level_and_length(from_rate: int, to_rate: int) -> None:
    output = resample(_tone(1000, from_rate), from_rate, to_rate)
    assert abs(len(output) // 2 - to_rate // 2) <= 1
    assert abs(_db(output)) < 0.1
    assert abs(_hz(output, to_rate) - 1000) <= 4


@pytest.mark.parametrize(
    ("from_rate", "hz"),
    [(16000, 4600), (16000, 7000), (24000, 5000), (24000, 11_000)]
    + [(22050, 4600), (22050, 10_000), (48000, 4600), (48000, 20_000)],
)
def test_aliases_at_8_khz_are_gone(from_rate: int, hz: float) -> None:
    assert _db(resample(_tone(hz, from_rate), from_rate, 8000)) < -50


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 16000), (8000, 24000), (8000, 48000)])
def test_images_of_8_khz_are_gone(from_rate: int, to_rate: int) -> None:
    samples = np.frombuffer(resample(_tone(3000, from_rate), from_rate, to_rate), "<i2")
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    bins = np.fft.rfftfreq(len(samples), 1 / to_rate)
    assert spectrum[bins > 4500].max() < spectrum.max() * 10 ** (-50 / 20)


def test_the_phone_band_passes() -> None:
    assert _db(resample(_tone(3400, 24000), 24000, 8000)) > -1


def test_no_delay_for_whole_utterances() -> None:
    pulse = np.zeros(4800, dtype="<i2")
    pulse[2400] = 20_000
    output = np.frombuffer(resample(pulse.tobytes(), 24000, 8000), "<i2")
    assert int(np.abs(output).argmax()) == 800


def test_small_cases() -> None:
    assert resample(b"", 8000, 16000) == b""
    assert resample(b"\x01\x00", 8000, 8000) == b"\x01\x00"
    assert len(resample(b"\x10\x00", 24000, 8000)) == 2
    with pytest.raises(ValueError, match="not one of"):
        resample(b"\x00\x00", 11025, 8000)
    with pytest.raises(ValueError, match="even number"):
        resample(b"\x00", 8000, 16000)


@pytest.mark.parametrize("piece", [1, 7, 320, 957, 960, 4800])
def test_streaming_does_not_depend_on_the_pieces(piece: int) -> None:
    source = _tone(700, 24000, seconds=0.2)
    whole = Stream24to8()
    expected = whole.feed(source) + whole.finish()
    stream = Stream24to8()
    parts = [stream.feed(source[at : at + piece]) for at in range(0, len(source), piece)]
    assert b"".join([*parts, stream.finish()]) == expected


def test_streaming_lags_at_most_2_ms() -> None:
    stream = Stream24to8()
    pulse = np.zeros(2400, dtype="<i2")
    pulse[1200] = 20_000
    output = np.frombuffer(stream.feed(pulse.tobytes()), "<i2")
    assert stream.lag_ms <= 2
    assert len(output) >= 2400 // 3 - 2
    assert abs(int(np.abs(output).argmax()) - 400 - stream.lag_ms * 8) <= 1


@pytest.mark.parametrize(("hz", "least", "most"), [(300, -0.1, 0.1), (3400, -1, 0.1)])
def test_streaming_passes_the_phone_band(hz: float, least: float, most: float) -> None:
    assert least <= _db(Stream24to8().feed(_tone(hz, 24000))) <= most


@pytest.mark.parametrize("hz", [4600, 5000, 7000, 11_000])
def test_streaming_has_no_aliases(hz: float) -> None:
    assert _db(Stream24to8().feed(_tone(hz, 24000))) < -50
