"""Voices and models that a flow names, or leaves to us: what the vendor is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.flow.defaults import TtsUse
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.vendors import SupervisedVendors, server_defaults
from flowengine.runtime.voices import voice_request

pytestmark = pytest.mark.unit

VALUES = {f"{name}_API_KEY": "k" for name in ("ELEVENLABS", "DEEPGRAM", "OPENAI")}
RACHEL = "21m00Tcm4TlvDq8ikWAM"


def asked(use: dict[str, Any], language: str = "en-US") -> list[tuple[str, str]]:
    vendors = SupervisedVendors(ProviderSettings(VALUES), server_defaults(VALUES))
    tts = TtsUse.model_validate(use)
    request = voice_request(tts, language)
    requests = [choice.request(request) for choice in vendors.tts(tts)._choices]
    return [(request.model, request.voice) for request in requests]


@pytest.mark.parametrize(
    ("use", "language", "wanted"),
    [
        ({}, "en-US", [("eleven_flash_v2_5", RACHEL)]),
        ({"voice": "Rachel"}, "en-US", [("eleven_flash_v2_5", RACHEL)]),
        ({"voice": "my-own-clone"}, "en-US", [("eleven_flash_v2_5", "my-own-clone")]),
        ({"voice": {"en-US": "rachel"}}, "en-GB", [("eleven_flash_v2_5", RACHEL)]),
        ({"provider": "deepgram"}, "en-US", [("aura-2-thalia-en", "aura-2-thalia-en")]),
        ({"provider": "deepgram", "voice": "apollo"}, "en-US", [("aura-2-apollo-en",) * 2]),
        # A vendor whose voices speak one language each: the one that speaks the call's.
        ({"provider": "deepgram"}, "nl-NL", [("aura-2-beatrix-nl",) * 2]),
        ({"provider": "deepgram"}, "pl-PL", [("aura-2-thalia-en",) * 2]),
        ({"provider": "deepgram", "model": "flux-kit-en"}, "nl-NL", [("flux-kit-en",) * 2]),
        ({"provider": "local"}, "en-US", [("", "")]),
    ],
)
def test_a_voice_by_name_by_id_or_by_language(
    use: dict[str, Any], language: str, wanted: list[tuple[str, str]]
) -> None:
    assert asked(use, language) == wanted


def test_a_fallback_without_a_voice_sounds_like_the_first() -> None:
    fallback = [
        {"provider": "deepgram"},
        {"provider": "openai"},
        {"provider": "openai", "voice": "ash"},
    ]
    use = {"provider": "elevenlabs", "voice": "george", "fallback": fallback}
    _, aura, likest, named = asked(use)
    assert aura == ("aura-2-apollo-en", "aura-2-apollo-en")
    assert likest[1] in ("onyx", "ash", "ballad", "echo", "verse", "cedar")
    assert named[1] == "ash"
    assert asked(use, "de-DE")[1][1] == "aura-2-julius-de", "and speaks the call's language"


def test_a_fallback_at_the_same_vendor_keeps_the_voice() -> None:
    turbo = {"provider": "elevenlabs", "model": "eleven_turbo_v2_5"}
    for voice in ("george", "my-own-clone-0001"):
        first, second = asked({"provider": "elevenlabs", "voice": voice, "fallback": [turbo]})
        assert first[1] == second[1] != RACHEL


def test_a_fallback_s_voices_by_language_are_its_own() -> None:
    voices = {"en-US": "apollo", "nl-NL": "sander"}
    use = {
        "provider": "elevenlabs",
        "model": "eleven_v3",
        "voice": "george",
        "fallback": [{"provider": "deepgram", "voice": voices}],
    }
    assert asked(use)[1] == ("aura-2-apollo-en", "aura-2-apollo-en")
    assert asked(use, "nl-BE")[1] == ("aura-2-sander-nl", "aura-2-sander-nl")
