"""Speech that has no word for what goes wrong: told by its type and its length."""

from __future__ import annotations

import pytest

from flowengine.errors import ProviderError
from flowengine.ports import BYTES_PER_MS
from flowengine.providers.bare_audio import Length, check_audio

pytestmark = pytest.mark.unit

TEXT = "Your table is booked for nine."


@pytest.mark.parametrize("kind", ["text/html", "application/json; charset=utf-8"])
def test_a_page_is_no_audio(kind: str) -> None:
    with pytest.raises(ProviderError) as caught:
        check_audio({"content-type": kind}, "x")
    assert caught.value.code == "protocol"


@pytest.mark.parametrize("kind", ["audio/basic", "application/octet-stream", ""])
def test_what_may_be_audio_is_taken(kind: str) -> None:
    check_audio({"content-type": kind}, "x")


@pytest.mark.parametrize(
    ("text", "audio_ms", "speed", "code"),
    [
        (TEXT, 1600, 1.0, ""),
        (TEXT, 0, 1.0, "protocol"),
        (TEXT, 400, 1.0, "dropped"),
        (TEXT, 400, 2.0, ""),
        ("Yes.", 60, 1.0, ""),
        ("…", 0, 1.0, ""),
    ],
)
def test_what_is_too_short_to_be_all_is_told(
    text: str, audio_ms: int, speed: float, code: str
) -> None:
    heard = Length(text, speed)
    heard.add(audio_ms * BYTES_PER_MS)
    try:
        heard.check("x")
    except ProviderError as error:
        told = error.code
    else:
        told = ""
    assert told == code
