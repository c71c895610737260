"""What an expression or a Text may know when it is evaluated: one frozen picture of the call.

The actor makes a `Scope` for every evaluation; nothing in `flow/` holds state of a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from flowengine.events import Json


@dataclass(frozen=True, slots=True)
class CallFacts:
    """The `call` of expressions. `from_` and `to` are E.164, or "" when withheld."""

    id: str
    direction: Literal["inbound", "outbound"]
    from_: str
    to: str
    country: str = ""
    attempt: int = 1
    answered_by: str = ""
    last_attempt: str = ""


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """The `turn` of expressions: what the caller said last."""

    text: str
    confidence: float
    number: int


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything that CEL and Text see.

    `values`: only variables that are set, as JSON values (date "2026-01-31", time "18:00",
    datetime "2026-01-31T18:00", money a number, digits a string). `result`: that of the node or
    tool that just ended, else None. `tool_input`: a tool's `input.*`. `secrets`: only while a
    tool's request is built. `visits`: entries by node. `visit`, `try_number`: of the running node.
    `now` is aware, in UTC; `timezone` is the flow's.
    """

    values: Mapping[str, Json]
    call: CallFacts
    now: datetime
    timezone: str
    language: str
    recording: bool = True
    turn: TurnFacts | None = None
    result: Json = None
    tool_input: Mapping[str, Json] | None = None
    secrets: Mapping[str, str] | None = None
    visits: Mapping[str, int] = field(default_factory=dict)
    visit: int = 1
    try_number: int = 1
