"""The fake ElevenLabs' Scribe (`/v1/speech-to-text/realtime`), with a plan of what will be heard.

Message shapes follow the types of ElevenLabs' SDK. Time is the audio's own, 20 ms a frame: whenever
loud audio was followed by enough quiet, or a commit, the next planned utterance is committed.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.providers.serving import KEY, FakeVendor
from flowengine.testing.providers.speech import is_loud

_FRAME: Final = 20 * BYTES_PER_MS
_PARTIAL_EVERY_MS: Final = 300
_LEAST_COMMIT_MS: Final = 300
_QUERY: Final = frozenset(
    [
        "audio_format",
        "commit_strategy",
        "enable_logging",
        "entity_detection",
        "entity_redaction",
        "entity_redaction_mode",
        "filter_background_audio",
        "include_language_detection",
        "include_timestamps",
        "keyterms",
        "language_code",
        "min_silence_duration_ms",
        "min_speech_duration_ms",
        "model_id",
        "no_verbatim",
        "secondary_languages",
        "token",
        "transcript_edit",
        "vad_silence_threshold_secs",
        "vad_threshold",
    ]
)
_CHUNK: Final = frozenset(
    ["audio_base_64", "commit", "message_type", "previous_text", "sample_rate"]
)


class Scribe:
    """The recogniser, for a fake at whose address it is served.

    What clients must bear: `loses_commit` (an empty commit after partials), `timed_first` (of the
    two messages of a commit with timestamps), `ignores_commit`. `error` is the message of the
    fault `error`.
    """

    def __init__(self, plan: Iterable[str]) -> None:
        self.vendor: FakeVendor
        self.plan = deque(plan)
        self.loses_commit = False
        self.timed_first = False
        self.ignores_commit = False
        self.error = "transcriber_error"
        self.audio: list[bytearray] = []
        """What each connection received."""
        self.queries: list[list[tuple[str, str]]] = []
        self.commits = 0
        """How often a client committed."""

    def route(self) -> WebSocketRoute:
        return WebSocketRoute("/v1/speech-to-text/realtime", self._hear)

    def words(self, audio: bytes, *, final: bool) -> str:
        """What the caller says in this audio: the plan's next; a subclass may really listen."""
        if not self.plan:
            return ""
        return self.plan.popleft() if final else self.plan[0]

    async def _hear(self, websocket: WebSocket) -> None:
        query = websocket.query_params.multi_items()
        self.queries.append(query)
        for what in _violations(query):
            self.vendor.violate(what)
        if websocket.headers.get("xi-api-key") != KEY:
            await self.vendor.refuse(websocket, 403)
            return
        await websocket.accept()
        try:
            await _Stream(self, websocket).run()
        except (WebSocketDisconnect, RuntimeError):
            return  # Starlette raises RuntimeError for a send after the client's close


def _violations(query: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What the vendor would not take in a query."""
    asked = dict(query)
    for name in asked:
        if name not in _QUERY:
            yield f"unknown query parameter {name}"
    if not asked.get("model_id", "").startswith("scribe_"):
        yield "no Scribe model"
    if asked.get("commit_strategy", "manual") not in ("vad", "manual"):
        yield "unknown commit_strategy"
    if not 0.3 <= float(asked.get("vad_silence_threshold_secs", "1.5")) <= 3.0:
        yield "vad_silence_threshold_secs is out of range"
    if not 0.1 <= float(asked.get("vad_threshold", "0.4")) <= 0.9:
        yield "vad_threshold is out of range"
    terms = [value for name, value in query if name == "keyterms"]
    if len(terms) > 50 or any(len(term) > 20 for term in terms):
        yield "too many key terms, or too long ones"


class _Stream:
    """One connection."""

    def __init__(self, scribe: Scribe, websocket: WebSocket) -> None:
        self._scribe = scribe
        self._socket = websocket
        asked = websocket.query_params
        self._model = asked.get("model_id", "")
        self._is_vad = asked.get("commit_strategy") == "vad"
        self._quiet_needed_ms = float(asked.get("vad_silence_threshold_secs", "1.5")) * 1000
        self._is_timed = asked.get("include_timestamps") == "true"
        self._received = bytearray()
        scribe.audio.append(self._received)
        self._done = 0
        self._start = 0
        """Where the audio begins that is not committed."""
        self._loud_ms = 0
        self._quiet_ms = 0

    async def run(self) -> None:
        config = {"model_id": self._model, "audio_format": "ulaw_8000", "sample_rate": 8000}
        await self._send("session_started", session_id="fake", config=config)
        while True:
            body = orjson.loads(await self._socket.receive_text())
            if not self._is_chunk(body):
                await self._send("input_error", error="scripted")
                continue
            self._received += base64.b64decode(body["audio_base_64"])
            while len(self._received) - self._done >= _FRAME:
                frame = bytes(self._received[self._done : self._done + _FRAME])
                self._done += _FRAME
                await self._take(frame)
            if body["commit"]:
                self._scribe.commits += 1
                await self._asked_to_commit()
            self._scribe.vendor.changed.set()

    def _is_chunk(self, body: dict[str, Json]) -> bool:
        wrong = sorted(set(body) - _CHUNK)
        if body.get("message_type") != "input_audio_chunk" or wrong:
            self._scribe.vendor.violate(f"no input_audio_chunk: {body.get('message_type')} {wrong}")
            return False
        if body.get("sample_rate") != 8000 or not isinstance(body.get("commit"), bool):
            self._scribe.vendor.violate("a chunk without commit, or not at 8000")
            return False
        try:
            base64.b64decode(body["audio_base_64"], validate=True)
        except (KeyError, TypeError, binascii.Error):
            self._scribe.vendor.violate("the audio is no base64")
            return False
        return True

    async def _take(self, frame: bytes) -> None:
        if is_loud(frame):
            self._loud_ms += 20
            self._quiet_ms = 0
            if self._loud_ms % _PARTIAL_EVERY_MS == 0:
                words = self._scribe.words(self._speech(), final=False).split()
                said = " ".join(words[: self._loud_ms // _PARTIAL_EVERY_MS])
                await self._send("partial_transcript", text=said)
            return
        self._quiet_ms += 20
        if self._is_vad and self._loud_ms and self._quiet_ms >= self._quiet_needed_ms:
            await self._commit()

    async def _asked_to_commit(self) -> None:
        if self._scribe.ignores_commit:
            return
        if self._done - self._start < _LEAST_COMMIT_MS * BYTES_PER_MS:
            await self._send("commit_throttled", error="scripted")
        else:
            await self._commit()

    async def _commit(self) -> None:
        text = self._scribe.words(self._speech(), final=True) if self._loud_ms else ""
        if self._scribe.loses_commit:
            text = ""
        self._loud_ms = self._quiet_ms = 0
        self._start = self._done
        words = [{"text": word, "type": "word", "logprob": -0.1} for word in text.split()]
        plain: dict[str, Json] = {"text": text}
        timed = {"text": text, "language_code": "en", "words": words}
        messages = [("committed_transcript", plain)]
        if self._is_timed:
            messages.append(("committed_transcript_with_timestamps", timed))
        for kind, body in reversed(messages) if self._scribe.timed_first else messages:
            await self._send(kind, **body)

    def _speech(self) -> bytes:
        return bytes(self._received[self._start : self._done])

    async def _send(self, kind: str, **body: Json) -> None:
        await self._socket.send_text(orjson.dumps({"message_type": kind, **body}).decode())
