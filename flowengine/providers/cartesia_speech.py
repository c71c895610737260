"""Cartesia's text to speech (`/tts/websocket`) as the engine's `Tts`.

A call's `Voice` keeps one socket warm. An utterance is a context: clauses go out as they come, each
with a flush, and keep the melody of what was said before. Text is not held back at the vendor
(`max_buffer_delay_ms` 0): a clause is already a phrase. The vendor counts nothing over this
socket, so characters are counted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import Clause, SpeechChunk, TtsRequest
from flowengine.providers.cartesia_contexts import (
    ClausesEnded,
    ContextSocket,
    FlushedClauses,
    Frame,
    Inbox,
    is_speakable,
)
from flowengine.providers.cartesia_wire import NAME, headers
from flowengine.providers.faults import fault
from flowengine.providers.sockets import open_socket

_MANNER: Final = frozenset({"emotion", "speed", "volume"})
_OPTIONS: Final = _MANNER | {"max_buffer_delay_ms", "pronunciation_dict_id"}
_CONTEXT_S: Final = 0.7
"""A context that was quiet for so long gets no more text: after a second it is gone."""


class CartesiaTts:
    """Cartesia's voices at one base URL; `url` is its ws(s) form."""

    name = NAME

    def __init__(self, key: str, url: str) -> None:
        self._headers = headers(key)
        self._url = url

    async def open(self, request: TtsRequest) -> CartesiaVoice:
        unknown = sorted(set(request.options) - _OPTIONS)
        if unknown:
            raise fault("bad_request", f"knows no option {', '.join(unknown)} for speech", NAME)
        if not request.voice:
            raise fault("bad_request", "needs the id of a voice", NAME)
        voice = CartesiaVoice(f"{self._url}/tts/websocket", self._headers, request)
        await voice.socket()
        return voice


def generation(request: TtsRequest) -> dict[str, Json]:
    """What every message of a context says alike."""
    options = dict(request.options)
    manner = {name: options.pop(name) for name in sorted(_MANNER & options.keys())}
    body: dict[str, Json] = {
        "model_id": request.model,
        "voice": {"mode": "id", "id": request.voice},
        "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
        "add_timestamps": True,
        "use_normalized_timestamps": False,
        "max_buffer_delay_ms": 0,
        **options,
    }
    if request.language:
        body["language"] = request.language.partition("-")[0].lower()
    if manner:
        body["generation_config"] = manner
    return body


class CartesiaVoice:
    """One call's voice."""

    def __init__(self, url: str, headers: dict[str, str], request: TtsRequest) -> None:
        self._url = url
        self._headers = headers
        self._model = request.model
        self._body = generation(request)
        self._socket: ContextSocket | None = None
        self._characters = 0

    async def socket(self) -> ContextSocket:
        """A live socket, a new one in the place of one that died."""
        if self._socket is not None and self._socket.error is not None:
            spent, self._socket = self._socket, None
            await spent.close()
        if self._socket is None:
            self._socket = ContextSocket(await open_socket(self._url, self._headers, NAME))
        return self._socket

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        inbox: Inbox = asyncio.Queue()
        utterance = _Utterance(await self.socket(), self._body, inbox)
        feeding = asyncio.create_task(_feed(clauses, inbox))
        try:
            while not utterance.is_over:
                for chunk in await utterance.step():
                    yield chunk
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            self._characters += utterance.characters
            await utterance.leave()

    async def close(self) -> Usage | None:
        if self._socket is not None:
            await self._socket.close()
            self._socket = None
        return Usage(NAME, self._model, "characters", amount_in=self._characters, estimated=True)


class _Utterance:
    """Drives one utterance: clauses out, frames in, and when it is over."""

    def __init__(self, socket: ContextSocket, body: dict[str, Json], inbox: Inbox) -> None:
        self._socket = socket
        self._body = body
        self._inbox = inbox
        self._clauses = FlushedClauses()
        self._clock = asyncio.get_running_loop().time
        self._context = ""
        self._quiet_since = 0.0
        self._is_finished = False
        """The context knows that no more text comes."""
        self._no_more = False
        self.characters = 0

    @property
    def is_over(self) -> bool:
        return self._no_more and not self._clauses.owes

    async def step(self) -> list[SpeechChunk]:
        """Wait for the next thing to happen; returns the chunks that come of it."""
        item = await self._inbox.get()
        if isinstance(item, ProviderError):
            raise item
        if isinstance(item, Clause):
            return await self._say(item)
        if isinstance(item, ClausesEnded):
            self._no_more = True
            await self._finish()
            return []
        self._quiet_since = self._clock()
        return self._heard(item)

    def _heard(self, frame: Frame) -> list[SpeechChunk]:
        if frame.context and frame.context != self._context:
            return []
        if frame.kind == "done":
            self._context = ""
        return self._clauses.take(frame)

    async def _say(self, clause: Clause) -> list[SpeechChunk]:
        if is_speakable(clause.text):
            if not self._clauses.owes and self._clock() - self._quiet_since > _CONTEXT_S:
                await self._finish()
                self._drop_context()
            if not self._context:
                self._context = self._socket.new_context(self._inbox)
                self._is_finished = False
                self._clauses.begin_context()
            self.characters += len(clause.text)
            # Texts are put together as they are.
            await self._send(f"{clause.text.strip()} ", {"continue": True})
            await self._send("", {"continue": True, "flush": True})
        return self._clauses.give(clause)

    async def leave(self) -> None:
        """The utterance is over; what still comes of it is thrown away. Never raises."""
        try:
            if self._clauses.owes and self._context:
                await self._socket.send({"context_id": self._context, "cancel": True})
            else:
                await self._finish()
        except ProviderError as error:
            self._socket.error = error
        self._drop_context()

    async def _finish(self) -> None:
        if self._context and not self._is_finished:
            self._is_finished = True
            await self._send("", {"continue": False})

    def _drop_context(self) -> None:
        for context, inbox in list(self._socket.inboxes.items()):
            if inbox is self._inbox:
                del self._socket.inboxes[context]
        self._context = ""

    async def _send(self, text: str, more: dict[str, Json]) -> None:
        await self._socket.send(
            {**self._body, "context_id": self._context, "transcript": text, **more}
        )


async def _feed(clauses: AsyncIterator[Clause], inbox: Inbox) -> None:
    try:
        async for clause in clauses:
            inbox.put_nowait(clause)
    finally:
        inbox.put_nowait(ClausesEnded())
