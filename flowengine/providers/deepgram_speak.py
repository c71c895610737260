"""Deepgram's text to speech: Aura (`/v1/speak`) and Flux TTS (`/v2/speak`) as the engine's `Tts`.

A call's `Voice` keeps one socket warm. Each clause is one flush, and the next clause goes out when
the audio of the one before is whole (it is made faster than it is played): so every byte has its
clause, and a barge-in costs the text of one clause. Sources: Deepgram's pages on its two speaking
sockets; an Aura socket takes 20 flushes and 2400 characters a minute, any socket lasts an hour,
Flux' socket refuses unknown parameters and is kept open by pings.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import Clause, SpeechChunk, TtsRequest
from flowengine.providers.bare_audio import Length
from flowengine.providers.faults import fault, of_word
from flowengine.providers.sockets import hang_up, of_close, open_socket, send

NAME: Final = "deepgram"
VOICE: Final = "aura-2-thalia-en"
"""Who speaks when a flow names nobody."""
_LONGEST_S: Final = 55 * 60.0
_MINUTE_S: Final = 60.0
_CANCEL_S: Final = 0.3
"""A cancelled turn that is not answered by then is left behind with its socket."""
_FRUITFUL_S: Final = 5.0
"""A socket that closed sooner is not opened again ahead of need."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message that ends a turn (`ended`, `cancelled`) or means trouble; characters if billed."""

    kind: Literal["ended", "cancelled", "refused"]
    characters: int | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """What sets the two protocols apart. `flushes` and `characters` are limits of a minute."""

    path: str
    fixed: Mapping[str, Json]
    options: frozenset[str]
    cancel: str
    flushes: int
    characters: int
    ended: str
    """The message after the last audio of a turn."""
    cancelled: str
    ends_cancelled: bool
    """A turn that ended before its cancellation arrived gets no word of its own for that."""
    flushes_are_counted: bool
    """Too many flushes are answered by a warning and nothing else."""

    def read(self, message: str) -> Told | ProviderError | None:
        """Read a text message; None for what tells nothing."""
        try:
            body = orjson.loads(message)
            kind = body["type"]
            if kind == self.ended:
                return Told("ended", _billed(body))
            if kind == self.cancelled:
                return Told("cancelled", _billed(body.get("metadata") or {}))
            if kind == "Error":
                return of_word(str(body.get("code") or ""), NAME)
            if kind == "Warning" and self.flushes_are_counted:
                words = f"{body['code']} {body['description']}"
                return Told("refused") if "flush" in words.lower() else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return fault("protocol", "sent a message that cannot be read", NAME)
        return None


AURA: Final = Dialect(
    path="v1/speak",
    fixed={"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
    options=frozenset({"mip_opt_out", "speed", "tag"}),
    cancel='{"type":"Clear"}',
    flushes=18,
    characters=2200,
    ended="Flushed",
    cancelled="Cleared",
    ends_cancelled=False,
    flushes_are_counted=True,
)
FLUX: Final = Dialect(
    path="v2/speak",
    fixed={"encoding": "mulaw", "sample_rate": 8000},
    options=frozenset({"expressivity", "mip_opt_out", "speed", "tag"}),
    cancel='{"type":"Interrupt"}',
    flushes=0,
    characters=0,
    # `Flushed` only says that the flush arrived.
    ended="SpeechMetadata",
    cancelled="SpeechInterrupted",
    ends_cancelled=True,
    flushes_are_counted=False,
)


def _billed(body: Mapping[str, Json]) -> int | None:
    billed = body.get("billable_character_count")
    return None if billed is None else int(billed)


def voice_of(request: TtsRequest) -> str:
    """The one name that is both model and voice; raises ProviderError(`bad_request`)."""
    named = {name for name in (request.model, request.voice) if name}
    if len(named) > 1:
        what = f"cannot speak as {request.model} and as {request.voice}: its voice is its model"
        raise fault("bad_request", what, NAME)
    name = named.pop() if named else VOICE
    if not name.startswith(("aura-", "flux-")):
        raise fault("bad_request", f"has no voice {name} (they are aura-… and flux-…)", NAME)
    return name


class DeepgramTts:
    """Deepgram's voices at one base URL; `url` is its ws(s) form."""

    name = NAME

    def __init__(self, key: str, url: str) -> None:
        self._headers = {"Authorization": f"Token {key}"}
        self._url = url

    async def open(self, request: TtsRequest) -> DeepgramVoice:
        name = voice_of(request)
        dialect = FLUX if name.startswith("flux-") else AURA
        unknown = sorted(set(request.options) - dialect.options)
        if unknown:
            what = f"knows no option {', '.join(unknown)} with {name}"
            raise fault("bad_request", what, NAME)
        query = {
            "model": name,
            **dialect.fixed,
            **{
                option: str(value).lower() if isinstance(value, bool) else value
                for option, value in request.options.items()
            },
        }
        url = f"{self._url}/{dialect.path}?{urlencode(query)}"
        voice = DeepgramVoice(url, self._headers, name, dialect)
        await voice.warm()
        return voice


class DeepgramVoice:
    """One call's voice."""

    def __init__(self, url: str, headers: Mapping[str, str], model: str, dialect: Dialect) -> None:
        self._url = url
        self._headers = headers
        self._model = model
        self._dialect = dialect
        self._socket: SpeakSocket | None = None
        self._opening: asyncio.Task[SpeakSocket] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._speaking = False
        self._closed = False
        self._characters = 0
        self._guessed = False

    async def warm(self) -> None:
        """Have a socket open."""
        if self._socket is None:
            await self._renew()

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        self._speaking = True
        try:
            async for clause in clauses:
                # Flux warns of a text without a letter or digit, and Aura may never answer it.
                if any(map(str.isalnum, clause.text)):
                    socket = await self._ready(len(clause.text))
                    await socket.say(clause.text)
                    heard = Length(clause.text)
                    while (audio := await socket.audio()) is not None:
                        heard.add(len(audio))
                        yield SpeechChunk(clause.number, audio)
                    heard.check(NAME)
                yield SpeechChunk(clause.number, b"", last=True)
        finally:
            self._speaking = False
            if self._socket is not None:
                await self._socket.cancel()
                if not self._socket.is_usable(1):
                    self._open_ahead()

    async def close(self) -> Usage | None:
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._socket is not None:
            self._put_away(self._socket)
            self._socket = None
        await asyncio.gather(*self._closing, return_exceptions=True)
        return Usage(
            NAME,
            self._model,
            "characters",
            amount_in=self._characters,
            estimated=self._guessed or self._dialect is AURA,
        )

    async def _ready(self, characters: int) -> SpeakSocket:
        """A socket that takes a text of this length and has nothing of an old one to send."""
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
            self._opening = None
        socket = self._socket
        if socket is not None and socket.is_usable(characters) and await socket.is_quiet():
            return socket
        return await self._renew()

    async def _renew(self) -> SpeakSocket:
        if self._socket is not None:
            spent, self._socket = self._socket, None
            self._put_away(spent)
        opened = await open_socket(self._url, self._headers, NAME)
        self._socket = SpeakSocket(opened, self._dialect, self._gone)
        return self._socket

    def _open_ahead(self) -> None:
        if self._opening is None and not self._closed:
            self._opening = asyncio.create_task(self._renew())

    def _gone(self, lived_s: float) -> None:
        """The socket died; between utterances there is time to open another."""
        if not self._speaking and lived_s >= _FRUITFUL_S:
            self._open_ahead()

    def _put_away(self, socket: SpeakSocket) -> None:
        closing = asyncio.create_task(self._settle(socket))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _settle(self, socket: SpeakSocket) -> None:
        await socket.close()
        self._characters += socket.characters + socket.unbilled
        self._guessed = self._guessed or socket.unbilled > 0


class SpeakSocket:
    """One socket, which speaks one text at a time; `error` says why it is of no more use."""

    def __init__(
        self, socket: ClientConnection, dialect: Dialect, gone: Callable[[float], None]
    ) -> None:
        self._socket = socket
        self._dialect = dialect
        self._gone = gone
        self._clock = asyncio.get_running_loop().time
        self._opened_at = self._clock()
        self._flushed: deque[tuple[float, int]] = deque()
        """When texts of the last minute went out, and how long they were."""
        self._inbox: asyncio.Queue[bytes | Told | ProviderError] = asyncio.Queue()
        self._owes = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.error: ProviderError | None = None
        self.characters = 0
        """Billed, as the vendor says or else as they were sent."""
        self.unbilled = 0
        """Of a text that the vendor has not counted yet."""
        self._reading = asyncio.create_task(self._read())

    def is_usable(self, characters: int) -> bool:
        """Whether a text of this length may be sent now without passing a limit."""
        now, limits = self._clock(), self._dialect
        if self.error is not None or now - self._opened_at > _LONGEST_S:
            return False
        while self._flushed and now - self._flushed[0][0] > _MINUTE_S:
            self._flushed.popleft()
        if limits.flushes and len(self._flushed) >= limits.flushes:
            return False
        sent = sum(count for _, count in self._flushed)
        # A text over the limit by itself is for the vendor to refuse.
        return not (limits.characters and sent and sent + characters > limits.characters)

    async def is_quiet(self) -> bool:
        """Wait for the last word of what was cancelled, though not for long."""
        try:
            async with asyncio.timeout(_CANCEL_S):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return self.error is None

    async def say(self, text: str) -> None:
        self._flushed.append((self._clock(), len(text)))
        self.unbilled = len(text)
        self._owes = True
        await send(self._socket, orjson.dumps({"type": "Speak", "text": text}).decode(), NAME)
        await send(self._socket, '{"type":"Flush"}', NAME)

    async def audio(self) -> bytes | None:
        """The next audio of the text; None when it was all. Raises ProviderError."""
        item = await self._inbox.get()
        if isinstance(item, bytes):
            return item
        self._owes = False
        if isinstance(item, ProviderError):
            raise item
        if item.kind == "refused":
            self.error = fault("overloaded", "takes no more flushes over this socket", NAME)
            raise self.error
        return None

    async def cancel(self) -> None:
        """Throw away what is still to come of the text. Never raises."""
        if not self._owes or self.error is not None:
            return
        self._owes = False
        while not self._inbox.empty():
            if isinstance(self._inbox.get_nowait(), Told):
                return  # all of it is here
        self._quiet.clear()
        try:
            await send(self._socket, self._dialect.cancel, NAME)
        except ProviderError as error:
            self.error = error

    async def close(self) -> None:
        if self.error is None:
            try:
                await send(self._socket, '{"type":"Close"}', NAME)
            except ProviderError as error:
                self.error = error
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await hang_up(self._socket)

    async def _read(self) -> None:
        try:
            while True:
                message = await self._socket.recv()
                told = message if isinstance(message, bytes) else self._dialect.read(message)
                if isinstance(told, ProviderError):
                    self.error = told
                    break
                if told is not None:
                    self._take(told)
        except ConnectionClosed as closed:
            self.error = of_close(closed, NAME)
        self._quiet.set()
        if self._owes:
            self._inbox.put_nowait(self.error)
        self._gone(self._clock() - self._opened_at)

    def _take(self, told: bytes | Told) -> None:
        if isinstance(told, Told) and told.kind != "refused":
            self.characters += self.unbilled if told.characters is None else told.characters
            self.unbilled = 0
        if self._quiet.is_set():
            if self._owes:
                self._inbox.put_nowait(told)
        elif isinstance(told, Told):
            ends = told.kind == "ended" and self._dialect.ends_cancelled
            if told.kind == "cancelled" or ends:
                self._quiet.set()
