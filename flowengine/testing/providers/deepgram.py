"""A fake Deepgram: `/v1/listen` with a plan of what the caller will have said.

Message shapes follow Deepgram's published AsyncAPI description. Time is the audio's own: the fake
counts samples, so audio may come faster than it was spoken. Whenever loud audio has been followed
by `endpointing` ms of quiet, the next planned utterance is final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.providers.deepgram_flux import FluxHabits, FluxStream, flux_violations
from flowengine.testing.providers.deepgram_speak import DeepgramVoices
from flowengine.testing.providers.deepgram_stream import ListeningVendor, ListenStream
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import is_loud

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


class FakeDeepgram(ListeningVendor):
    """Both listening protocols and both speaking ones (`voices`) at one address.

    Habits of the real one that a client must bear can be switched on: `forgets_speech_final`
    (noise: only `UtteranceEnd` ends a turn), `loses_final` (an empty final after interims),
    `ignores_finalize`, `repeats_speech_started`; those of Flux stand in `flux`.
    """

    def __init__(self, plan: Iterable[str] = (), *, delay_ms: int = 0) -> None:
        self.voices = DeepgramVoices()
        routes = [
            WebSocketRoute("/v1/listen", self._listen_nova),
            WebSocketRoute("/v2/listen", self._listen_flux),
            *self.voices.routes(),
        ]
        super().__init__(routes, plan, delay_ms)
        self.voices.vendor = self
        self.forgets_speech_final = False
        self.loses_final = False
        self.ignores_finalize = False
        self.repeats_speech_started = False
        self.hears_out_ms = 0
        """So long after the last sound an interim has all the words; 0: none does."""
        self.flux = FluxHabits()

    async def _listen_nova(self, websocket: WebSocket) -> None:
        self._check_nova(websocket)
        await self._listen(websocket, _Stream)

    async def _listen_flux(self, websocket: WebSocket) -> None:
        for what in flux_violations(websocket.query_params.multi_items()):
            self.violate(what)
        await self._listen(websocket, self._flux_stream)

    def error_for(self, path: str, message: str | bytes) -> str:
        kind: dict[str, Json] = {"variant": "SchemaError"}
        if path.endswith("/speak"):
            kind = {"code": "NET-0000"}
        elif path == "/v2/listen":
            kind = {"request_id": "fake", "sequence_id": 0, "code": "INTERNAL_SERVER_ERROR"}
        return orjson.dumps({"type": "Error", "description": "scripted", **kind}).decode()

    def _flux_stream(self, vendor: ListeningVendor, websocket: WebSocket) -> FluxStream:
        return FluxStream(vendor, websocket, self.flux)

    async def _listen(
        self,
        websocket: WebSocket,
        stream: Callable[[FakeDeepgram, WebSocket], ListenStream],
    ) -> None:
        self.queries.append(websocket.query_params.multi_items())
        if websocket.headers.get("authorization") not in (f"Token {KEY}", f"token {KEY}"):
            await self.refuse(websocket, 401)
            return
        await websocket.accept()
        try:
            await stream(self, websocket).run()
        except WebSocketDisconnect:
            return

    def _check_nova(self, websocket: WebSocket) -> None:
        query = websocket.query_params.multi_items()
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


class _Stream(ListenStream):
    """One connection of `/v1/listen`."""

    _vendor: FakeDeepgram

    def __init__(self, vendor: FakeDeepgram, websocket: WebSocket) -> None:
        super().__init__(vendor, websocket)
        asked = dict(websocket.query_params.multi_items())
        self._endpointing_ms = int(asked.get("endpointing", "10"))
        self._utterance_end_ms = int(asked.get("utterance_end_ms", "0"))
        self._interims = asked.get("interim_results") == "true"
        self._vad = asked.get("vad_events") == "true"
        self._loud_ms = 0
        self._quiet_ms = 0
        self._ending_ms = 0
        """Quiet since the last words, for `UtteranceEnd`."""
        self._waits_for_end = False

    async def _obey(self, kind: str, body: dict[str, Json]) -> bool:
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
        if self._interims and self._loud_ms and self._quiet_ms == self._vendor.hears_out_ms:
            await self._results(self._vendor.words(self._speech(), final=False), final=False)
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
