"""Typed identifiers: one name for one thing, checked by mypy, plain strings at run time."""

from __future__ import annotations

import secrets
from typing import NewType

CallId = NewType("CallId", str)
FlowId = NewType("FlowId", str)
NodeId = NewType("NodeId", str)
EdgeId = NewType("EdgeId", str)
VersionHash = NewType("VersionHash", str)
ToolKey = NewType("ToolKey", str)
"""Idempotency key of one tool call: the same key never acts twice."""

DEFAULT_PROJECT = "default"
"""The project of whoever has only one; it is there from the first start."""


def new_call_id() -> CallId:
    """Make a call id: `call_` and 20 hex digits (80 random bits)."""
    return CallId(f"call_{secrets.token_hex(10)}")
