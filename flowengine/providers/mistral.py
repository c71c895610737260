"""Mistral over its OpenAI-like chat completions.

It refuses fields that it does not know (`stream_options`: 422; usage comes unasked), ids of tool
calls that are not nine letters and digits, a user's message right after a tool's, and an
assistant's as the last (400 each; issue trackers of many clients, 2024 to 2026).
"""

from __future__ import annotations

from flowengine.providers.chat_hosts import ChatHost
from flowengine.providers.openai import OpenAiLlm
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.tool_ids import of_nine

MISTRAL = ChatHost(
    "mistral",
    "https://api.mistral.ai/v1",
    takes_stream_options=False,
    has_strict_roles=True,
    tool_id=of_nine,
)


def make_llm(settings: ProviderSettings) -> OpenAiLlm:
    """Make the process's Mistral LLM from its settings."""
    return OpenAiLlm(settings.key("mistral"), settings.base_url("mistral", MISTRAL.url), MISTRAL)
