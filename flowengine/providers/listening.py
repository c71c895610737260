"""A socket that hears for one call, whichever vendor's protocol it speaks (`Wire`).

Plain `websockets`: an SDK's socket costs several times the CPU. Audio goes out in batches of 40 ms,
of 20 ms while the caller speaks; what comes back is read by a pure reader (`Reader`). A line that
sends nothing is stood in for: by the protocol's own word where it has one, else by silence: as much
as is missing while a turn is open (its end is found in audio), a little otherwise (it is billed).
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
from flowengine.media.gate import SpeechGate
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
_SILENT_MS: Final = 500
"""Speech of which a vendor that has words for it as it is spoken says nothing."""
_CLOSE_S: Final = 1.0
_IDLE_SILENCE_MS: Final = 100
_SILENCE: Final = b"\xff"


def after(told: int, text: str) -> str:
    """A turn's words but for the first `told`, which were told before the vendor ended it."""
    return " ".join(text.split()[told:]) if told else text


def as_bytes(audio: bytes) -> bytes:
    """Audio as it goes out to most."""
    return audio


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol's words; "" where it has none.

    `keepalive` keeps an idle socket open (silence does where it is ""), `finalize` ends a turn now
    (where it is "" the words so far are taken if the turn does not end within a second), `close`
    ends the stream, `patient` and `impatient` say that digits are expected, or no more.
    `answers_ms`: however much audio it is sent, it says something at least so often (0: it may be
    silent for as long as the caller is); `ends_ms`: the same while a turn is open, which must go on
    or end. `add_ons`: what is billed on top.
    """

    provider: str
    keepalive: str
    finalize: str
    close: str = ""
    patient: str = ""
    impatient: str = ""
    answers_ms: int = 0
    ends_ms: int = 0
    add_ons: tuple[str, ...] = ()
    frame: Callable[[bytes], str | bytes] = as_bytes


class Reader(Protocol):
    """Reads a protocol's messages into events, and knows how far the words are final."""

    patient: bool
    """A pause ends no turn: digits are expected."""
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


class ListeningSession:
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
        self._silences: list[tuple[int, int]] = []
        """Silence that was put in: where in what was sent, and how much."""
        self._failed = False
        self._closing = False
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._sent_at = self._fed_at = self._heard_at = loop.time()
        self.messages = 0
        """How many the vendor sent that are no answer to the opening."""
        self._unanswered_bytes = 0
        self._sending_since: float | None = None
        self._looking = loop.call_later(_LOOK_S, self._look)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        self._finalizing: asyncio.Task[None] | None = None
        self._fell_silent = False
        """It said nothing more of a turn while the caller spoke on."""

    def fed_before(self, stream_ms: int) -> int:
        """How many bytes of the audio fed lie before this time of the vendor's stream."""
        place = stream_ms * BYTES_PER_MS
        silence = sum(min(size, place - at) for at, size in self._silences if at < place)
        return min(place - silence, self._fed_bytes)

    def feed(self, audio: bytes) -> None:
        if self._failed or self._closing:
            return
        self._fed_bytes += len(audio)
        self._fed_at = self._clock()
        self._hold(audio)

    def _hold(self, audio: bytes) -> None:
        self._held += audio
        if not self._awake and len(self._held) >= self._batch_bytes:
            self._awake = True
            self._wake.set()

    def hint(self, hints: SttHints) -> None:
        if hints.digits == self._ears.patient:
            return
        self._ears.patient = hints.digits
        word = self._wire.patient if hints.digits else self._wire.impatient
        if word and not self._failed and not self._closing:
            self._command(word)

    def finalize(self) -> None:
        if self._failed or self._closing:
            return
        self._ears.finalized.clear()
        if self._wire.finalize:
            self._command(self._wire.finalize)
        elif not self._ears.is_hearing:
            return
        if self._finalizing is None or self._finalizing.done():
            self._finalizing = asyncio.create_task(self._await_final())

    async def close(self) -> Usage | None:
        if not self._closing:
            self._closing = True
            self._looking.cancel()
            if not self._failed and self._wire.close:
                self._command(self._wire.close)
                await asyncio.wait(self._tasks, timeout=_CLOSE_S)
            tasks = [*self._tasks, *([self._finalizing] if self._finalizing else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await hang_up(self._socket)
        billed = self._ears.duration_ms
        sent = self._fed_bytes + self._silent_bytes
        return Usage(
            self._wire.provider,
            self._model,
            "audio_ms",
            amount_in=sent // BYTES_PER_MS if billed is None else billed,
            add_ons=self._wire.add_ons,
            estimated=billed is None,
        )

    @property
    def _batch_bytes(self) -> int:
        return _SPEECH_BATCH_BYTES if self._ears.is_hearing else _BATCH_BYTES

    @property
    def _silent_bytes(self) -> int:
        return sum(size for _, size in self._silences)

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
                    await self._socket.send(self._wire.frame(audio))
                    self._unanswered_bytes += len(audio)
                for command in commands:
                    await self._socket.send(command)
                self._sent_at, self._sending_since = self._sending_since, None
        except ConnectionClosed as closed:
            self._fail(of_close(closed, self._wire.provider))

    def _look(self) -> None:
        """Once a second: a send that hangs, a vendor that says nothing, a line that sends nothing.

        One timer for all of that costs less than a timeout around every send.
        """
        now = self._clock()
        if self._sending_since is not None:
            if now - self._sending_since >= SEND_S:
                self._fail(fault("stalled", "takes no more audio", self._wire.provider))
                return
        elif self._is_mute(now):
            self._fail(fault("stalled", "says nothing more", self._wire.provider))
            return
        elif not self._wire.keepalive:
            self._stand_in(now)
        elif now - self._sent_at >= _KEEPALIVE_S:
            self._command(self._wire.keepalive)
        self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _is_mute(self, now: float) -> bool:
        limit_ms = self._wire.answers_ms
        if self._ears.is_hearing:
            limit_ms = limit_ms or self._wire.ends_ms
        return (
            limit_ms > 0
            and self._unanswered_bytes >= limit_ms * BYTES_PER_MS
            and now - self._heard_at >= limit_ms / 1000
        )

    def _stand_in(self, now: float) -> None:
        """Send silence in the place of a line that sends nothing."""
        missing_s = now - self._fed_at
        if self._ears.is_hearing and missing_s >= _LOOK_S:
            self._be_silent(round(missing_s * 1000))
        elif missing_s >= _KEEPALIVE_S:
            self._be_silent(_IDLE_SILENCE_MS)

    def _be_silent(self, for_ms: int) -> None:
        audio = _SILENCE * (for_ms * BYTES_PER_MS)
        self._silences.append((self._fed_bytes + self._silent_bytes, len(audio)))
        self._fed_at = self._clock()
        self._hold(audio)

    async def _read(self) -> None:
        try:
            while True:
                error = self._ears.read(await self._socket.recv())
                self._heard_at, self._unanswered_bytes = self._clock(), 0
                self.messages += 1
                if error is not None:
                    self._fail(error)
                    return
        except ConnectionClosed as closed:
            self._fail(of_close(closed, self._wire.provider))

    async def _await_final(self) -> None:
        try:
            async with asyncio.timeout(_FINALIZE_S):
                await self._ears.finalized.wait()
        except TimeoutError:
            if self._fell_silent:
                self._fail(fault("stalled", "fell silent inside a turn", self._wire.provider))
            else:
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


class GatedSession(ListeningSession):
    """A stream whose turns this side may end, by its own gate."""

    _gate: SpeechGate | None = None
    _quiet_ms = 0

    def commit_after(self, quiet_ms: int) -> None:
        """Finalize whenever speech was followed by so much quiet."""
        self._gate = SpeechGate(quiet_ms=quiet_ms)
        self._quiet_ms = quiet_ms

    def feed(self, audio: bytes) -> None:
        super().feed(audio)
        change = self._gate.feed(audio) if self._gate is not None else None
        if change is not None and change.ended_ms is not None:
            silent_ms = (self._clock() - self._heard_at) * 1000 - self._quiet_ms
            self._fell_silent = self._ears.is_hearing and silent_ms >= _SILENT_MS
            self.finalize()


def query(asked: Mapping[str, Json]) -> str:
    """The query of a socket's address; a list becomes the same name several times."""
    return "&".join(
        f"{name}={quote_plus(_plain(item))}"
        for name, value in asked.items()
        for item in (value if isinstance(value, (list, tuple)) else (value,))
    )


def _plain(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
