"""ElevenLabs' Scribe as the engine's speech to text (`/v1/speech-to-text/realtime`).

Scribe finds the end of a turn itself (`commit_strategy` "vad", its quiet follows the flow's
endpointing), or commits when this side heard quiet for long enough ("manual": for endpointing
under 0.3 s or over 3 s). Message shapes and limits from ElevenLabs' SDK; from the field: a socket
without audio is closed after about 15 s, a commit of less than 0.3 s of audio is refused
(`commit_throttled`), and with timestamps each commit comes twice, in either order.
"""

from __future__ import annotations

import asyncio
import binascii
import math
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from flowengine.errors import ProviderError
from flowengine.events import InterimHeard, Json, SegmentHeard, SpeechStarted, SpeechStopped
from flowengine.ports import SttEvent, SttRequest
from flowengine.providers.elevenlabs_tracks import NAME
from flowengine.providers.faults import fault
from flowengine.providers.listening import GatedSession, Wire, after, query
from flowengine.providers.sockets import open_socket

_LEAST_QUIET_S: Final = 0.3
_MOST_QUIET_S: Final = 3.0
_KEYTERMS: Final = 50
_KEYTERM_CHARS: Final = 20
_OPTIONS: Final = frozenset(
    [
        "commit_strategy",
        "enable_logging",
        "filter_background_audio",
        "include_timestamps",
        "min_silence_duration_ms",
        "min_speech_duration_ms",
        "no_verbatim",
        "secondary_languages",
        "vad_silence_threshold_secs",
        "vad_threshold",
    ]
)
_ERRORS: Final = {
    "auth_error": "auth",
    "chunk_size_exceeded": "bad_request",
    "error": "unavailable",
    "input_error": "bad_request",
    # It says so of a socket that it is about to close; another one hears on.
    "insufficient_audio_activity": "dropped",
    "invalid_request": "bad_request",
    "queue_overflow": "overloaded",
    "quota_exceeded": "quota",
    "rate_limited": "rate_limit",
    "resource_exhausted": "overloaded",
    "session_time_limit_exceeded": "dropped",
    "transcriber_error": "unavailable",
    "unaccepted_terms": "auth",
}


class ScribeEars:
    """Reads the messages of one stream."""

    def __init__(self, hear: Callable[[SttEvent], None]) -> None:
        self._hear = hear
        self._interim = ""
        self._told = 0
        """How many words were told before the vendor committed them."""
        self._speaking = False
        self._committed = ("", "")
        """Kind and text of a commit whose twin may follow."""
        self.patient = False
        self.duration_ms: int | None = None
        """The vendor never says."""
        self.finalized = asyncio.Event()

    @property
    def is_hearing(self) -> bool:
        return self._speaking

    def read(self, message: str | bytes) -> ProviderError | None:
        try:
            body = orjson.loads(message)
            kind = body["message_type"]
            if kind == "partial_transcript":
                self._partial(body["text"].strip())
            elif kind in ("committed_transcript", "committed_transcript_with_timestamps"):
                self._commit(kind, body["text"].strip(), _confidence(body.get("words") or ()))
            elif kind == "commit_throttled":
                # Too little was said since the last commit: there are no words to wait for.
                self.finalized.set()
            elif kind in _ERRORS:
                return fault(_ERRORS[kind], f"reported {kind}", NAME)
        except (ValueError, KeyError, TypeError, AttributeError):
            return fault("protocol", "sent a message that cannot be read", NAME)
        return None

    def end_turn(self) -> None:
        self._told += len(self._interim.split())
        self._ended(self._interim, 0.0, endpoint=True)

    def _partial(self, text: str) -> None:
        text = after(self._told, text)
        if not text or text == self._interim:
            return
        self._interim = text
        if not self._speaking:
            self._speaking = True
            self._hear(SpeechStarted("stt"))
        self._hear(InterimHeard(text, 0.0))

    def _commit(self, kind: str, text: str, confidence: float) -> None:
        before, said = self._committed
        if before and before != kind and said == text:
            self._committed = ("", "")
            return
        self._committed = (kind, text)
        # An empty commit after words would lose what was said.
        words = after(self._told, text) or self._interim
        self._told = 0
        self._ended(words, confidence, endpoint=not self.patient)
        self.finalized.set()

    def _ended(self, text: str, confidence: float, *, endpoint: bool) -> None:
        self._interim = ""
        if self._speaking:
            self._speaking = False
            self._hear(SpeechStopped("stt"))
        if text:
            self._hear(SegmentHeard(text, confidence, endpoint))


def _confidence(words: tuple[Mapping[str, Json], ...] | list[Mapping[str, Json]]) -> float:
    """The mean over the words; 0 where the vendor gives none."""
    known = [math.exp(word["logprob"]) for word in words if word.get("logprob") is not None]
    return sum(known) / len(known) if known else 0.0


def _chunk(audio: bytes, *, commit: bool = False) -> str:
    body = {
        "message_type": "input_audio_chunk",
        "audio_base_64": binascii.b2a_base64(audio, newline=False).decode(),
        "commit": commit,
        "sample_rate": 8000,
    }
    return orjson.dumps(body).decode()


ENDS_MS: Final = 6000
"""A turn has partials while it goes on, and ends after 3 s of quiet at the latest."""
WIRE: Final = Wire(
    NAME, keepalive="", finalize=_chunk(b"", commit=True), ends_ms=ENDS_MS, frame=_chunk
)


def listen_query(request: SttRequest) -> str:
    """The query of the socket; raises ProviderError(`bad_request`) for what it does not take.

    Key terms over 20 characters, and those after the fiftieth, are left out: the vendor would
    refuse them all.
    """
    unknown = sorted(set(request.options) - _OPTIONS)
    if unknown:
        raise fault("bad_request", f"knows no option {', '.join(unknown)} for hearing", NAME)
    strategy = request.options.get("commit_strategy", "vad")
    if strategy not in ("vad", "manual"):
        raise fault("bad_request", 'knows the commit_strategy "vad" and "manual"', NAME)
    asked: dict[str, Json] = {
        "model_id": request.model,
        "audio_format": "ulaw_8000",
        "commit_strategy": strategy,
    }
    if strategy == "vad":
        quiet_s = min(_MOST_QUIET_S, max(_LEAST_QUIET_S, request.endpointing_ms / 1000))
        asked["vad_silence_threshold_secs"] = quiet_s
    if request.language:
        asked["language_code"] = request.language.partition("-")[0].lower()
    asked.update(request.options)
    fitting = [term for term in request.keyterms if len(term) <= _KEYTERM_CHARS]
    asked["keyterms"] = fitting[:_KEYTERMS]
    return query(asked)


class ScribeStt:
    """ElevenLabs as the engine's speech to text; `url` is its base URL's ws(s) form.

    Its sessions count no results: Scribe says nothing of noise, so its silence proves nothing.
    """

    name = NAME

    def __init__(self, key: str, url: str) -> None:
        self._headers = {"xi-api-key": key}
        self._url = url

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> GatedSession:
        url = f"{self._url}/v1/speech-to-text/realtime?{listen_query(request)}"
        socket = await open_socket(url, self._headers, NAME)
        session = GatedSession(socket, request.model, hear, WIRE, ScribeEars(hear))
        if request.options.get("commit_strategy") == "manual":
            session.commit_after(request.endpointing_ms)
        return session
