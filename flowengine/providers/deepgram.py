"""Deepgram's streaming speech to text (`/v1/listen`) as the engine's `Stt`.

Plain `websockets`: the SDK's socket is the deprecated client with deflate on and costs several
times the CPU. Audio goes out in batches of 40 ms, of 20 ms while the caller speaks; results come
back as `SttEvent`s through `DeepgramEars`, a pure reader of the vendor's messages. Numbers from
Deepgram's streaming reference: a socket without data for 10 s is closed, so KeepAlive goes out
every 4 s; `utterance_end_ms` is at least 1000; 500 tokens of key terms at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import quote_plus

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    HearingFailed,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.ports import BYTES_PER_MS, SttEvent, SttHints, SttRequest
from flowengine.providers.faults import fault, of_word
from flowengine.providers.settings import ProviderSettings, socket_url
from flowengine.providers.sockets import SEND_S, hang_up, of_close, open_socket

DEFAULT_URL = "https://api.deepgram.com"
_BATCH_BYTES: Final = 40 * BYTES_PER_MS
_SPEECH_BATCH_BYTES: Final = 20 * BYTES_PER_MS
"""While the caller speaks: what waits here is added to the time to the end of his turn."""
_HELD_BYTES: Final = 10_000 * BYTES_PER_MS
_KEEPALIVE_S: Final = 4.0
_LOOK_S: Final = 1.0
_FINALIZE_S: Final = 1.0
_CLOSE_S: Final = 1.0
_KEYTERM_TOKENS: Final = 450
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
    may both come.
    """

    def __init__(self, hear: Callable[[SttEvent], None]) -> None:
        self._hear = hear
        self._interim = ""
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
        if not body["is_final"]:
            if text:
                self._interim, self._confidence = text, best["confidence"]
                self._hear(InterimHeard(text, self._confidence))
            return
        self.settled_ms = max(self.settled_ms, round((body["start"] + body["duration"]) * 1000))
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


class DeepgramSession:
    """One call's stream. A broken socket is reported once as `HearingFailed`."""

    def __init__(
        self, socket: ClientConnection, model: str, hear: Callable[[SttEvent], None]
    ) -> None:
        self._socket = socket
        self._model = model
        self._hear = hear
        self._ears = DeepgramEars(hear)
        self._held = bytearray()
        self._wake = asyncio.Event()
        self._awake = False
        self._commands: list[str] = []
        self._fed_bytes = 0
        self._failed = False
        self._closing = False
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._sent_at = loop.time()
        self._sending_since: float | None = None
        self._looking = loop.call_later(_LOOK_S, self._look)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        self._finalizing: asyncio.Task[None] | None = None

    @property
    def settled_bytes(self) -> int:
        """How much of the audio fed so far needs no second hearing."""
        return min(self._ears.settled_ms * BYTES_PER_MS, self._fed_bytes)

    @property
    def results(self) -> int:
        """How many results the vendor sent."""
        return self._ears.results

    def feed(self, audio: bytes) -> None:
        if self._failed or self._closing:
            return
        self._held += audio
        self._fed_bytes += len(audio)
        if not self._awake and len(self._held) >= self._batch_bytes:
            self._awake = True
            self._wake.set()

    def hint(self, hints: SttHints) -> None:
        self._ears.patient = hints.digits

    def finalize(self) -> None:
        if self._failed or self._closing:
            return
        self._ears.finalized.clear()
        self._command('{"type":"Finalize"}')
        if self._finalizing is None or self._finalizing.done():
            self._finalizing = asyncio.create_task(self._await_final())

    async def close(self) -> Usage | None:
        if not self._closing:
            self._closing = True
            self._looking.cancel()
            if not self._failed:
                self._command('{"type":"CloseStream"}')
                await asyncio.wait(self._tasks, timeout=_CLOSE_S)
            tasks = [*self._tasks, *([self._finalizing] if self._finalizing else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await hang_up(self._socket)
        billed = self._ears.duration_ms
        heard = self._fed_bytes // BYTES_PER_MS if billed is None else billed
        return Usage("deepgram", self._model, "audio_ms", amount_in=heard, estimated=billed is None)

    @property
    def _batch_bytes(self) -> int:
        return _SPEECH_BATCH_BYTES if self._ears.is_hearing else _BATCH_BYTES

    def _command(self, text: str) -> None:
        self._commands.append(text)
        self._awake = True
        self._wake.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._awake = False
                if len(self._held) > _HELD_BYTES:
                    del self._held[: len(self._held) - _HELD_BYTES]
                commands, self._commands = self._commands, []
                self._sending_since = self._clock()
                if len(self._held) >= self._batch_bytes or (commands and self._held):
                    audio = bytes(self._held)
                    self._held.clear()
                    await self._socket.send(audio)
                for command in commands:
                    await self._socket.send(command)
                self._sent_at, self._sending_since = self._sending_since, None
        except ConnectionClosed as closed:
            self._fail(of_close(closed, "deepgram"))

    def _look(self) -> None:
        """Once a second: a send that hangs, a socket that was silent for too long.

        One timer for all of that costs less than a timeout around every send.
        """
        now = self._clock()
        if self._sending_since is not None:
            if now - self._sending_since >= SEND_S:
                self._fail(fault("stalled", "takes no more audio", "deepgram"))
                return
        elif now - self._sent_at >= _KEEPALIVE_S:
            self._command('{"type":"KeepAlive"}')
        self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    async def _read(self) -> None:
        try:
            while True:
                error = self._ears.read(await self._socket.recv())
                if error is not None:
                    self._fail(error)
                    return
        except ConnectionClosed as closed:
            self._fail(of_close(closed, "deepgram"))

    async def _await_final(self) -> None:
        try:
            async with asyncio.timeout(_FINALIZE_S):
                await self._ears.finalized.wait()
        except TimeoutError:
            self._ears.end_turn()

    def _fail(self, error: ProviderError) -> None:
        if self._failed:
            return
        self._failed = True
        self._looking.cancel()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if not self._closing:
            self._hear(HearingFailed(error.code))


class DeepgramStt:
    """Deepgram as the engine's speech to text."""

    name = "deepgram"

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        self._headers = {"Authorization": f"Token {key}"}
        self._url = socket_url(base_url)

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> DeepgramSession:
        url = f"{self._url}/v1/listen?{listen_query(request)}"
        socket = await open_socket(url, self._headers, self.name)
        return DeepgramSession(socket, request.model, hear)


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
        "utterance_end_ms": max(1000, request.endpointing_ms),
        "vad_events": True,
        "smart_format": True,
        "numerals": True,
        **request.options,
    }
    if not request.language:
        del asked["language"]
    asked["keyterm" if "nova-3" in request.model else "keywords"] = _fitting(request.keyterms)
    return "&".join(
        f"{name}={quote_plus(_plain(item))}"
        for name, value in asked.items()
        for item in (value if isinstance(value, (list, tuple)) else (value,))
    )


def _plain(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fitting(keyterms: tuple[str, ...]) -> list[str]:
    """The first key terms that are sure to be under the vendor's limit of tokens.

    Beyond it the vendor stops transcribing without a word, so fewer are better than all.
    """
    fitting: list[str] = []
    tokens = 0
    for term in keyterms:
        tokens += 1 + len(term.encode()) // 2
        if tokens > _KEYTERM_TOKENS:
            break
        fitting.append(term)
    return fitting


def make_stt(settings: ProviderSettings) -> DeepgramStt:
    """Make the process's Deepgram from its settings."""
    return DeepgramStt(settings.key("deepgram"), settings.base_url("deepgram", DEFAULT_URL))
