"""OpenAI's speech-to-speech models as an `Llm` that hears the caller and speaks its answer itself.

A reply is one `response.create` outside of any conversation: it carries the whole context, as we
know it (heard words only), and the caller's last turn as µ-law. So a session remembers nothing:
it can serve any call, a barge-in leaves nothing to truncate, and a lost one costs one reply.
Sessions are opened ahead and kept for the next reply. Plain `websockets`, as for all sockets of
the hot path. Source: OpenAI's reference of realtime client and server events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import orjson
import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from flowengine.errors import ProviderError
from flowengine.ports import LlmEvent, LlmRequest
from flowengine.providers.faults import fault, of_word
from flowengine.providers.openai_replies import ReplyReader, response_create
from flowengine.providers.settings import socket_url
from flowengine.providers.sockets import CONNECT_S, hang_up, of_close, open_socket, send

KEPT_S: Final = 50 * 60
"""A session ends after 60 minutes at the vendor's side."""
_IDLE_KEPT: Final = 8
_CANCEL_S: Final = 2.0

log = structlog.get_logger(__name__)


def is_realtime(model: str) -> bool:
    """Whether a model of this name speaks: `gpt-realtime…`, but those that only write."""
    return model.startswith("gpt-realtime") and not model.startswith(
        ("gpt-realtime-whisper", "gpt-realtime-translate")
    )


class RealtimeSessions:
    """A process's sessions, by model; each serves one reply at a time."""

    def __init__(self, provider: str, key: str, base_url: str) -> None:
        self._provider = provider
        self._key = key
        self._base_url = base_url
        self._idle: dict[str, list[_Session]] = {}
        self._settling: set[asyncio.Task[None]] = set()

    async def warm(self, model: str) -> None:
        """Open a session before it is needed. Raises ProviderError."""
        if not self._idle.get(model):
            self._put_back(await self._open(model))

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        """One reply. Raises ProviderError."""
        session = self._take(request.model) or await self._open(request.model)
        reader = ReplyReader(self._provider, request.model)
        try:
            await send(session.socket, response_create(request), self._provider)
            while not reader.is_over:
                for event in reader.read(await _received(session.socket, self._provider)):
                    yield event
        finally:
            if reader.is_over:
                self._put_back(session)
            else:
                task = asyncio.create_task(self._settle(session, reader))
                self._settling.add(task)
                task.add_done_callback(self._settling.discard)

    async def aclose(self) -> None:
        """Close them all."""
        for task in list(self._settling):
            task.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)
        idle, self._idle = self._idle, {}
        sockets = [session.socket for sessions in idle.values() for session in sessions]
        await asyncio.gather(*(hang_up(socket) for socket in sockets))

    def _take(self, model: str) -> _Session | None:
        idle = self._idle.get(model, [])
        while idle:
            session = idle.pop()
            if session.is_good:
                return session
        return None

    def _put_back(self, session: _Session) -> None:
        idle = self._idle.setdefault(session.model, [])
        if session.is_good and len(idle) < _IDLE_KEPT:
            idle.append(session)
        else:
            task = asyncio.create_task(hang_up(session.socket))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def _settle(self, session: _Session, reader: ReplyReader) -> None:
        """A reply that nobody wants any more: cancel it, and keep the session if it says so."""
        with suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(_CANCEL_S):
                await send(session.socket, '{"type":"response.cancel"}', self._provider)
                while not reader.is_over:
                    for _ in reader.read(await _received(session.socket, self._provider)):
                        pass
                self._put_back(session)
                return
        await hang_up(session.socket)

    async def _open(self, model: str) -> _Session:
        url = f"{socket_url(self._base_url)}/realtime?model={quote(model, safe='')}"
        socket = await open_socket(url, {"Authorization": f"Bearer {self._key}"}, self._provider)
        is_accepted = False
        try:
            await send(socket, _SESSION, self._provider)
            async with asyncio.timeout(CONNECT_S):
                while not is_accepted:
                    body = await _received(socket, self._provider)
                    if body.get("type") == "error":
                        error = body.get("error") or {}
                        raise of_word(f"{error.get('code')} {error.get('type')}", self._provider)
                    is_accepted = body.get("type") == "session.updated"
        except TimeoutError as error:
            raise fault("deadline", "did not take the session in time", self._provider) from error
        finally:
            if not is_accepted:
                await hang_up(socket)
        return _Session(socket, model)


class _Session:
    """One open session."""

    def __init__(self, socket: ClientConnection, model: str) -> None:
        self.socket = socket
        self.model = model
        self._until_s = asyncio.get_running_loop().time() + KEPT_S

    @property
    def is_good(self) -> bool:
        """Whether a reply may be asked of it."""
        is_young = asyncio.get_running_loop().time() < self._until_s
        return is_young and self.socket.state is State.OPEN


_SESSION: Final = orjson.dumps(
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": {"type": "audio/pcmu"}, "turn_detection": None},
                "output": {"format": {"type": "audio/pcmu"}},
            },
        },
    }
).decode()


async def _received(socket: ClientConnection, provider: str) -> dict[str, Any]:
    try:
        body = orjson.loads(await socket.recv())
    except ConnectionClosed as closed:
        raise of_close(closed, provider) from closed
    except ValueError as error:
        raise fault("protocol", "sent a message that cannot be read", provider) from error
    if not isinstance(body, dict):
        raise fault("protocol", "sent a message that is no object", provider)
    return body
