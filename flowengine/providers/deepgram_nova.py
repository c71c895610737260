"""Deepgram's nova models (`/v1/listen`): what is asked for, and a pure reader of what comes back.

Numbers from Deepgram's streaming reference: `utterance_end_ms` is at least 1000; a socket without
data for 10 s is closed, so KeepAlive goes out every 4 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import orjson

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.ports import SttEvent, SttRequest
from flowengine.providers.deepgram_stream import CLOSE, NAME, fitting
from flowengine.providers.faults import fault, of_word
from flowengine.providers.listening import Wire, after, query

_BILLED: Final = ("diarize", "keyterm", "redact")
"""What is billed on top of the minute."""
LEAST_UTTERANCE_END_MS: Final = 1000
UTTERANCE_END_MARGIN_MS: Final = 700
"""`UtteranceEnd` counts the gap between words, which begins before the quiet does, and a caller who
hesitates with a sound has such gaps: it must not be quicker than the flow's own endpointing."""
IDLE_MS: Final = 3000
_OPTIONS: Final = frozenset(
    [
        "dictation",
        "diarize",
        "extra",
        "filler_words",
        "mip_opt_out",
        "numerals",
        "profanity_filter",
        "punctuate",
        "redact",
        "replace",
        "search",
        "smart_format",
        "tag",
        "utterance_end_ms",
        "vad_events",
        "version",
        "endpointing",
    ]
)


class DeepgramEars:
    """Reads Deepgram's messages of one stream, and what they leave out.

    It promotes an interim that the vendor forgot to finalise, reports one speech start a turn
    though the vendor fires several, and one end of turn though `speech_final` and `UtteranceEnd`
    may both come, or neither: then `idle_ms` of results without a new word end it.
    """

    def __init__(self, hear: Callable[[SttEvent], None], idle_ms: int = IDLE_MS) -> None:
        self._hear = hear
        self._idle_ms = idle_ms
        self._last_words = ""
        self._worded_ms = 0
        """Where in the stream the last new word was."""
        self._interim = ""
        self._interim_ms = 0
        """Up to where in the stream the interim reaches."""
        self._told = 0
        """How many words were told before the vendor made them final."""
        self._confidence = 0.0
        self._speaking = False
        self._words_since_end = False
        self.patient = False
        """A pause ends no turn (digits are expected); only `UtteranceEnd` does."""
        self.settled_ms = 0
        """How far into the stream the words are final."""
        self.results = 0
        """How many results came, empty ones too."""
        self.duration_ms: int | None = None
        """What the vendor bills, once it said so."""
        self.finalized = asyncio.Event()

    @property
    def is_hearing(self) -> bool:
        """Whether somebody speaks, or a turn is not over."""
        return self._speaking or self._words_since_end or bool(self._interim)

    def read(self, message: str | bytes) -> ProviderError | None:
        """Take one message; returns the vendor's error if it is one."""
        try:
            body = orjson.loads(message)
            kind = body["type"]
            if kind == "Results":
                self._results(body)
            elif kind == "SpeechStarted":
                self._started()
            elif kind == "UtteranceEnd":
                self.end_turn()
            elif kind == "Metadata":
                self.duration_ms = round(float(body["duration"]) * 1000)
            elif kind == "Error":
                word = str(body.get("variant") or body.get("code") or "")
                return of_word(word, "deepgram")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return fault("protocol", "sent a message that cannot be read", "deepgram")
        return None

    def end_turn(self) -> None:
        """The turn is over, whether or not its last words were made final."""
        if self._interim:
            self._told += len(self._interim.split())
            self.settled_ms = max(self.settled_ms, self._interim_ms)
            self._segment(self._interim, self._confidence, endpoint=True)
        elif self._words_since_end:
            self._stopped()
            self._words_since_end = False
            self._hear(EndpointReached())
        else:
            self._stopped()

    def _results(self, body: dict[str, Json]) -> None:
        self.results += 1
        best = body["channel"]["alternatives"][0]
        text: str = best["transcript"]
        end_ms = round((body["start"] + body["duration"]) * 1000)
        if round(body["start"] * 1000) < self.settled_ms:
            text = after(self._told, text)
        else:
            self._told = 0
        if not body["is_final"] and end_ms <= self.settled_ms:
            return  # came late: its words are final
        if text and text != self._last_words:
            self._last_words, self._worded_ms = text, end_ms
        if not body["is_final"]:
            if text:
                self._interim, self._confidence = text, best["confidence"]
                self._interim_ms = end_ms
                self._hear(InterimHeard(text, self._confidence))
            self._check_idle(end_ms)
            return
        self.settled_ms, self._told = max(self.settled_ms, end_ms), 0
        asked = bool(body.get("from_finalize"))
        endpoint = asked or (bool(body.get("speech_final")) and not self.patient)
        if text:
            self._segment(text, best["confidence"], endpoint=endpoint)
        elif self._interim:
            self._segment(self._interim, self._confidence, endpoint=endpoint)
        elif endpoint:
            self.end_turn()
        elif not self._words_since_end:
            self._stopped()
        if asked:
            self.finalized.set()
        self._check_idle(end_ms)

    def _check_idle(self, now_ms: int) -> None:
        if (self._interim or self._words_since_end) and now_ms - self._worded_ms >= self._idle_ms:
            self.end_turn()

    def _segment(self, text: str, confidence: float, *, endpoint: bool) -> None:
        self._interim = ""
        if endpoint:
            self._stopped()
        self._words_since_end = not endpoint
        self._hear(SegmentHeard(text, confidence, endpoint))

    def _started(self) -> None:
        if not self._speaking:
            self._speaking = True
            self._hear(SpeechStarted("stt"))

    def _stopped(self) -> None:
        if self._speaking:
            self._speaking = False
            self._hear(SpeechStopped("stt"))


def utterance_end_ms(request: SttRequest) -> int:
    """Without a word for so long a turn is over, whatever else is heard."""
    own = request.options.get("utterance_end_ms")
    derived = max(LEAST_UTTERANCE_END_MS, request.endpointing_ms + UTTERANCE_END_MARGIN_MS)
    return derived if own is None else int(own)


def ears_of(request: SttRequest, hear: Callable[[SttEvent], None]) -> DeepgramEars:
    """A reader for what a request asks for."""
    longest_gap_ms = utterance_end_ms(request)
    return DeepgramEars(hear, max(IDLE_MS, longest_gap_ms + IDLE_MS - LEAST_UTTERANCE_END_MS))


def wire_of(request: SttRequest) -> Wire:
    """The protocol's words, and what of the request is billed on top."""
    asked = {"keyterm": request.keyterms, **request.options}
    add_ons = tuple(name for name in _BILLED if asked.get(name))
    return Wire(NAME, '{"type":"KeepAlive"}', '{"type":"Finalize"}', CLOSE, add_ons=add_ons)


def listen_query(request: SttRequest) -> str:
    """The query of `/v1/listen`; raises ProviderError(`bad_request`) for an unknown option."""
    unknown = sorted(set(request.options) - _OPTIONS)
    if unknown:
        raise fault("bad_request", f"knows no option {', '.join(unknown)}", "deepgram")
    asked: dict[str, Json] = {
        "model": request.model,
        "language": request.language,
        "encoding": "mulaw",
        "sample_rate": 8000,
        "channels": 1,
        "interim_results": True,
        "endpointing": request.endpointing_ms,
        "utterance_end_ms": utterance_end_ms(request),
        "vad_events": True,
        "smart_format": True,
        "numerals": True,
        **request.options,
    }
    if not request.language:
        del asked["language"]
    asked["keyterm" if "nova-3" in request.model else "keywords"] = fitting(request.keyterms)
    return query(asked)
