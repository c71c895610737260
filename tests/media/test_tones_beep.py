"""Tones that we make, and the beep detector over them and over what is no beep."""

from __future__ import annotations

import pytest

from flowengine.media import tones
from flowengine.media.beep import BeepDetector, BeepHeard
from flowengine.media.g711 import ULAW_SAMPLES
from tests.media.signals import mixed, noise, speech, tone, ulaw

pytestmark = pytest.mark.unit


def _power(audio: bytes, hz: float) -> float:
    """The share of the energy that lies on one frequency."""
    samples = [float(ULAW_SAMPLES[code]) for code in audio]
    energy = sum(x * x for x in samples)
    sine, cosine = tone(len(audio) // 8, hz, 1.0), tone(len(audio) // 8 + 1, hz, 1.0)
    quarter = round(8000 / hz / 4)
    one = sum(x * s for x, s in zip(samples, sine, strict=False))
    two = sum(x * c for x, c in zip(samples, cosine[quarter:], strict=False))
    return 2 * (one * one + two * two) / len(samples) / energy


def _heard(audio: bytes) -> list[tuple[int, BeepHeard]]:
    detector = BeepDetector()
    found = []
    for start in range(0, len(audio), 160):
        beep = detector.feed(audio[start : start + 160])
        if beep is not None:
            found.append((start // 8 + 20, beep))
    return found


def test_keys_have_their_two_tones_and_their_lengths() -> None:
    keys = tones.dtmf_tones("5#")
    assert len(keys) == 2 * 180 * 8
    assert _power(keys[:800], 770) > 0.4
    assert _power(keys[:800], 1336) > 0.4
    assert _power(keys[1440:2240], 941) > 0.4
    assert _power(keys[1440:2240], 1477) > 0.4
    assert set(keys[800:1440]) == {0xFF}


def test_w_is_a_pause() -> None:
    assert tones.dtmf_tones("1w2") == tones.dtmf_tones("1") + b"\xff" * 4000 + tones.dtmf_tones("2")
    assert tones.dtmf_tones("") == b""


def test_other_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="keys are"):
        tones.dtmf_tones("1x")


def test_lengths_of_signals() -> None:
    assert len(tones.beep()) == 400 * 8
    assert len(tones.ringback()) == 6000 * 8
    assert set(tones.ringback()[2000 * 8 :]) == {0xFF}
    assert len(tones.hold_tone()) == 6000 * 8
    assert max(abs(ULAW_SAMPLES[code]) for code in tones.hold_tone()) < 2000


def test_loops_have_no_click_at_their_seam() -> None:
    for loop in (tones.ringback(), tones.hold_tone(), tones.beep()):
        assert abs(ULAW_SAMPLES[loop[0]]) < 200
        assert abs(ULAW_SAMPLES[loop[-1]]) < 400


@pytest.mark.parametrize("hz", [350, 440, 620, 800, 987, 1000, 1400, 1750, 2000.5, 2500])
@pytest.mark.parametrize("peak", [500, 8000])
@pytest.mark.parametrize("length_ms", [150, 400])
def test_a_beep_is_heard_once_where_it_began(hz: float, peak: float, length_ms: int) -> None:
    samples = [0.0] * 2400 + tone(length_ms, hz, peak) + [0.0] * 2400
    found = _heard(ulaw(mixed(samples, noise(len(samples) // 8, 30))))
    assert len(found) == 1
    at_ms, beep = found[0]
    assert abs(beep.frequency_hz - hz) < 4
    assert abs(beep.began_ms - 300) <= 20
    assert at_ms - 300 <= 160


def test_our_own_beep_is_one() -> None:
    assert len(_heard(tones.beep())) == 1


@pytest.mark.parametrize(
    "audio",
    [
        tones.dtmf_tones("0123456789*#ABCD"),
        tones.ringback(),
        tones.hold_tone(),
        ulaw(tone(1000, 425, 6000)),
        ulaw(tone(500, 1100, 6000)),
        ulaw(mixed(tone(1000, 350, 4000), tone(1000, 440, 4000))),
        ulaw(mixed(tone(1000, 480, 4000), tone(1000, 620, 4000))),
        ulaw(tone(110, 1000, 6000) + noise(300, 30)),
        ulaw(tone(1000, 200, 6000)),
        ulaw(tone(1000, 3000, 6000)),
        ulaw(noise(5000, 1000)),
        ulaw(speech(5000, 3000)),
        ulaw([x for hz in range(500, 1500, 20) for x in tone(20, hz, 6000)]),
        ulaw(tone(1000, 1000, 50)),
    ],
    ids=[
        *("keys", "ringback_us", "hold", "ringback_eu", "fax", "dial_tone", "busy", "too_short"),
        *("too_low", "too_high", "noise", "speech", "glide", "too_faint"),
    ],
)
def test_what_is_no_beep(audio: bytes) -> None:
    assert _heard(audio) == []


def test_sounding_ends_with_the_beep_and_another_is_heard() -> None:
    detector = BeepDetector()
    beep = ulaw(tone(400, 1000, 6000))
    assert detector.feed(beep) is not None
    assert detector.sounding
    assert detector.feed(ulaw(noise(200, 30))) is None
    assert not detector.sounding
    second = detector.feed(beep)
    assert second is not None
    assert abs(second.began_ms - 600) <= 20
