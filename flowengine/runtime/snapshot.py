"""The checkpoint: a picture of the call as plain data, and a call made from it again.

Nothing of a coroutine is in it. Sensitive values stand apart, under `sensitive`, so that whoever
stores the checkpoint can encrypt them or leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowengine.events import Json
from flowengine.flow.scope import TurnFacts
from flowengine.ids import NodeId
from flowengine.runtime.context import Context, Frame
from flowengine.runtime.conversation import Conversation
from flowengine.runtime.operated import Operated


@dataclass(frozen=True, slots=True)
class Restored:
    """What of a checkpoint is not the context's."""

    tool_ledger: dict[str, dict[str, Json]]
    turn_count: int


def snapshot(
    context: Context, tool_ledger: Mapping[str, Mapping[str, Json]], turn_count: int
) -> dict[str, Json]:
    """The call now, as JSON."""
    sensitive: dict[str, dict[str, Json]] = {}
    frames = []
    for depth, frame in enumerate(context.frames):
        hidden = _sensitive_values(frame)
        if hidden:
            sensitive[str(depth)] = hidden
        frames.append(
            {
                "flow": frame.program.flow.id,
                "version": frame.program.version,
                "node": frame.node,
                "values": {k: v for k, v in frame.values.items() if k not in hidden},
                "visits": dict(frame.visits),
                "back": frame.back,
            }
        )
    turn = context.turn
    return {
        "frames": frames,
        "sensitive": sensitive,
        "conversation": context.conversation.to_json(),
        "node_entry": context.node_entry,
        "generation": context.generation,
        "now_ms": context.now_ms,
        "language": context.language,
        "recording": context.recording,
        "turn": None if turn is None else [turn.text, turn.confidence, turn.number],
        "turn_count": turn_count,
        "tools": {key: dict(entry) for key, entry in tool_ledger.items()},
        "operated": context.operated.to_json(),
    }


def restore(
    context: Context,
    checkpoint: Mapping[str, Any],
    sensitive: Mapping[str, Mapping[str, Json]],
) -> Restored:
    """Bring a fresh context to where the checkpoint was taken."""
    program = context.program
    context.frames = []
    for depth, saved in enumerate(checkpoint["frames"]):
        program = program.subflows[saved["flow"]] if depth else program
        frame = Frame(program)
        frame.values = {**saved["values"], **sensitive.get(str(depth), {})}
        frame.node = NodeId(saved["node"])
        frame.visits = dict(saved["visits"])
        frame.back = saved["back"]
        context.frames.append(frame)
    context.conversation = Conversation.from_json(checkpoint["conversation"])
    context.node_entry = checkpoint["node_entry"]
    context.skip_generations(checkpoint["generation"])
    context.begin(checkpoint["now_ms"])
    context.language = checkpoint["language"]
    context.recording = checkpoint["recording"]
    turn = checkpoint["turn"]
    context.turn = None if turn is None else TurnFacts(turn[0], turn[1], turn[2])
    # A checkpoint of before there were operators has nothing of them.
    context.operated = Operated.from_json(checkpoint.get("operated") or {})
    ledger = {key: dict(entry) for key, entry in checkpoint["tools"].items()}
    return Restored(ledger, checkpoint["turn_count"])


def _sensitive_values(frame: Frame) -> dict[str, Json]:
    return {
        name: value
        for name, value in frame.values.items()
        if (variable := frame.program.flow.variables.get(name)) is not None and variable.sensitive
    }
