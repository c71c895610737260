"""Ids of tool calls: made where a vendor gives none, and made to fit where one vendor is strict.

A conversation may go from one vendor to another, with ids of the first in it. What is made to fit
depends on nothing but the id, so that a call and its result still find each other.
"""

from __future__ import annotations

import hashlib
import re
from uuid import uuid4

_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_NINE = re.compile(r"[a-zA-Z0-9]{9}")


def made() -> str:
    """A new id; unique, since a conversation's results are looked up by it."""
    return f"call_{uuid4().hex[:24]}"


def fitting(use_id: str) -> str:
    """The id in letters, digits, `_` and `-` (Anthropic's rule)."""
    return _UNFIT.sub("_", use_id) or "_"


def of_nine(use_id: str) -> str:
    """The id as exactly nine letters and digits (Mistral's rule)."""
    if _NINE.fullmatch(use_id):
        return use_id
    return hashlib.sha256(use_id.encode()).hexdigest()[:9]
