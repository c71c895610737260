"""What the engine needs of vendors: ears, LLMs, voices."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class HeardRequest(LlmRequest):
    """The same with what the caller said last as µ-law, for an LLM that hears (`HearsAudio`)."""

    audio: bytes = field(default=b"", repr=False)


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

    async def warm_session(self, model: str) -> None:
        """Open what such a model's first answer needs. Raises ProviderError."""
        ...


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
