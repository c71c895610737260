"""A fake Deepgram: `/v1/listen` with a plan of what the caller will have said.

Message shapes follow Deepgram's published AsyncAPI description. Time is the audio's own: the fake
counts samples, so audio may come faster than it was spoken. Whenever loud audio has been followed
by `endpointing` ms of quiet, the next planned utterance is final.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.providers.serving import KEY, FakeVendor, Fault, forever
from flowengine.testing.providers.speech import is_loud

_FRAME = 20 * BYTES_PER_MS
_INTERIM_EVERY_MS = 300
_QUERY: Final = frozenset(
    [
        "callback",
        "callback_method",
        "channels",
        "detect_entities",
        "diarize",
        "dictation",
        "encoding",
        "endpointing",
        "extra",
        "interim_results",
        "keyterm",
        "keywords",
        "language",
        "mip_opt_out",
        "model",
        "multichannel",
        "numerals",
        "profanity_filter",
        "punctuate",
        "redact",
        "replace",
        "sample_rate",
        "search",
        "smart_format",
        "tag",
        "utterance_end_ms",
        "vad_events",
        "version",
        "filler_words",
    ]
)
_BOOLEANS: Final = ("interim_results", "vad_events", "smart_format", "numerals", "punctuate")


class FakeDeepgram(FakeVendor):
    """`plan` holds the caller's utterances in order, shared by all connections.

    Habits of the real one that a client must bear can be switched on: `forgets_speech_final`
    (noise: only `UtteranceEnd` ends a turn), `loses_final` (an empty final after interims),
    `ignores_finalize`, `repeats_speech_started`.
    """

    def __init__(self, plan: Iterable[str] = (), *, delay_ms: int = 0) -> None:
        super().__init__([WebSocketRoute("/v1/listen", self._listen)])
        self.plan = deque(plan)
        self.delay_ms = delay_ms
        self.forgets_speech_final = False
        self.loses_final = False
        self.ignores_finalize = False
        self.repeats_speech_started = False
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

    async def _listen(self, websocket: WebSocket) -> None:
        fault = self.next_fault()
        if not self._is_allowed(websocket):
            await self.refuse(websocket, 401)
            return
        if fault is not None and fault.kind == "refuse":
            await self.refuse(websocket, fault.status)
            return
        await websocket.accept()
        if fault is not None and fault.kind == "hang":
            await forever()
        stream = _Stream(self, websocket, fault)
        try:
            await stream.run()
        except WebSocketDisconnect:
            return

    def _is_allowed(self, websocket: WebSocket) -> bool:
        query = websocket.query_params.multi_items()
        self.queries.append(query)
        for name, value in query:
            if name not in _QUERY:
                self.violate(f"unknown query parameter {name}")
            if name in _BOOLEANS and value not in ("true", "false"):
                self.violate(f"{name} is no boolean")
        asked = dict(query)
        if asked.get("encoding") == "mulaw" and asked.get("sample_rate") not in ("8000", "16000"):
            self.violate("mulaw needs sample_rate 8000 or 16000")
        if "utterance_end_ms" in asked:
            if int(asked["utterance_end_ms"]) < 1000:
                self.violate("utterance_end_ms is under 1000")
            if asked.get("interim_results") != "true":
                self.violate("utterance_end_ms needs interim_results")
        return websocket.headers.get("authorization") in (f"Token {KEY}", f"token {KEY}")


class _Stream:
    """One connection."""

    def __init__(self, vendor: FakeDeepgram, websocket: WebSocket, fault: Fault | None) -> None:
        self._vendor = vendor
        self._socket = websocket
        self._fault = fault
        self._received = bytearray()
        vendor.audio.append(self._received)
        self._done = 0
        asked = dict(websocket.query_params.multi_items())
        self._endpointing_ms = int(asked.get("endpointing", "10"))
        self._utterance_end_ms = int(asked.get("utterance_end_ms", "0"))
        self._interims = asked.get("interim_results") == "true"
        self._vad = asked.get("vad_events") == "true"
        self._loud_ms = 0
        self._quiet_ms = 0
        self._start_ms = 0
        self._ending_ms = 0
        """Quiet since the last words, for `UtteranceEnd`."""
        self._waits_for_end = False
        self._sent = 0

    async def run(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            audio, text = message.get("bytes"), message.get("text")
            if audio is not None:
                self._received += audio
                self._vendor.changed.set()
                while len(self._received) - self._done >= _FRAME:
                    frame = bytes(self._received[self._done : self._done + _FRAME])
                    self._done += _FRAME
                    await self._hear(frame)
            elif text is not None and await self._command(text):
                return

    async def _command(self, text: str) -> bool:
        try:
            kind = orjson.loads(text)["type"]
        except (ValueError, KeyError, TypeError):
            self._vendor.violate("a text frame that is no command")
            return False
        self._vendor.commands.append(kind)
        self._vendor.changed.set()
        if kind == "Finalize":
            if not self._vendor.ignores_finalize:
                said = self._vendor.words(self._speech(), final=True) if self._loud_ms else ""
                await self._final(said, finalize=True)
        elif kind == "CloseStream":
            await self._send(
                {
                    "type": "Metadata",
                    "request_id": "fake",
                    "sha256": "0" * 64,
                    "created": "2026-01-01T00:00:00.000Z",
                    "duration": len(self._received) / BYTES_PER_MS / 1000,
                    "channels": 1,
                }
            )
            await self._socket.close()
            return True
        elif kind != "KeepAlive":
            self._vendor.violate(f"unknown command {kind}")
        return False

    async def _hear(self, frame: bytes) -> None:
        if is_loud(frame):
            await self._hear_speech()
            return
        self._quiet_ms += 20
        self._ending_ms += 20
        if self._loud_ms and self._quiet_ms >= self._endpointing_ms:
            await self._final(self._vendor.words(self._speech(), final=True))
        if self._waits_for_end and 0 < self._utterance_end_ms <= self._ending_ms:
            self._waits_for_end = False
            await self._send(
                {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": self._now_s() - 1}
            )

    async def _hear_speech(self) -> None:
        if not self._loud_ms:
            self._start_ms = self._done // BYTES_PER_MS
        begins = not self._loud_ms or (self._vendor.repeats_speech_started and self._quiet_ms > 0)
        if begins and self._vad:
            await self._send(
                {"type": "SpeechStarted", "channel": [0, 1], "timestamp": self._now_s()}
            )
        self._quiet_ms = self._ending_ms = 0
        self._loud_ms += 20
        if self._interims and self._loud_ms % _INTERIM_EVERY_MS == 0:
            words = self._vendor.words(self._speech(), final=False).split()
            heard = min(len(words), self._loud_ms // _INTERIM_EVERY_MS)
            if words:
                await self._results(" ".join(words[:heard]), final=False)

    async def _final(self, text: str, *, finalize: bool = False) -> None:
        self._loud_ms = self._quiet_ms = 0
        self._waits_for_end = bool(text)
        said = "" if self._vendor.loses_final else text
        ends = not self._vendor.forgets_speech_final and not finalize
        await self._results(said, final=True, speech_final=ends, finalize=finalize)

    def _speech(self) -> bytes:
        """The audio since the caller began to speak."""
        return bytes(self._received[self._start_ms * BYTES_PER_MS : self._done])

    async def _results(
        self, text: str, *, final: bool, speech_final: bool = False, finalize: bool = False
    ) -> None:
        start = self._start_ms / 1000
        end = self._now_s()
        words = text.split()
        step = (end - start) / max(1, len(words))
        await self._send(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "duration": end - start,
                "start": start,
                "is_final": final,
                "speech_final": speech_final,
                "from_finalize": finalize,
                "channel": {
                    "alternatives": [
                        {
                            "transcript": text,
                            "confidence": 0.98 if text else 0.0,
                            "words": [
                                {
                                    "word": word.strip(".,?!").lower(),
                                    "punctuated_word": word,
                                    "start": start + nth * step,
                                    "end": start + (nth + 1) * step,
                                    "confidence": 0.98,
                                }
                                for nth, word in enumerate(words)
                            ],
                        }
                    ]
                },
                "metadata": {
                    "request_id": "fake",
                    "model_info": {"name": "fake", "version": "1", "arch": "fake"},
                    "model_uuid": "fake",
                },
            }
        )

    def _now_s(self) -> float:
        return self._done / BYTES_PER_MS / 1000

    async def _send(self, body: dict[str, Json]) -> None:
        fault = self._fault
        if fault is not None and self._sent >= fault.after:
            if fault.kind == "stall":
                await forever()
            if fault.kind == "cut":
                self._vendor.cut(self._socket.scope)
                return
            if fault.kind == "nonsense":
                await self._socket.send_text('{"type":"Results","channel":')
                return
            if fault.kind == "error":
                body = {"type": "Error", "variant": "SchemaError", "description": "scripted"}
        delay_ms = self._vendor.delay_ms + (fault.delay_ms if fault is not None else 0)
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        self._sent += 1
        self._vendor.sending(body)
        await self._socket.send_text(orjson.dumps(body).decode())
