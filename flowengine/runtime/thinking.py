"""One LLM turn: what was asked, the clauses that came, and what the LLM proposes at its end.

Pure part of the actor. Clauses are spoken as they come, proposals are kept until the answer is
complete, so that values come before edges whatever order the LLM wrote them in. The LLM proposes;
the actor decides. Its wait is `reply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from flowengine.events import (
    ClauseReady,
    FaultMet,
    Json,
    ReplyEnded,
    ReplyFailed,
    ToolProposed,
    UsageCounted,
)
from flowengine.nodes.stage import Extract, Think
from flowengine.ports import LlmMessage, LlmRequest
from flowengine.runtime.context import Context
from flowengine.runtime.effects import AskLlm, CancelLlm, Piece
from flowengine.runtime.prompting import (
    NOTE,
    TAKE_EDGE,
    IntentInForce,
    compose_request,
    dialog_request,
    extract_request,
)
from flowengine.runtime.speaking import Speaking

REPLY_MS = 10_000
"""Backstop behind the provider's own deadlines, begun anew with everything that comes."""
ROUNDS = 6
"""How often one caller's turn may go back to the LLM with results."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What the LLM proposed in one complete answer."""

    notes: Mapping[str, Json]
    note_ids: tuple[str, ...]
    edge: str
    quote: str
    edge_id: str
    """The id of the proposal itself, to answer it."""
    tools: tuple[ToolProposed, ...]
    broken: tuple[ToolProposed, ...]
    """Proposals whose arguments were no JSON object, or of no tool that it has."""
    has_spoken: bool


@dataclass(slots=True)
class _Asked:
    purpose: Literal["dialog", "extract", "compose"]
    generation: int
    utterance: int | None = None
    proposals: list[ToolProposed] = field(default_factory=list)
    tool_names: frozenset[str] = frozenset()
    asked_ms: int = 0


class Thinking:
    """The LLM turns of a call, one at a time."""

    def __init__(self, context: Context, speaking: Speaking) -> None:
        self._context = context
        self._speaking = speaking
        self._asked: _Asked | None = None
        self.rounds = 0
        self.edges_allowed = True
        self.interruptible = True

    # --- asking ---

    def begin(self) -> None:
        """A new turn of the caller: rounds and refusals count anew."""
        self.rounds = 0
        self.edges_allowed = True

    def ask(
        self, think: Think, intents: tuple[IntentInForce, ...], utterance: int | None = None
    ) -> None:
        """Ask for a dialog reply; a later round may go on in the same utterance."""
        self.rounds += 1
        request = dialog_request(self._context, think, intents, edges_allowed=self.edges_allowed)
        if utterance is not None:
            request = _with_own_words(request, self._speaking.said(utterance))
        self._send("dialog", request, utterance)

    def extract(self, extract: Extract) -> None:
        self._send("extract", extract_request(self._context, extract), None)

    def compose(self, prompt: str, utterance: int) -> None:
        """Ask for words in the middle of an utterance that is open already."""
        self._send("compose", compose_request(self._context, prompt), utterance)

    def _send(
        self,
        purpose: Literal["dialog", "extract", "compose"],
        request: LlmRequest,
        utterance: int | None,
    ) -> None:
        context = self._context
        self.cancel()
        generation = context.next_generation()
        names = frozenset(tool.name for tool in request.tools)
        self._asked = _Asked(purpose, generation, utterance, [], names, context.now_ms)
        llm = context.llm
        fallback = tuple(item.written() for item in (llm and llm.fallback) or ())
        context.do(AskLlm(generation, request, (llm and llm.provider) or "", fallback))
        context.waits.start("reply", context.now_ms, REPLY_MS)

    def cancel(self) -> None:
        """Drop what is still to come of the present request."""
        if self._asked is not None:
            self._context.do(CancelLlm(self._asked.generation))
            self._asked = None
        self._context.waits.stop("reply")

    # --- what comes ---

    @property
    def is_running(self) -> bool:
        return self._asked is not None

    @property
    def generation(self) -> int:
        """The generation of the running request; 0 when there is none."""
        return self._asked.generation if self._asked else 0

    @property
    def purpose(self) -> str:
        return self._asked.purpose if self._asked else ""

    @property
    def utterance(self) -> int | None:
        """The utterance that the running request speaks in, once it has words."""
        return self._asked.utterance if self._asked else None

    def clause(self, event: ClauseReady) -> None:
        """Speak a clause, unless an edge was proposed before it."""
        asked = self._current(event.generation)
        if asked is None or asked.purpose == "extract":
            return
        if any(item.name == TAKE_EDGE for item in asked.proposals):
            return
        context = self._context
        context.waits.start("reply", context.now_ms, REPLY_MS)
        if asked.utterance is None and not event.text.strip():
            return
        if asked.utterance is None:
            self._speaking.note_stage("llm", context.now_ms - asked.asked_ms)
            asked.utterance = self._speaking.open(interruptible=self.interruptible)
        self._speaking.add(asked.utterance, Piece(0, "words", event.text))

    def proposed(self, event: ToolProposed) -> None:
        asked = self._current(event.generation)
        if asked is not None:
            asked.proposals.append(event)
            self._context.waits.start("reply", self._context.now_ms, REPLY_MS)

    def ended(self, event: ReplyEnded) -> tuple[Proposals, int | None] | None:
        """The answer is complete: its proposals, and its utterance if it has one."""
        if event.usage is not None:
            self._context.report(UsageCounted(event.usage))
        asked = self._current(event.generation)
        if asked is None:
            return None
        self._asked = None
        self._context.waits.stop("reply")
        return _sorted(asked), asked.utterance

    def failed(self, event: ReplyFailed) -> int | Literal[False] | None:
        """The answer failed: its utterance if it has one; False when that is stale."""
        asked = self._current(event.generation)
        if asked is None:
            return False
        self._context.report(FaultMet(event.code, "llm"))
        self._asked = None
        self._context.waits.stop("reply")
        return asked.utterance

    def _current(self, generation: int) -> _Asked | None:
        if self._asked is not None and self._asked.generation == generation:
            return self._asked
        return None


def _with_own_words(request: LlmRequest, said: str) -> LlmRequest:
    """What the LLM said in this reply so far, before the tool calls that it made in it."""
    messages = list(request.messages)
    place = len(messages)
    while place and (messages[place - 1].role == "tool" or messages[place - 1].tool_uses):
        place -= 1
    if said.strip():
        messages.insert(place, LlmMessage("assistant", said.strip()))
    return replace(request, messages=tuple(messages))


def _sorted(asked: _Asked) -> Proposals:
    notes: dict[str, Json] = {}
    note_ids: list[str] = []
    edge = quote = edge_id = ""
    tools: list[ToolProposed] = []
    broken: list[ToolProposed] = []
    for item in asked.proposals:
        if item.arguments is None or item.name not in asked.tool_names:
            broken.append(item)
        elif item.name == NOTE:
            notes.update(item.arguments)
            note_ids.append(item.id)
        elif item.name == TAKE_EDGE:
            if not edge:
                edge = str(item.arguments.get("edge") or "?")
                quote = str(item.arguments.get("quote") or "")
                edge_id = item.id
        else:
            tools.append(item)
    return Proposals(
        notes,
        tuple(note_ids),
        edge,
        quote,
        edge_id,
        tuple(tools),
        tuple(broken),
        has_spoken=asked.utterance is not None,
    )
