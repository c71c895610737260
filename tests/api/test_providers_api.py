"""What the API says of providers."""

from __future__ import annotations

import pytest

from tests.api.service import Api, code_of

pytestmark = [pytest.mark.api, pytest.mark.anyio]


async def test_providers_their_models_and_voices(api: Api) -> None:
    items = {row["name"]: row for row in (await api.ask("GET", "/providers")).json()["items"]}
    assert items["deepgram"]["is_set_up"] is False
    assert set(items["openai"]["does"]) >= {"stt", "llm", "tts"}
    assert items["openai"]["health"] == []
    voices = (await api.ask("GET", "/providers/elevenlabs/voices")).json()["items"]
    assert voices and all(voice["id"] for voice in voices)
    assert code_of(await api.ask("GET", "/providers/acme/voices")) == (404, "no_such_provider")


async def test_a_provider_without_a_key_is_not_tried(api: Api) -> None:
    assert code_of(await api.ask("POST", "/providers/openai/test")) == (409, "not_set_up")
    reader = await api.with_scopes("read", "call")
    assert code_of(await reader("POST", "/providers/openai/test")) == (403, "missing_scope")
