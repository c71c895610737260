"""A fake Cartesia: Sonic speaks (`/tts/websocket`), Ink hears (`/stt/…`).

Message shapes follow the types of Cartesia's SDK; contexts, flushes and their end its pages on
WebSockets. Audio is `speech` whose tag is the number of the text that was said (`said[tag]`).
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable
from typing import Final

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.testing.providers.cartesia_ink import (
    InkHabits,
    ManualStream,
    TurnsStream,
    ink_violations,
)
from flowengine.testing.providers.deepgram_stream import ListeningVendor
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import MS_A_CHARACTER, TAGS, speech

_PIECE_CHARS: Final = 12
_REQUIRED: Final = frozenset(["context_id", "model_id", "output_format", "transcript", "voice"])
_FIELDS: Final = _REQUIRED | {
    "add_phoneme_timestamps",
    "add_timestamps",
    "continue",
    "flush",
    "generation_config",
    "language",
    "max_buffer_delay_ms",
    "pronunciation_dict_id",
    "speed",
    "use_normalized_timestamps",
}
_VARY: Final = frozenset({"continue", "duration", "flush", "transcript"})
_MULAW: Final = {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000}
_WORD: Final = re.compile(r"\S+")


class FakeCartesia(ListeningVendor):
    """All of it at one address; `ink` holds the habits of hearing.

    What clients must bear: flush ids begin at `first_flush` (the pages say 1, servers said 0) or
    are left out (`numbers_flushes`); times count from the flush (`times_from_flush`) or the
    context, come behind the audio (`times_late`) or not at all (`times`); a context ends
    `context_ms` after its last audio; `holds_after` so many pieces of a text (0: never) the rest
    does not come until the context is cancelled; so often as `forgets_last` says, a context ends
    after its first text. `error` is the fault's code and status.
    """

    def __init__(self, plan: Iterable[str] = (), *, delay_ms: int = 0) -> None:
        routes = [
            WebSocketRoute("/tts/websocket", self._speak),
            WebSocketRoute("/stt/turns/websocket", self._hear_turns),
            WebSocketRoute("/stt/websocket", self._hear_manual),
        ]
        super().__init__(routes, plan, delay_ms)
        self.ink = InkHabits()
        self.first_flush = 0
        self.numbers_flushes = True
        self.times = True
        self.times_from_flush = False
        self.times_late = False
        self.context_ms = 1000
        self.holds_after = 0
        self.forgets_last = 0
        self.first_byte_ms = 0
        self.error = ("voice_not_found", 404)
        self.said: list[str] = []
        """Every text that audio was made of."""
        self.bodies: list[dict[str, Json]] = []
        """What the first message of each context asked for."""
        self.cancelled: list[str] = []
        self.finished: list[str] = []
        """Contexts that were told that no more text comes."""
        self.over: list[str] = []
        """Contexts that ended."""
        self.sockets: list[WebSocket] = []

    async def _speak(self, websocket: WebSocket) -> None:
        if await self._admit(websocket):
            speaker = _Speaker(self, websocket)
            try:
                await speaker.run()
            except (WebSocketDisconnect, RuntimeError):
                return  # Starlette raises RuntimeError for a send after the client's close
            finally:
                speaker.hush()

    async def _hear_turns(self, websocket: WebSocket) -> None:
        await self._hear(websocket, TurnsStream)

    async def _hear_manual(self, websocket: WebSocket) -> None:
        await self._hear(websocket, ManualStream)

    async def _hear(self, websocket: WebSocket, kind: type[TurnsStream | ManualStream]) -> None:
        query = websocket.query_params.multi_items()
        self.queries.append(query)
        for what in ink_violations(query, turns=kind is TurnsStream):
            self.violate(what)
        if await self._admit(websocket):
            try:
                await kind(self, websocket, self.ink).run()
            except (WebSocketDisconnect, RuntimeError):
                return  # as above

    async def _admit(self, websocket: WebSocket) -> bool:
        """Take or refuse a handshake."""
        headers = websocket.headers
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", headers.get("cartesia-version", "")):
            self.violate("no Cartesia-Version")
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if key != KEY:
            await self.refuse(websocket, 401)
            return False
        await websocket.accept()
        self.sockets.append(websocket)
        return True

    def error_for(self, path: str, message: str | bytes) -> str:
        code, status = self.error
        place: dict[str, Json] = {}
        if path.startswith("/tts/"):
            place = {"context_id": orjson.loads(message)["context_id"], "done": True}
        else:
            code, status = self.ink.error_code, self.ink.error_status
        error = {"error_code": code, "status_code": status, "request_id": "fake", **place}
        told = {"type": "error", "title": "Scripted", "message": "scripted", **error}
        return orjson.dumps(told).decode()

    def pieces(self, text: str) -> list[bytes]:
        """A text's audio in the pieces in which it is sent."""
        tag = len(self.said) % TAGS
        self.said.append(text)
        self.changed.set()
        parts = [text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS)]
        return [speech(len(part) * MS_A_CHARACTER, tag) for part in parts]


class _Speaker:
    """One speaking socket and its contexts."""

    def __init__(self, vendor: FakeCartesia, websocket: WebSocket) -> None:
        self.vendor = vendor
        self._socket = websocket
        self._contexts: dict[str, _Context] = {}

    async def run(self) -> None:
        while True:
            try:
                body = orjson.loads(await self._socket.receive_text())
            except orjson.JSONDecodeError:
                self.vendor.violate("a message that is no JSON")
                continue
            context_id = body.get("context_id")
            if not isinstance(context_id, str) or not context_id:
                self.vendor.violate("a message without context_id")
            elif body.get("cancel"):
                self.vendor.cancelled.append(context_id)
                self.vendor.changed.set()
                if context_id in self._contexts:
                    self._contexts[context_id].cancel()
            else:
                self._generate(context_id, body)

    def _generate(self, context_id: str, body: dict[str, Json]) -> None:
        for name in sorted(body.keys() - _FIELDS):
            self.vendor.violate(f"unknown field {name}")
        for name in sorted(_REQUIRED - body.keys()):
            self.vendor.violate(f"no {name}")
        if body.get("output_format") != _MULAW:
            self.vendor.violate("the audio is not asked for as raw pcm_mulaw at 8000")
        if not 0 <= body.get("max_buffer_delay_ms", 3000) <= 5000:
            self.vendor.violate("max_buffer_delay_ms is out of range")
        if not body["transcript"] and body.get("continue") and not body.get("flush"):
            self.vendor.violate("a message that says nothing")
        context = self._contexts.get(context_id)
        if context is None:
            self.vendor.bodies.append(body)
            context = self._contexts[context_id] = _Context(self, context_id, body)
        context.take(body)

    def hush(self) -> None:
        for context in self._contexts.values():
            context.working.cancel()

    async def send(self, kind: str, context: str, **body: Json) -> None:
        message = {
            "type": kind,
            "context_id": context,
            "status_code": 206,
            "done": False,
            **body,
        }
        await self._socket.send_text(orjson.dumps(message).decode())


class _Context:
    """One context: its requests are served in order, then it waits for more, though not for long.

    With a `max_buffer_delay_ms` text is held until it is flushed or complete: what is typed in a
    test is never long enough to be spoken sooner.
    """

    def __init__(self, speaker: _Speaker, context_id: str, body: dict[str, Json]) -> None:
        self._speaker = speaker
        self._vendor = speaker.vendor
        self._id = context_id
        self._body = body
        self._requests: asyncio.Queue[dict[str, Json]] = asyncio.Queue()
        self._held = ""
        self._flush = self._vendor.first_flush
        self._begin_ms = 0
        self._made_ms = 0
        self._is_over = False
        self._released = asyncio.Event()
        self.working = asyncio.create_task(self._work())

    def take(self, body: dict[str, Json]) -> None:
        fixed = {name: value for name, value in body.items() if name not in _VARY}
        if fixed != {name: value for name, value in self._body.items() if name not in _VARY}:
            self._vendor.violate("a context's messages differ in more than their text")
        if self._is_over:
            self._vendor.violate("text for a context that is over")
            return
        if not body.get("continue"):
            self._vendor.finished.append(self._id)
            self._vendor.changed.set()
        self._requests.put_nowait(body)

    def cancel(self) -> None:
        """What was begun is spoken to its end; nothing else is."""
        while not self._requests.empty():
            self._requests.get_nowait()
        self._is_over = True
        self._released.set()

    async def _work(self) -> None:
        while not self._is_over:
            try:
                async with asyncio.timeout(self._vendor.context_ms / 1000):
                    body = await self._requests.get()
            except TimeoutError:
                break
            self._held += body["transcript"]
            ends = not body.get("continue")
            if self._held and (ends or body.get("flush") or not body.get("max_buffer_delay_ms")):
                text, self._held = self._held.strip(), ""
                await self._say(text)
            if body.get("flush"):
                await self._tell("flush_done", flush_done=True)
                self._flush += 1
                self._begin_ms = self._made_ms
            if ends or (body.get("flush") and self._forgets()):
                break
        self._is_over = True
        await self._speaker.send("done", self._id, done=True)
        self._vendor.over.append(self._id)
        self._vendor.changed.set()

    def _forgets(self) -> bool:
        forgets = self._vendor.forgets_last > 0
        self._vendor.forgets_last -= forgets
        return forgets

    async def _say(self, text: str) -> None:
        vendor = self._vendor
        if vendor.first_byte_ms:
            await asyncio.sleep(vendor.first_byte_ms / 1000)
        base_ms = self._made_ms - (self._begin_ms if vendor.times_from_flush else 0)
        if not vendor.times_late:
            await self._time(text, base_ms)
        for number, audio in enumerate(vendor.pieces(text)):
            if vendor.holds_after and number >= vendor.holds_after:
                await self._released.wait()
            self._made_ms += len(audio) // 8
            data = base64.b64encode(audio).decode()
            await self._tell("chunk", data=data, step_time=1.0)
        if vendor.times_late:
            await self._time(text, base_ms)

    async def _time(self, text: str, base_ms: int) -> None:
        if not (self._vendor.times and self._body.get("add_timestamps")):
            return
        found = list(_WORD.finditer(text))
        times = {
            "words": [match[0] for match in found],
            "start": [(base_ms + match.start() * MS_A_CHARACTER) / 1000 for match in found],
            "end": [(base_ms + match.end() * MS_A_CHARACTER) / 1000 for match in found],
        }
        await self._tell("timestamps", word_timestamps=times)

    async def _tell(self, kind: str, **body: Json) -> None:
        numbered = {"flush_id": self._flush} if self._vendor.numbers_flushes else {}
        await self._speaker.send(kind, self._id, **numbered, **body)
