"""A fake of OpenAI's live transcription: `/v1/realtime?intent=transcription`.

Message shapes follow OpenAI's published OpenAPI description. Time is the audio's own: samples are
counted, so audio may come faster than it was spoken. With `server_vad` an utterance is committed
after so much quiet; the models that know no turns send words as they come in and commit nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.openai_audio import FakeOpenAiAudio
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import is_loud

_FRAME: Final = 20 * BYTES_PER_MS
_LEAST_BYTES: Final = 100 * BYTES_PER_MS
"""Less cannot be committed."""
_WORD_MS: Final = 240
_WITHOUT_TURNS: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")
_INPUT: Final = frozenset({"format", "noise_reduction", "transcription", "turn_detection"})
_MODEL: Final = frozenset({"delay", "keywords", "language", "languages", "model", "prompt"})
_VAD: Final = frozenset({"type", "prefix_padding_ms", "silence_duration_ms", "threshold"})


class FakeOpenAiLive(FakeOpenAiAudio):
    """All of the audio REST, and the socket. The plan is shared by both.

    What the real one does and a client must bear: `crosses` (the words of an utterance come after
    those of the next), `fails` (so many transcriptions fail).
    """

    def __init__(self, plan: Iterable[str] = (), *, chat: FakeOpenAi | None = None) -> None:
        socket = WebSocketRoute("/v1/realtime", self._listen)
        super().__init__(plan, chat=chat, more=[socket])
        self.crosses = False
        self.fails = 0
        self.sessions: list[dict[str, Json]] = []
        """Every session that was asked for."""
        self.commands: list[str] = []
        """The types of all messages but audio."""
        self.messages: list[dict[str, Json]] = []
        """Everything that was sent."""
        self.received = 0
        """Bytes of audio that came."""

    def so_far(self, audio: bytes) -> str:
        """What is being said in this µ-law: the plan's next; a subclass may really listen."""
        return self.plan[0] if self.plan else ""

    def error_for(self, path: str, message: str | bytes) -> str | bytes:
        if path != "/v1/realtime":
            return super().error_for(path, message)
        error = {"type": "server_error", "code": None, "message": "scripted"}
        return orjson.dumps({"type": "error", "error": error}).decode()

    async def _listen(self, websocket: WebSocket) -> None:
        if websocket.headers.get("authorization") != f"Bearer {KEY}":
            await self.refuse(websocket, 401)
            return
        if dict(websocket.query_params) != {"intent": "transcription"}:
            self.violate("a transcription is asked for by its intent alone")
        await websocket.accept()
        try:
            await _Stream(self, websocket).run()
        except WebSocketDisconnect:
            return


class _Stream:
    """One connection."""

    def __init__(self, vendor: FakeOpenAiLive, websocket: WebSocket) -> None:
        self._vendor = vendor
        self._socket = websocket
        self._sent = 0
        self._model = ""
        self._silence_ms = 0
        """Quiet that ends an utterance; 0: the client says when."""
        self._buffer = bytearray()
        self._judged = 0
        self._heard_ms = 0
        self._loud_ms = 0
        self._quiet_ms = 0
        self._speaking = False
        self._items = 0
        self._words: list[str] = []
        """Of the utterance that is not committed: those that are out."""
        self._late: dict[str, Json] | None = None

    async def run(self) -> None:
        session = {"type": "transcription", "id": "sess_fake"}
        session["object"] = "realtime.transcription_session"
        await self._send({"type": "session.created", "session": session})
        while True:
            message = await self._socket.receive_text()
            try:
                body = orjson.loads(message)
                kind = body["type"]
            except (ValueError, KeyError, TypeError):
                self._vendor.violate("a message that is none")
                continue
            await self._obey(kind, body)

    @property
    def _item(self) -> str:
        return f"item_{self._items}"

    async def _obey(self, kind: str, body: dict[str, Json]) -> None:
        if kind == "input_audio_buffer.append":
            await self._append(base64.b64decode(body["audio"], validate=True))
            return
        self._vendor.commands.append(kind)
        self._vendor.changed.set()
        if kind == "session.update":
            await self._update(body["session"])
        elif kind == "input_audio_buffer.commit":
            await self._commit_asked(body)
        elif kind == "input_audio_buffer.clear":
            self._reset(len(self._buffer))
            await self._send({"type": "input_audio_buffer.cleared"})
        else:
            self._vendor.violate(f"unknown message {kind}")

    async def _update(self, session: dict[str, Any]) -> None:
        self._vendor.sessions.append(session)
        heard = session.get("audio", {}).get("input", {})
        asked = heard.get("transcription") or {}
        detection = heard.get("turn_detection")
        if session.get("type") != "transcription":
            self._vendor.violate("no session of a transcription")
        if heard.get("format") != {"type": "audio/pcmu"}:
            self._vendor.violate("the audio is no µ-law")
        unknown = set(heard) - _INPUT | set(asked) - _MODEL | set(detection or ()) - _VAD
        for name in sorted(unknown):
            self._vendor.violate(f"unknown parameter {name}")
        self._model = str(asked.get("model") or "")
        without = self._model.startswith(_WITHOUT_TURNS)
        if not self._model or (without and detection is not None):
            self._vendor.violate("no model, or turns asked of one that knows none")
            await self._refuse("invalid_value", None)
            return
        if self._model.startswith("gpt-realtime-whisper") and "prompt" in asked:
            self._vendor.violate("this model takes no prompt")
        self._silence_ms = detection.get("silence_duration_ms", 500) if detection else 0
        await self._send({"type": "session.updated", "session": session})

    async def _append(self, audio: bytes) -> None:
        self._vendor.received += len(audio)
        self._buffer += audio
        self._vendor.changed.set()
        while len(self._buffer) - self._judged >= _FRAME:
            frame = bytes(self._buffer[self._judged : self._judged + _FRAME])
            self._judged += _FRAME
            self._heard_ms += 20
            await self._hear(frame)

    async def _hear(self, frame: bytes) -> None:
        if is_loud(frame):
            self._loud_ms += 20
            self._quiet_ms = 0
            if self._silence_ms and not self._speaking:
                self._speaking = True
                start_ms = max(0, self._heard_ms - 320)
                await self._tell("speech_started", audio_start_ms=start_ms)
            if not self._silence_ms and self._loud_ms % _WORD_MS == 0:
                await self._word()
        elif self._speaking:
            self._quiet_ms += 20
            if self._quiet_ms >= self._silence_ms:
                await self._tell("speech_stopped", audio_end_ms=self._heard_ms)
                await self._commit(self._judged)

    async def _word(self) -> None:
        """One more word of the utterance, before it is committed."""
        words = self._vendor.so_far(bytes(self._buffer[: self._judged])).split()
        if len(self._words) < len(words):
            word = words[len(self._words)]
            await self._delta(self._item, f" {word}" if self._words else word)
            self._words.append(word)

    async def _commit_asked(self, body: dict[str, Json]) -> None:
        if len(self._buffer) < _LEAST_BYTES:
            await self._refuse("input_audio_buffer_commit_empty", body.get("event_id"))
        else:
            await self._commit(len(self._buffer))

    async def _commit(self, end: int) -> None:
        item, audio = self._item, bytes(self._buffer[:end])
        previous = f"item_{self._items - 1}" if self._items else None
        await self._tell("committed", previous_item_id=previous)
        content = [{"type": "input_audio", "transcript": None}]
        shown = {"id": item, "type": "message", "role": "user", "content": content}
        added = {"previous_item_id": previous, "item": {**shown, "status": "completed"}}
        await self._send({"type": "conversation.item.added", **added})
        done = len(self._words)
        self._items += 1
        self._reset(end)
        text = self._vendor.words(audio)
        if self._vendor.fails:
            self._vendor.fails -= 1
            error = {"type": "server_error", "code": "transcription_failed", "message": "scripted"}
            await self._transcription("failed", item, content_index=0, error=error)
            return
        for nth, word in enumerate(text.split()[done:], done):
            await self._delta(item, f" {word}" if nth else word)
        completed = {"content_index": 0, "transcript": text, "usage": self._usage(audio, text)}
        if self._vendor.crosses and self._late is None:
            self._late = {"item_id": item, **completed}
            return
        await self._transcription("completed", item, **completed)
        if self._late is not None:
            late, self._late = self._late, None
            await self._transcription("completed", late.pop("item_id"), **late)

    def _usage(self, audio: bytes, text: str) -> dict[str, Json]:
        if self._model.startswith(_WITHOUT_TURNS):
            return {"type": "duration", "seconds": len(audio) / 8000}
        into, out = len(audio) // 800, len(text.split())
        return {
            "type": "tokens",
            "input_tokens": into,
            "output_tokens": out,
            "total_tokens": into + out,
            "input_token_details": {"audio_tokens": into, "text_tokens": 0},
        }

    def _reset(self, end: int) -> None:
        del self._buffer[:end]
        self._judged = self._loud_ms = self._quiet_ms = 0
        self._speaking = False
        self._words = []

    async def _tell(self, what: str, **more: Json) -> None:
        await self._send({"type": f"input_audio_buffer.{what}", "item_id": self._item, **more})

    async def _delta(self, item: str, delta: str) -> None:
        await self._transcription("delta", item, content_index=0, delta=delta)

    async def _transcription(self, what: str, item: str, **more: Json) -> None:
        kind = f"conversation.item.input_audio_transcription.{what}"
        await self._send({"type": kind, "item_id": item, **more})

    async def _refuse(self, code: str, event_id: Json) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": "scripted"}
        await self._send({"type": "error", "error": {**error, "event_id": event_id}})

    async def _send(self, body: dict[str, Json]) -> None:
        body = {"event_id": f"event_{self._sent}", **body}
        self._sent += 1
        self._vendor.messages.append(body)
        self._vendor.changed.set()
        await self._socket.send_text(orjson.dumps(body).decode())
