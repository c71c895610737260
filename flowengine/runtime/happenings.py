"""What the world is told of a call while it runs: few kinds of events, in the field's words.

The live stream shows these, webhooks send them. They are made of the actor's own events; nothing
sensitive is in them, because nothing sensitive is in those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowengine.events import (
    BargeIn,
    CallBegan,
    CallEnded,
    EdgeDecided,
    Event,
    FaultMet,
    Json,
    NodeEntered,
    ToolCalled,
    ToolEnded,
    TransferEnded,
    TurnEnded,
    UtteranceSpoken,
    ValueSet,
)

Happening = tuple[str, dict[str, Json]]

TYPES: Mapping[str, str] = {
    "call.status": "The call is queued, rings, is in progress, transferring, or over.",
    "call.began": "The caller is on the line and the flow begins.",
    "call.ended": "The flow is over: how it ended, its outputs, how long it took.",
    "node.entered": "The call stands at a node.",
    "edge.taken": "The call goes on by an edge, or (null) where an operator moved it.",
    "value.set": "A variable has a value; a sensitive one shows its length only.",
    "caller.spoke": "What the caller said or keyed in one turn.",
    "bot.spoke": "What was said to the caller, and how much of it was heard.",
    "bot.interrupted": "The caller broke in.",
    "tool.called": "A tool was asked.",
    "tool.ended": "A tool gave its one outcome.",
    "transfer.ended": "A transfer went well, or how not.",
    "recording.ready": "A part of the call's recording can be fetched.",
    "fault": "Something failed that an operator should see.",
}
"""Every type of event, and what it says."""


def happening(event: Event) -> Happening | None:
    """What the world is told of an event; None for most of them."""
    told = _TOLD.get(type(event))
    return None if told is None else told(event)


def _edge(fact: EdgeDecided) -> Happening | None:
    if fact.to is None:
        return None
    data: dict[str, Json] = {
        "node": fact.node,
        "edge": fact.edge,
        "to": fact.to,
        "decided_by": fact.decided_by,
    }
    return "edge.taken", data


def _spoken(fact: UtteranceSpoken) -> Happening:
    data: dict[str, Json] = {
        "node": fact.node,
        "text": fact.text,
        "heard": fact.heard,
        "cut": fact.cut,
        "response_ms": fact.response_ms,
        "stages": dict(fact.stages) if fact.stages is not None else None,
    }
    return "bot.spoke", data


def _interrupted(fact: BargeIn) -> Happening | None:
    return ("bot.interrupted", {}) if fact.phase == "confirmed" else None


_TOLD: Mapping[type[Any], Callable[[Any], Happening | None]] = {
    CallBegan: lambda fact: (
        "call.began",
        {"direction": fact.direction, "flow": fact.flow_id, "version": fact.version},
    ),
    CallEnded: lambda fact: (
        "call.ended",
        {
            "disposition": fact.disposition,
            "reason": fact.reason,
            "outputs": dict(fact.outputs),
            "duration_ms": fact.duration_ms,
        },
    ),
    NodeEntered: lambda fact: (
        "node.entered",
        {"node": fact.node, "kind": fact.kind, "visit": fact.visit, "by": fact.by},
    ),
    EdgeDecided: _edge,
    ValueSet: lambda fact: (
        "value.set",
        {"name": fact.name, "value": fact.value, "by": fact.by},
    ),
    TurnEnded: lambda fact: (
        "caller.spoke",
        {"number": fact.number, "text": fact.text, "by": fact.by},
    ),
    UtteranceSpoken: _spoken,
    BargeIn: _interrupted,
    ToolCalled: lambda fact: (
        "tool.called",
        {"key": fact.key, "tool": fact.tool, "by": fact.by},
    ),
    ToolEnded: lambda event: (
        "tool.ended",
        {
            "key": event.key,
            "outcome": event.outcome,
            "status": event.status,
            "error": event.error,
            "took_ms": event.took_ms,
        },
    ),
    TransferEnded: lambda event: (
        "transfer.ended",
        {"outcome": event.outcome, "seconds": event.seconds, "reason": event.reason},
    ),
    FaultMet: lambda fact: ("fault", {"code": fact.code, "part": fact.part}),
}
