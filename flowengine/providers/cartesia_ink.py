"""Cartesia's Ink as the engine's speech to text: what is asked for, and pure readers.

Ink 2 (`/stt/turns/websocket`) finds turns itself and foresees their end; it hears English, and has
no word to end a turn now. Other models (`/stt/websocket`) make words final when they are told to
(`finalize`), which this side does after the flow's endpointing of quiet. Sources: the types of
cartesia 4.2; Cartesia's pages on turns, on their configuration and on common pitfalls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import orjson

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointForeseen,
    EndpointReached,
    EndpointRevoked,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.ports import SttEvent, SttRequest
from flowengine.providers.cartesia_wire import NAME, error_of, headers
from flowengine.providers.faults import fault
from flowengine.providers.listening import GatedSession, ListeningSession, Wire, query
from flowengine.providers.sockets import open_socket

END_TIMEOUT_MS: Final = 2500
"""Quiet that ends a turn however unsure Ink is; its own is 5600."""
END_THRESHOLD: Final = 0.2
"""Below it a turn ends, when nobody says otherwise (its own default): lower is surer."""
PATIENT_END_THRESHOLD: Final = 0.05
"""The same while digits are read out, with pauses between groups."""
_TURNS_OPTIONS: Final = frozenset(
    [
        "turn_eager_end_threshold",
        "turn_end_threshold",
        "turn_end_timeout_ms",
        "turn_start_threshold",
    ]
)
_MANUAL_OPTIONS: Final = frozenset({"max_silence_duration_secs", "min_volume"})
_KEYTERMS: Final = 100
_KEYTERM_CHARS: Final = 1200

MANUAL: Final = Wire(NAME, keepalive="", finalize="finalize", close="close")


class TurnsEars:
    """Reads the messages of one `/stt/turns/websocket`: each tells all of the turn's words."""

    def __init__(self, hear: Callable[[SttEvent], None]) -> None:
        self._hear = hear
        self._text = ""
        self._speaking = False
        self._foreseen = False
        self._told = 0
        """How many words of the turn were made final before the vendor ended it."""
        self._began = False
        """The vendor began a turn and did not end it."""
        self._lost_end: list[str] = []
        """The words of a turn whose end had not come when the next one began."""
        self._doubtful: list[str] = []
        """Words that came before a turn began: its first ones, or those of one whose beginning and
        end got lost."""
        self._before: list[str] = []
        """The words of the turn that ended last."""
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
            match body["type"]:
                case "turn.start":
                    self._lost_end, self._doubtful = [], []
                    if self._text and not self._began:
                        self._doubtful = self._text.split()
                    elif self._text:
                        self._lost_end = self._text.split()
                        self.end_turn()
                    self._told = 0
                    self._began = True
                    self._start()
                case "turn.update":
                    self._resolve(body["transcript"])
                    if not self._is_stale(body["transcript"]):
                        self._heard(self._rest(body["transcript"]))
                case "turn.eager_end":
                    self._resolve(body["transcript"])
                    if not self._is_stale(body["transcript"]):
                        self._foresee(self._rest(body["transcript"]))
                case "turn.resume":
                    self._revoked()
                case "turn.end" if self._lost_end and self._is_late(body["transcript"]):
                    self._lost_end = []
                case "turn.end":
                    self._resolve(body["transcript"])
                    # An empty end after words would lose what was said.
                    self._ended(self._rest(body["transcript"]) or self._text)
                    self._told = 0
                    self._began, self._before = False, body["transcript"].split()
                    self.finalized.set()
                case "error":
                    return error_of(body)
        except (ValueError, KeyError, TypeError, AttributeError):
            return fault("protocol", "sent a message that cannot be read", NAME)
        return None

    def end_turn(self) -> None:
        self._told += len(self._text.split())
        self._ended(self._text, endpoint=True)

    def _is_stale(self, transcript: str) -> bool:
        """Whether these are words of the turn that is over, told late: nothing numbers them."""
        words = transcript.split()
        return not self._began and bool(words) and words == self._before[: len(words)]

    def _resolve(self, transcript: str) -> None:
        """What comes next tells whose the doubtful words were."""
        doubtful, self._doubtful = self._doubtful, []
        if doubtful and transcript.split()[: len(doubtful)] != doubtful:
            self.end_turn()
            self._told = 0

    def _is_late(self, transcript: str) -> bool:
        """Whether this is the end that seemed lost; of the turn that runs nothing is known yet."""
        return not self._text and transcript.split()[: len(self._lost_end)] == self._lost_end

    def _rest(self, transcript: str) -> str:
        return " ".join(transcript.split()[self._told :])

    def _start(self) -> None:
        if not self._speaking:
            self._speaking = True
            self._hear(SpeechStarted("stt"))

    def _heard(self, text: str) -> None:
        if not text or text == self._text:
            return
        self._revoked()
        self._start()
        self._text = text
        self._hear(InterimHeard(text))

    def _foresee(self, text: str) -> None:
        self._heard(text)
        if text and not self._foreseen:
            self._foreseen = True
            self._hear(EndpointForeseen(text))

    def _revoked(self) -> None:
        if self._foreseen:
            self._foreseen = False
            self._hear(EndpointRevoked())

    def _ended(self, text: str, *, endpoint: bool | None = None) -> None:
        self._text = ""
        self._foreseen = False
        if self._speaking:
            self._speaking = False
            self._hear(SpeechStopped("stt"))
        if text:
            ends = not self.patient if endpoint is None else endpoint
            self._hear(SegmentHeard(text, endpoint=ends))


class ManualEars:
    """Reads the messages of one `/stt/websocket`: words so far, final words, `flush_done`."""

    def __init__(self, hear: Callable[[SttEvent], None]) -> None:
        self._hear = hear
        self._interim = ""
        self._speaking = False
        self._owes_end = False
        """Words were made final since the last end of a turn."""
        self.patient = False
        self.duration_ms: int | None = None
        """The vendor never says: its transcripts tell how long each was, not what is billed."""
        self.finalized = asyncio.Event()

    @property
    def is_hearing(self) -> bool:
        return self._speaking

    def read(self, message: str | bytes) -> ProviderError | None:
        try:
            body = orjson.loads(message)
            match body["type"]:
                case "transcript":
                    self._transcript(body["text"].strip(), is_final=bool(body["is_final"]))
                case "flush_done":
                    self._flushed()
                case "error":
                    return error_of(body)
        except (ValueError, KeyError, TypeError, AttributeError):
            return fault("protocol", "sent a message that cannot be read", NAME)
        return None

    def end_turn(self) -> None:
        if self._interim:
            self._final(self._interim)
        self._ended(endpoint=True)

    def _transcript(self, text: str, *, is_final: bool) -> None:
        if text and not self._speaking:
            self._speaking = True
            self._hear(SpeechStarted("stt"))
        if is_final:
            # An empty final after words would lose what was said.
            self._final(text or self._interim)
        elif text and text != self._interim:
            self._interim = text
            self._hear(InterimHeard(text))

    def _final(self, text: str) -> None:
        self._interim = ""
        if text:
            self._owes_end = True
            self._hear(SegmentHeard(text))

    def _flushed(self) -> None:
        self._ended(endpoint=not self.patient)
        self.finalized.set()

    def _ended(self, *, endpoint: bool) -> None:
        if self._speaking:
            self._speaking = False
            self._hear(SpeechStopped("stt"))
        owed, self._owes_end = self._owes_end, False
        if owed and endpoint:
            self._hear(EndpointReached())


_SLACK_MS: Final = 3000
"""How much later than its own timeout a turn may end."""


def is_turns(request: SttRequest) -> bool:
    """Whether a model finds turns itself."""
    return not request.model.startswith("ink-whisper")


def turns_wire(request: SttRequest) -> Wire:
    """The words of `/stt/turns/websocket`; its thresholds can be changed while it hears."""
    own = request.options.get("turn_end_threshold", END_THRESHOLD)
    return Wire(
        NAME,
        keepalive="",
        finalize="",
        close='{"type":"close"}',
        patient=_end_threshold(min(own, PATIENT_END_THRESHOLD)),
        impatient=_end_threshold(own),
        ends_ms=int(request.options.get("turn_end_timeout_ms", END_TIMEOUT_MS)) + _SLACK_MS,
    )


def _end_threshold(threshold: float) -> str:
    body = {"type": "config", "turn": {"end_threshold": threshold}}
    return orjson.dumps(body).decode()


def listen_path(request: SttRequest) -> str:
    """Path and query of the socket; raises ProviderError(`bad_request`) for what it cannot do."""
    turns = is_turns(request)
    unknown = sorted(set(request.options) - (_TURNS_OPTIONS if turns else _MANUAL_OPTIONS))
    if unknown:
        what = f"knows no option {', '.join(unknown)} with {request.model}"
        raise fault("bad_request", what, NAME)
    language = request.language.partition("-")[0].lower()
    if request.model == "ink-2" and language not in ("", "en"):
        raise fault(
            "bad_request", f"hears English with ink-2, not {language}: see ink-whisper", NAME
        )
    asked: dict[str, Json] = {
        "model": request.model,
        "encoding": "pcm_mulaw",
        "sample_rate": 8000,
    }
    if turns:
        asked["turn_end_timeout_ms"] = END_TIMEOUT_MS
    elif language:
        asked["language"] = language
    asked.update(request.options)
    asked["keyterm"] = fitting(request.keyterms)
    return f"stt/{'turns/' if turns else ''}websocket?{query(asked)}"


def fitting(keyterms: tuple[str, ...]) -> list[str]:
    """The first key terms that are under the vendor's limits."""
    terms: list[str] = []
    for term in keyterms[:_KEYTERMS]:
        if sum(map(len, terms)) + len(term) > _KEYTERM_CHARS:
            break
        terms.append(term)
    return terms


class CartesiaStt:
    """Cartesia as the engine's speech to text; `url` is its base URL's ws(s) form.

    Its sessions count no results: Ink says nothing of noise, so its silence proves nothing.
    """

    name = NAME

    def __init__(self, key: str, url: str) -> None:
        self._headers = headers(key)
        self._url = url

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> ListeningSession:
        path = listen_path(request)
        socket = await open_socket(f"{self._url}/{path}", self._headers, NAME)
        if is_turns(request):
            ears = TurnsEars(hear)
            return ListeningSession(socket, request.model, hear, turns_wire(request), ears)
        session = GatedSession(socket, request.model, hear, MANUAL, ManualEars(hear))
        session.commit_after(request.endpointing_ms)
        return session
