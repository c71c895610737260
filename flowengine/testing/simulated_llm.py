"""The LLM of a simulated call: what it answers to a request, and how that comes in, in time.

A responder is any function from the request to an answer: a string, or a list of strings,
`Proposes`, `LlmFails` and `LlmStalls` in the order in which they come. `Responder` is one that
goes by phrases in the caller's last words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from flowengine.events import (
    ClauseReady,
    Json,
    ReplyEnded,
    ReplyFailed,
    ToolProposed,
    Usage,
)
from flowengine.media.clauses import ClauseCutter
from flowengine.ports import LlmRequest, LlmTool
from flowengine.runtime.effects import AskLlm
from flowengine.testing.timeline import Due, Timeline

FIRST_TOKEN_MS = 300
TOKEN_MS = 20

LlmReport = ClauseReady | ToolProposed | ReplyEnded | ReplyFailed


@dataclass(frozen=True, slots=True)
class Proposes:
    """The LLM calls a tool; `arguments` None: what it wrote was no JSON object."""

    name: str
    arguments: Mapping[str, Json] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LlmFails:
    """The request fails here with this code."""

    code: str = "overloaded"


@dataclass(frozen=True, slots=True)
class LlmStalls:
    """Nothing more comes, or not for so long."""

    ms: int | None = None


Item = str | Proposes | LlmFails | LlmStalls
Answer = Item | Sequence[Item]
LlmResponder = Callable[[LlmRequest], Answer]
LlmAsked = Callable[[AskLlm], Answer]


class SimulatedLlm:
    """Streams a responder's answers as the real one would: tokens, clauses, tool calls, an end."""

    def __init__(
        self, timeline: Timeline, report: Callable[[LlmReport], None], asked: LlmAsked
    ) -> None:
        self._timeline = timeline
        self._report = report
        self._asked = asked
        self._running: dict[int, list[Due]] = {}
        self._ids = count(1)
        self.requests: list[LlmRequest] = []

    def ask(self, effect: AskLlm) -> None:
        self.requests.append(effect.request)
        answer = self._asked(effect)
        items: Sequence[Item] = (
            answer if isinstance(answer, Sequence) and not isinstance(answer, str) else (answer,)
        )
        self._running[effect.generation] = []
        self._stream(effect.generation, items)

    def cancel(self, generation: int, *, wasted: bool) -> None:
        """Stop an answer; what it used is told all the same."""
        events = self._running.pop(generation, [])
        for due in events:
            due.cancel()
        if any(due.at_ms > self._timeline.now_ms for due in events):
            usage = Usage("simulated", "", "tokens", estimated=True, wasted=wasted)
            end = ReplyEnded(generation, "cancelled", None, usage)
            self._timeline.after(0, lambda: self._report(end), is_background=True)

    def _stream(self, generation: int, items: Sequence[Item]) -> None:
        delay_ms, words = FIRST_TOKEN_MS, 0
        cutter = ClauseCutter()
        for item in items:
            match item:
                case str(text):
                    for token in re.findall(r"\S+\s*", text):
                        words += 1
                        for clause in cutter.push(token, self._timeline.now_ms + delay_ms):
                            self._later(delay_ms, ClauseReady(generation, clause))
                        delay_ms += TOKEN_MS
                case Proposes(name, arguments):
                    event = ToolProposed(
                        generation, f"tool_{next(self._ids)}", name, arguments, words == 0
                    )
                    self._later(delay_ms, event)
                    delay_ms += TOKEN_MS
                case LlmFails(code):
                    self._later(delay_ms, ReplyFailed(generation, code))
                    return
                case LlmStalls(None):
                    return
                case LlmStalls(ms):
                    delay_ms += ms or 0
        for clause in cutter.finish():
            self._later(delay_ms, ClauseReady(generation, clause))
        usage = Usage("simulated", "", "tokens", amount_out=words, estimated=True)
        self._later(delay_ms, ReplyEnded(generation, "stop", FIRST_TOKEN_MS, usage))

    def _later(self, delay_ms: int, event: LlmReport) -> None:
        self._running[event.generation].append(
            self._timeline.after(delay_ms, lambda: self._report(event))
        )


@dataclass(frozen=True)
class Responder:
    """Answers by phrases in the caller's last words; phrases are regular expressions.

    `takes`: edge (its id, or words of its intent) → phrase that means it; the edge `done` is the
    node's goal. `notes`: variable → phrase → value (a value of None stands for the words that the
    phrase matched). `calls`: tool → phrase → arguments. `says`: phrase → words. What none of
    them covers is answered by `otherwise`.
    """

    takes: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    calls: Mapping[str, Mapping[str, Mapping[str, Json]]] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "I see. Go on."

    def __call__(self, request: LlmRequest) -> Sequence[Item]:
        last = request.messages[-1]
        said = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
        answered = last.role == "tool"
        tools = {tool.name: tool for tool in request.tools}
        items: list[Item] = []
        if "take_edge" in tools and not answered:
            items += self._edge(tools["take_edge"], said)
        if "note" in tools and not answered:
            items += self._note(tools["note"], said)
        for name, phrases in self.calls.items():
            if name in tools and not answered:
                items += [Proposes(name, args) for p, args in phrases.items() if _in(p, said)]
        if items:
            return items
        words = next((words for p, words in self.says.items() if _in(p, said)), self.otherwise)
        return [words]

    def _edge(self, tool: LlmTool, said: str) -> list[Item]:
        for wanted, phrase in self.takes.items():
            edge = _edge_named(tool, wanted)
            if edge and _in(phrase, said):
                return [Proposes("take_edge", {"edge": edge, "quote": said})]
        return []

    def _note(self, tool: LlmTool, said: str) -> list[Item]:
        wanted = tool.parameters.get("properties", {})
        found: dict[str, Json] = {}
        for name, phrases in self.notes.items():
            for phrase, value in phrases.items():
                match = re.search(phrase, said, re.IGNORECASE)
                if name in wanted and match and name not in found:
                    found[name] = match[0] if value is None else value
        return [Proposes("note", found)] if found else []


def _in(phrase: str, said: str) -> bool:
    return re.search(phrase, said, re.IGNORECASE) is not None


def _edge_named(tool: LlmTool, wanted: str) -> str:
    """The id of an edge that is offered: by its id, or by words of its intent."""
    ids: list[str] = tool.parameters["properties"]["edge"]["enum"]
    if wanted in ids:
        return wanted
    meanings = tool.description.split(" | ")
    meanings[0] = meanings[0].partition("by an edge. ")[2] or meanings[0]
    for name in ids:
        for meaning in meanings:
            if meaning.startswith(f"{name}: ") and wanted.casefold() in meaning.casefold():
                return name
    return ""


def shown_request(request: LlmRequest) -> list[dict[str, Json]]:
    """The messages of a request as plain data, for a test's message."""
    return [
        {
            "role": message.role,
            "text": message.text,
            "tools": [(use.name, json.loads(use.arguments)) for use in message.tool_uses],
        }
        for message in request.messages
    ]
