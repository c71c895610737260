"""Any LLM that speaks OpenAI's chat completions, at any base URL, as the engine's `Llm`.

The official SDK does the request (key, URL, error classes); its typed chunk objects cost five
times the CPU of the stream itself, so the raw body is read with `SseReader` and `ChatReader`.
The SDK is imported on first use (`warm` at server start). No retries and no waiting here: that
is supervision's part. One client per process, whose connections stay open between turns. What
other hosts do otherwise is data (`chat_hosts`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from flowengine.ports import LlmEvent, LlmRequest
from flowengine.providers.chat import ChatReader
from flowengine.providers.chat_hosts import ChatHost, chat_body, openai_effort
from flowengine.providers.connections import (
    CONNECT_S,
    answer,
    http_client,
    late,
    lost,
    transport_faults,
)
from flowengine.providers.faults import of_status
from flowengine.providers.settings import ProviderSettings, web_url

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_URL = "https://api.openai.com/v1"
OPENAI = ChatHost("openai", DEFAULT_URL, pads_chunks=True, least_effort=openai_effort)


class OpenAiLlm:
    """An OpenAI-compatible host."""

    def __init__(self, key: str, base_url: str = "", host: ChatHost = OPENAI) -> None:
        self.name = host.name
        self._host = host
        self._key = key
        self._base_url = web_url(base_url or host.url)
        self._client: AsyncOpenAI | None = None

    async def warm(self) -> None:
        """Import the SDK and open a connection; a host without `/models` is warm as well."""
        import openai

        client = self._connected()
        try:
            await client.models.with_raw_response.list(timeout=CONNECT_S)
        except openai.OpenAIError:
            return

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        import openai

        completions = self._connected().chat.completions.with_streaming_response
        reader = ChatReader(self.name, request.model)
        with transport_faults(self.name, reader):
            try:
                async with (
                    completions.create(**self._asked(request)) as response,
                    aclosing(answer(response.iter_bytes(), reader)) as events,
                ):
                    async for event in events:
                        yield event
            except openai.APIStatusError as error:
                word = f"{error.code} {error.type}"
                raise of_status(error.status_code, self.name, word) from error
            except openai.APITimeoutError as error:
                raise late(self.name, reader) from error
            except openai.OpenAIError as error:
                raise lost(self.name, reader) from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._key,
                base_url=self._base_url,
                max_retries=0,
                http_client=http_client(self._base_url),
            )
        return self._client

    def _asked(self, request: LlmRequest) -> dict[str, Any]:
        # In `extra_body` messages and tools go out as they are; as arguments of their own the SDK
        # walks through every one of them, which takes longer than all the rest of a request.
        return {
            "model": request.model,
            "messages": [],
            "stream": True,
            "extra_body": chat_body(self._host, request, self._base_url),
        }


def make_llm(settings: ProviderSettings) -> OpenAiLlm:
    """Make the process's OpenAI-compatible LLM from its settings."""
    return OpenAiLlm(settings.key("openai"), settings.base_url("openai", DEFAULT_URL))
