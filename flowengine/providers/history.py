"""A conversation in the form that Anthropic and Google demand, before it takes their words.

Pure. Their rules: system texts stand apart; the turns of user and assistant alternate and begin
with the user; the results of tool calls are the first that follows them; nothing blank. And the
answer goes on from a user's turn (newer models of Anthropic refuse to go on from their own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from flowengine.events import Json
from flowengine.ports import LlmMessage, LlmToolUse

BEFORE = "(The caller is on the line.)"
"""Stands where the assistant spoke first."""
AFTER = "(Go on.)"
"""Stands where the assistant spoke last."""

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Answered:
    """The result of a tool call."""

    use_id: str
    name: str
    text: str


Part = str | LlmToolUse | Answered


@dataclass(slots=True)
class Turn:
    """What one side says before the other does; `system` only in the middle of a conversation."""

    role: Role
    parts: list[Part]


def turns(messages: Sequence[LlmMessage]) -> tuple[list[str], list[Turn]]:
    """The system texts that stand first, and the turns after them.

    A tool call whose result is not there is left out, and so is a result without its call.
    """
    place = 0
    while place < len(messages) and messages[place].role == "system":
        place += 1
    system = [message.text for message in messages[:place] if message.text.strip()]
    results = {item.tool_use_id: item.text for item in messages if item.role == "tool"}
    found: list[Turn] = []
    for message in messages[place:]:
        if message.role == "tool":
            continue
        uses = [use for use in message.tool_uses if use.id in results]
        _add(found, message.role, [*([message.text] if message.text.strip() else []), *uses])
        _add(found, "user", [Answered(use.id, use.name, results[use.id]) for use in uses])
    if not found or found[0].role == "assistant":
        found.insert(0, Turn("user", [BEFORE]))
    if found[-1].role != "user":
        found.append(Turn("user", [AFTER]))
    return system, found


def arguments_of(use: LlmToolUse) -> dict[str, Json]:
    """A call's arguments as an object; what is none is shown as it was written."""
    try:
        found = orjson.loads(use.arguments or "{}")
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": use.arguments}


def _add(found: list[Turn], role: Role, parts: Sequence[Part]) -> None:
    if not parts:
        return
    if found and found[-1].role == role:
        found[-1].parts += parts
    else:
        found.append(Turn(role, list(parts)))
