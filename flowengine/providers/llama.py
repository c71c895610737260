"""Llama and other open models on a server of one's own: Ollama, vLLM, llama.cpp, LM Studio.

`LLAMA_BASE_URL` says where (Ollama's place on this machine when it is not set); such servers
seldom ask for a key: without `LLAMA_API_KEY` they get the word `none`, since the SDK must send one.
"""

from __future__ import annotations

from flowengine.providers.chat_hosts import ChatHost
from flowengine.providers.openai import OpenAiLlm
from flowengine.providers.settings import ProviderSettings

LLAMA = ChatHost("llama", "http://localhost:11434/v1")
_NO_KEY = "none"


def make_llm(settings: ProviderSettings) -> OpenAiLlm:
    """Make the process's LLM at a server of one's own from its settings."""
    key = settings.values.get("LLAMA_API_KEY", "").strip() or _NO_KEY
    return OpenAiLlm(key, settings.base_url("llama", LLAMA.url), LLAMA)
