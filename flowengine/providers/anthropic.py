"""Anthropic's Claude as the engine's `Llm`, with prompt caching.

The official SDK does the request (key, URL, error classes); the raw body is read with `SseReader`
and `MessageReader`, at a quarter of the CPU of its typed events (7 against 28 ms for 1000,
measured), and `ping` is seen, which the SDK swallows. No retries and no waiting here: that is
supervision's part.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from flowengine.ports import LlmEvent, LlmRequest
from flowengine.providers.anthropic_messages import MessageReader, body
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
    from anthropic import AsyncAnthropic

DEFAULT_URL = "https://api.anthropic.com"


class AnthropicLlm:
    """Anthropic's Messages API, or a host that speaks it."""

    name = "anthropic"

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        self._key = key
        self._base_url = web_url(base_url)
        self._client: AsyncAnthropic | None = None
        self._silent_models: frozenset[str] = frozenset()

    async def warm(self) -> None:
        """Import the SDK, open a connection, and learn which models can be told not to think."""
        import anthropic

        client = self._connected()
        try:
            page = await client.models.with_raw_response.list(limit=1000, timeout=CONNECT_S)
        except anthropic.AnthropicError:
            return
        self._silent_models = _silent(await page.read())

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        import anthropic

        messages = self._connected().messages.with_streaming_response
        reader = MessageReader(self.name, request.model)
        with transport_faults(self.name, reader):
            try:
                async with (
                    messages.create(**self._asked(request)) as response,
                    aclosing(answer(response.iter_bytes(), reader)) as events,
                ):
                    async for event in events:
                        yield event
            except anthropic.APIStatusError as error:
                word = f"{error.type} {error.error_code}"
                raise of_status(
                    error.status_code, self.name, word, error.response.headers
                ) from error
            except anthropic.APITimeoutError as error:
                raise late(self.name, reader) from error
            except anthropic.AnthropicError as error:
                raise lost(self.name, reader) from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _connected(self) -> AsyncAnthropic:
        if self._client is None:
            from anthropic import AsyncAnthropic

            self._client = AsyncAnthropic(
                api_key=self._key,
                base_url=self._base_url,
                max_retries=0,
                http_client=http_client(self._base_url),
                open_telemetry=False,
            )
        return self._client

    def _asked(self, request: LlmRequest) -> dict[str, Any]:
        # In `extra_body` what is asked goes out as it is; as arguments the SDK walks through it.
        extra = body(request)
        if request.model in self._silent_models:
            extra.setdefault("thinking", {"type": "disabled"})
        return {
            "model": request.model,
            "max_tokens": extra["max_tokens"],
            "messages": [],
            "stream": True,
            "extra_body": extra,
        }


def _silent(page: bytes) -> frozenset[str]:
    """The models that take `thinking: disabled`, which saves a caller the wait.

    What a model does without being told, and whether it takes that, is told by its capabilities;
    so a model of which nothing is known is told nothing. Hosts that only speak like Anthropic list
    their models in other forms, or none.
    """
    try:
        models = orjson.loads(page)["data"]
        thinking = {model["id"]: model["capabilities"]["thinking"] for model in models}
        return frozenset(
            name
            for name, found in thinking.items()
            if found["supported"] and found["types"]["disabled"]["supported"]
        )
    except (ValueError, KeyError, TypeError):
        return frozenset()


def make_llm(settings: ProviderSettings) -> AnthropicLlm:
    """Make the process's Anthropic LLM from its settings."""
    return AnthropicLlm(settings.key("anthropic"), settings.base_url("anthropic", DEFAULT_URL))
