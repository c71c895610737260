"""Hosts that speak OpenAI's chat completions, by what they want that OpenAI does not.

Pure data and the messages made by it. A host of one's own is an entry point of the group
`flowengine.providers` whose `make_llm` returns `OpenAiLlm` with a `ChatHost` (see `groq.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flowengine.events import Json
from flowengine.ports import LlmMessage, LlmRequest, LlmTool
from flowengine.providers.history import AFTER

_BRIDGE: dict[str, Json] = {"role": "assistant", "content": "Noted."}
_FAMILY = re.compile(r"gpt-(\d+)(?:\.(\d+))?(?!.*(?:chat|codex|pro))")


def same_id(use_id: str) -> str:
    """The id as it is."""
    return use_id


def unknown_effort(model: str) -> str:
    """No effort can be asked for."""
    return ""


@dataclass(frozen=True, slots=True)
class ChatHost:
    """A host's name, its base URL, and its habits."""

    name: str
    url: str
    takes_stream_options: bool = True
    """Whether usage has to be asked for; a host that does not take the field tells it unasked."""
    has_strict_roles: bool = False
    """An assistant's message follows a tool's before a user's, and none stands last."""
    tool_id: Callable[[str], str] = same_id
    """The form that ids of tool calls need."""
    pads_chunks: bool = False
    """Fills chunks with random bytes, which cost time to read, unless told not to."""
    least_effort: Callable[[str], str] = unknown_effort
    """The reasoning effort of a model that makes a caller wait least; "": the field is unknown."""


def openai_effort(model: str) -> str:
    """OpenAI's least effort: `none` since gpt-5.1, `minimal` for gpt-5.

    Newer models call functions over chat completions with `none` only (docs.oxen.ai on gpt-6-luna).
    """
    found = _FAMILY.match(model)
    if found is None or int(found[1]) < 5:
        return ""
    return "minimal" if (found[1], found[2]) == ("5", None) else "none"


def chat_body(host: ChatHost, request: LlmRequest, url: str) -> dict[str, Json]:
    """What is asked, but for model and stream; the flow's options stand over ours."""
    asked: dict[str, Json] = {"messages": _messages(host, request.messages)}
    if host.takes_stream_options:
        asked["stream_options"] = {"include_usage": True}
        if host.pads_chunks and url == host.url:
            asked["stream_options"]["include_obfuscation"] = False
    if effort := host.least_effort(request.model):
        asked["reasoning_effort"] = effort
    asked.update(request.options)
    if request.tools:
        asked["tools"] = [_tool(tool) for tool in request.tools]
        if not request.may_call:
            asked["tool_choice"] = "none"
    return asked


def _messages(host: ChatHost, messages: Sequence[LlmMessage]) -> list[Json]:
    found: list[dict[str, Json]] = []
    for message in messages:
        after_tool = bool(found) and found[-1]["role"] == "tool"
        if host.has_strict_roles and after_tool and message.role == "user":
            found.append(_BRIDGE)
        found.append(_message(host, message))
    if host.has_strict_roles and found and found[-1]["role"] == "assistant":
        found.append({"role": "user", "content": AFTER})
    return found


def _message(host: ChatHost, message: LlmMessage) -> dict[str, Json]:
    if message.role == "tool":
        use_id = host.tool_id(message.tool_use_id)
        return {"role": "tool", "tool_call_id": use_id, "content": message.text}
    plain: dict[str, Json] = {"role": message.role, "content": message.text}
    if message.tool_uses:
        plain["content"] = message.text or None
        plain["tool_calls"] = [
            {
                "id": host.tool_id(use.id),
                "type": "function",
                "function": {"name": use.name, "arguments": use.arguments},
            }
            for use in message.tool_uses
        ]
    return plain


def _tool(tool: LlmTool) -> dict[str, Json]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }
