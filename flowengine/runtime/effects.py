"""What the actor tells the world to do, in the imperative; `runtime/call` hands each to a port.

Effects are journalled (as `to_json` gives them) so that a replay can be compared with the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from flowengine.events import Fact, Json
from flowengine.events import to_json as event_to_json
from flowengine.flow.defaults import SttUse, TtsUse
from flowengine.flow.scope import Scope
from flowengine.ports import LlmRequest


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an utterance, with its clause number.

    `words`: synthesise `text` (a `static` one may come from the prompt cache), or play it as the
    LLM that wrote it under the generation `reply` speaks it; `audio`: play the flow's file `text`;
    `pause`: `ms` of silence; `tones`: send the keys in `text`.
    """

    clause: int
    kind: Literal["words", "audio", "pause", "tones"]
    text: str = ""
    static: bool = False
    ms: int = 0
    reply: int = 0


@dataclass(frozen=True, slots=True)
class Speak:
    """Speak pieces as utterance `generation`, behind what is being spoken; `last`: no more come.

    `held`: synthesise them, but send nothing to the line before `ConfirmReply`.
    """

    generation: int
    pieces: tuple[Piece, ...]
    last: bool
    tts: TtsUse
    language: str
    held: bool = False


@dataclass(frozen=True, slots=True)
class CoverSilence:
    """Say a static text that is at hand as utterance `generation`, before all later ones.

    If it is not at hand, or a later one has begun, nothing is said: `SpeakingFailed`.
    """

    generation: int
    text: str
    tts: TtsUse
    language: str


@dataclass(frozen=True, slots=True)
class CutSpeech:
    """Clear the line and drop every utterance older than `floor`, now."""

    floor: int


@dataclass(frozen=True, slots=True)
class PauseSpeech:
    """Clear the line, but keep what was not heard."""


@dataclass(frozen=True, slots=True)
class ResumeSpeech:
    """Send what was kept again, from `from_ms` of this clause on."""

    generation: int
    clause: int
    from_ms: int


@dataclass(frozen=True, slots=True)
class DropClauses:
    """Of utterance `generation`, drop the clauses of which no audio was sent yet; it then ends.

    `wasted`: that is all of it, for it was synthesised ahead in vain.
    """

    generation: int
    wasted: bool = False


@dataclass(frozen=True, slots=True)
class AskLlm:
    """Ask an LLM; its clauses and proposals come back under `generation`.

    `tentative`: the caller's turn is not over yet, so the answer may be dropped.
    """

    generation: int
    request: LlmRequest
    provider: str
    fallback: tuple[Mapping[str, Json], ...] = ()
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class ConfirmReply:
    """The tentative reply `generation` holds; what is held of its `utterance` goes to the line."""

    generation: int
    utterance: int | None


@dataclass(frozen=True, slots=True)
class CancelLlm:
    """Drop what this LLM request still brings, and close it; `wasted`: nothing of it was used."""

    generation: int
    wasted: bool = False


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run a tool once; `barrier`: it may change something, so its record must be on disk first."""

    key: str
    tool: str
    arguments: Mapping[str, Json]
    barrier: bool
    flow: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Listen:
    """What the node listens for now: settings of the recogniser, closed set, sensitivity."""

    stt: SttUse
    language: str
    endpointing_ms: int
    candidates: tuple[str, ...] = ()
    digits: bool = False
    sensitive: bool = False
    recording: bool = True


@dataclass(frozen=True, slots=True)
class LeaveLine:
    """End the media phase; `step` is what the carrier is told to do next."""

    step: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Report:
    """Journal a fact."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Keep this picture of the call, to go on from after a crash."""

    checkpoint: Mapping[str, Json]


Effect = (
    Speak
    | CoverSilence
    | CutSpeech
    | PauseSpeech
    | ResumeSpeech
    | DropClauses
    | AskLlm
    | ConfirmReply
    | CancelLlm
    | RunTool
    | Listen
    | LeaveLine
    | Report
    | SaveCheckpoint
)

_UNWRITTEN = {"scope", "stt", "tts", "arguments", "checkpoint"}
"""What follows from the flow's version, or may hold what is sensitive."""


def to_json(effect: Effect) -> dict[str, Json]:
    """An effect as a plain dictionary with its `type` first; facts as facts."""
    if isinstance(effect, Report):
        return event_to_json(effect.fact)
    document: dict[str, Json] = {"type": type(effect).__name__}
    for field in fields(effect):
        if field.name not in _UNWRITTEN:
            document[field.name] = _plain(getattr(effect, field.name))
    return document


def _plain(value: Any) -> Json:
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
