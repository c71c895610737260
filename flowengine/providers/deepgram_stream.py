"""A socket that hears for one call at Deepgram, whichever of its two protocols it speaks.

Plain `websockets`: the SDK's socket is the deprecated client with deflate on and costs several
times the CPU. Audio goes out in batches of 40 ms, of 20 ms while the caller speaks; what comes back
is read by a pure reader (`Reader`). Numbers from Deepgram's streaming reference: a `/v1/listen`
socket without data for 10 s is closed, so KeepAlive goes out every 4 s; 500 tokens of key terms at
most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote_plus

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from flowengine.errors import ProviderError
from flowengine.events import HearingFailed, Json, Usage
from flowengine.ports import BYTES_PER_MS, SttEvent, SttHints
from flowengine.providers.faults import fault
from flowengine.providers.sockets import SEND_S, hang_up, of_close

_BATCH_BYTES: Final = 40 * BYTES_PER_MS
_SPEECH_BATCH_BYTES: Final = 20 * BYTES_PER_MS
"""While the caller speaks: what waits here is added to the time to the end of his turn."""
_HELD_BYTES: Final = 10_000 * BYTES_PER_MS
_KEEPALIVE_S: Final = 4.0
_LOOK_S: Final = 1.0
_FINALIZE_S: Final = 1.0
_CLOSE_S: Final = 1.0
_KEYTERM_TOKENS: Final = 450


@dataclass(frozen=True, slots=True)
class Wire:
    """What a protocol sends to be kept open and to end a turn now; "" where it has no such word."""

    keepalive: str
    finalize: str


class Reader(Protocol):
    """Reads a protocol's messages into events, and knows how far the words are final."""

    patient: bool
    """A pause ends no turn: digits are expected."""
    settled_ms: int
    """How far into the stream the words are final."""
    results: int
    """How many results came, empty ones too."""
    duration_ms: int | None
    """What the vendor bills, once it said so."""
    finalized: asyncio.Event

    @property
    def is_hearing(self) -> bool:
        """Whether somebody speaks, or a turn is not over."""
        ...

    def read(self, message: str | bytes) -> ProviderError | None:
        """Take one message; returns the vendor's error if it is one."""
        ...

    def end_turn(self) -> None:
        """The turn is over, whether or not its last words were made final."""
        ...


class DeepgramSession:
    """One call's stream. A broken socket is reported once as `HearingFailed`."""

    def __init__(
        self,
        socket: ClientConnection,
        model: str,
        hear: Callable[[SttEvent], None],
        wire: Wire,
        reader: Reader,
    ) -> None:
        self._socket = socket
        self._model = model
        self._hear = hear
        self._wire = wire
        self._ears = reader
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
        self._command(self._wire.finalize)
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
        elif self._wire.keepalive and now - self._sent_at >= _KEEPALIVE_S:
            self._command(self._wire.keepalive)
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


def query(asked: Mapping[str, Json]) -> str:
    """The query of a socket's address; a list becomes the same name several times."""
    return "&".join(
        f"{name}={quote_plus(_plain(item))}"
        for name, value in asked.items()
        for item in (value if isinstance(value, (list, tuple)) else (value,))
    )


def _plain(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def fitting(keyterms: tuple[str, ...]) -> list[str]:
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
