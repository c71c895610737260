"""One way to open a vendor's WebSocket: shared TLS context, no deflate, bounded everything.

Making a TLS context costs tens of milliseconds of CPU on the event loop, so there is one for the
process. Handshakes, sends and pings have limits, and whatever `websockets` raises becomes a
`ProviderError`.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from flowengine.errors import ProviderError
from flowengine.providers.faults import fault, of_status, of_word

CONNECT_S = 2.0
SEND_S = 5.0
_PING_EVERY_S = 5.0
_PING_ANSWER_S = 10.0
_LONGEST_MESSAGE = 4 * 1024 * 1024
_BY_CLOSE = {1008: "bad_request", 1013: "overloaded", 3000: "auth", 3003: "auth"}
"""What codes mean when the reason says nothing; 1013 asks to try later (IANA's registry)."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The process's one TLS context for clients."""
    return ssl.create_default_context()


async def open_socket(url: str, headers: Mapping[str, str], provider: str) -> ClientConnection:
    """Open a WebSocket; raises ProviderError, whose `__cause__` tells a refused handshake."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(CONNECT_S):
            return await connect(
                url,
                additional_headers=headers,
                user_agent_header="flowengine",
                compression=None,
                ssl=tls_context() if parts.scheme == "wss" else None,
                proxy=None if parts.hostname in _LOOPBACK else True,
                open_timeout=None,
                ping_interval=_PING_EVERY_S,
                ping_timeout=_PING_ANSWER_S,
                close_timeout=1.0,
                max_size=_LONGEST_MESSAGE,
                max_queue=64,
            )
    except TimeoutError as error:
        raise fault("deadline", "did not answer the WebSocket handshake", provider) from error
    except InvalidStatus as error:
        raise of_status(
            error.response.status_code, provider, headers=error.response.headers
        ) from error
    except (InvalidHandshake, EOFError) as error:
        raise fault("protocol", "broke the WebSocket handshake", provider) from error
    except OSError as error:
        raise fault("connect", "cannot be reached", provider) from error


def refused_status(error: ProviderError) -> int | None:
    """The HTTP status of a refused handshake, or None when it failed otherwise."""
    cause = error.__cause__
    return cause.response.status_code if isinstance(cause, InvalidStatus) else None


async def send(socket: ClientConnection, message: str | bytes, provider: str) -> None:
    """Send within the limit; raises ProviderError(`stalled`) or (`dropped`)."""
    try:
        async with asyncio.timeout(SEND_S):
            await socket.send(message)
    except TimeoutError as error:
        raise fault("stalled", "takes no more data", provider) from error
    except ConnectionClosed as error:
        raise of_close(error, provider) from error


def of_close(error: ConnectionClosed, provider: str) -> ProviderError:
    """The error of a closed socket: the vendor's word in the reason, else `dropped`."""
    received = error.rcvd
    if received is None:
        return fault("dropped", "closed the socket without a word", provider)
    code = of_word(received.reason, provider).code
    if code == "unavailable":
        code = _BY_CLOSE.get(received.code, "dropped")
    return fault(code, f"closed the socket with code {received.code}", provider)


async def hang_up(socket: ClientConnection) -> None:
    """Close within a second; never raises."""
    try:
        async with asyncio.timeout(1.0):
            await socket.close()
    except (TimeoutError, OSError, ConnectionClosed):
        socket.transport.abort()
