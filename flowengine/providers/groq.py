"""Groq: OpenAI's chat completions, and Whisper's transcriptions, on its own hardware.

Its habits are in what it answers (`ChatReader`): usage under `x_groq`, tool calls whole, an error
object in the middle of the stream and then no `[DONE]`.
"""

from __future__ import annotations

from flowengine.providers.chat_hosts import ChatHost
from flowengine.providers.openai import OpenAiLlm
from flowengine.providers.openai_transcription import OpenAiStt
from flowengine.providers.settings import ProviderSettings

GROQ = ChatHost("groq", "https://api.groq.com/openai/v1")


def make_llm(settings: ProviderSettings) -> OpenAiLlm:
    """Make the process's Groq LLM from its settings."""
    return OpenAiLlm(settings.key("groq"), settings.base_url("groq", GROQ.url), GROQ)


def make_stt(settings: ProviderSettings) -> OpenAiStt:
    """Make the process's Groq ears from its settings."""
    return OpenAiStt(settings.key("groq"), settings.base_url("groq", GROQ.url), "groq")
