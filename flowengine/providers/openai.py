"""Any LLM that speaks OpenAI's chat completions, at any base URL, as the engine's `Llm`.

The official SDK does the request (key, URL, error classes); its typed chunk objects cost five
times the CPU of the stream itself, so the raw body is read with `SseReader` and `ChatReader`.
The SDK is imported on first use (`warm` at server start). No retries and no waiting here: that
is supervision's part. One client per process, whose connections stay open between turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from flowengine.events import Json
from flowengine.ports import LlmEvent, LlmMessage, LlmRequest, LlmTool
from flowengine.providers.chat import ChatReader
from flowengine.providers.faults import fault, of_status
from flowengine.providers.settings import ProviderSettings, web_url
from flowengine.providers.sockets import tls_context
from flowengine.providers.sse import SseReader

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_URL = "https://api.openai.com/v1"
_CONNECT_S = 2.0
_READ_S = 30.0
_KEEPALIVE_S = 120.0
_CONNECTIONS = 200
_READ_OUT_S = 0.3


class OpenAiLlm:
    """An OpenAI-compatible host."""

    name = "openai"

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        self._key = key
        self._base_url = web_url(base_url)
        self._client: AsyncOpenAI | None = None

    async def warm(self) -> None:
        """Import the SDK and open a connection; a host without `/models` is warm as well."""
        import openai

        client = self._connected()
        try:
            await client.models.with_raw_response.list(timeout=_CONNECT_S)
        except openai.OpenAIError:
            return

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        import httpx2
        import openai

        completions = self._connected().chat.completions.with_streaming_response
        reader = ChatReader(self.name, request.model)
        events = SseReader()
        try:
            async with completions.create(**self._body(request)) as response:
                pieces = response.iter_bytes()
                async for piece in pieces:
                    for data in events.read(piece):
                        for event in reader.read(data):
                            yield event
                        if reader.done:
                            break
                    if reader.done:
                        break
                else:
                    for data in events.end():
                        for event in reader.read(data):
                            yield event
                for event in reader.end():
                    yield event
                await _read_out(pieces)
        except openai.APIStatusError as error:
            word = f"{error.code} {error.type}"
            raise of_status(error.status_code, self.name, word) from error
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            code = "stalled" if reader.began else "deadline"
            raise fault(code, "did not answer in time", self.name) from error
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError) as error:
            code = "dropped" if reader.began else "connect"
            raise fault(code, "lost the connection", self.name) from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            import httpx2
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._key,
                base_url=self._base_url,
                max_retries=0,
                http_client=httpx2.AsyncClient(
                    verify=tls_context() if self._base_url.startswith("https:") else False,
                    timeout=httpx2.Timeout(_READ_S, connect=_CONNECT_S, pool=1.0),
                    limits=httpx2.Limits(
                        max_connections=_CONNECTIONS,
                        max_keepalive_connections=_CONNECTIONS,
                        keepalive_expiry=_KEEPALIVE_S,
                    ),
                ),
            )
        return self._client

    def _body(self, request: LlmRequest) -> dict[str, Any]:
        asked: dict[str, Any] = {"model": request.model, "messages": [], "stream": True}
        # In `extra_body` messages and tools go out as they are; as arguments of their own the SDK
        # walks through every one of them, which takes longer than all the rest of a request.
        extra: dict[str, Json] = {
            "messages": [_message(message) for message in request.messages],
            "stream_options": {"include_usage": True},
            **request.options,
        }
        if self._base_url == DEFAULT_URL and "stream_options" not in request.options:
            extra["stream_options"]["include_obfuscation"] = False
        if request.tools:
            extra["tools"] = [_tool(tool) for tool in request.tools]
        return {**asked, "extra_body": extra}


async def _read_out(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end of a body that has said all; only then is its connection used again."""
    import httpx2

    try:
        async with asyncio.timeout(_READ_OUT_S):
            async for _ in pieces:
                pass
    except (TimeoutError, httpx2.HTTPError, httpx2.StreamError):
        return  # the answer is complete; only its connection is lost


def _message(message: LlmMessage) -> dict[str, Json]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_use_id, "content": message.text}
    plain: dict[str, Json] = {"role": message.role, "content": message.text}
    if message.tool_uses:
        plain["content"] = message.text or None
        plain["tool_calls"] = [
            {
                "id": use.id,
                "type": "function",
                "function": {"name": use.name, "arguments": use.arguments},
            }
            for use in message.tool_uses
        ]
    return plain


def _tool(tool: LlmTool) -> dict[str, Json]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def make_llm(settings: ProviderSettings) -> OpenAiLlm:
    """Make the process's OpenAI-compatible LLM from its settings."""
    return OpenAiLlm(settings.key("openai"), settings.base_url("openai", DEFAULT_URL))
