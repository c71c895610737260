"""One LLM turn: what was asked, the clauses that came, and what the LLM proposes at its end.

Pure part of the actor. Clauses are spoken as they come, proposals are kept until the answer is
complete, so that values come before edges whatever order the LLM wrote them in. The LLM proposes;
the actor decides. Its wait is `reply`.

One request may be asked ahead, while the caller's turn is not over. Its clauses are synthesised
but held back, its proposals and its end are kept. It is confirmed when the very same question is
to be asked for good; whatever else is asked, or cancels, drops it.
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
    SpeakingFailed,
    ToolProposed,
    Usage,
    UsageCounted,
)
from flowengine.nodes.stage import Extract, Think
from flowengine.ports import LlmMessage, LlmRequest
from flowengine.runtime.context import Context
from flowengine.runtime.covering import Covering
from flowengine.runtime.effects import AskLlm, CancelLlm, ConfirmReply, Piece
from flowengine.runtime.foreseen import is_same_question, same_words
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
"""How often one caller's turn may go to the LLM with tools; then once more, for words alone."""


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
    answer: str
    """The id of the first of them all, which tells this answer from others."""
    has_spoken: bool


@dataclass(slots=True)
class _Asked:
    purpose: Literal["dialog", "extract", "compose"]
    generation: int
    request: LlmRequest
    utterance: int | None
    asked_ms: int
    """When it was asked for good: the caller waits from then on."""
    is_tentative: bool = False
    proposals: list[ToolProposed] = field(default_factory=list)
    end: ReplyEnded | None = None
    """Its end, where it came before the reply was confirmed."""

    @property
    def tool_names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.request.tools)


class Thinking:
    """The LLM turns of a call, one at a time."""

    def __init__(self, context: Context, speaking: Speaking) -> None:
        self._context = context
        self._speaking = speaking
        self._asked: _Asked | None = None
        self._ahead: _Asked | None = None
        self.covering = Covering(context, speaking)
        self.rounds = 0
        self.edges_allowed = True
        self.interruptible = True
        self.is_foreseeable = True
        """Whether asking ahead makes sense in this node."""

    # --- asking ---

    def begin(self) -> None:
        """Another answer is wanted: rounds and refusals count anew, and how long it takes."""
        self.covering.begin()
        self.rounds = 0
        self.edges_allowed = True

    def ask(
        self, think: Think, intents: tuple[IntentInForce, ...], utterance: int | None = None
    ) -> None:
        """Ask for a dialog reply; a later round may go on in the same utterance."""
        self.rounds += 1
        request = dialog_request(
            self._context,
            think,
            intents,
            edges_allowed=self.edges_allowed,
            may_call=self.rounds <= ROUNDS,
        )
        if utterance is not None:
            request = _with_own_words(request, self._speaking.said(utterance))
        if not self._confirm(request):
            self._send("dialog", request, utterance)

    def ask_ahead(self, think: Think, intents: tuple[IntentInForce, ...]) -> None:
        """Ask for what a dialog will reply if the caller's turn ends as is supposed now."""
        request = dialog_request(self._context, think, intents, edges_allowed=True)
        self._send("dialog", request, None, is_tentative=True)

    def drop_ahead(self) -> None:
        """What was asked for ahead does not hold: nothing of it is ever heard or done."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        context = self._context
        if ahead.utterance is not None:
            self._speaking.drop_ahead(ahead.utterance)
        if ahead.end is None:
            context.do(CancelLlm(ahead.generation, wasted=True))
            return
        for usage in usages_of(ahead.end):
            context.report(UsageCounted(replace(usage, wasted=True)))

    def _confirm(self, request: LlmRequest) -> bool:
        """Let the tentative reply count if it answers this very question; whether it does."""
        ahead = self._ahead
        if ahead is None:
            return False
        if not is_same_question(ahead.request, request):
            said = (asked.messages[-1].text for asked in (ahead.request, request))
            # The words were right: what is asked here depends on the turn in other ways.
            self.is_foreseeable = self.is_foreseeable and not same_words(*said)
            return False
        context = self._context
        self._ahead, self._asked = None, ahead
        ahead.is_tentative, ahead.asked_ms = False, context.now_ms
        context.do(ConfirmReply(ahead.generation, ahead.utterance))
        self.covering.asked(ahead.generation)
        if ahead.utterance is not None:
            self._speaking.note_stage("llm", 0)
            self._speaking.release(ahead.utterance, interruptible=self.interruptible)
        context.waits.start("reply", context.now_ms, REPLY_MS)
        return True

    def take_end(self) -> ReplyEnded | None:
        """The end of the running request, if it came before the reply was confirmed."""
        asked = self._asked
        return None if asked is None else asked.end

    def extract(self, extract: Extract) -> None:
        self._send("extract", extract_request(self._context, extract), None)

    def compose_next(self) -> None:
        """An utterance that the LLM composes in part is about to be opened."""
        self.begin()
        self.covering.asked(self._context.next_generation())

    def compose(self, prompt: str, utterance: int) -> None:
        """Ask for words in the middle of an utterance that is open already."""
        self._send("compose", compose_request(self._context, prompt), utterance)

    def _send(
        self,
        purpose: Literal["dialog", "extract", "compose"],
        request: LlmRequest,
        utterance: int | None,
        *,
        is_tentative: bool = False,
    ) -> None:
        context = self._context
        self.cancel()
        generation = context.next_generation()
        asked = _Asked(purpose, generation, request, utterance, context.now_ms, is_tentative)
        llm = context.llm
        provider = (llm and llm.provider) or ""
        fallback = tuple(item.written() for item in (llm and llm.fallback) or ())
        context.do(AskLlm(generation, request, provider, fallback, is_tentative))
        if is_tentative:
            self._ahead = asked
            return
        self._asked = asked
        self.covering.asked(generation)
        context.waits.start("reply", context.now_ms, REPLY_MS)

    def cancel(self) -> None:
        """Drop what is still to come of the present request, and what was asked for ahead."""
        self.drop_ahead()
        if self._asked is not None:
            self._context.do(CancelLlm(self._asked.generation))
            self._asked = None
        self._context.waits.stop("reply")

    # --- what comes ---

    @property
    def has_rounds(self) -> bool:
        """Whether the LLM may be asked once more in this turn of the caller."""
        return self.rounds <= ROUNDS

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
        asked = self._lively(event.generation)
        if asked is None or asked.purpose == "extract":
            return
        if any(item.name == TAKE_EDGE for item in asked.proposals):
            return
        if asked.utterance is None and not event.text.strip():
            return
        if asked.utterance is None and asked.is_tentative:
            asked.utterance = self._speaking.open_ahead()
        elif asked.utterance is None:
            self._speaking.note_stage("llm", self._context.now_ms - asked.asked_ms)
            asked.utterance = self._speaking.open(interruptible=self.interruptible)
        piece = Piece(0, "words", event.text, reply=event.generation)
        self._speaking.add(asked.utterance, piece)

    def proposed(self, event: ToolProposed) -> None:
        asked = self._lively(event.generation)
        if asked is not None and asked.request.may_call:
            asked.proposals.append(event)

    def ended(self, event: ReplyEnded) -> tuple[Proposals, int | None] | None:
        """The answer is complete: its proposals, and its utterance if it has one."""
        if self._ahead is not None and self._ahead.generation == event.generation:
            self._ahead.end = event
            return None
        self._count(event)
        asked = self._current(event.generation)
        if asked is None:
            return None
        self._asked = None
        self._context.waits.stop("reply")
        return _sorted(asked), asked.utterance

    def failed(self, event: ReplyFailed) -> int | Literal[False] | None:
        """The answer failed: its utterance if it has one; False when nobody waits for it."""
        ahead = self._ahead
        if ahead is not None and ahead.generation == event.generation:
            # Nothing is lost: the turn's end asks again.
            ahead.end = ReplyEnded(event.generation, event.code, spent=event.spent)
            self.drop_ahead()
            return False
        self._count(event)
        asked = self._current(event.generation)
        if asked is None:
            return False
        self._context.report(FaultMet(event.code, "llm"))
        self._asked = None
        self._context.waits.stop("reply")
        return asked.utterance

    def _count(self, event: ReplyEnded | ReplyFailed) -> None:
        for usage in usages_of(event):
            self._context.report(UsageCounted(usage))

    def voice_failed(self, event: SpeakingFailed) -> bool:
        """The voice failed in what is held back; whether it was that."""
        ahead = self._ahead
        if ahead is None or ahead.utterance != event.generation:
            return False
        self.drop_ahead()
        return True

    def _lively(self, generation: int) -> _Asked | None:
        """The request of which something comes: the running one, whose wait begins anew, or the
        one asked ahead.
        """
        ahead = self._ahead
        if ahead is not None and ahead.generation == generation:
            return ahead
        asked = self._current(generation)
        if asked is not None:
            self._context.waits.start("reply", self._context.now_ms, REPLY_MS)
        return asked

    def _current(self, generation: int) -> _Asked | None:
        if self._asked is not None and self._asked.generation == generation:
            return self._asked
        return None


def usages_of(event: ReplyEnded | ReplyFailed) -> tuple[Usage, ...]:
    """All that an answer used, whether it ended or failed."""
    own = event.usage if isinstance(event, ReplyEnded) else None
    return event.spent if own is None else (own, *event.spent)


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
        asked.proposals[0].id if asked.proposals else "",
        has_spoken=asked.utterance is not None,
    )
