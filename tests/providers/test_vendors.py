"""Voices and models that a flow names, or leaves to us: what the vendor is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.flow.defaults import TtsUse
from flowengine.ports import TtsRequest
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.vendors import SupervisedVendors, server_defaults

pytestmark = pytest.mark.unit

VALUES = {f"{name}_API_KEY": "k" for name in ("ELEVENLABS", "DEEPGRAM", "OPENAI")}
RACHEL = "21m00Tcm4TlvDq8ikWAM"


def asked(use: dict[str, Any], voice: str = "") -> list[tuple[str, str]]:
    vendors = SupervisedVendors(ProviderSettings(VALUES), server_defaults(VALUES))
    choices = vendors.tts(TtsUse.model_validate(use))._choices
    requests = [choice.request(TtsRequest("", voice, "en-US")) for choice in choices]
    return [(request.model, request.voice) for request in requests]


@pytest.mark.parametrize(
    ("use", "voice", "wanted"),
    [
        ({}, "", [("eleven_flash_v2_5", RACHEL)]),
        ({"voice": "Rachel"}, "Rachel", [("eleven_flash_v2_5", RACHEL)]),
        ({"voice": "my-own-clone"}, "my-own-clone", [("eleven_flash_v2_5", "my-own-clone")]),
        # By language the request names it: a stock voice's name becomes its id all the same.
        ({"voice": {"en-US": "rachel"}}, "rachel", [("eleven_flash_v2_5", RACHEL)]),
        ({"provider": "deepgram"}, "", [("aura-2-thalia-en", "aura-2-thalia-en")]),
        (
            {"provider": "deepgram", "voice": "apollo"},
            "apollo",
            [("aura-2-apollo-en", "aura-2-apollo-en")],
        ),
    ],
)
def test_a_voice_by_name_or_by_id(
    use: dict[str, Any], voice: str, wanted: list[tuple[str, str]]
) -> None:
    assert asked(use, voice) == wanted


def test_a_fallback_without_a_voice_sounds_like_the_first() -> None:
    fallback = [
        {"provider": "deepgram"},
        {"provider": "openai"},
        {"provider": "openai", "voice": "ash"},
    ]
    use = {"provider": "elevenlabs", "voice": "george", "fallback": fallback}
    _, aura, likest, named = asked(use, "george")
    assert aura == ("aura-2-apollo-en", "aura-2-apollo-en")
    assert likest[1] in ("onyx", "ash", "ballad", "echo", "verse", "cedar")
    assert named[1] == "ash"
