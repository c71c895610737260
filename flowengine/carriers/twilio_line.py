"""The media of one Twilio call: the engine's `Line` over the socket that Twilio opened.

Nothing that the peer sends ends the call: a message that means nothing is dropped, and each kind
of it is logged once. The stream is over when Twilio says `stop` (`hung_up`) or the socket ends
without it (`lost`); when we close, Twilio asks `/twilio/next`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import structlog

from flowengine.carriers.twilio_wire import Connected, Outgoing, Refusal, Started, parse
from flowengine.errors import CarrierError
from flowengine.ports import BYTES_PER_MS, LineEvent, LineStopped, Socket

SEND_LIMIT_S = 5.0
"""A peer that takes nothing for so long is gone."""

CHUNK_BYTES = 200 * BYTES_PER_MS
"""Longer audio is split, so that a `clear` never waits behind one huge message."""

log = structlog.get_logger(__name__)


class Refusals:
    """Logs what is refused: one line per kind and call."""

    __slots__ = ("_call", "_seen")

    def __init__(self) -> None:
        self._call = ""
        self._seen: set[str] = set()

    def belong_to(self, call_id: str) -> None:
        self._call = call_id

    def add(self, kind: str) -> None:
        if kind not in self._seen:
            self._seen.add(kind)
            log.warning("stream message refused", carrier="twilio", kind=kind, call=self._call)


class TwilioLine:
    """A stream that has started. One reader; sends may come from several tasks."""

    __slots__ = ("_clears", "_closed", "_lost", "_outgoing", "_refusals", "_socket", "_stream_sid")

    def __init__(self, socket: Socket, started: Started, refusals: Refusals) -> None:
        self._socket = socket
        self._stream_sid = started.stream_sid
        self._outgoing = Outgoing(started.stream_sid)
        self._refusals = refusals
        self._clears = 0
        self._closed = False
        self._lost = False

    async def events(self) -> AsyncIterator[LineEvent]:
        """What Twilio sends; ends without `LineStopped` when it was we who closed."""
        receive, stream_sid = self._socket.receive, self._stream_sid
        while True:
            try:
                message = await receive()
            except CarrierError:
                message = None
            if message is None:
                break
            event = parse(message, stream_sid)
            if isinstance(event, Refusal):
                self._refusals.add(event.kind)
            elif not isinstance(event, Connected | Started):
                yield event
                if isinstance(event, LineStopped):
                    return
        self._lost = True
        if not self._closed:
            yield LineStopped("lost")

    async def send_audio(self, audio: bytes) -> None:
        if len(audio) <= CHUNK_BYTES:
            if audio:
                await self._send(self._outgoing.media(audio))
            return
        clears = self._clears
        for start in range(0, len(audio), CHUNK_BYTES):
            if clears != self._clears:
                return  # a clear overtook us: what is left of this audio is stale
            await self._send(self._outgoing.media(audio[start : start + CHUNK_BYTES]))

    async def send_mark(self, name: str) -> None:
        await self._send(self._outgoing.mark(name))

    async def clear(self) -> None:
        self._clears += 1
        await self._send(self._outgoing.clear())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await close_quietly(self._socket, 1000, "media phase over")

    async def _send(self, text: str) -> None:
        if self._closed or self._lost:
            raise _line_lost("The media stream is closed.")
        try:
            await bounded(self._socket.send(text))
        except CarrierError:
            self._lost = True
            raise


async def bounded(sending: Awaitable[None]) -> None:
    """Wait for a send, but not longer than `SEND_LIMIT_S`."""
    try:
        async with asyncio.timeout(SEND_LIMIT_S):
            await sending
    except TimeoutError as error:
        raise _line_lost("The media stream took nothing for 5 s.") from error


async def close_quietly(socket: Socket, code: int, reason: str) -> None:
    """Close a socket; one that is gone already is closed."""
    try:
        await bounded(socket.close(code, reason))
    except CarrierError as error:
        log.debug("socket was gone", carrier="twilio", code=error.code)


def _line_lost(what: str) -> CarrierError:
    return CarrierError(
        "line_lost", what, where="twilio", fix="The call goes on when Twilio asks /twilio/next."
    )
