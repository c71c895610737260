"""A fake of OpenAI's REST for audio: `/v1/audio/speech` and `/v1/audio/transcriptions`.

Shapes follow OpenAI's published OpenAPI description. Speech is PCM at 24 kHz whose tag is the
number of the text that was said (`said[tag]`). What is heard comes from a plan of utterances; a
subclass may really listen (`words`).
"""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from flowengine.events import Json
from flowengine.media.g711 import linear_to_ulaw, ulaw_to_linear
from flowengine.media.resample import resample
from flowengine.testing.providers.answers import event
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.serving import KEY, FakeVendor, Streamed
from flowengine.testing.providers.speech import TAGS, speech, spoken_ms

LONGEST_INPUT: Final = 4096
PIECE_BYTES: Final = 4001
"""Odd, so that samples are split."""
_VOICES: Final = frozenset(
    "alloy ash ballad coral echo fable onyx nova sage shimmer verse marin cedar".split()
)
_SPEECH: Final = frozenset(
    "input instructions model response_format speed stream_format voice".split()
)
_TRANSCRIPTION: Final = frozenset(
    "file keywords[] language model prompt response_format stream temperature".split()
)
_SILENT_MODELS: Final = ("tts-1", "whisper-1")
"""Models without server-sent events."""


class FakeOpenAiAudio(FakeVendor):
    """A host whose `url` ends in /v1.

    `plan` holds the caller's utterances in order, one for each file. `first_byte_ms` is how long
    speech takes to begin. `chat` answers chat completions at the same address.
    """

    def __init__(
        self,
        plan: Iterable[str] = (),
        *,
        first_byte_ms: int = 0,
        chat: FakeOpenAi | None = None,
        more: Sequence[BaseRoute] = (),
    ) -> None:
        routes = [
            Route("/v1/audio/speech", self._speech, methods=["POST"]),
            Route("/v1/audio/transcriptions", self._transcribe, methods=["POST"]),
            Route("/v1/models", self._models),
            *more,
        ]
        if chat is not None:
            routes.append(Route("/v1/chat/completions", chat.reply, methods=["POST"]))
        super().__init__(routes)
        self.plan = deque(plan)
        self.first_byte_ms = first_byte_ms
        self.tells_usage = True
        """Compatible hosts do not."""
        self.always_plain = False
        """Answers without events even where they are asked for."""
        self.requests: list[dict[str, Any]] = []
        """The bodies of all requests, without the audio."""
        self.said: list[str] = []
        self.audio: list[bytes] = []
        """The µ-law of every file that was to be transcribed."""
        self.open_streams = 0
        self.most_streams = 0
        self.aborted = 0
        """Streams that the client gave up."""
        self.gate: asyncio.Event | None = None
        """When set, the last piece of each speech waits for it."""

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    def words(self, audio: bytes) -> str:
        """What is said in this µ-law: the plan's next."""
        return self.plan.popleft() if self.plan else ""

    async def _models(self, request: Request) -> Response:
        if not _has_key(request):
            return self.refusal(401)
        return JSONResponse({"object": "list", "data": []})

    async def _speech(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        self.requests.append(body)
        self.changed.set()
        if not _has_key(request):
            return self.refusal(401)
        self._check_speech(body)
        streams = self._is_streamed(body, body.get("stream_format") == "sse")
        kind = "text/event-stream" if streams else "audio/pcm"
        return Streamed(self._spoken(body, streams), media_type=kind)

    async def _spoken(self, body: dict[str, Any], streams: bool) -> AsyncGenerator[bytes, None]:
        text = body["input"]
        tag = len(self.said) % TAGS
        self.said.append(text)
        self.open_streams += 1
        self.most_streams = max(self.most_streams, self.open_streams)
        self.changed.set()
        length_ms = round(spoken_ms(text) / float(body.get("speed", 1.0)))
        pcm = resample(ulaw_to_linear(speech(length_ms, tag)), 8000, 24000)
        pieces = [pcm[at : at + PIECE_BYTES] for at in range(0, len(pcm), PIECE_BYTES)]
        ended = False
        try:
            if self.first_byte_ms:
                await asyncio.sleep(self.first_byte_ms / 1000)
            for nth, piece in enumerate(pieces):
                if nth == len(pieces) - 1 and self.gate is not None:
                    await self.gate.wait()
                yield _delta(piece) if streams else piece
            if streams:
                yield self._speech_done(text, length_ms)
            ended = True
        finally:
            self.open_streams -= 1
            self.aborted += not ended
            self.changed.set()

    def _speech_done(self, text: str, length_ms: int) -> bytes:
        done: dict[str, Json] = {"type": "speech.audio.done"}
        if self.tells_usage:
            into, out = len(text) // 4 + 1, length_ms // 50
            done["usage"] = {
                "input_tokens": into,
                "output_tokens": out,
                "total_tokens": into + out,
            }
        return event(done)

    async def _transcribe(self, request: Request) -> Response:
        async with request.form() as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                self.violate("no file")
                return self.refusal(400)
            audio = self._wav(file.filename or "", await file.read())
            body: dict[str, Any] = {}
            for name, value in form.multi_items():
                if name != "file":
                    body.setdefault(name, []).append(value)
        self.requests.append(body)
        self.changed.set()
        if not _has_key(request):
            return self.refusal(401)
        self._check_transcription(body)
        self.audio.append(audio)
        text = self.words(audio)
        if not self._is_streamed({"model": body["model"][0]}, body.get("stream") == ["true"]):
            answer: dict[str, Json] = {"text": text}
            if self.tells_usage:
                answer["usage"] = {"type": "duration", "seconds": len(audio) / 8000}
            return JSONResponse(answer)
        return Streamed(self._heard(text, audio), media_type="text/event-stream")

    async def _heard(self, text: str, audio: bytes) -> AsyncGenerator[bytes, None]:
        words = [word if not nth else f" {word}" for nth, word in enumerate(text.split())]
        done: dict[str, Json] = {"type": "transcript.text.done", "text": text}
        if self.tells_usage:
            into, out = len(audio) // 800, len(words)
            done["usage"] = {
                "type": "tokens",
                "input_tokens": into,
                "output_tokens": out,
                "total_tokens": into + out,
                "input_token_details": {"audio_tokens": into, "text_tokens": 0},
            }
        deltas: list[dict[str, Json]] = [
            {"type": "transcript.text.delta", "delta": word} for word in words
        ]
        for body in (*deltas, done):
            yield event(body)

    def refusal(self, status: int) -> Response:
        code, kind = ("invalid_api_key", "invalid_request_error") if status == 401 else ("s", "s")
        body = {"error": {"message": "scripted", "code": code, "type": kind, "param": None}}
        return JSONResponse(body, status_code=status)

    def error_for(self, path: str, message: str | bytes) -> str | bytes:
        error: Json = {"message": "scripted", "type": "server_error", "code": None}
        return event({"type": "error", "error": error})

    def _is_streamed(self, body: dict[str, Any], asked: bool) -> bool:
        return asked and not self.always_plain and not body["model"].startswith(_SILENT_MODELS)

    def _check_speech(self, body: dict[str, Any]) -> None:
        for name in sorted(set(body) - _SPEECH):
            self.violate(f"unknown parameter {name}")
        if not isinstance(body.get("model"), str) or body.get("voice") not in _VOICES:
            self.violate("no model, or a voice that is none")
        if not body.get("input") or len(body["input"]) > LONGEST_INPUT:
            self.violate("input is empty or too long")
        if body.get("response_format") != "pcm":
            self.violate("response_format is not pcm")
        if not 0.25 <= float(body.get("speed", 1.0)) <= 4.0:
            self.violate("speed is out of range")
        if body.get("model", "").startswith(_SILENT_MODELS) and "stream_format" in body:
            self.violate("this model has no events")

    def _check_transcription(self, body: dict[str, list[str]]) -> None:
        for name in sorted(set(body) - _TRANSCRIPTION):
            self.violate(f"unknown parameter {name}")
        model = body.get("model", [""])[0]
        if not model:
            self.violate("no model")
        if "keywords[]" in body and not model.startswith("gpt-transcribe"):
            self.violate("this model takes no keywords")
        if len(body.get("language", ["en"])[0]) not in (2, 3):
            self.violate("language is no ISO 639 code")
        if body.get("response_format", ["json"]) != ["json"]:
            self.violate("response_format is not json")

    def _wav(self, name: str, content: bytes) -> bytes:
        """The µ-law of a file."""
        if not name.endswith(".wav"):
            self.violate("the file's name does not tell its format")
        try:
            with wave.open(io.BytesIO(content)) as file:
                shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
                if shape != (1, 2, 8000):
                    self.violate("the file is not 16-bit mono at 8000 Hz")
                return linear_to_ulaw(file.readframes(file.getnframes()))
        except (wave.Error, EOFError):
            self.violate("the file is no WAV")
            return b""


def _delta(pcm: bytes) -> bytes:
    return event({"type": "speech.audio.delta", "audio": base64.b64encode(pcm).decode()})


def _has_key(request: Request) -> bool:
    return request.headers.get("authorization") == f"Bearer {KEY}"
