"""The conversation as the caller heard it: what the LLM sees, and what a quote is looked up in.

Pure data. It holds heard words only; tool calls and their results stand where they happened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal

from flowengine.events import Json
from flowengine.ports import LlmMessage, LlmToolUse

NOTE_CHARS = 2000
"""Of the conversation before a node, how much its note holds, from the end."""

RUNNING = '{"outcome": "running"}'
"""Stands for the result of a tool that has none yet."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One contribution: a caller's turn, what was heard of ours, a tool call or its result."""

    by: Literal["caller", "bot", "tool_use", "tool_result"]
    text: str
    node_entry: int
    """The count of node entries of the call when it was said."""
    tool: str = ""
    tool_id: str = ""
    turn: int = 0
    answer: str = ""
    """Of a tool call: the id of the first call that the LLM made in the same answer."""


def plain_words(text: str) -> list[str]:
    """The words of a text without case and punctuation."""
    return re.findall(r"\w+", text.casefold())


class Conversation:
    """What was said in a call, oldest first."""

    def __init__(self, entries: tuple[Entry, ...] = ()) -> None:
        self._entries = list(entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    def add(self, entry: Entry) -> None:
        if entry.text or entry.by in ("tool_use", "tool_result"):
            self._entries.append(entry)

    def holds_quote(self, quote: str, since_entry: int) -> bool:
        """Whether the caller said this, in the node or in the turn that led into it.

        A quote is a run of two words or more, or a whole utterance; case and punctuation do not
        count.
        """
        wanted = plain_words(quote)
        if not wanted:
            return False
        turns = [entry for entry in self._entries if entry.by == "caller"]
        recent = [entry for entry in turns if entry.node_entry >= since_entry]
        earlier = [entry for entry in turns if entry.node_entry < since_entry]
        for entry in [*earlier[-1:], *recent]:
            said = plain_words(entry.text)
            if said == wanted:
                return True
            if len(wanted) >= 2 and any(
                said[start : start + len(wanted)] == wanted for start in range(len(said))
            ):
                return True
        return False

    def messages(self, memory: str | int, since_entry: int) -> tuple[LlmMessage, ...]:
        """The messages for the LLM.

        `all`, `none` (this node's only), `summary` (what came before this node as one short note)
        or the last n contributions.
        """
        entries = self._entries
        note: tuple[LlmMessage, ...] = ()
        if memory in ("none", "summary"):
            entries = [entry for entry in entries if entry.node_entry >= since_entry]
        if memory == "summary":
            before = _lines([entry for entry in self._entries if entry.node_entry < since_entry])
            if before:
                note = (LlmMessage("user", f"(Earlier in this call: {before[-NOTE_CHARS:]})"),)
        elif isinstance(memory, int):
            entries = entries[-memory:]
        while entries and entries[0].by == "tool_result":
            entries = entries[1:]
        return note + _answered(entries)

    def transcript(self) -> str:
        """The whole conversation as lines, for extraction."""
        return _lines(self._entries)

    def to_json(self) -> list[dict[str, Json]]:
        return [asdict(entry) for entry in self._entries]

    @classmethod
    def from_json(cls, document: list[Mapping[str, Json]]) -> Conversation:
        return cls(tuple(Entry(**entry) for entry in document))


def _lines(entries: list[Entry]) -> str:
    names = {"caller": "Caller", "bot": "Agent"}
    return "\n".join(f"{names[entry.by]}: {entry.text}" for entry in entries if entry.by in names)


def tool_result_text(body: Json) -> str:
    """A tool's result as the LLM reads it, bounded."""
    return json.dumps(body, ensure_ascii=False, default=str)[:8000]


def _message(entry: Entry) -> LlmMessage:
    return LlmMessage("user" if entry.by == "caller" else "assistant", entry.text)


def _answered(entries: list[Entry]) -> tuple[LlmMessage, ...]:
    """Messages as vendors demand: tool calls are followed by their results at once.

    Calls that one answer made side by side stand side by side again. One whose result is not there
    yet has `RUNNING` in its place, or the LLM would call once more; a result whose call is not
    among the entries is left out.
    """
    results = {entry.tool_id: entry.text for entry in entries if entry.by == "tool_result"}
    said = [entry for entry in entries if entry.by != "tool_result"]
    ordered: list[LlmMessage] = []
    for answer, together in groupby(said, _answer_of):
        if answer is None:
            ordered += map(_message, together)
            continue
        uses = tuple(LlmToolUse(call.tool_id, call.tool, call.text) for call in together)
        ordered.append(LlmMessage("assistant", "", tool_uses=uses))
        ordered += [
            LlmMessage("tool", results.get(use.id, RUNNING), tool_use_id=use.id) for use in uses
        ]
    return tuple(ordered)


def _answer_of(entry: Entry) -> str | None:
    """Which of the LLM's answers a tool call stands in; None for what was said."""
    return (entry.answer or entry.tool_id) if entry.by == "tool_use" else None
