"""A carrier's WebSocket as `ports.Socket`: straight over ASGI, for 50 messages a call-second."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from flowengine.errors import CarrierError
from flowengine.ports import SocketHandler

_CLOSED_IN_ORDER = frozenset((1000, 1001))


class AsgiSocket:
    """One socket; receives are one task's, sends may come from several."""

    __slots__ = ("_accepted", "_closed", "_gone", "_receive", "_send", "headers", "url")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        self.headers: Mapping[str, str] = dict(connection.headers)
        self.url = str(connection.url)
        self._receive = receive
        self._send = send
        self._accepted = False
        self._closed = False
        self._gone = False

    async def accept(self) -> None:
        await self._connect()
        await self._put({"type": "websocket.accept"})

    async def receive(self) -> str | bytes | None:
        if self._gone:
            raise _lost()
        message = await self._receive()
        if message["type"] == "websocket.receive":
            text: str | None = message.get("text")
            if text is not None:
                return text
            data: bytes = message["bytes"]
            return data
        self._gone = True
        if self._closed or message.get("code") in _CLOSED_IN_ORDER:
            return None
        raise _lost()

    async def send(self, text: str) -> None:
        if self._closed or self._gone:
            raise _lost()
        await self._put({"type": "websocket.send", "text": text})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, or refuse the handshake when it was not accepted. Idempotent."""
        if self._closed or self._gone:
            return
        self._closed = True
        await self._connect()
        await self._put({"type": "websocket.close", "code": code, "reason": reason})

    async def _connect(self) -> None:
        """Take the handshake off the queue, once; an answer may follow then."""
        if not self._accepted:
            self._accepted = True
            message = await self._receive()
            if message["type"] != "websocket.connect":
                self._gone = True
                raise _lost()

    async def _put(self, message: dict[str, str | int]) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:
            # What servers raise when the peer has gone: OSError by the ASGI standard, and
            # RuntimeError from those that check their own state first.
            self._gone = True
            raise _lost() from error


class SocketEndpoint:
    """One WebSocket route, as an ASGI application."""

    def __init__(self, handler: SocketHandler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handler(AsgiSocket(scope, receive, send))


def _lost() -> CarrierError:
    return CarrierError("line_lost", "The socket is gone.", where="socket")
