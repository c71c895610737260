"""Google's Gemini over its own wire, and as the engine's `Llm`.

Without the SDK: google-genai 3.4 has no public way to the raw stream; its typed chunks cost 200 to
280 ms of CPU for 1000 tokens where the raw lines cost 5, importing it takes 0.9 s, and after a
connection that fails it sleeps up to ten seconds (measured). It is the other side in the tests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from flowengine.events import Json
from flowengine.ports import LlmEvent, LlmRequest
from flowengine.providers.connections import CONNECT_S, answer, http_client, transport_faults
from flowengine.providers.google_content import ContentReader, Signatures, body, error_of
from flowengine.providers.settings import web_url

if TYPE_CHECKING:
    import httpx2

DEFAULT_URL = "https://generativelanguage.googleapis.com"
_VERSION = "v1"
"""The API version that google-genai 3.4 asks for."""
_VERSIONS = ("/v1", "/v1alpha", "/v1beta")
_SIGNATURES = 2000


class GoogleHost:
    """Gemini, or a host that speaks its wire; the base URL may end in another API version."""

    name = "google"

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        url = web_url(base_url)
        self._url = url if url.endswith(_VERSIONS) else f"{url}/{_VERSION}"
        self._headers = {"x-goog-api-key": key, "content-type": "application/json"}
        self._client: httpx2.AsyncClient | None = None

    async def warm(self) -> None:
        """Open a connection; what the host answers does not matter."""
        import httpx2

        try:
            await self._models()
        except httpx2.HTTPError:
            return

    async def reach(self, model: str) -> None:
        """Find out whether the host can be had. Raises ProviderError.

        Ears without a socket of their own would else only know once a caller has spoken.
        """
        with transport_faults(self.name, ContentReader(self.name, model, {})):
            response = await self._models()
        if response.status_code in (401, 403) or response.status_code >= 500:
            raise error_of(_json(response.content), self.name, response.status_code)

    async def answer(
        self, model: str, asked: Mapping[str, Json], signatures: Signatures
    ) -> AsyncGenerator[LlmEvent, None]:
        """Stream the answer to a body. Raises ProviderError."""
        reader = ContentReader(self.name, model, signatures)
        name = quote(model.removeprefix("models/"))
        with transport_faults(self.name, reader):
            async with self._connected().stream(
                "POST",
                f"{self._url}/models/{name}:streamGenerateContent?alt=sse",
                content=orjson.dumps(asked),
                headers=self._headers,
            ) as response:
                if response.status_code != 200:
                    raise error_of(_json(await response.aread()), self.name, response.status_code)
                async with aclosing(answer(response.aiter_bytes(), reader)) as events:
                    async for event in events:
                        yield event

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _models(self) -> httpx2.Response:
        return await self._connected().get(
            f"{self._url}/models?pageSize=1", headers=self._headers, timeout=CONNECT_S
        )

    def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = http_client(self._url)
        return self._client


class GoogleLlm(GoogleHost):
    """Gemini as the engine's LLM."""

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        super().__init__(key, base_url)
        self._signatures = _Remembered()

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        asked = body(request, self._signatures)
        async with aclosing(self.answer(request.model, asked, self._signatures)) as events:
            async for event in events:
                yield event


class _Remembered(OrderedDict[str, str]):
    """The signatures of the latest tool calls of all calls of this process.

    They are opaque, up to some kilobytes, and of use to this vendor alone; so they stay here and
    not in the conversation. A call that moves to another process does without.
    """

    def __setitem__(self, use_id: str, signature: str) -> None:
        super().__setitem__(use_id, signature)
        if len(self) > _SIGNATURES:
            self.popitem(last=False)


def _json(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
