"""HTTP connections to LLM vendors, and reading a streamed answer from one.

One pool per vendor and process, whose connections stay open between a caller's turns: the SDKs'
own pools let an idle connection go after 5 s, so that most turns would begin with a handshake.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from flowengine.errors import ProviderError
from flowengine.ports import LlmEvent
from flowengine.providers.faults import fault
from flowengine.providers.sockets import tls_context
from flowengine.providers.sse import SseReader

if TYPE_CHECKING:
    import httpx2

CONNECT_S = 2.0
_READ_S = 30.0
_POOL_S = 1.0
_KEEPALIVE_S = 120.0
_CONNECTIONS = 200
_READ_OUT_S = 0.3


class Begins(Protocol):
    """Reads an answer, or stands for one."""

    began: bool
    """Anything was read."""


class AnswerReader(Begins, Protocol):
    """Reads the events of one answer; raises ProviderError for what it cannot read."""

    done: bool
    """The answer said that it is complete."""

    def read(self, data: bytes) -> list[LlmEvent]:
        """Take the data of one server-sent event."""
        ...

    def end(self) -> list[LlmEvent]:
        """The answer is complete, or its body ended."""
        ...


def http_client(base_url: str) -> httpx2.AsyncClient:
    """A pool of connections for one vendor."""
    import httpx2

    return httpx2.AsyncClient(
        verify=tls_context() if base_url.startswith("https:") else False,
        timeout=httpx2.Timeout(_READ_S, connect=CONNECT_S, pool=_POOL_S),
        limits=httpx2.Limits(
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE_S,
        ),
    )


async def answer(
    pieces: AsyncIterator[bytes], reader: AnswerReader
) -> AsyncGenerator[LlmEvent, None]:
    """The events of an answer whose body comes in `pieces`."""
    body = SseReader()
    async for piece in pieces:
        for data in body.read(piece):
            for event in reader.read(data):
                yield event
            if reader.done:
                break
        if reader.done:
            break
    else:
        for data in body.end():
            for event in reader.read(data):
                yield event
    for event in reader.end():
        yield event
    await read_out(pieces)


@contextmanager
def transport_faults(provider: str, reader: Begins) -> Iterator[None]:
    """Turn what goes wrong on the wire into ProviderError."""
    import httpx2

    try:
        yield
    except httpx2.TimeoutException as error:
        raise late(provider, reader) from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise lost(provider, reader) from error


def late(provider: str, reader: Begins) -> ProviderError:
    """The error of a vendor that says nothing, or nothing more."""
    return fault("stalled" if reader.began else "deadline", "did not answer in time", provider)


def lost(provider: str, reader: Begins) -> ProviderError:
    """The error of a connection that could not be made, or broke."""
    return fault("dropped" if reader.began else "connect", "lost the connection", provider)


async def read_out(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end of a body that has said all; only then is its connection used again."""
    import httpx2

    try:
        async with asyncio.timeout(_READ_OUT_S):
            async for _ in pieces:
                pass
    except (TimeoutError, httpx2.HTTPError, httpx2.StreamError):
        return  # the answer is complete; only its connection is lost
