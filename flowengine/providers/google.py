"""Google: Gemini thinks and hears. The key is `GEMINI_API_KEY`, the place `GEMINI_BASE_URL`."""

from __future__ import annotations

from flowengine.providers.google_llm import DEFAULT_URL, GoogleLlm
from flowengine.providers.google_stt import GoogleStt
from flowengine.providers.settings import ProviderSettings


def make_llm(settings: ProviderSettings) -> GoogleLlm:
    """Make the process's Gemini from its settings."""
    return GoogleLlm(settings.key("gemini"), settings.base_url("gemini", DEFAULT_URL))


def make_stt(settings: ProviderSettings) -> GoogleStt:
    """Make the process's Gemini ears from its settings."""
    return GoogleStt(settings.key("gemini"), settings.base_url("gemini", DEFAULT_URL))
