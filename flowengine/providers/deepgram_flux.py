"""Deepgram's Flux models (`/v2/listen`): what is asked for, and a pure reader of what comes back.

Flux sends `TurnInfo` about four times a second of audio, words or not; it foresees the end of a
turn (`EagerEndOfTurn`), takes that back (`TurnResumed`) or keeps to it (`EndOfTurn`). Source:
Deepgram's pages on Flux' state machine and on configuring its end of turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import orjson

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointForeseen,
    EndpointRevoked,
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

EAGER_EOT_THRESHOLD: Final = 0.5
"""How sure Flux must be to foresee an end; 0.3 to 0.9. Lower is earlier and more often wrong: each
one that is taken back is a request to the LLM for nothing."""
EOT_TIMEOUT_MS: Final = 2500
"""Quiet that ends a turn however unsure Flux is; no caller is given a longer pause elsewhere."""
EOT_THRESHOLD: Final = 0.7
"""How sure Flux must be to end a turn, when nobody says otherwise (its own default)."""
PATIENT_EOT_THRESHOLD: Final = 0.9
"""The same while digits are read out, with pauses between groups."""
ANSWERS_MS: Final = 5000
"""It says something each quarter of a second of audio; a socket that is open and mute is broken."""
_OPTIONS: Final = frozenset(
    [
        "eager_eot_threshold",
        "eot_threshold",
        "eot_timeout_ms",
        "language_hint",
        "mip_opt_out",
        "numerals",
        "profanity_filter",
        "tag",
    ]
)


class FluxEars:
    """Reads the messages of one stream, and bears with those that come late or not at all."""

    def __init__(self, hear: Callable[[SttEvent], None]) -> None:
        self._hear = hear
        self._sequence = -1
        self._turn = 0
        self._told = 0
        """How many words of the turn were told before the vendor ended it."""
        self._text = ""
        self._confidence = 0.0
        self._speaking = False
        self._foreseen = False
        self.patient = False
        self.settled_ms = 0
        self.results = 0
        self.duration_ms: int | None = None
        """The vendor never says."""
        self.finalized = asyncio.Event()

    @property
    def is_hearing(self) -> bool:
        return self._speaking

    def read(self, message: str | bytes) -> ProviderError | None:
        try:
            body = orjson.loads(message)
            kind = body["type"]
            if kind == "TurnInfo":
                self._turn_info(body)
            elif kind == "Warning":
                # Nothing was said, so there is no turn to end (FORCE_END_TURN_NO_ACTIVE_TURN).
                self.finalized.set()
            elif kind == "Error":
                return of_word(str(body.get("code") or ""), "deepgram")
        except (ValueError, KeyError, TypeError, AttributeError):
            return fault("protocol", "sent a message that cannot be read", "deepgram")
        return None

    def end_turn(self) -> None:
        self._told += len(self._text.split())
        self._ended(self._text, self._confidence)

    def _turn_info(self, body: dict[str, Json]) -> None:
        event, turn, text = str(body["event"]), int(body["turn_index"]), str(body["transcript"])
        sequence = int(body.get("sequence_id", self._sequence + 1))
        self.results += 1
        if sequence <= self._sequence or turn < self._turn:
            return  # repeated, or of a turn that is over
        self._sequence = sequence
        if turn > self._turn:
            self.end_turn()  # its own end got lost
            self._turn, self._told = turn, 0
        text = after(self._told, text)
        confidence = _confidence(body["words"])
        if event == "EndOfTurn":
            self.settled_ms = round(float(body["audio_window_end"]) * 1000)
            self._ended(text, confidence)
            self._turn, self._told = turn + 1, 0
            self.finalized.set()
            return
        if event == "TurnResumed":
            self._revoked()
        self._heard(text, confidence)
        if event == "EagerEndOfTurn" and text:
            self._foreseen = True
            self._hear(EndpointForeseen(text, float(body["end_of_turn_confidence"])))

    def _heard(self, text: str, confidence: float) -> None:
        """Words so far; the first ones begin the turn, whatever event brought them."""
        if not text or text == self._text:
            return
        self._revoked()
        if not self._speaking:
            self._speaking = True
            self._hear(SpeechStarted("stt"))
        self._text, self._confidence = text, confidence
        self._hear(InterimHeard(text, confidence))

    def _revoked(self) -> None:
        if self._foreseen:
            self._foreseen = False
            self._hear(EndpointRevoked())

    def _ended(self, text: str, confidence: float) -> None:
        # An empty end after words would lose what was said.
        words, self._text = text or self._text, ""
        self._foreseen = False
        if self._speaking:
            self._speaking = False
            self._hear(SpeechStopped("stt"))
        if words:
            self._hear(SegmentHeard(words, confidence, endpoint=not self.patient))


def _confidence(words: list[dict[str, Json]]) -> float:
    """The mean over the words; 0 where the vendor gives none."""
    known = [float(word.get("confidence") or 0.0) for word in words]
    return sum(known) / len(known) if known else 0.0


def wire_of(request: SttRequest) -> Wire:
    """Flux' words for a request; its thresholds can be changed while it hears."""
    own = request.options.get("eot_threshold", EOT_THRESHOLD)
    return Wire(
        NAME,
        keepalive="",
        finalize='{"type":"ForceEndTurn"}',
        close=CLOSE,
        patient=_thresholds(max(own, PATIENT_EOT_THRESHOLD)),
        impatient=_thresholds(own),
        answers_ms=ANSWERS_MS,
    )


def _thresholds(eot: float) -> str:
    return orjson.dumps({"type": "Configure", "thresholds": {"eot_threshold": eot}}).decode()


def listen_query(request: SttRequest) -> str:
    """The query of `/v2/listen`; raises ProviderError(`bad_request`) for an unknown option.

    Flux has no `endpointing`: it hears the end in what is said and how.
    """
    unknown = sorted(set(request.options) - _OPTIONS)
    if unknown:
        raise fault("bad_request", f"knows no option {', '.join(unknown)} with Flux", "deepgram")
    asked: dict[str, Json] = {
        "model": request.model,
        "encoding": "mulaw",
        "sample_rate": 8000,
        "eager_eot_threshold": EAGER_EOT_THRESHOLD,
        "eot_timeout_ms": EOT_TIMEOUT_MS,
    }
    if request.model.endswith("-multi") and request.language:
        asked["language_hint"] = request.language.partition("-")[0]
    asked.update(request.options)
    asked["keyterm"] = fitting(request.keyterms)
    return query(asked)
