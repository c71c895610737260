"""A server on loopback that a fake vendor is built on: port, faults, violations, abrupt cuts.

Runs in the test's own event loop on uvicorn, without its signal handlers and main loop, so that
starting and stopping need no sleep.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

KEY = "test-key"


@dataclass(frozen=True, slots=True)
class Fault:
    """How the next connection or request misbehaves.

    `refuse`: answers the handshake or request with `status`. `hang`: accepts and never says a
    word. `stall`: falls silent after `after` messages. `cut`: breaks the connection after them.
    `nonsense`: sends what nobody can read after them. `error`: sends the vendor's error message.
    `slow`: everything takes `delay_ms` longer.
    """

    kind: Literal["refuse", "hang", "stall", "cut", "nonsense", "error", "slow"]
    after: int = 0
    status: int = 500
    delay_ms: int = 0


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
        config = uvicorn.Config(
            Starlette(routes=list(routes)),
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

    def next_fault(self) -> Fault | None:
        """Count a connection or request and say how it misbehaves."""
        self.connections += 1
        self.changed.set()
        return self.faults.popleft() if self.faults else None

    def violate(self, what: str) -> None:
        """Note what a client did wrong."""
        self.violations.append(what)
        self.changed.set()

    def cut(self, scope: Scope) -> None:
        """Break a connection without a closing word."""
        for connection in list(self._server.server_state.connections):
            if getattr(connection, "client", None) == tuple(scope["client"]):
                transport = getattr(connection, "transport", None)
                if transport is not None:
                    transport.abort()

    async def refuse(self, websocket: WebSocket, status: int) -> None:
        """Answer a WebSocket's handshake with an HTTP status."""
        response: Response = JSONResponse({"error": "refused"}, status_code=status)
        await websocket.send_denial_response(response)


async def forever() -> None:
    """Say nothing more; ends when the server stops or the client leaves."""
    await asyncio.Event().wait()
