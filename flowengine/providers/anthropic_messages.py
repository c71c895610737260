"""Anthropic's Messages API: our request in its form, and its stream into the engine's events.

Pure. Shapes and rules are those of the SDK 2.12 and of recorded streams: a tool call's JSON comes
in pieces and may be missing altogether (no arguments) or cut (`max_tokens`); usage is told at the
start and, cumulative, at the end; input does not count what the cache held or took; thinking and
what the vendor's own tools do are never spoken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from flowengine.events import Json, Usage
from flowengine.ports import (
    LlmEnd,
    LlmEvent,
    LlmRequest,
    LlmText,
    LlmTool,
    LlmToolUse,
    LlmUsage,
)
from flowengine.providers.faults import fault, of_word
from flowengine.providers.history import Answered, Part, Turn, arguments_of, turns
from flowengine.providers.tool_ids import fitting

MAX_TOKENS = 1024
"""The API asks for a limit. A spoken reply has some 60 tokens; a tool's long JSON still fits."""
_MARKER: Json = {"type": "ephemeral"}
_DROPPED = frozenset({"temperature", "top_p", "top_k", "cache_control"})
"""Sampling: the API has it no more (2.x). The cache's marker goes to blocks of our choice."""


def body(request: LlmRequest) -> dict[str, Json]:
    """What is asked, but for model and stream.

    Three cache marks (four are allowed): behind the tools, behind the system text, behind the last
    turn, so that each turn reads what the one before it wrote, and a changed system text leaves the
    tools cached. What is shorter than the model's minimum the vendor does not cache, at no cost.
    An option `cache_control` is the mark; null switches the cache off.
    """
    system, found = turns(request.messages)
    asked = {name: value for name, value in request.options.items() if name not in _DROPPED}
    asked.setdefault("max_tokens", MAX_TOKENS)
    messages = [_turn(turn) for turn in found]
    asked["messages"] = messages
    marked = [messages[-1]["content"]]
    if system:
        asked["system"] = [_text("\n\n".join(system))]
        marked.append(asked["system"])
    if request.tools:
        asked["tools"] = [_tool(tool) for tool in request.tools]
        if not request.may_call:
            asked["tool_choice"] = {"type": "none"}
        marked.append(asked["tools"])
    marker = request.options.get("cache_control", _MARKER)
    if marker is not None:
        for blocks in marked:
            blocks[-1]["cache_control"] = marker
    return asked


def _turn(turn: Turn) -> dict[str, Json]:
    return {"role": turn.role, "content": [_part(part) for part in turn.parts]}


def _part(part: Part) -> dict[str, Json]:
    if isinstance(part, str):
        return _text(part)
    if isinstance(part, Answered):
        use_id = fitting(part.use_id)
        return {"type": "tool_result", "tool_use_id": use_id, "content": part.text}
    return {
        "type": "tool_use",
        "id": fitting(part.id),
        "name": part.name,
        "input": arguments_of(part),
    }


def _text(text: str) -> dict[str, Json]:
    # Trailing blanks of an assistant's turn are refused, and mean nothing in the others.
    return {"type": "text", "text": text.rstrip()}


def _tool(tool: LlmTool) -> dict[str, Json]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": dict(tool.parameters),
    }


@dataclass(slots=True)
class _Block:
    """A content block that is open; only tool calls are kept."""

    id: str
    name: str
    given: Json
    pieces: list[str] = field(default_factory=list)


class MessageReader:
    """One answer. Texts come at once, a tool call when its block is closed."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._blocks: dict[int, _Block | None] = {}
        self._is_at_work = False
        self._reason = ""
        self._usage: dict[str, Json] = {}
        self.done = False
        """`message_stop` was read."""
        self.began = False
        """Anything was read."""

    def read(self, data: bytes) -> list[LlmEvent]:
        """Take one event's data; raises ProviderError for an error event or nonsense."""
        try:
            event = orjson.loads(data)
            self.began = True
            return self._event(event)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise fault("protocol", "sent an event that cannot be read", self._provider) from error

    def end(self) -> list[LlmEvent]:
        """The answer is complete: what was cut, and the `LlmEnd`."""
        if not self.done or not self._reason:
            raise fault("dropped", "ended its answer in the middle", self._provider)
        cut = [self._tool_use(block, cut=True) for block in self._blocks.values() if block]
        return [*cut, LlmEnd(self._reason, self._used())]

    def _event(self, event: dict[str, Json]) -> list[LlmEvent]:
        match event["type"]:
            case "message_start":
                self._note_usage(event["message"].get("usage"))
                used = self._used()
                return [LlmUsage(used)] if used else []
            case "ping" if not self._is_at_work:
                return []  # sent at once, before the model has given anything
            case "content_block_start":
                self._is_at_work = True
                self._blocks[event["index"]] = _opened(event["content_block"])
            case "content_block_delta":
                return [self._delta(self._blocks[event["index"]], event["delta"])]
            case "content_block_stop":
                block = self._blocks.pop(event["index"])
                if block is not None:
                    return [self._tool_use(block)]
            case "message_delta":
                self._reason = event["delta"].get("stop_reason") or self._reason
                self._note_usage(event.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                raise of_word(str(event["error"].get("type")), self._provider)
        return [LlmText("")]

    def _delta(self, block: _Block | None, delta: dict[str, Json]) -> LlmEvent:
        if delta["type"] == "text_delta":
            return LlmText(delta["text"])
        if delta["type"] == "input_json_delta" and block is not None:
            block.pieces.append(delta["partial_json"])
        return LlmText("")

    def _tool_use(self, block: _Block, *, cut: bool = False) -> LlmToolUse:
        written = "".join(block.pieces)
        if not written:
            # A cut call must not look like one without arguments.
            written = "{" if cut else orjson.dumps(block.given or {}).decode()
        return LlmToolUse(block.id, block.name, written)

    def _note_usage(self, usage: dict[str, Json] | None) -> None:
        known = {name: value for name, value in (usage or {}).items() if value is not None}
        self._usage.update(known)

    def _used(self) -> Usage | None:
        if not self._usage:
            return None
        told = self._usage
        read = told.get("cache_read_input_tokens") or 0
        written = told.get("cache_creation_input_tokens") or 0
        for_an_hour = (told.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
        return Usage(
            self._provider,
            self._model,
            "tokens",
            amount_in=(told.get("input_tokens") or 0) + read + written,
            amount_out=told.get("output_tokens") or 0,
            cached_in=read,
            cache_write_in=max(0, written - for_an_hour),
            cache_write_1h_in=min(written, for_an_hour),
        )


def _opened(block: dict[str, Json]) -> _Block | None:
    if block["type"] != "tool_use":
        return None
    return _Block(block["id"], block["name"], block.get("input"))
