"""What the two listening protocols of the fake Deepgram share: audio in, messages out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import orjson
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from flowengine.events import Json
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.providers.serving import FakeVendor

FRAME: Final = 20 * BYTES_PER_MS


class ListeningVendor(FakeVendor):
    """`plan` holds the caller's utterances in order, shared by all connections."""

    def __init__(self, routes: Sequence[BaseRoute], plan: Iterable[str], delay_ms: int) -> None:
        super().__init__(routes)
        self.plan = deque(plan)
        self.delay_ms = delay_ms
        self.audio: list[bytearray] = []
        """What each connection received."""
        self.queries: list[list[tuple[str, str]]] = []
        self.commands: list[str] = []

    def words(self, audio: bytes, *, final: bool) -> str:
        """What the caller says in this audio: the plan's next; a subclass may really listen."""
        if not self.plan:
            return ""
        return self.plan.popleft() if final else self.plan[0]

    def sending(self, body: dict[str, Json]) -> None:
        """A message goes out now; for subclasses that keep the time."""


class ListenStream:
    """One connection. Time is the audio's own: 20 ms a frame, however fast it comes."""

    def __init__(self, vendor: ListeningVendor, websocket: WebSocket) -> None:
        self._vendor = vendor
        self._socket = websocket
        self._received = bytearray()
        vendor.audio.append(self._received)
        self._done = 0
        self._start_ms = 0

    async def run(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            audio, text = message.get("bytes"), message.get("text")
            if audio is not None:
                self._received += audio
                self._vendor.changed.set()
                while len(self._received) - self._done >= FRAME:
                    frame = bytes(self._received[self._done : self._done + FRAME])
                    self._done += FRAME
                    await self._hear(frame)
            elif text is not None and await self._command(text):
                return

    async def _command(self, text: str) -> bool:
        """Take a command; True when the connection is over."""
        try:
            body = orjson.loads(text)
            kind = body["type"]
        except (ValueError, KeyError, TypeError):
            self._vendor.violate("a text frame that is no command")
            return False
        self._vendor.commands.append(kind)
        self._vendor.changed.set()
        return await self._obey(kind, body)

    async def _obey(self, kind: str, body: dict[str, Json]) -> bool:
        raise NotImplementedError

    async def _hear(self, frame: bytes) -> None:
        raise NotImplementedError

    def _speech(self) -> bytes:
        """The audio since the caller began to speak."""
        return bytes(self._received[self._start_ms * BYTES_PER_MS : self._done])

    def _now_s(self) -> float:
        return self._done / BYTES_PER_MS / 1000

    async def _send(self, body: dict[str, Json]) -> None:
        if self._vendor.delay_ms:
            await asyncio.sleep(self._vendor.delay_ms / 1000)
        self._vendor.sending(body)
        await self._socket.send_text(orjson.dumps(body).decode())
