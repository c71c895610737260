"""uvicorn as we run it: its sans-I/O WebSocket class, no deflate, bounded messages."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from flowengine.errors import ConfigError

LONGEST_SOCKET_MESSAGE = 1 << 20
"""Bytes. Carriers refuse what is longer than their own, much lower limit and go on; a message
over this one costs the connection, so it bounds memory and nothing else."""

GRACE_S = 5
"""How long open requests may take when the server stops."""


class _Server(uvicorn.Server):
    """Says when it listens; leaves signals to whoever stops it by an event."""

    def __init__(
        self, config: uvicorn.Config, *, ready: Callable[[], None], takes_signals: bool
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._takes_signals = takes_signals

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if self._takes_signals:
            with super().capture_signals():
                yield
        else:
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    ready: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until `stop` is set; without `stop`, until SIGINT or SIGTERM.

    `ready` is told the real port (`port` 0 picks a free one). The caller chooses the event loop:
    `uvloop.run` is what it should be. With `stop`, signals are the caller's; without, uvicorn
    raises the signal again once it has stopped, so whoever has something to close gives `stop`.
    """
    listening = _listen(host, port)
    bound_port: int = listening.getsockname()[1]
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=LONGEST_SOCKET_MESSAGE,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(
        config,
        ready=lambda: ready(bound_port) if ready is not None else None,
        takes_signals=stop is None,
    )
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_stop_when(stop, server)) if stop is not None else None
        await server.serve(sockets=[listening])
        if watch is not None:
            watch.cancel()


async def _stop_when(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    """Bind now, so that a taken port is an error with a name and not a log line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            "cannot_listen",
            f"This machine does not let us listen on port {port}: {error.strerror}.",
            where=f"{host}:{port}",
            fix="Choose another --host or --port, or stop what uses it.",
        ) from error
    return listening
