"""How a fake vendor misbehaves on the wire, whatever it speaks: one word for each fault.

A `Fault` stands between a fake's handler and its client (ASGI, and the transport below it), so that
every HTTP answer and every WebSocket of every fake can fail in all these ways. Messages are counted
as they go out: events or pieces of a body (HTTP), messages (WebSocket).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Kind = Literal[
    "refuse",
    "hang",
    "late",
    "stall",
    "cut",
    "close",
    "garbage",
    "error",
    "swap",
    "trickle",
    "dead",
]
KINDS: Final[tuple[Kind, ...]] = Kind.__args__  # type: ignore[attr-defined]

_BROKEN_EVENT: Final = b'data: {"choices": [{"delta"\n\n'
_BROKEN_JSON: Final = b'{"type":"Results","channel":'
_PAGE: Final = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
_HTML: Final = (b"content-type", b"text/html")


@dataclass(frozen=True, slots=True)
class Fault:
    """How the next connection or request misbehaves, behind `after` good messages.

    `refuse`: answers the request or the handshake with `status`, and `Retry-After` if it is set.
    `hang`: takes it and never says a word. `late`: is silent for `delay_ms`, then goes on. `stall`:
    is silent from there on. `cut`: breaks the connection without a word. `close`: closes it in good
    order, a WebSocket with `code` and `reason`. `garbage`: sends what nobody can read in the place
    of one message. `error`: sends the vendor's error message from there on. `swap`: sends two
    neighbouring messages in the wrong order. `trickle`: sends everything in drips of `size` bytes.
    `dead`: reads and sends nothing more, and keeps the connection open.
    """

    kind: Kind
    after: int = 0
    status: int = 500
    delay_ms: int = 0
    retry_after_s: int | None = None
    code: int = 1011
    reason: str = ""
    size: int = 7


def status(code: int, retry_after_s: int | None = None) -> Fault:
    """Refuse the request, or the handshake of a WebSocket, with an HTTP status."""
    return Fault("refuse", status=code, retry_after_s=retry_after_s)


def late(delay_ms: int, after: int = 0) -> Fault:
    """Say the message, and all behind it, so much later."""
    return Fault("late", after, delay_ms=delay_ms)


def stall(after: int = 0) -> Fault:
    """Say nothing more."""
    return Fault("stall", after)


def cut(after: int = 0) -> Fault:
    """Break the connection without a word."""
    return Fault("cut", after)


def close(code: int = 1011, reason: str = "", after: int = 0) -> Fault:
    """Close in good order, too early."""
    return Fault("close", after, code=code, reason=reason)


def garbage(after: int = 0) -> Fault:
    """Send what nobody can read in the place of one message."""
    return Fault("garbage", after)


def swap(after: int = 0) -> Fault:
    """Send a message behind the next one."""
    return Fault("swap", after)


def trickle(size: int = 7) -> Fault:
    """Send everything in drips of `size` bytes."""
    return Fault("trickle", size=size)


def dead(after: int = 0) -> Fault:
    """Keep the connection open, and neither read nor send."""
    return Fault("dead", after)


async def forever() -> None:
    """Say nothing more; ends when the server stops."""
    await asyncio.Event().wait()


class Faulty(Protocol):
    """A fake vendor, as its faults see it."""

    async def asked(self, request: Request) -> object:
        """Note a request, also one that is refused or never answered."""
        ...

    def refusal(self, status: int) -> Response:
        """The vendor's answer to a request that it does not take."""
        ...

    def error_for(self, path: str, message: str | bytes) -> str | bytes:
        """The vendor's error message, sent in the place of `message`."""
        ...


class Wire(asyncio.Transport):
    """The server's side of a connection that drips, or is half dead."""

    def __init__(self, below: asyncio.Transport, drip_bytes: int = 0) -> None:
        super().__init__()
        self._below = below
        self._drip_bytes = drip_bytes
        self._waiting = bytearray()
        self._ends = False
        self._is_dead = False

    def die(self) -> None:
        """Read and send nothing more; the connection stays open."""
        self._is_dead = True
        self._below.pause_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_dead:
            return
        is_dripping = bool(self._waiting)
        self._waiting += data
        if not is_dripping:
            self._drip()

    def _drip(self) -> None:
        """Send a drip; the next one in the loop's next round, so that it is read by itself."""
        size = self._drip_bytes or len(self._waiting)
        drip = bytes(self._waiting[:size])
        del self._waiting[:size]
        if drip and not self._below.is_closing():
            self._below.write(drip)
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._drip)
            elif self._ends:
                self._below.close()

    def close(self) -> None:
        self._ends = True
        if not self._waiting and not self._is_dead:
            self._below.close()

    def abort(self) -> None:
        self._below.abort()

    def is_closing(self) -> bool:
        return self._ends or self._below.is_closing()

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_dead:
            self._below.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._below.set_protocol(protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)


class Misdeed:
    """One fault of one connection or request, between the fake's handler and its client."""

    def __init__(
        self, fault: Fault, vendor: Faulty, scope: Scope, rewire: Callable[[int], Wire | None]
    ) -> None:
        self._fault = fault
        self._vendor = vendor
        self._scope = scope
        self._rewire = rewire
        """Puts a `Wire` with drips of so many bytes into the connection; None: it is gone."""
        self._send: Send
        self._start: Message | None = None
        """The head of an HTTP answer, until its first byte."""
        self._held: Message | None = None
        """The message that the next one overtakes."""
        self._type = b""
        self._count = 0
        self._is_over = False

    async def run(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        """Serve the request or connection, with its fault."""
        self._send = send
        is_socket = self._scope["type"] == "websocket"
        if self._fault.kind in ("refuse", "hang") and not is_socket:
            await self._vendor.asked(Request(self._scope, receive))
        match self._fault.kind:
            case "refuse":
                response = self._vendor.refusal(self._fault.status)
                if self._fault.retry_after_s is not None:
                    response.headers["retry-after"] = str(self._fault.retry_after_s)
                await response(self._scope, receive, send)
                return
            case "hang":
                if is_socket:
                    await send({"type": "websocket.accept"})
                while not (await receive())["type"].endswith(".disconnect"):
                    pass
                return
            case "trickle":
                self._rewire(self._fault.size)
        await app(self._scope, receive, self._socket if is_socket else self._http)

    # --- what goes out ---

    async def _http(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "http.response.start":
            # Its length may change, and a late first byte is the head's.
            headers = [pair for pair in message["headers"] if pair[0] != b"content-length"]
            self._start = {**message, "headers": headers}
            self._type = dict(headers).get(b"content-type", b"")
            return
        if not message.get("body"):
            if self._held is not None:
                held, self._held = self._held, None
                await self._pass(held)
            await self._pass(message)
            self._is_over = not message.get("more_body")
            return
        await self._one(message)

    async def _socket(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "websocket.send":
            await self._one(message)
            return
        if self._held is not None:
            held, self._held = self._held, None
            await self._pass(held)
        await self._pass(message)
        if message["type"] == "websocket.accept" and self._fault == dead():
            await self._lose()

    async def _one(self, message: Message) -> None:
        """One message that counts."""
        number, self._count = self._count, self._count + 1
        if number >= self._fault.after:
            changed = await self._act(message, number - self._fault.after)
            if changed is None:
                return
            message = changed
        await self._pass(message)
        if self._held is not None:
            held, self._held = self._held, None
            await self._pass(held)

    async def _act(self, message: Message, nth: int) -> Message | None:
        """Misbehave with the `nth` message since the fault was due; None: it is not sent now."""
        match self._fault.kind:
            case "late" if nth == 0:
                await asyncio.sleep(self._fault.delay_ms / 1000)
            case "stall":
                await self._head()
                await forever()
            case "cut" | "dead":
                await self._lose()
            case "close":
                await self._end()
                return None
            case "garbage" if nth == 0:
                return self._garbled(message)
            case "error":
                if not self._has_words(message):
                    await self._lose()
                return self._erring(message)
            case "swap" if nth == 0 and message.get("more_body", "body" not in message):
                self._held = message
                return None
        return message

    async def _pass(self, message: Message) -> None:
        await self._head()
        await self._send(message)

    async def _head(self) -> None:
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)

    async def _lose(self) -> None:
        """Break the connection, or let it be half dead."""
        wire = self._rewire(0)
        if wire is not None:
            if self._fault.kind == "dead":
                wire.die()
            else:
                wire.abort()
        await forever()

    async def _end(self) -> None:
        """Close in good order, in the middle."""
        self._is_over = True
        await self._head()
        if self._scope["type"] == "websocket":
            code, reason = self._fault.code, self._fault.reason
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        else:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _has_words(self, message: Message) -> bool:
        """Whether an error can be told here: in the middle of bare audio it cannot."""
        return message["type"] == "websocket.send" or not self._type.startswith(b"audio/")

    def _garbled(self, message: Message) -> Message:
        if message["type"] == "websocket.send":
            return {"type": "websocket.send", "text": _BROKEN_JSON.decode()}
        if self._is(b"text/event-stream"):
            return {**message, "body": _BROKEN_EVENT}
        if self._is(b"application/json"):
            return {**message, "body": _BROKEN_JSON}
        if self._start is not None:
            self._start["headers"] = [_HTML]
        return {**message, "body": _PAGE}

    def _erring(self, message: Message) -> Message:
        is_socket = message["type"] == "websocket.send"
        sent = (message.get("text") or message.get("bytes")) if is_socket else message["body"]
        error = self._vendor.error_for(self._scope["path"], sent or "")
        if not is_socket:
            return {**message, "body": error}
        told = error if isinstance(error, str) else error.decode()
        return {"type": "websocket.send", "text": told}

    def _is(self, kind: bytes) -> bool:
        """Whether the HTTP answer is of this type."""
        return self._type.startswith(kind)
