"""Reads the chunks of an OpenAI-style chat completion stream into the engine's events.

Pure. The OpenAI shape is spoken by many hosts, each with habits of its own, met in recorded
streams: tool calls keyed by `index` (absent: 0; the same for all, told apart by their ids), whole
in one delta or spread over many; `content` that is a list of parts or null; usage in the last, in
the finish or in any chunk, or under `x_groq`; an `error` object instead of a chunk; no `[DONE]`.
Reasoning is never spoken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import LlmEnd, LlmEvent, LlmText, LlmToolUse
from flowengine.providers.faults import fault, of_status, of_word
from flowengine.providers.tool_ids import made

_REASONING = ("reasoning", "reasoning_content", "reasoning_details")
"""Names under which hosts tell what is not to be spoken; a sign of life all the same."""


@dataclass(slots=True)
class _Tool:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ChatReader:
    """One answer. `read` returns texts at once; tool calls come whole with `end`.

    An empty `LlmText` means that the vendor is at work on something that is not yet to be used
    (a tool call's arguments, reasoning); supervision takes it as a sign of life and drops it.
    """

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._tools: list[_Tool] = []
        self._open: dict[int, _Tool] = {}
        """By index: the tool call that pieces belong to."""
        self._reason = ""
        self._usage: dict[str, Json] | None = None
        self.done = False
        """`[DONE]` was read."""
        self.began = False
        """Anything was read."""

    def read(self, data: bytes) -> list[LlmEvent]:
        """Take one event's data; raises ProviderError for an error object or nonsense."""
        if data == b"[DONE]":
            self.done = True
            return []
        try:
            chunk = orjson.loads(data)
            self.began = True
            if chunk.get("error"):
                raise self._error(chunk["error"])
            self._note_usage(chunk)
            return [
                event
                for choice in chunk.get("choices") or ()
                if not choice.get("index")
                for event in self._choice(choice)
            ]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise fault("protocol", "sent a chunk that cannot be read", self._provider) from error

    def end(self) -> list[LlmEvent]:
        """The body ended: the tool calls, then the `LlmEnd`."""
        if not self.began:
            raise fault("protocol", "answered without a single chunk", self._provider)
        if not (self.done or self._reason):
            raise fault("dropped", "ended its answer in the middle", self._provider)
        return [*self._tool_uses(), LlmEnd(self._reason, self._used())]

    def _choice(self, choice: dict[str, Json]) -> list[LlmEvent]:
        if choice.get("finish_reason"):
            self._reason = choice["finish_reason"]
        delta = choice.get("delta") or {}
        events: list[LlmEvent] = []
        text = spoken(delta.get("content"))
        if text or any(delta.get(name) for name in _REASONING):
            events.append(LlmText(text))
        for call in delta.get("tool_calls") or ():
            self._add(call)
            events.append(LlmText(""))
        return events

    def _add(self, call: dict[str, Json]) -> None:
        index = call.get("index") or 0
        function = call.get("function") or {}
        use_id, name = call.get("id") or "", function.get("name") or ""
        tool = self._open.get(index)
        if tool is None or (use_id and name and tool.id not in ("", use_id)):
            tool = self._open[index] = _Tool()
            self._tools.append(tool)
        tool.id = tool.id or use_id
        tool.name = tool.name or name
        if function.get("arguments"):
            tool.arguments.append(function["arguments"])

    def _tool_uses(self) -> list[LlmEvent]:
        # A call that was cut before its arguments must not look like one without arguments.
        empty = "{" if self._reason == "length" else "{}"
        return [
            LlmToolUse(tool.id or made(), tool.name, "".join(tool.arguments) or empty)
            for tool in self._tools
        ]

    def _note_usage(self, chunk: dict[str, Json]) -> None:
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        if usage:
            self._usage = usage

    def _used(self) -> Usage | None:
        if self._usage is None:
            return None
        details = self._usage.get("prompt_tokens_details") or {}
        return Usage(
            self._provider,
            self._model,
            "tokens",
            amount_in=self._usage.get("prompt_tokens") or 0,
            amount_out=self._usage.get("completion_tokens") or 0,
            cached_in=details.get("cached_tokens") or 0,
            cache_write_in=details.get("cache_write_tokens") or 0,
        )

    def _error(self, error: Json) -> ProviderError:
        if not isinstance(error, dict):
            return of_word(str(error), self._provider)
        code = error.get("code")
        if isinstance(code, int) and code >= 400:
            return of_status(code, self._provider, str(error.get("type") or ""))
        return of_word(f"{code} {error.get('type')}", self._provider)


def spoken(content: Json) -> str:
    """The text of a delta's `content`, which may be a string, null or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"]
            for part in content
            if isinstance(part, dict) and part.get("type", "text") == "text" and part.get("text")
        )
    return ""
