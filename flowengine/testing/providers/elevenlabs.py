"""A fake ElevenLabs: `multi-stream-input`, `stream-input` and HTTP `stream`, all in µ-law; Scribe.

Message shapes follow ElevenLabs' published AsyncAPI description. Audio is `speech` whose tag is
the number of the text that was said (`said[tag]`), with the alignment of its characters.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Collection, Coroutine, Iterable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.testing.providers.elevenlabs_scribe import Scribe
from flowengine.testing.providers.serving import KEY, FakeVendor, Streamed
from flowengine.testing.providers.speech import MS_A_CHARACTER, TAGS, speech

_PIECE_CHARS = 12
_MOST_CONTEXTS = 5
_QUERY: Final = frozenset(
    [
        "authorization",
        "model_id",
        "language_code",
        "enable_logging",
        "enable_ssml_parsing",
        "output_format",
        "inactivity_timeout",
        "sync_alignment",
        "auto_mode",
        "apply_text_normalization",
        "seed",
    ]
)
_SINGLE: Final = frozenset(
    [
        "text",
        "try_trigger_generation",
        "voice_settings",
        "generator_config",
        "generation_config",
        "flush",
        "xi-api-key",
        "xi_api_key",
        "authorization",
        "pronunciation_dictionary_locators",
    ]
)
_LATE: Final = frozenset(["voice_settings", "pronunciation_dictionary_locators"])
_MULTI: Final = _SINGLE | {"context_id", "close_context", "close_socket"}


class FakeElevenLabs(FakeVendor):
    """`offers` says which of the three endpoints exist; the others answer 403 or 404.

    `plan` is what the caller will have said, for Scribe (`scribe`).
    `aligns=False` leaves out alignments, `answers_close=False` never says `isFinal`,
    `ends_contexts` ends a context by itself after each flush, `most_contexts_open` is how many a
    socket bears.
    """

    def __init__(
        self,
        *,
        offers: Collection[str] = ("multi-stream-input", "stream-input", "stream"),
        first_byte_ms: int = 0,
        plan: Iterable[str] = (),
    ) -> None:
        base = "/v1/text-to-speech/{voice}"
        routes = {
            "multi-stream-input": WebSocketRoute(f"{base}/multi-stream-input", self._multi),
            "stream-input": WebSocketRoute(f"{base}/stream-input", self._single),
            "stream": Route(f"{base}/stream", self._http, methods=["POST"]),
        }
        self.scribe = Scribe(plan)
        super().__init__([*(routes[name] for name in offers), self.scribe.route()])
        self.scribe.vendor = self
        self.first_byte_ms = first_byte_ms
        self.aligns = True
        self.answers_close = True
        self.ends_contexts = False
        self.most_contexts_open = _MOST_CONTEXTS
        self.phantoms: list[str] = []
        """Contexts that a flush to an unknown id made; they never end."""
        self.said: list[str] = []
        """Every text that audio was made of."""
        self.closed_contexts: list[str] = []
        self.most_contexts = 0
        self.queries: list[dict[str, str]] = []
        self.voices: list[str] = []
        """The voice that each connection and request named."""
        self.manners: list[dict[str, Json]] = []
        """What came with the first text of a context, socket or request, but for the text."""

    async def _multi(self, websocket: WebSocket) -> None:
        if await self._accept(websocket):
            await _run(_Multi(self, websocket))

    async def _single(self, websocket: WebSocket) -> None:
        if await self._accept(websocket):
            await _run(_Single(self, websocket))

    async def _http(self, request: Request) -> Response:
        if request.headers.get("xi-api-key") != KEY:
            return self.refusal(401)
        if request.query_params.get("output_format") != "ulaw_8000":
            self.violate("output_format is not ulaw_8000")
        body = orjson.loads(await request.body())
        if not isinstance(body.get("text"), str) or not body["text"].strip():
            self.violate("a request without text")
            return JSONResponse({"detail": {"status": "invalid_request"}}, status_code=400)
        self.voices.append(request.path_params["voice"])
        self.notice(body)
        return Streamed(self._body(body["text"]), media_type="audio/basic")

    async def _body(self, text: str) -> AsyncGenerator[bytes, None]:
        if self.first_byte_ms:
            await asyncio.sleep(self.first_byte_ms / 1000)
        for _piece, audio in self.pieces(text):
            yield audio

    async def _accept(self, websocket: WebSocket) -> bool:
        query = dict(websocket.query_params)
        self.queries.append(query)
        self.voices.append(websocket.path_params["voice"])
        for name in sorted(set(query) - _QUERY):
            self.violate(f"unknown query parameter {name}")
        if query.get("output_format") != "ulaw_8000":
            self.violate("output_format is not ulaw_8000")
        if not 0 < int(query.get("inactivity_timeout", "20")) <= 180:
            self.violate("inactivity_timeout is over 180")
        if websocket.headers.get("xi-api-key") != KEY:
            await self.refuse(websocket, 401)
            return False
        await websocket.accept()
        return True

    def refusal(self, status: int) -> Response:
        word = "invalid_api_key" if status == 401 else "scripted"
        return JSONResponse({"detail": {"status": word}}, status_code=status)

    def error_for(self, path: str, message: str | bytes) -> str:
        if path.endswith("/realtime"):
            error: dict[str, Json] = {"message_type": self.scribe.error, "error": "scripted"}
        else:
            error = {"error": "quota_exceeded", "code": 1008}
        return orjson.dumps(error).decode()

    def notice(self, first: dict[str, Json]) -> None:
        """Take what is said of the manner to speak in."""
        for locator in first.get("pronunciation_dictionary_locators", []):
            if not isinstance(locator.get("pronunciation_dictionary_id"), str):
                self.violate("a locator without pronunciation_dictionary_id")
        names = ("voice_settings", "pronunciation_dictionary_locators")
        self.manners.append({name: first[name] for name in names if name in first})

    def pieces(self, text: str) -> list[tuple[str, bytes]]:
        """A text in the pieces in which its audio is sent."""
        tag = len(self.said) % TAGS
        self.said.append(text)
        self.changed.set()
        parts = [text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS)]
        return [(part, speech(len(part) * MS_A_CHARACTER, tag)) for part in parts]


class _Speaker:
    """One socket."""

    fields: frozenset[str]

    def __init__(self, vendor: FakeElevenLabs, websocket: WebSocket) -> None:
        self.vendor = vendor
        self.socket = websocket

    async def read(self) -> dict[str, Json] | None:
        """The next message; None when the client left."""
        try:
            text = await self.socket.receive_text()
        except (WebSocketDisconnect, RuntimeError):
            return None
        body: dict[str, Json] = orjson.loads(text)
        for name in sorted(set(body) - self.fields):
            self.vendor.violate(f"unknown field {name}")
        if not isinstance(body.get("text", ""), str):
            self.vendor.violate("text is no string")
        return body

    async def run(self) -> None:
        raise NotImplementedError

    async def say(self, text: str, context: dict[str, Json]) -> None:
        """Speak what was flushed."""
        if not text.strip():
            return
        if self.vendor.first_byte_ms:
            await asyncio.sleep(self.vendor.first_byte_ms / 1000)
        for part, audio in self.vendor.pieces(text):
            alignment = {
                "chars": list(part),
                "charStartTimesMs": [nth * MS_A_CHARACTER for nth in range(len(part))],
                "charDurationsMs": [MS_A_CHARACTER] * len(part),
            }
            shown = alignment if self.vendor.aligns else None
            await self.send(
                {
                    "audio": base64.b64encode(audio).decode(),
                    "isFinal": None,
                    "normalizedAlignment": shown,
                    "alignment": shown,
                    **context,
                }
            )

    async def send(self, body: dict[str, Json]) -> None:
        await self.socket.send_text(orjson.dumps(body).decode())


class _Single(_Speaker):
    """`stream-input`: one utterance, ended by an empty text."""

    fields = _SINGLE

    async def run(self) -> None:
        held, begun = "", False
        while (body := await self.read()) is not None:
            text = body.get("text", "")
            if not begun and text != " ":
                self.vendor.violate("the first text is not a single space")
            if text and not text.endswith(" "):
                self.vendor.violate("a text does not end with a space")
            if not begun:
                self.vendor.notice(body)
            elif _LATE & set(body):
                self.vendor.violate("settings after the first message")
            begun = True
            held += text.lstrip() if not held else text
            if body.get("flush") or text == "":
                said, held = held, ""
                await self.say(said, {})
            if text == "":
                if self.vendor.answers_close:
                    await self.send({"audio": None, "isFinal": True})
                await self.socket.close()
                return


class _Multi(_Speaker):
    """`multi-stream-input`: contexts, each ended by `close_context`."""

    fields = _MULTI

    def __init__(self, vendor: FakeElevenLabs, websocket: WebSocket) -> None:
        super().__init__(vendor, websocket)
        self._held: dict[str, str] = {}
        self._speaking: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """Everything that was begun, so that nothing outlives the socket."""

    async def run(self) -> None:
        try:
            while (body := await self.read()) is not None:
                if body.get("close_socket"):
                    await self.socket.close()
                    return
                if not await self._take(body):
                    return
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, body: dict[str, Json]) -> bool:
        context = body.get("context_id", "")
        text = body.get("text", "")
        if body.get("close_context"):
            await self._close(context)
            return True
        if context not in self._held:
            if body.get("flush"):
                self.vendor.phantoms.append(context)
            if text != " ":
                self.vendor.violate("a context begins with something else than a single space")
            self._held[context] = ""
            self.vendor.notice(body)
            self.vendor.most_contexts = max(self.vendor.most_contexts, len(self._held))
            if len(self._held) > self.vendor.most_contexts_open:
                await self.socket.close(1008, "max_active_conversations")
                return False
            return True
        if _LATE & set(body):
            self.vendor.violate("settings after the first message")
        if text and not text.endswith(" "):
            self.vendor.violate("a text does not end with a space")
        self._held[context] += text
        if body.get("flush"):
            said, self._held[context] = self._held[context], ""
            before = self._speaking.get(context)
            self._speaking[context] = self._begin(self._say_after(before, said, context))
        return True

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task

    async def _say_after(self, before: asyncio.Task[None] | None, text: str, context: str) -> None:
        if before is not None:
            await before
        await self.say(text, {"contextId": context})
        if self.vendor.ends_contexts:
            self._held.pop(context, None)
            await self.send({"isFinal": True, "contextId": context})

    async def _close(self, context: str) -> None:
        if context not in self._held:
            self.vendor.violate("an unknown context is closed")
            return
        self.vendor.closed_contexts.append(context)
        self.vendor.changed.set()
        speaking = self._speaking.pop(context, None)
        if self.vendor.answers_close:
            self._begin(self._final(speaking, context))

    async def _final(self, speaking: asyncio.Task[None] | None, context: str) -> None:
        if speaking is not None:
            await speaking
        self._held.pop(context, None)
        await self.send({"isFinal": True, "contextId": context})


async def _run(speaker: _Speaker) -> None:
    try:
        await speaker.run()
    except (WebSocketDisconnect, RuntimeError):
        # Starlette raises RuntimeError for a send after the client's close.
        return
