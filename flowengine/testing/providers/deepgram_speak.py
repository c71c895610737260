"""The fake Deepgram's voices: Aura (`/v1/speak`) and Flux TTS (`/v2/speak`), in µ-law.

Message shapes follow the types of Deepgram's SDK; limits and order of messages its pages on the
two sockets. Audio is `speech` whose tag is the number of the text that was said (`said[tag]`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.testing.providers.serving import KEY, FakeVendor, forever
from flowengine.testing.providers.speech import MS_A_CHARACTER, TAGS, speech

_PIECE_CHARS: Final = 12
_FLUSHES: Final = 20
_CHARACTERS: Final = 2400
_MINUTE_S: Final = 60.0
_AURA_QUERY: Final = frozenset(
    ["container", "encoding", "mip_opt_out", "model", "sample_rate", "speed", "tag"]
)
_FLUX_QUERY: Final = frozenset(
    ["encoding", "expressivity", "mip_opt_out", "model", "sample_rate", "speed", "tag"]
)


class DeepgramVoices:
    """Both speaking sockets, for a fake at whose address they are served.

    What clients must bear: `holds_after` so many pieces of a text (0: never) the rest does not
    come; `answers_cancel=False` leaves `Clear` and `Interrupt` without an answer;
    `counts_flushes=False` lifts the limit of flushes.
    """

    def __init__(self) -> None:
        self.vendor: FakeVendor
        self.first_byte_ms = 0
        self.holds_after = 0
        self.answers_cancel = True
        self.counts_flushes = True
        self.said: list[str] = []
        """Every text that audio was made of."""
        self.commands: list[str] = []
        self.sockets: list[WebSocket] = []
        self.queries: list[dict[str, str]] = []

    def routes(self) -> list[WebSocketRoute]:
        return [
            WebSocketRoute("/v1/speak", self._aura),
            WebSocketRoute("/v2/speak", self._flux),
        ]

    async def _aura(self, websocket: WebSocket) -> None:
        self._check(websocket, _AURA_QUERY, "aura-")
        await self._run(_Aura, websocket)

    async def _flux(self, websocket: WebSocket) -> None:
        self._check(websocket, _FLUX_QUERY, "flux-")
        await self._run(_Flux, websocket)

    def _check(self, websocket: WebSocket, known: frozenset[str], family: str) -> None:
        query = dict(websocket.query_params)
        self.queries.append(query)
        for name in sorted(set(query) - known):
            self.vendor.violate(f"unknown query parameter {name}")
        if not query.get("model", "").startswith(family):
            self.vendor.violate(f"the model is no {family}…")
        if (query.get("encoding"), query.get("sample_rate")) != ("mulaw", "8000"):
            self.vendor.violate("the audio is not asked for as mulaw at 8000")

    async def _run(self, kind: type[_Speaker], websocket: WebSocket) -> None:
        if websocket.headers.get("authorization") not in (f"Token {KEY}", f"token {KEY}"):
            await self.vendor.refuse(websocket, 401)
            return
        await websocket.accept()
        self.sockets.append(websocket)
        speaker = kind(self, websocket)
        try:
            await speaker.run()
        except (WebSocketDisconnect, RuntimeError):
            return  # Starlette raises RuntimeError for a send after the client's close
        finally:
            speaker.hush()

    def pieces(self, text: str) -> list[bytes]:
        """A text's audio in the pieces in which it is sent."""
        tag = len(self.said) % TAGS
        self.said.append(text)
        self.vendor.changed.set()
        parts = [text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS)]
        return [speech(len(part) * MS_A_CHARACTER, tag) for part in parts]


class _Speaker:
    """One socket. Texts that were flushed are spoken in order."""

    def __init__(self, voices: DeepgramVoices, websocket: WebSocket) -> None:
        self.voices = voices
        self.socket = websocket
        self._held = ""
        self._turns: deque[str] = deque()
        self._speaking: asyncio.Task[None] | None = None
        self.made_ms = 0

    async def run(self) -> None:
        await self._greet()
        while True:
            body = orjson.loads(await self.socket.receive_text())
            kind = body.get("type")
            self.voices.commands.append(kind)
            self.voices.vendor.changed.set()
            if kind == "Close":
                await self._end()
                await self.socket.close()
                return
            if kind == "Speak":
                await self._speak(body)
            elif kind == "Flush":
                if await self._may_flush():
                    self._turns.append(self._held)
                    self._held = ""
                    if self._speaking is None or self._speaking.done():
                        self._speaking = asyncio.create_task(self._say_all())
            else:
                await self._obey(kind, body)

    def hush(self) -> None:
        """Speak no more of what was flushed."""
        self._turns.clear()
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None

    async def _say_all(self) -> None:
        while self._turns:
            await self._say(self._turns.popleft())

    async def _audio(self, text: str) -> None:
        voices = self.voices
        if voices.first_byte_ms:
            await asyncio.sleep(voices.first_byte_ms / 1000)
        for number, audio in enumerate(voices.pieces(text)):
            if voices.holds_after and number >= voices.holds_after:
                await forever()
            self.made_ms += len(audio) // 8
            await self.send(audio)

    async def send(self, message: bytes | dict[str, Json]) -> None:
        if isinstance(message, bytes):
            await self.socket.send_bytes(message)
        else:
            await self.socket.send_text(orjson.dumps(message).decode())

    async def _speak(self, body: dict[str, Json]) -> None:
        if not isinstance(body.get("text"), str) or not body["text"]:
            self.voices.vendor.violate("a Speak without text")
            return
        self._held += body["text"]

    async def _greet(self) -> None:
        raise NotImplementedError

    async def _may_flush(self) -> bool:
        return True

    async def _say(self, text: str) -> None:
        raise NotImplementedError

    async def _obey(self, kind: str, body: dict[str, Json]) -> None:
        raise NotImplementedError

    async def _end(self) -> None:
        self.hush()


class _Aura(_Speaker):
    """`/v1/speak`."""

    def __init__(self, voices: DeepgramVoices, websocket: WebSocket) -> None:
        super().__init__(voices, websocket)
        self._flushes: deque[float] = deque()
        self._texts: deque[tuple[float, int]] = deque()
        self._sequence = 0

    async def _greet(self) -> None:
        await self.send(
            {
                "type": "Metadata",
                "request_id": "fake",
                "model_name": self.socket.query_params.get("model", ""),
                "model_version": "fake",
                "model_uuid": "fake",
            }
        )

    async def _speak(self, body: dict[str, Json]) -> None:
        now = asyncio.get_running_loop().time()
        self._texts.append((now, len(str(body.get("text", "")))))
        if sum(count for at, count in self._texts if now - at < _MINUTE_S) > _CHARACTERS:
            self.voices.vendor.violate("more than 2400 characters in a minute")
            await self.socket.close(1008, "DATA-0001")
            return
        await super()._speak(body)

    async def _may_flush(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._flushes.append(now)
        if not self.voices.counts_flushes:
            return True
        if sum(now - at < _MINUTE_S for at in self._flushes) <= _FLUSHES:
            return True
        self.voices.vendor.violate("more than 20 flushes in a minute")
        await self.send(
            {"type": "Warning", "code": "EXCEEDED_FLUSHES", "description": "too many flushes"}
        )
        return False

    async def _say(self, text: str) -> None:
        if text.strip():
            await self._audio(text)
        await self._answer("Flushed")

    async def _obey(self, kind: str, body: dict[str, Json]) -> None:
        if kind != "Clear":
            self.voices.vendor.violate(f"unknown command {kind}")
            return
        self.hush()
        self._held = ""
        if self.voices.answers_cancel:
            await self._answer("Cleared")

    async def _answer(self, kind: str) -> None:
        await self.send({"type": kind, "sequence_id": self._sequence})
        self._sequence += 1


class _Flux(_Speaker):
    """`/v2/speak`."""

    def __init__(self, voices: DeepgramVoices, websocket: WebSocket) -> None:
        super().__init__(voices, websocket)
        self._turn = 0
        self._text: str | None = None
        """What is being spoken."""
        self._began_ms = 0
        self._offset_ms = 0
        self._billed = 0

    async def _greet(self) -> None:
        await self.send(
            {
                "type": "Connected",
                "request_id": "fake",
                "model_name": self.socket.query_params.get("model", ""),
                "model_version": "fake",
                "model_uuids": ["fake"],
            }
        )

    async def _say(self, text: str) -> None:
        self._turn += 1
        self._text, self._began_ms = text, self.made_ms
        speech_id = f"dg_sp_{self._turn:012x}"
        await self.send({"type": "SpeechStarted", "speech_id": speech_id})
        await self.send({"type": "Flushed", "speech_id": speech_id})
        if any(map(str.isalnum, text)):
            await self._audio(text)
        else:
            await self._warn("NO_SYNTHESIZABLE_TEXT")
        metadata = self._metadata(text)
        self._text = None
        await self.send({"type": "SpeechMetadata", **metadata})

    async def _obey(self, kind: str, body: dict[str, Json]) -> None:
        if kind == "Configure":
            applied = {"speed": body.get("speed")}
            await self.send({"type": "ConfigureSuccess", "applied": applied})
        elif kind != "Interrupt":
            self.voices.vendor.violate(f"unknown command {kind}")
        elif self.voices.answers_cancel:
            await self._interrupt(body.get("playback_offset"))

    async def _interrupt(self, offset: dict[str, Json] | None) -> None:
        text = self._text
        if not self.made_ms:
            await self._warn("NO_AUDIO_GENERATED")
            return
        if text is None:
            await self._warn("NO_ACTIVE_SPEECH")
            return
        played_ms = self.made_ms if offset is None else int(offset["value"])
        if offset is not None and played_ms <= self._offset_ms:
            await self._warn("INVALID_INTERRUPT_OFFSET")
            return
        self.hush()
        self._text, self._offset_ms = None, played_ms
        split: dict[str, Json] = {}
        if offset is not None:
            heard = max(0, played_ms - self._began_ms) // MS_A_CHARACTER
            split = {"text_spoken": text[:heard], "text_remaining": text[heard:]}
        await self.send(
            {
                "type": "SpeechInterrupted",
                "audio_played_ms": played_ms,
                **split,
                "metadata": self._metadata(text),
            }
        )

    def _metadata(self, text: str) -> dict[str, Json]:
        self._billed += len(text)
        controls = ("pronunciations_applied", "breaks_applied", "pronunciation_warnings")
        return {
            "speech_id": f"dg_sp_{self._turn:012x}",
            "audio_duration_ms": self.made_ms - self._began_ms,
            "input_character_count": len(text),
            "billable_character_count": len(text),
            "controls_applied": dict.fromkeys(controls, 0),
        }

    async def _end(self) -> None:
        self.hush()
        await self.send(
            {
                "type": "SessionMetadata",
                "total_audio_duration_ms": self.made_ms,
                "total_input_character_count": self._billed,
                "total_billable_character_count": self._billed,
            }
        )

    async def _warn(self, code: str) -> None:
        await self.send({"type": "Warning", "code": code, "description": "scripted"})
