"""Shares of callers: the same caller always falls on the same side.

`bucket('salt')` of a flow and the shares of a routing table stand on this one place, so that a
flow can ask on which side of a split its caller came in.
"""

from __future__ import annotations

import hashlib

places = 10_000
"""As finely as callers are told apart: a hundredth of a percent."""


def place_of(salt: str, who: str) -> int:
    """The place of somebody under a salt, from 0 to `places` - 1; another salt, another order."""
    digest = hashlib.sha256(f"{salt}\0{who}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    # The bucket first: percents and finer shares agree about who is within.
    return number % 100 * 100 + number // 100 % 100


def bucket_of(salt: str, who: str) -> int:
    """The same in whole percents, 0 to 99."""
    return place_of(salt, who) // 100
