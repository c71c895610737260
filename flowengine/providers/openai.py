"""OpenAI, and any host that speaks its chat completions, as the engine's `Llm`.

The SDK's typed chunk objects cost five times the CPU of the stream itself, so the raw body is read
with `SseReader` and `ChatReader`. What other hosts do otherwise is data (`chat_hosts`); key, URL
and errors are `openai_client`'s; `openai_speech` speaks, `openai_transcription` hears, and
`openai_realtime` is the models that do both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from flowengine.ports import LlmEvent, LlmRequest
from flowengine.providers.chat import ChatReader
from flowengine.providers.chat_hosts import ChatHost, chat_body, openai_effort
from flowengine.providers.connections import answer
from flowengine.providers.openai_client import DEFAULT_URL, OpenAiClient, openai_faults
from flowengine.providers.openai_realtime import RealtimeSessions, is_realtime
from flowengine.providers.openai_speech import OpenAiTts
from flowengine.providers.openai_transcription import OpenAiStt
from flowengine.providers.settings import ProviderSettings

OPENAI = ChatHost("openai", DEFAULT_URL, pads_chunks=True, least_effort=openai_effort)


class OpenAiLlm:
    """An OpenAI-compatible host."""

    def __init__(self, key: str, base_url: str = "", host: ChatHost = OPENAI) -> None:
        self.name = host.name
        self._host = host
        self._client = OpenAiClient(host.name, key, base_url or host.url)
        self._realtime = RealtimeSessions(host.name, key, base_url or host.url)

    async def warm(self) -> None:
        """Import the SDK and open a connection."""
        await self._client.warm()

    def hears(self, model: str) -> bool:
        """Whether a model hears the caller and speaks its answer itself."""
        return is_realtime(model)

    async def warm_session(self, model: str) -> None:
        """Open a session for the first reply."""
        await self._realtime.warm(model)

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        answering = self._realtime.stream if is_realtime(request.model) else self._written
        async with aclosing(answering(request)) as events:
            async for event in events:
                yield event

    async def _written(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        reader = ChatReader(self.name, request.model)
        with openai_faults(self.name, reader):
            completions = self._client.sdk.chat.completions.with_streaming_response
            async with (
                completions.create(**self._asked(request)) as response,
                aclosing(answer(response.iter_bytes(), reader)) as events,
            ):
                async for event in events:
                    yield event

    async def aclose(self) -> None:
        """Close the connections."""
        await self._realtime.aclose()
        await self._client.aclose()

    def _asked(self, request: LlmRequest) -> dict[str, Any]:
        # In `extra_body` messages and tools go out as they are; as arguments of their own the SDK
        # walks through every one of them, which takes longer than all the rest of a request.
        return {
            "model": request.model,
            "messages": [],
            "stream": True,
            "extra_body": chat_body(self._host, request, self._client.base_url),
        }


def make_llm(settings: ProviderSettings) -> OpenAiLlm:
    """Make the process's OpenAI-compatible LLM from its settings."""
    return OpenAiLlm(settings.key("openai"), settings.base_url("openai", DEFAULT_URL))


def make_stt(settings: ProviderSettings) -> OpenAiStt:
    """Make the process's OpenAI ears from its settings."""
    return OpenAiStt(settings.key("openai"), settings.base_url("openai", DEFAULT_URL))


def make_tts(settings: ProviderSettings) -> OpenAiTts:
    """Make the process's OpenAI voice from its settings."""
    return OpenAiTts(settings.key("openai"), settings.base_url("openai", DEFAULT_URL))
