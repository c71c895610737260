"""What came of a simulated call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from flowengine.events import CallEnded, Fact, Json
from flowengine.ports import JournalRecord, LlmRequest
from flowengine.runtime.conversation import Entry
from flowengine.testing.hops import Hop, told

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the transcript.

    The bot's `heard` is what the engine believes that the caller heard of `text`; `cut`: he broke
    in. What a caller keys or says where it is sensitive is masked.
    """

    at_ms: int
    who: Literal["bot", "caller", "keys", "line"]
    text: str
    heard: str = ""
    cut: bool = False
    node: str = ""

    def __str__(self) -> str:
        words = self.text
        if self.cut:
            words = f"{self.heard.rstrip()} …⟂ (cut; the rest was: {self.text[len(self.heard) :]})"
        return f"{self.at_ms / 1000:7.1f} s  {self.who:>6}  {words}"


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """A call that is over: what was said, which way it took, and every record of it.

    `transfers`: the steps for which the call left its line, in order. `really_heard`: all that was
    played to the caller, from the simulated line, not from the engine's belief.
    """

    transcript: tuple[Said, ...]
    path: tuple[Hop, ...]
    values: Mapping[str, Json]
    disposition: str
    reason: str
    outputs: Mapping[str, Json]
    duration_ms: int
    facts: tuple[tuple[int, Fact], ...]
    journal: tuple[JournalRecord, ...]
    checkpoints: tuple[Mapping[str, Json], ...]
    conversation: tuple[Entry, ...]
    llm_requests: tuple[LlmRequest, ...]
    transfers: tuple[Mapping[str, Json], ...]
    really_heard: str

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes entered, in order."""
        return tuple(hop.node for hop in self.path)

    @property
    def edges(self) -> tuple[str, ...]:
        """The edges taken, in order, by id."""
        return tuple(hop.edge for hop in self.path if hop.edge)

    def facts_of(self, kind: type[F]) -> tuple[F, ...]:
        """The facts of one type."""
        return tuple(fact for _, fact in self.facts if isinstance(fact, kind))

    def said(self, words: str) -> bool:
        """Whether the bot said this, and it was heard."""
        return plain(words) in plain(self.really_heard)

    def shown(self) -> str:
        """Transcript and path as text for people."""
        return "\n".join(
            [*map(str, self.transcript), "", *map(told, self.path), "", f"ended: {self.ending}"]
        )

    @property
    def ending(self) -> str:
        """How the call ended, in short."""
        return f"{self.disposition} ({self.reason})" if self.reason else self.disposition


def plain(words: str) -> str:
    """Words as they are compared: without case, punctuation and repeated spaces."""
    kept = "".join(c if c.isalnum() else " " for c in words.casefold().replace("’", "'"))
    return " ".join(kept.split())


def ended(facts: Sequence[tuple[int, Fact]]) -> CallEnded | None:
    """The last record of a call."""
    return next((fact for _, fact in reversed(facts) if isinstance(fact, CallEnded)), None)
