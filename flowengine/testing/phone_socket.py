"""A WebSocket client without tasks: sends are synchronous, messages come by callback.

Fifty simulated callers send 2,500 messages a second; the sans-I/O protocol of `websockets`
straight on a transport costs a fraction of its ready-made client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from flowengine.errors import CarrierError

OPEN_LIMIT_S = 10.0

_LONGEST_MESSAGE = 1 << 24

Hear = Callable[[str | bytes], None]


class PhoneSocket(asyncio.Protocol):
    """One connection; `closed` is done when it is over, with the close code (1006: broken)."""

    def __init__(self, url: str, headers: Mapping[str, str], hear: Hear) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self._uri = parse_uri(url)
        self._headers = headers
        self._hear = hear
        self._wire = ClientProtocol(self._uri, max_size=_LONGEST_MESSAGE)
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._is_text = True

    @property
    def is_open(self) -> bool:
        return self._wire.state is State.OPEN

    async def connect(self) -> None:
        """Open it. Raises CarrierError(`connect`) when the server does not let us in."""
        uri = self._uri
        tls = ssl.create_default_context() if uri.secure else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                await loop.create_connection(lambda: self, uri.host, uri.port, ssl=tls)
                await self.opened
        except (OSError, TimeoutError) as error:
            self.abort()
            raise CarrierError("connect", f"The stream did not open: {error}.") from error

    def send(self, text: str) -> None:
        """Send now; what a closed connection cannot take is dropped, as a network does."""
        if self._wire.state is State.OPEN:
            self._wire.send_text(text.encode())
            self._flush()

    def send_binary(self, data: bytes) -> None:
        """Send what no carrier sends."""
        if self._wire.state is State.OPEN:
            self._wire.send_binary(data)
            self._flush()

    def close(self, code: int = 1000) -> None:
        if self._wire.state is State.OPEN:
            self._wire.send_close(code)
            self._flush()

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        request = self._wire.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._wire.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        self._flush()
        for event in self._wire.events_received():
            if isinstance(event, Response):
                self._handshake_answered(event)
            elif isinstance(event, Frame):
                self._frame(event)
        if self._wire.close_expected() and self._transport is not None:
            self._transport.close()

    def eof_received(self) -> None:
        self._wire.receive_eof()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        if self._wire.state is not State.CLOSED:
            self._wire.receive_eof()
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the connection broke in the handshake"))
        if not self.closed.done():
            self.closed.set_result(self._wire.close_code or 1006)

    def _handshake_answered(self, response: Response) -> None:
        if self.opened.done():
            return
        if self._wire.state is State.OPEN:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionError(f"HTTP status {response.status_code}"))

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._is_text = frame.opcode is Opcode.TEXT
            self._parts = []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            message = b"".join(self._parts)
            self._hear(message.decode("utf-8", "replace") if self._is_text else message)

    def _flush(self) -> None:
        transport = self._transport
        for data in self._wire.data_to_send():
            if transport is not None and not transport.is_closing():
                if data:
                    transport.write(data)
                elif transport.can_write_eof():
                    transport.write_eof()
