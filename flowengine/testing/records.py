"""Journal records as the engine writes them, for calls that need no store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from flowengine.events import Input, Json
from flowengine.events import to_json as event_to_json
from flowengine.runtime.effects import Effect, Report, RunTool, SaveCheckpoint, to_json
from flowengine.runtime.journal import masked


def input_body(event: Input, *, is_sensitive: bool) -> Mapping[str, Json]:
    """What the journal holds of an input."""
    return event_to_json(masked(event) if is_sensitive else event)


def effect_record(effect: Effect) -> tuple[Literal["fact", "effect"], Mapping[str, Json]]:
    """Family and body of what the journal holds of an effect.

    A checkpoint is stored apart, and a tool's arguments stand, masked, in the fact before it.
    """
    if isinstance(effect, SaveCheckpoint):
        return "effect", {"type": "SaveCheckpoint"}
    body = to_json(effect)
    if isinstance(effect, RunTool):
        body.pop("arguments", None)
    return ("fact" if isinstance(effect, Report) else "effect"), body
