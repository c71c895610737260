"""The one list of what can happen in a call: it feeds journal, live view, traces, cost and tests.

Two families. *Inputs* come from the world (line, recogniser, LLM, voice, tools, timers) into the
call's actor; journalled, they are enough to drive the same machines again. *Facts* are what the
actor decided (node entered, edge taken, value set …). All are frozen dataclasses with JSON-able
fields; `to_json` and `from_json` turn them into plain dictionaries with a `type` and back.

Times `…_ms` are call time: milliseconds since the media of the call began, unless a field says
otherwise. Work that is asynchronous carries the `generation` under which it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from flowengine.commands import OperatorEnded, OperatorMoved, OperatorSaid, OperatorTransferred

type_field = "type"

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of the same."""


@dataclass(frozen=True, slots=True)
class Word:
    """Where a word of a clause lies in its audio.

    `end_char` counts characters of the clause's text up to the word's end; `start_ms` and
    `end_ms` count from the clause's first sample.
    """

    end_char: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a provider says one piece of work used.

    `amount_in` and `amount_out` are all that was used; the fields after them say how much of it
    has a price of its own (cached, written to the cache, audio tokens).
    """

    provider: str
    model: str
    unit: Literal["audio_ms", "characters", "tokens"]
    amount_in: int = 0
    amount_out: int = 0
    cached_in: int = 0
    """Of `amount_in`: read from the vendor's prompt cache, audio aside."""
    cache_write_in: int = 0
    """Of `amount_in`: written to the cache for minutes."""
    cache_write_1h_in: int = 0
    """Of `amount_in`: written to the cache for an hour."""
    audio_in: int = 0
    """Of `amount_in`: tokens of audio."""
    cached_audio_in: int = 0
    """Of `audio_in`: read from the cache."""
    audio_out: int = 0
    """Of `amount_out`: tokens of audio."""
    add_ons: tuple[str, ...] = ()
    """What is billed on top, sorted: `keyterm`, `multilingual` and the like."""
    estimated: bool = False
    """Counted by us, because the vendor did not say (a cancelled answer, a lost socket)."""
    wasted: bool = False
    """Nothing of it was used: speculation that was dropped, the loser of a hedge."""

    def plus(self, other: Usage) -> Usage:
        """Both, which are of one provider, model and unit."""
        names = (
            "amount_in amount_out cached_in cache_write_in cache_write_1h_in audio_in "
            "cached_audio_in audio_out"
        ).split()
        counts = {name: getattr(self, name) + getattr(other, name) for name in names}
        return replace(self, **counts)


def added_up(usages: Iterable[Usage]) -> list[Usage]:
    """One usage for each provider, model and unit; what is estimated or wasted stands apart."""
    sums: dict[tuple[str, str, str, tuple[str, ...], bool, bool], Usage] = {}
    for usage in usages:
        kind = (usage.provider, usage.model, usage.unit, usage.add_ons)
        key = (*kind, usage.estimated, usage.wasted)
        sums[key] = sums[key].plus(usage) if key in sums else usage
    return list(sums.values())


# --- inputs: the line ---


@dataclass(frozen=True, slots=True)
class LineOpened:
    """The media stream is up; the walk may begin (or go on, when `resumed`)."""

    wall: str
    """Time of day as ISO 8601 in UTC, from which the actor counts on."""
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class LineClosed:
    """The media stream ended: the caller hung up, the socket died, or we closed it."""

    reason: Literal["hung_up", "lost", "left"]


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """The caller pressed a key: `0`-`9`, `*`, `#`, `A`-`D`."""

    digit: str


@dataclass(frozen=True, slots=True)
class MarkReached:
    """The line says that audio up to a mark was played (or, after a clear, thrown away)."""

    generation: int
    clause: int


# --- inputs: hearing ---


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Evidence that the caller speaks, from the energy gate or from the recogniser."""

    source: Literal["energy", "stt"]


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller seems to be quiet again."""

    source: Literal["energy", "stt"]


@dataclass(frozen=True, slots=True)
class InterimHeard:
    """Words so far, which may still change. Replaces the previous interim."""

    text: str
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class SegmentHeard:
    """Words that will not change any more; appended to the turn.

    `endpoint` says that the recogniser takes the turn as ended here.
    """

    text: str
    confidence: float = 0.0
    endpoint: bool = False


@dataclass(frozen=True, slots=True)
class EndpointReached:
    """The recogniser takes the turn as ended, without new words (Deepgram's UtteranceEnd)."""


@dataclass(frozen=True, slots=True)
class EndpointForeseen:
    """The recogniser thinks that the turn is about to end with these words, all of the turn's.

    Then comes the endpoint itself, or `EndpointRevoked`. (Deepgram Flux: EagerEndOfTurn.)
    """

    text: str
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointRevoked:
    """The caller goes on after all: what was foreseen does not hold."""


@dataclass(frozen=True, slots=True)
class HearingFailed:
    """Speech to text is lost for good; `code` is that of the ProviderError."""

    code: str


# --- inputs: thinking ---


@dataclass(frozen=True, slots=True)
class ClauseReady:
    """The LLM wrote a clause that can be spoken."""

    generation: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolProposed:
    """The LLM asks for a tool (its own, `take_edge` or `note`); `arguments` is a JSON object."""

    generation: int
    id: str
    name: str
    arguments: Mapping[str, Json] | None
    """None: the LLM's arguments were no JSON object."""
    before_text: bool


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The LLM's answer is complete."""

    generation: int
    reason: str
    first_token_ms: int | None = None
    usage: Usage | None = None
    spent: tuple[Usage, ...] = ()
    """What attempts used that were not the answer."""


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """The LLM's answer failed (`code` of the ProviderError, or `no_llm`)."""

    generation: int
    code: str
    spent: tuple[Usage, ...] = ()
    """What all attempts used."""


# --- inputs: speaking ---


@dataclass(frozen=True, slots=True)
class AudioSent:
    """A stretch of a clause's audio went to the line, in order; `words` are those it completes.

    It covers the clause's audio from `from_ms` on. After a pause a clause is sent again from the
    start of the cut word. `first_audio_ms`: with an utterance's first stretch, the time from the
    request for speech to it.
    """

    generation: int
    clause: int
    from_ms: int
    audio_ms: int
    words: tuple[Word, ...] = ()
    last: bool = False
    """This completes the clause's audio; its mark follows it on the line."""
    first_audio_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SpeakingFailed:
    """Text to speech failed for this generation; nothing more of it will be sent."""

    generation: int
    code: str


# --- inputs: tools, transfer, record, timers ---


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool call has its one outcome. `key` is its idempotency key."""

    key: str
    outcome: Literal["done", "failed", "timeout"]
    status: int | None = None
    body: Json = None
    error: str = ""
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class TransferEnded:
    """The carrier says how a transfer went."""

    outcome: Literal["done", "busy", "no_answer", "declined", "failed"]
    to: str = ""
    seconds: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CalleeAnswered:
    """Outbound: somebody or something answered."""

    by: Literal["human", "machine", "unknown"]


@dataclass(frozen=True, slots=True)
class CalleeUnreached:
    """Outbound: nobody answered."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallResumed:
    """A webhook resumed a call that waits under `name`."""

    name: str
    body: Json = None


@dataclass(frozen=True, slots=True)
class EndRequested:
    """The engine asks the call to end in order: `overloaded`, `draining`, `stopped`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """A deadline of the actor has come."""


Input = (
    LineOpened
    | LineClosed
    | DigitPressed
    | MarkReached
    | SpeechStarted
    | SpeechStopped
    | InterimHeard
    | SegmentHeard
    | EndpointReached
    | EndpointForeseen
    | EndpointRevoked
    | HearingFailed
    | ClauseReady
    | ToolProposed
    | ReplyEnded
    | ReplyFailed
    | AudioSent
    | SpeakingFailed
    | ToolEnded
    | TransferEnded
    | CalleeAnswered
    | CalleeUnreached
    | CallResumed
    | EndRequested
    | OperatorSaid
    | OperatorMoved
    | OperatorTransferred
    | OperatorEnded
    | Ticked
)


# --- facts: what the actor decided ---


@dataclass(frozen=True, slots=True)
class CallBegan:
    """First record of a call: who, which way, which version of which flow."""

    call_id: str
    direction: str
    flow_id: str
    version: str
    carrier: str
    wall: str


@dataclass(frozen=True, slots=True)
class NodeEntered:
    """The walk entered a node; `visit` counts entries from 1."""

    node: str
    kind: str
    visit: int
    by: Literal["start", "turn", "outcome", "key", "value", "back", "resume", "return", "operator"]


@dataclass(frozen=True, slots=True)
class Considered:
    """One edge that was looked at, and why it was taken or not."""

    edge: str
    verdict: Literal[
        "taken", "not_looked_at", "guard_false", "unset", "no_match", "refused", "cooldown", "need"
    ]
    guard: str = ""
    values: Mapping[str, Json] | None = None
    reason: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class EdgeDecided:
    """The decision record of one trigger at one node: every edge considered, who decided, when."""

    node: str
    trigger: Mapping[str, Json]
    edge: str | None
    to: str | None
    considered: tuple[Considered, ...]
    decided_by: Literal["engine", "llm", "matcher", "built_in", "operator"]
    quote: str = ""
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A variable got a value (masked as `{"sensitive": true, "length": n}` when sensitive)."""

    name: str
    value: Json
    by: Literal["caller", "llm", "edge", "tool", "save", "input", "engine"]


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The caller's turn: what was heard, and how long endpointing took."""

    number: int
    text: str
    confidence: float
    by: Literal["stt", "silence", "keys"]
    endpointing_ms: int


@dataclass(frozen=True, slots=True)
class UtteranceSpoken:
    """What we said and how much of it was heard; `cut` when the caller broke in."""

    generation: int
    node: str
    text: str
    heard: str
    cut: bool
    response_ms: int | None = None
    """From the end of the caller's turn to our first audio sent."""
    stages: Mapping[str, int] | None = None
    """The parts of the response in ms: endpointing, llm, tts."""


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The caller spoke while we did: `paused`, then `confirmed` or `resumed`."""

    phase: Literal["paused", "confirmed", "resumed"]
    generation: int


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool was asked for; arguments of sensitive variables never come here."""

    key: str
    tool: str
    arguments: Mapping[str, Json]
    by: Literal["node", "llm"]


@dataclass(frozen=True, slots=True)
class PassagesFound:
    """What a search in the flow's files gave: each passage's `file` and `heading`, best first."""

    key: str
    tool: str
    passages: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True, slots=True)
class UsageCounted:
    """A provider's usage, for cost."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class WaitPassed:
    """A named wait came to its limit."""

    wait: str
    limit_ms: int


@dataclass(frozen=True, slots=True)
class FaultMet:
    """Something failed that the caller is told about or that an operator must see."""

    code: str
    part: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MoveRefused:
    """An illegal or late change was refused; the call goes on."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class CommandAnswered:
    """The call does what was asked of it from outside, or does not.

    `refused`: "" or `call_is_ending`, `caller_left`, `in_transfer`, `unknown_node`.
    """

    command: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """Last record of a call."""

    disposition: str
    reason: str
    outputs: Mapping[str, Json]
    duration_ms: int


Fact = (
    CallBegan
    | NodeEntered
    | EdgeDecided
    | ValueSet
    | TurnEnded
    | UtteranceSpoken
    | BargeIn
    | ToolCalled
    | PassagesFound
    | UsageCounted
    | WaitPassed
    | FaultMet
    | MoveRefused
    | CommandAnswered
    | CallEnded
)

Event = Input | Fact

_BY_NAME: dict[str, type[Any]] = {
    kind.__name__: kind for union in (Input, Fact) for kind in union.__args__
}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_BY_NAME[name])


def to_json(event: Event) -> dict[str, Json]:
    """Turn an event into a plain dictionary with its `type` first."""
    document: dict[str, Json] = {type_field: type(event).__name__}
    for field in fields(event):
        document[field.name] = _plain(getattr(event, field.name))
    return document


def from_json(document: Mapping[str, Json]) -> Event:
    """Read an event back; raises KeyError for an unknown type, ValueError for wrong fields."""
    body = {name: value for name, value in document.items() if name != type_field}
    event: Event = _adapter(document[type_field]).validate_python(body)
    return event


def _plain(value: Json) -> Json:
    if isinstance(value, (Word, Usage, Considered)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
