"""Ids of what the store keeps: a word for the kind, then 32 hex digits that sort by time."""

from __future__ import annotations

import secrets
from datetime import datetime


def new_id(kind: str, now: datetime) -> str:
    """Make an id such as `camp_0199…`: 48 bits of milliseconds since 1970, 80 random bits."""
    return f"{kind}_{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"
