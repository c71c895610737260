"""Providers are found by name and made once; keys and URLs come from a mapping."""

from __future__ import annotations

import asyncio

import pytest

from flowengine.errors import ConfigError
from flowengine.providers.registry import (
    Providers,
    offered,
    provider,
    provider_kinds,
    provider_names,
)
from flowengine.providers.settings import ProviderSettings, socket_url, web_url

pytestmark = pytest.mark.unit

KEYS = ProviderSettings({"OPENAI_API_KEY": "k", "DEEPGRAM_API_KEY": "k", "ELEVENLABS_API_KEY": "k"})


def test_the_built_in_ones_are_found() -> None:
    assert {"deepgram", "elevenlabs", "openai"} <= set(provider_names())
    assert not {"registry", "settings", "supervision", "sockets"} & set(provider_names())
    assert [name for name in provider_names() if name.startswith("openai")] == ["openai"]


def test_what_each_does_is_known_without_importing_it() -> None:
    assert {name: provider_kinds(name) for name in provider_names()} == offered()


def test_each_is_made_once() -> None:
    providers = Providers(KEYS)
    assert providers.stt("deepgram") is providers.stt("deepgram")
    for made in (providers.stt("openai"), providers.llm("openai"), providers.tts("openai")):
        assert made.name == "openai"
    assert providers.tts("elevenlabs").name == "elevenlabs"
    asyncio.run(providers.aclose())


def test_what_cannot_be_made_is_told() -> None:
    with pytest.raises(ConfigError) as missing:
        provider("llm", "openai", ProviderSettings({}))
    assert (missing.value.code, missing.value.where) == ("missing_key", "OPENAI_API_KEY")
    with pytest.raises(ConfigError) as wrong:
        provider("llm", "deepgram", KEYS)
    assert wrong.value.code == "wrong_kind"
    with pytest.raises(ConfigError) as unknown:
        provider("stt", "nobody", KEYS)
    assert unknown.value.code == "unknown_provider"


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host", "http://"])
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ProviderSettings({"OPENAI_BASE_URL": url}).base_url("openai", "https://x")
    assert caught.value.code == "bad_url"


@pytest.mark.parametrize(
    ("url", "socket", "web"),
    [
        ("http://h:1", "ws://h:1", "http://h:1"),
        ("https://h/x/", "wss://h/x", "https://h/x"),
        ("ws://h", "ws://h", "http://h"),
        ("WSS://h", "wss://h", "https://h"),
    ],
)
def test_one_url_gives_both_schemes(url: str, socket: str, web: str) -> None:
    base = ProviderSettings({"X_BASE_URL": url}).base_url("x", "")
    assert socket_url(base) == socket
    assert web_url(base) == web


def test_keys_are_in_no_repr() -> None:
    assert "secret" not in repr(ProviderSettings({"OPENAI_API_KEY": "secret"}))
