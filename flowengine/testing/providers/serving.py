"""A server on loopback that a fake vendor is built on: port, faults, violations, abrupt cuts.

Runs in the test's own event loop on uvicorn, without its signal handlers and main loop, so that
starting and stopping need no sleep.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from flowengine.testing.providers.faults import Fault, Misdeed, Wire, forever

__all__ = ["KEY", "FakeVendor", "Fault", "Streamed", "forever"]

KEY = "test-key"


class Streamed(StreamingResponse):
    """An answer in pieces, whose source is closed when the client leaves."""

    async def stream_response(self, send: Send) -> None:
        pieces = self.body_iterator
        try:
            await super().stream_response(send)
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()


class FakeVendor:
    """Base of the fakes: `async with FakeDeepgram() as vendor: … vendor.url`."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self.faults: deque[Fault | None] = deque()
        """Taken by connections and requests in order; None, or no more, is good behaviour."""
        self.violations: list[str] = []
        """What clients sent that the vendor would not have taken."""
        self.connections = 0
        self.changed = asyncio.Event()
        """Set whenever something was counted or received; for waiting on a condition."""
        self._app = Starlette(routes=list(routes))
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._port = 0

    @property
    def url(self) -> str:
        """The base URL, http and without a path."""
        if not self._port:
            raise RuntimeError("the fake vendor is not started")
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen on a free port."""
        listener = socket.create_server(("127.0.0.1", 0))
        # Python makes it without a protocol number, and asyncio then leaves Nagle's algorithm on.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        await self._server.startup(sockets=[listener])

    async def stop(self) -> None:
        """Stop listening and break what is open."""
        for server in self._server.servers:
            server.close()
        tasks = list(self._server.server_state.tasks)
        for connection in list(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` says true; it is asked again whenever something happened."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def asked(self, request: Request) -> object:
        """Note a request, also one that is refused or never answered."""

    def refusal(self, status: int) -> Response:
        """The vendor's answer to a request or a handshake that it does not take."""
        return JSONResponse({"error": "refused"}, status_code=status)

    def error_for(self, path: str, message: str | bytes) -> str | bytes:
        """The vendor's error message, sent in the place of `message`."""
        raise NotImplementedError

    def violate(self, what: str) -> None:
        """Note what a client did wrong."""
        self.violations.append(what)
        self.changed.set()

    def cut(self, scope: Scope) -> None:
        """Break a connection without a closing word."""
        for connection in self._connections(scope):
            connection.transport.abort()

    async def refuse(self, websocket: WebSocket, status: int) -> None:
        """Answer a WebSocket's handshake with an HTTP status."""
        await websocket.send_denial_response(self.refusal(status))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a connection or request; a list of models and the like is no request."""
        fault = None
        is_work = scope["type"] == "websocket" or scope["method"] != "GET"
        if is_work and any(route.matches(scope)[0] is Match.FULL for route in self._app.routes):
            self.connections += 1
            self.changed.set()
            fault = self.faults.popleft() if self.faults else None
        if fault is None:
            await self._app(scope, receive, send)
            return

        def rewire(drip_bytes: int) -> Wire | None:
            return self._rewire(scope, drip_bytes)

        await Misdeed(fault, self, scope, rewire).run(self._app, receive, send)

    def _connections(self, scope: Scope) -> list[Any]:
        """The server's protocol object that a client is connected to; none: it is gone."""
        client = tuple(scope["client"])
        return [
            connection
            for connection in list(self._server.server_state.connections)
            if getattr(connection, "client", None) == client
            and getattr(connection, "transport", None) is not None
        ]

    def _rewire(self, scope: Scope, drip_bytes: int) -> Wire | None:
        wire = None
        for connection in self._connections(scope):
            wire = connection.transport = Wire(connection.transport, drip_bytes)
            cycle = getattr(connection, "cycle", None)
            if cycle is not None:
                cycle.transport = wire
        return wire
