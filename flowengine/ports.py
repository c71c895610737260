"""What the engine needs from the world, as protocols: line, carrier, providers, store.

`runtime` calls these; `carriers`, `providers` and `store` implement them; `testing` ships
scripted ones. Audio is µ-law at 8000 Hz (one byte a sample, 8 bytes a millisecond) on both
sides of every port.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from flowengine.events import (
    EndpointForeseen,
    EndpointReached,
    EndpointRevoked,
    HearingFailed,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
    Word,
)
from flowengine.ids import DEFAULT_PROJECT, CallId

BYTES_PER_MS = 8
"""µ-law at 8000 Hz."""


# --- speech to text ---


@dataclass(frozen=True, slots=True)
class SttRequest:
    """What a recogniser is opened with; `options` are the vendor's own settings."""

    model: str
    language: str
    endpointing_ms: int
    keyterms: tuple[str, ...] = ()
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SttHints:
    """What the running node expects to hear.

    `candidates` is a closed set of phrases ("yes", "no", names of choices); `digits`: a string
    of digits is expected, so a short pause does not end the turn.
    """

    candidates: tuple[str, ...] = ()
    digits: bool = False


SttEvent = (
    SpeechStarted
    | SpeechStopped
    | InterimHeard
    | SegmentHeard
    | EndpointReached
    | EndpointForeseen
    | EndpointRevoked
    | HearingFailed
)


class SttSession(Protocol):
    """One call's recogniser."""

    def feed(self, audio: bytes) -> None:
        """Take audio; never blocks. What a dead provider cannot take is kept, bounded."""
        ...

    def hint(self, hints: SttHints) -> None:
        """Say what the node now expects; a recogniser that has no use for it ignores it."""
        ...

    def finalize(self) -> None:
        """Ask for the words of what was fed so far, now."""
        ...

    async def close(self) -> Usage | None:
        """End in order; returns what was used. Never raises."""
        ...


class Stt(Protocol):
    """A vendor's speech to text."""

    name: str

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> SttSession:
        """Open a session whose events go to `hear` (called on the event loop).

        Raises ProviderError.
        """
        ...


@runtime_checkable
class UsedSeveral(Protocol):
    """A session or voice that was several, one after the other, at different providers."""

    more_usage: Sequence[Usage]
    """After `close`: what was used beside that which `close` returned."""


# --- LLM ---


@dataclass(frozen=True, slots=True)
class LlmToolUse:
    """A tool call that the LLM made; `arguments` is its JSON text, as written."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class LlmMessage:
    """One message of the conversation; a `tool` message answers `tool_use_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    tool_uses: tuple[LlmToolUse, ...] = ()
    tool_use_id: str = ""


@dataclass(frozen=True, slots=True)
class LlmTool:
    """A tool that the LLM may call; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One streamed answer; `options` are the vendor's own settings (temperature …).

    `may_call` False: the tools stand there, for earlier calls of them do too and the vendor's
    cache goes by them, but the answer is to be words.
    """

    model: str
    messages: tuple[LlmMessage, ...]
    tools: tuple[LlmTool, ...] = ()
    options: Mapping[str, Json] = field(default_factory=dict)
    may_call: bool = True
    audio: bytes = field(default=b"", repr=False)
    """µ-law of what the caller said last, for an LLM that hears (`HearsAudio`)."""


@dataclass(frozen=True, slots=True)
class LlmText:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class LlmAudio:
    """A piece of the answer's sound (µ-law), of an LLM that speaks its words itself.

    The first, which may be empty, comes before any text: so no voice is asked to say it too.
    """

    audio: bytes


@dataclass(frozen=True, slots=True)
class LlmUsage:
    """What the request used so far, told while it runs; the last one told counts.

    A vendor that counts the input before it answers says so first; so a cancelled answer has a
    known part. It is no part of the answer. `LlmEnd.usage` is all, this included.
    """

    usage: Usage


@dataclass(frozen=True, slots=True)
class LlmSpent:
    """What attempts beside the answer used so far: they failed, or are slower than it.

    All of them each time; the last one told counts. Told by supervision, not by vendors.
    """

    usages: tuple[Usage, ...]


@dataclass(frozen=True, slots=True)
class LlmEnd:
    """The answer is complete. `usage` is None when the vendor gave none."""

    reason: str
    usage: Usage | None


LlmEvent = LlmText | LlmAudio | LlmToolUse | LlmUsage | LlmSpent | LlmEnd


class Llm(Protocol):
    """A vendor's LLM."""

    name: str

    def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        """Stream one answer: texts and whole tool calls in order, then one `LlmEnd`.

        An empty `LlmText` is a sign of life and carries nothing; an `LlmUsage` may come at any
        time. Closing the generator cancels the request at the vendor. Raises ProviderError.
        """
        ...


@runtime_checkable
class HearsAudio(Protocol):
    """An `Llm` of which some models hear the caller and speak their answer themselves."""

    def hears(self, model: str) -> bool: ...


# --- text to speech ---


@dataclass(frozen=True, slots=True)
class TtsRequest:
    """The voice that a call speaks with; `options` are the vendor's own settings."""

    model: str
    voice: str
    language: str
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of text to speak; `number` counts from 0 in its utterance."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """Audio of one clause, in order; `words` are those that end in it, if the vendor tells.

    Every clause that was given ends with a chunk whose `last` is true (its audio may be empty).
    A chunk never spans two clauses. Word times count from the clause's first sample.
    """

    clause: int
    audio: bytes
    words: tuple[Word, ...] = ()
    last: bool = False


class Voice(Protocol):
    """One call's voice; one utterance at a time."""

    def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        """Speak clauses as they come, without waiting for all of them.

        Closing the generator cancels the utterance at the vendor. Raises ProviderError.
        """
        ...

    async def close(self) -> Usage | None:
        """End in order; returns what was used. Never raises."""
        ...


class Tts(Protocol):
    """A vendor's text to speech."""

    name: str

    async def open(self, request: TtsRequest) -> Voice:
        """Make a voice for one call, warm if the vendor allows. Raises ProviderError."""
        ...


# --- the line and the carrier ---


@dataclass(frozen=True, slots=True)
class LineAudio:
    """Audio of the caller."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class LineDigit:
    """A key that the caller pressed."""

    digit: str


@dataclass(frozen=True, slots=True)
class LineMark:
    """A mark came back; whether it was played or cleared is for the playback to know."""

    name: str


@dataclass(frozen=True, slots=True)
class LineStopped:
    """The stream is over: `hung_up` when the carrier said so, `lost` when it broke."""

    reason: Literal["hung_up", "lost"]


LineEvent = LineAudio | LineDigit | LineMark | LineStopped


class Line(Protocol):
    """The media of one call, as the carrier's stream carries it.

    Sends are bounded (5 s) and raise CarrierError(`line_lost`) when the far end is gone.
    """

    def events(self) -> AsyncIterator[LineEvent]:
        """What comes from the far end, until and including `LineStopped`."""
        ...

    async def send_audio(self, audio: bytes) -> None:
        """Queue audio at the carrier; any length."""
        ...

    async def send_mark(self, name: str) -> None:
        """Ask to be told when what was sent before has been played."""
        ...

    async def clear(self) -> None:
        """Throw away what the carrier has not played yet."""
        ...

    async def close(self) -> None:
        """End the media phase; the carrier then asks what comes next. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A webhook request: `url` is the public one that the sender used, `form` in order."""

    method: str
    url: str
    headers: Mapping[str, str]
    """Names in lower case."""
    form: Sequence[tuple[str, str]]
    query: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a webhook answers."""

    status: int
    body: str = ""
    content_type: str = "text/xml"


class Socket(Protocol):
    """A WebSocket that a carrier opened to us."""

    headers: Mapping[str, str]
    url: str

    async def accept(self) -> None: ...
    async def receive(self) -> str | bytes | None:
        """The next message; None when the peer closed in order.

        Raises CarrierError(`line_lost`).
        """
        ...

    async def send(self, text: str) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


Webhook = Callable[[HttpRequest], Awaitable[HttpReply]]
SocketHandler = Callable[[Socket], Awaitable[None]]


class Carrier(Protocol):
    """A phone company's control side. `api` mounts what it declares under `/<name>/…`."""

    name: str

    def webhooks(self) -> Mapping[str, Webhook]:
        """POST handlers by path below the carrier's name, for example `voice`."""
        ...

    def sockets(self) -> Mapping[str, SocketHandler]:
        """WebSocket handlers by path below the carrier's name, for example `media`."""
        ...


# --- what a carrier asks of the engine ---


@dataclass(frozen=True, slots=True)
class CallOffer:
    """A call that a carrier offers: `carrier_sid` is the carrier's own id of it."""

    carrier: str
    carrier_sid: str
    direction: Literal["inbound", "outbound"]
    from_number: str
    to_number: str


@dataclass(frozen=True, slots=True)
class StreamTicket:
    """Leave to open one media stream for a call; `token` works once."""

    call_id: CallId
    token: str
    carrier_sid: str = ""
    """The carrier's id of the call, as the stream says; "" when it says nothing."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Next step: the carrier calls `to` and joins the caller to it (`bridge`)."""

    to: str
    ring_s: int
    longest_s: int
    caller_id: str
    press: str = ""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Next step: the carrier ends the call."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Next step: the carrier opens a new media stream with this ticket."""

    ticket: StreamTicket


@dataclass(frozen=True, slots=True)
class Refuse:
    """The call cannot be taken: `busy` (come back later) or `rejected`."""

    reason: Literal["busy", "rejected"]
    say: str = ""


NextStep = Dial | HangUp | Reconnect | Refuse


@dataclass(frozen=True, slots=True)
class DialReport:
    """How the carrier's `Dial` went: `completed busy no-answer failed canceled answered`."""

    status: str
    seconds: int = 0


class Switchboard(Protocol):
    """What the engine does for carriers; every method may be called by any worker."""

    async def offered(self, offer: CallOffer) -> NextStep:
        """A new call: admit it (`Reconnect` with a ticket) or refuse it.

        The same offer again (a webhook retried) gives the same call a fresh ticket.
        """
        ...

    async def stream_opened(self, ticket: StreamTicket, line: Line) -> None:
        """Run the call over `line` until its media phase ends.

        Raises CallError(`bad_token`) before anything is opened when the ticket is wrong, used
        or too old.
        """
        ...

    async def next_step(self, carrier_sid: str, dial: DialReport | None) -> NextStep:
        """The media phase is over, or a `Dial` is: what comes next."""
        ...

    async def reported(self, carrier_sid: str, status: str, sequence: int) -> None:
        """The carrier's status of a call; late and repeated ones are ignored with a record."""
        ...


# --- tools ---


@dataclass(frozen=True, slots=True)
class ToolJob:
    """One tool call, ready to run: everything in it is resolved but secrets."""

    key: str
    tool: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The one outcome of a tool call."""

    outcome: Literal["done", "failed", "timeout"]
    status: int | None = None
    body: Json = None
    error: str = ""


# --- the store ---


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call as the store keeps it."""

    id: CallId
    carrier: str
    carrier_sid: str
    direction: str
    from_number: str
    to_number: str
    flow_id: str
    version: str
    flow: Mapping[str, Json]
    """The flow's document as it was when the call began: calls pin their version."""
    status: str
    epoch: int
    created_at: str
    ended_at: str | None = None
    disposition: str = ""
    pending: Mapping[str, Json] | None = None
    """What `/next` answers from: the step that the call left its media phase for."""
    project_id: str = DEFAULT_PROJECT
    flow_version: int | None = None
    """The number under which the flow was published; None for one from a file."""
    variables: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)
    """The flow's inputs, and what whoever began the call wants to find again with it."""


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One line of a call's journal; `seq` counts from 1 over all epochs of the call.

    `family` is `input`, `fact` or `effect`; `at_ms` is the actor's time.
    """

    seq: int
    at_ms: int
    family: Literal["input", "fact", "effect"]
    body: Mapping[str, Json]


class CallStore(Protocol):
    """Calls, their journals and their checkpoints. Every async method may raise StoreError."""

    async def add_call(self, row: CallRow) -> None: ...
    async def call(self, call_id: CallId) -> CallRow | None: ...
    async def call_by_sid(self, carrier: str, carrier_sid: str) -> CallRow | None: ...
    async def calls(self, limit: int) -> list[CallRow]:
        """The latest calls first."""
        ...

    async def issue_stream(self, call_id: CallId, nonce: str) -> None:
        """Allow one stream with this nonce; an older, unused nonce stops working."""
        ...

    async def claim_stream(self, call_id: CallId, nonce: str) -> int | None:
        """Use the nonce up and raise the epoch, in one conditional update.

        Returns the new epoch, or None when the nonce is wrong or used.
        """
        ...

    async def set_status(self, call_id: CallId, status: str, *, disposition: str = "") -> None: ...

    async def set_pending(
        self, call_id: CallId, epoch: int, pending: Mapping[str, Json] | None
    ) -> bool:
        """Store the next step; False when a newer epoch holds the call."""
        ...

    def append(self, call_id: CallId, epoch: int, records: Sequence[JournalRecord]) -> None:
        """Write behind, in batches; never blocks. Late records of an old epoch are dropped."""
        ...

    def save_checkpoint(self, call_id: CallId, epoch: int, checkpoint: Mapping[str, Json]) -> None:
        """Write behind, after all records appended before; an old epoch's is dropped."""
        ...

    async def written(self, call_id: CallId) -> None:
        """Return once everything appended so far is on disk.

        Raises StoreError: `journal_degraded` when it cannot be, `stale_epoch` when a newer epoch
        holds the call and what was appended was dropped.
        """
        ...

    async def checkpoint(self, call_id: CallId) -> Mapping[str, Json] | None: ...

    async def journal(self, call_id: CallId) -> list[JournalRecord]: ...

    async def close(self) -> None: ...
