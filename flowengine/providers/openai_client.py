"""What the OpenAI adapters share: one SDK client a provider and process, and its errors.

The official SDK does the requests (key, URL, error classes) over our own pool of connections. It
is imported on first use (`warm` at server start). No retries and no waiting here: that is
supervision's part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowengine.providers.connections import (
    CONNECT_S,
    Begins,
    http_client,
    late,
    lost,
    transport_faults,
)
from flowengine.providers.faults import of_status
from flowengine.providers.settings import web_url

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_URL = "https://api.openai.com/v1"


class OpenAiClient:
    """A host that speaks OpenAI's REST; connections stay open between requests."""

    def __init__(self, provider: str, key: str, base_url: str) -> None:
        self.provider = provider
        self.base_url = web_url(base_url)
        self._key = key
        self._made: AsyncOpenAI | None = None

    @property
    def sdk(self) -> AsyncOpenAI:
        """The SDK's client, made on first use."""
        if self._made is None:
            from openai import AsyncOpenAI

            self._made = AsyncOpenAI(
                api_key=self._key,
                base_url=self.base_url,
                max_retries=0,
                http_client=http_client(self.base_url),
            )
        return self._made

    async def warm(self) -> None:
        """Import the SDK and open a connection; a host without `/models` is warm as well."""
        import openai

        try:
            await self.sdk.models.with_raw_response.list(timeout=CONNECT_S)
        except openai.OpenAIError:
            return

    async def reach(self) -> None:
        """Find out whether the host can be had. Raises ProviderError.

        A recogniser without a socket of its own would else only know once a caller has spoken.
        """
        import openai

        with openai_faults(self.provider, _Nothing()):
            try:
                await self.sdk.models.with_raw_response.list(timeout=CONNECT_S)
            except openai.APIStatusError as error:
                if error.status_code in (401, 403) or error.status_code >= 500:
                    raise

    async def aclose(self) -> None:
        """Close the connections."""
        if self._made is not None:
            await self._made.close()
            self._made = None


class _Nothing:
    """An answer of which nothing is wanted."""

    began = False


@contextmanager
def openai_faults(provider: str, reader: Begins) -> Iterator[None]:
    """Turn what the SDK raises, and what goes wrong on the wire, into ProviderError."""
    import openai

    with transport_faults(provider, reader):
        try:
            yield
        except openai.APIStatusError as error:
            word = f"{error.code} {error.type}"
            raise of_status(error.status_code, provider, word, error.response.headers) from error
        except openai.APITimeoutError as error:
            raise late(provider, reader) from error
        except openai.OpenAIError as error:
            raise lost(provider, reader) from error
