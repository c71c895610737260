"""The hearing pipe: the line's audio into the energy gate and the recogniser, digits to the actor.

Audio goes straight through, frame by frame, with no queue in between; only what it means becomes
an event. A recogniser that is not open yet is given what it missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from flowengine.errors import ConfigError, ProviderError
from flowengine.events import (
    DigitPressed,
    HearingFailed,
    Input,
    LineClosed,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.flow.defaults import SttUse
from flowengine.media.gate import SpeechGate
from flowengine.ports import (
    BYTES_PER_MS,
    Line,
    LineAudio,
    LineDigit,
    LineMark,
    LineStopped,
    SttEvent,
    SttHints,
    SttRequest,
    SttSession,
    UsedSeveral,
)
from flowengine.runtime.services import Vendors

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
MISSED_BYTES = 10_000 * BYTES_PER_MS
"""Audio kept for a recogniser that is still being opened."""
CLOSE_S = 3.0

log = structlog.get_logger(__name__)


class HeardAudio(Protocol):
    """Whoever else wants what the caller says: the recording, an LLM that hears."""

    def caller(self, audio: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """The recogniser that a node wants."""

    use: SttUse
    language: str
    endpointing_ms: int

    def request(self) -> SttRequest:
        return SttRequest(
            self.use.model or "",
            self.language,
            self.endpointing_ms,
            self.use.keyterms or (),
            self.use.settings,
        )


class Ear:
    """The hearing pipe of one call. `run` is its one task."""

    def __init__(
        self,
        line: Line,
        vendors: Vendors,
        spawn: Spawn,
        report: Callable[[Input], None],
        mark_came: Callable[[str], None],
        others: Sequence[HeardAudio] = (),
    ) -> None:
        self._line = line
        self._vendors = vendors
        self._spawn = spawn
        self._report = report
        self._mark_came = mark_came
        self._others = others
        self._gate = SpeechGate()
        self._session: SttSession | None = None
        self._missed = bytearray()
        self._wanted: Wanted | None = None
        self._life = 0
        self._hints = SttHints()
        self._usages: list[Usage] = []
        self._is_closed = False

    async def run(self) -> None:
        """Read the line until it stops."""
        gate, others = self._gate, self._others
        async for event in self._line.events():
            if isinstance(event, LineAudio):
                audio = event.audio
                change = gate.feed(audio)
                if change is not None:
                    self._report(
                        SpeechStarted("energy") if change.speaking else SpeechStopped("energy")
                    )
                if self._session is not None:
                    self._session.feed(audio)
                elif self._wanted is not None:
                    self._miss(audio)
                for other in others:
                    other.caller(audio)
            elif isinstance(event, LineMark):
                self._mark_came(event.name)
            elif isinstance(event, LineDigit):
                self._report(DigitPressed(event.digit))
            elif isinstance(event, LineStopped):
                self._report(LineClosed(event.reason))
                return
        self._report(LineClosed("left"))

    # --- the actor's effects ---

    def want(self, wanted: Wanted, *, first: bool = False) -> None:
        """Use this recogniser from now on; the one before listens until it is open.

        `first`: only if none was asked for yet.
        """
        if wanted == self._wanted or self._is_closed or (first and self._wanted is not None):
            return
        self._wanted = wanted
        self._life += 1
        self._spawn(self._open(wanted, self._life), "recogniser")

    def hint(self, hints: SttHints) -> None:
        if hints == self._hints:
            return
        self._hints = hints
        if self._session is not None:
            self._session.hint(hints)

    async def close(self) -> list[Usage]:
        """Close the recogniser; returns what was used."""
        self._is_closed = True
        self._life += 1
        session, self._session = self._session, None
        if session is not None:
            await self._close(session)
        return self._usages

    # --- inside ---

    async def _open(self, wanted: Wanted, life: int) -> None:
        try:
            stt = self._vendors.stt(wanted.use)
            session = await stt.open(wanted.request(), lambda event: self._heard(life, event))
        except (ProviderError, ConfigError) as error:
            self._failed(life, error.code)
            return
        except Exception as error:  # noqa: BLE001 - an adapter's bug is told like any failure
            log.error("recogniser_broke", error=type(error).__name__)
            self._failed(life, "internal")
            return
        if life != self._life:
            await self._close(session)
            return
        before, self._session = self._session, session
        session.hint(self._hints)
        if self._missed:
            session.feed(bytes(self._missed))
            self._missed.clear()
        if before is not None:
            await self._close(before)

    def _heard(self, life: int, event: SttEvent) -> None:
        # The recogniser before stays good until the next one is open, and ends what it heard.
        if self._is_closed or life < self._life - 1:
            return
        if life == self._life or not isinstance(event, HearingFailed):
            self._report(event)

    def _failed(self, life: int, code: str) -> None:
        if life == self._life and not self._is_closed:
            self._missed.clear()
            self._report(HearingFailed(code))

    def _miss(self, audio: bytes) -> None:
        self._missed += audio
        if len(self._missed) > MISSED_BYTES:
            del self._missed[: len(self._missed) - MISSED_BYTES]

    async def _close(self, session: SttSession) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                usage = await session.close()
        except TimeoutError:
            log.warning("recogniser_not_closed")
            return
        if usage is not None:
            self._usages.append(usage)
        if isinstance(session, UsedSeveral):
            self._usages += session.more_usage
