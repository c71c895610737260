"""ElevenLabs' two TTS sockets: where one utterance's text goes in and its frames come out.

`MultiSocket` (`multi-stream-input`) carries a call's utterances as contexts over one socket;
`SingleTrack` (`stream-input`) is one socket for one utterance. Both put `Frame`s, or the
`ProviderError` that ended them, into the utterance's inbox. Facts of the field: more than five
open contexts close the socket with 1008; a flush to an unknown context makes a phantom; only
`close_context` (multi) or an empty text (single) is answered by `isFinal`.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from flowengine.errors import ProviderError
from flowengine.events import Json
from flowengine.ports import Clause
from flowengine.providers.alignment import Alignment
from flowengine.providers.faults import fault, of_word
from flowengine.providers.sockets import hang_up, of_close, send

NAME: Final = "elevenlabs"
MOST_CONTEXTS: Final = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the vendor; `final` ends its context or socket."""

    audio: bytes
    alignment: Alignment | None
    final: bool
    context: str = ""


class ClausesEnded:
    """No further clause comes."""


Inbox = asyncio.Queue[Frame | ProviderError | Clause | ClausesEnded]


def read_frame(message: str | bytes) -> Frame:
    """Read a server message; raises ProviderError for an error message or nonsense."""
    try:
        body = orjson.loads(message)
        audio = body.get("audio")
        final = bool(body.get("isFinal") or body.get("is_final"))
        if audio is None and not final and (body.get("error") or body.get("code")):
            raise of_word(f"{body.get('error')} {body.get('code')}", NAME)
        return Frame(
            binascii.a2b_base64(audio) if audio else b"",
            _alignment(body.get("alignment") or body.get("normalizedAlignment")),
            final,
            body.get("contextId") or body.get("context_id") or "",
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise fault("protocol", "sent a message that cannot be read", NAME) from error


def _alignment(body: Mapping[str, Json] | None) -> Alignment | None:
    if not body or not body.get("chars"):
        return None
    # The vendor's schema writes `charsDurationsMs`, its servers `charDurationsMs`.
    durations = body.get("charDurationsMs") or body.get("charsDurationsMs")
    starts = body["charStartTimesMs"]
    return Alignment(body["chars"], starts, durations or [0] * len(starts))


def _closed(closed: ConnectionClosed) -> ProviderError:
    """The error of a closed socket. Too many contexts are this socket's trouble, no other's."""
    if closed.rcvd is not None and "max_active_conversations" in closed.rcvd.reason:
        return fault("dropped", "closed a socket with too many contexts", NAME)
    return of_close(closed, NAME)


def _text(body: Mapping[str, Json]) -> str:
    return orjson.dumps(body).decode()


def _spaced(text: str) -> str:
    """The vendor wants text that ends with a space."""
    return text if text.endswith(" ") else f"{text} "


class MultiSocket:
    """One call's socket; `error` says why it is of no more use."""

    def __init__(self, socket: ClientConnection, manner: Mapping[str, Json]) -> None:
        self._socket = socket
        self.manner = manner
        """How to speak: what goes out with a context's first message, and only there."""
        self.error: ProviderError | None = None
        self.inboxes: dict[str, Inbox] = {}
        self.unanswered: set[str] = set()
        """Contexts that count as open at the vendor."""
        self._reading = asyncio.create_task(self._read())
        self._made = 0

    @property
    def is_usable(self) -> bool:
        return self.error is None and len(self.unanswered) < MOST_CONTEXTS

    def track(self, inbox: Inbox) -> MultiTrack:
        """A track for one utterance."""
        return MultiTrack(self, inbox)

    def new_context(self, inbox: Inbox) -> str:
        self._made += 1
        context = f"u{self._made}"
        self.inboxes[context] = inbox
        self.unanswered.add(context)
        return context

    async def send(self, body: Mapping[str, Json]) -> None:
        await send(self._socket, _text(body), NAME)

    async def close(self) -> None:
        if self.error is None:
            try:
                await self.send({"close_socket": True})
            except ProviderError as error:
                self.error = error
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await hang_up(self._socket)

    async def _read(self) -> None:
        try:
            while True:
                frame = read_frame(await self._socket.recv())
                context = frame.context
                if not context and len(self.inboxes) == 1:
                    context = next(iter(self.inboxes))
                if frame.final:
                    self.unanswered.discard(context)
                inbox = self.inboxes.get(context)
                if inbox is not None:
                    inbox.put_nowait(frame)
        except ConnectionClosed as closed:
            self.error = _closed(closed)
        except ProviderError as error:
            self.error = error
        for inbox in {id(inbox): inbox for inbox in self.inboxes.values()}.values():
            inbox.put_nowait(self.error)


class MultiTrack:
    """One utterance over a `MultiSocket`: one context, a fresh one if the vendor ended it."""

    finishes_at_end = False
    """Closing a context at once may cost its last audio, so it is closed when all was heard."""

    def __init__(self, socket: MultiSocket, inbox: Inbox) -> None:
        self._socket = socket
        self._inbox = inbox
        self._context = ""
        self._contexts: list[str] = []

    async def say(self, text: str) -> None:
        if self._socket.error is not None:
            raise self._socket.error
        if not self._context or self._context not in self._socket.unanswered:
            self._context = self._socket.new_context(self._inbox)
            self._contexts.append(self._context)
            opening = {"text": " ", "context_id": self._context, **self._socket.manner}
            await self._socket.send(opening)
        await self._socket.send({"text": _spaced(text), "context_id": self._context, "flush": True})

    async def finish(self) -> None:
        if self._context in self._socket.unanswered:
            await self._socket.send({"context_id": self._context, "close_context": True})

    async def drop(self, *, finished: bool) -> None:
        """The utterance is over; what still comes of it is thrown away. Never raises."""
        for context in self._contexts:
            self._socket.inboxes.pop(context, None)
        if not finished and self._socket.error is None:
            try:
                await self.finish()
            except ProviderError as error:
                self._socket.error = error


class SingleTrack:
    """One utterance over one `stream-input` socket."""

    finishes_at_end = True

    def __init__(self, socket: ClientConnection, manner: Mapping[str, Json], inbox: Inbox) -> None:
        self._socket = socket
        self._manner = manner
        self._inbox = inbox
        self._begun = False
        self._heard_all = False
        self._reading = asyncio.create_task(self._read())

    async def say(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            await send(self._socket, _text({"text": " ", **self._manner}), NAME)
        await send(self._socket, _text({"text": _spaced(text), "flush": True}), NAME)

    async def finish(self) -> None:
        await send(self._socket, '{"text":""}', NAME)

    async def drop(self, *, finished: bool) -> None:
        """Close the socket; what still comes is thrown away. Never raises."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        if self._heard_all or self._socket.state is not State.OPEN:
            await hang_up(self._socket)
        else:
            # Left in the middle it may not answer, and whoever speaks next would wait for it.
            self._socket.transport.abort()

    async def _read(self) -> None:
        try:
            while True:
                frame = read_frame(await self._socket.recv())
                self._heard_all = self._heard_all or frame.final
                self._inbox.put_nowait(frame)
        except ConnectionClosed as closed:
            self._inbox.put_nowait(of_close(closed, NAME))
        except ProviderError as error:
            self._inbox.put_nowait(error)
