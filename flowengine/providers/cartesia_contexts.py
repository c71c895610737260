"""Cartesia's speaking socket: one a call, a context for each utterance, a flush for each clause.

`read_frame` and `FlushedClauses` are pure. A flush ends a clause: `flush_done` follows its audio,
and chunks carry a `flush_id` that rises with each. Where the ids begin is not agreed on (its pages
say 1, its servers 0), so only their order counts. A context lives for a second after its last
audio; what was cancelled may still send what was begun. Sources: Cartesia's pages on contexts and
on flushing; the types of cartesia 4.2.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from flowengine.errors import ProviderError
from flowengine.events import Json, Word
from flowengine.ports import BYTES_PER_MS, Clause, SpeechChunk
from flowengine.providers.cartesia_wire import NAME, error_of
from flowengine.providers.faults import fault
from flowengine.providers.sockets import hang_up, of_close, send

_TOKEN: Final = re.compile(r"\S+")
_SLACK_MS: Final = 100
"""How much earlier than its own audio a word may be said to begin."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word and when it is spoken, in ms since its context's or its flush's first sample."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the vendor about a context ("": about all)."""

    kind: Literal["audio", "words", "flushed", "done", "error"]
    context: str
    flush: int | None = None
    audio: bytes = b""
    words: tuple[Spoken, ...] = ()
    error: ProviderError | None = None


def read_frame(message: str | bytes) -> Frame | None:
    """Read a server message; None for one that tells nothing. Raises ProviderError."""
    try:
        body = orjson.loads(message)
        kind, context = body["type"], str(body.get("context_id") or "")
        flush = body.get("flush_id")
        if kind == "chunk":
            return Frame("audio", context, flush, binascii.a2b_base64(body["data"]))
        if kind == "timestamps":
            return Frame("words", context, flush, words=_spoken(body.get("word_timestamps") or {}))
        if kind == "flush_done":
            return Frame("flushed", context, flush)
        if kind == "done":
            return Frame("done", context)
        if kind == "error":
            return Frame("error", context, error=error_of(body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise fault("protocol", "sent a message that cannot be read", NAME) from error
    return None


def _spoken(body: Mapping[str, Json]) -> tuple[Spoken, ...]:
    times = zip(body.get("words", ()), body.get("start", ()), body.get("end", ()), strict=True)
    return tuple(Spoken(str(word), round(a * 1000), round(b * 1000)) for word, a, b in times)


@dataclass(slots=True)
class _Open:
    """A clause whose audio is on its way."""

    number: int
    text: str
    has_words: bool
    begin_ms: int = 0
    """Where in its context its audio begins."""
    sent: int = 0
    offset_ms: int | None = None
    spoken: deque[Spoken] = field(default_factory=deque)
    cursor: int = 0

    def ready(self, *, is_whole: bool) -> tuple[Word, ...]:
        """The words that end in the audio so far; all of them when it is whole."""
        words = []
        while self.spoken:
            word = self.spoken[0]
            if self.offset_ms is None:
                # Nobody says from where the times count; the first word tells.
                from_context = word.start_ms >= self.begin_ms - _SLACK_MS
                self.offset_ms = self.begin_ms if from_context else 0
            start_ms = max(0, word.start_ms - self.offset_ms)
            end_ms = max(start_ms, word.end_ms - self.offset_ms)
            if end_ms * BYTES_PER_MS > self.sent and not is_whole:
                break
            self.spoken.popleft()
            if self._place(word.text):
                words.append(Word(self.cursor, start_ms, end_ms))
        return tuple(words)

    def _place(self, word: str) -> bool:
        """Move the cursor behind a word of the text; False when none is left.

        A word that is not found as it was told ("twenty" for "20") is the next one that there is.
        """
        token = _TOKEN.search(self.text, self.cursor)
        if token is None:
            return False
        at = self.text.find(word.strip(), self.cursor) if word.strip() else -1
        end = at + len(word.strip()) if 0 <= at < token.end() else token.end()
        while end < len(self.text) and not (self.text[end].isspace() or self.text[end].isalnum()):
            end += 1
        self.cursor = end
        return True


class FlushedClauses:
    """Which audio belongs to which clause of one utterance."""

    def __init__(self) -> None:
        self._open: deque[_Open] = deque()
        self._flush: int | None = None
        """The id of the clause that is coming in."""
        self._ended: int | None = None
        """The id of the last clause that is whole."""
        self._context_bytes = 0

    @property
    def owes(self) -> bool:
        """Some clause was given whose last chunk was not returned."""
        return bool(self._open)

    def begin_context(self) -> None:
        """What is given from now on goes to a new context, which counts anew."""
        self._flush = self._ended = None
        self._context_bytes = 0

    def give(self, clause: Clause) -> list[SpeechChunk]:
        """The next clause; one that has nothing to say is done when those before it are."""
        has_words = is_speakable(clause.text)
        self._open.append(_Open(clause.number, clause.text, has_words))
        return self._pass_silent()

    def take(self, frame: Frame) -> list[SpeechChunk]:
        """A frame of the utterance's context came; raises ProviderError if it is one."""
        match frame.kind:
            case "audio":
                return self._audio(frame)
            case "words":
                self._words(frame)
            case "flushed":
                return self._flushed(frame.flush)
            case "done":
                return self._done()
            case "error":
                raise frame.error or fault("unavailable", "reported an error", NAME)
        return []

    def _audio(self, frame: Frame) -> list[SpeechChunk]:
        chunks: list[SpeechChunk] = []
        flush = frame.flush
        is_late = flush is not None and self._ended is not None and flush <= self._ended
        if flush is not None and not is_late:
            has_audio = bool(self._open) and self._open[0].sent > 0
            if self._flush is not None and flush > self._flush and has_audio:
                chunks = self._end(self._flush)
            self._flush = flush
        if not self._open or not frame.audio:
            return chunks
        clause = self._open[0]
        if not clause.sent:
            clause.begin_ms = self._context_bytes // BYTES_PER_MS
        clause.sent += len(frame.audio)
        self._context_bytes += len(frame.audio)
        words = clause.ready(is_whole=False)
        return [*chunks, SpeechChunk(clause.number, frame.audio, words)]

    def _words(self, frame: Frame) -> None:
        flush = frame.flush
        if flush is not None and self._ended is not None and flush <= self._ended:
            return
        speaking = [clause for clause in self._open if clause.has_words]
        is_next = flush is not None and self._flush is not None and flush > self._flush
        place = 1 if is_next else 0
        if place < len(speaking):
            speaking[place].spoken.extend(frame.words)

    def _flushed(self, flush: int | None) -> list[SpeechChunk]:
        if flush is not None and self._flush is not None and flush < self._flush:
            return []  # its end was told by the audio after it
        return self._end(flush)

    def _done(self) -> list[SpeechChunk]:
        chunks: list[SpeechChunk] = []
        while self._open and self._open[0].sent:
            chunks += self._end(None)
        if self._open:
            raise fault("dropped", "ended a context before all was said", NAME)
        return chunks

    def _end(self, flush: int | None) -> list[SpeechChunk]:
        if flush is not None:
            self._ended = flush
        self._flush = None
        if not self._open:
            return []
        clause = self._open[0]
        if clause.has_words and not clause.sent:
            raise fault("dropped", "ended a clause without its audio", NAME)
        self._open.popleft()
        words = clause.ready(is_whole=True)
        return [SpeechChunk(clause.number, b"", words, last=True), *self._pass_silent()]

    def _pass_silent(self) -> list[SpeechChunk]:
        chunks: list[SpeechChunk] = []
        while self._open and not self._open[0].has_words:
            chunks.append(SpeechChunk(self._open.popleft().number, b"", last=True))
        return chunks


def is_speakable(text: str) -> bool:
    """Whether there is a letter or digit to say."""
    return any(map(str.isalnum, text))


class ClausesEnded:
    """No further clause comes."""


Inbox = asyncio.Queue[Frame | ProviderError | Clause | ClausesEnded]


class ContextSocket:
    """One call's socket; `error` says why it is of no more use."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.error: ProviderError | None = None
        self.inboxes: dict[str, Inbox] = {}
        """By context; what comes for another is of an utterance that is over."""
        self._made = 0
        self._reading = asyncio.create_task(self._read())

    def new_context(self, inbox: Inbox) -> str:
        self._made += 1
        context = f"u{self._made}"
        self.inboxes[context] = inbox
        return context

    async def send(self, body: Mapping[str, Json]) -> None:
        """Send a message; raises the ProviderError that ended the socket."""
        if self.error is not None:
            raise self.error
        await send(self._socket, orjson.dumps(body).decode(), NAME)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await hang_up(self._socket)

    async def _read(self) -> None:
        try:
            while True:
                frame = read_frame(await self._socket.recv())
                if frame is None:
                    continue
                inbox = self.inboxes.get(frame.context)
                if inbox is not None:
                    inbox.put_nowait(frame)
                elif frame.error is not None and not frame.context:
                    self.error = frame.error
                    break
        except ConnectionClosed as closed:
            self.error = of_close(closed, NAME)
        except ProviderError as error:
            self.error = error
        for inbox in self.inboxes.values():
            inbox.put_nowait(self.error)
