"""What the journal holds of a caller's answer where it is sensitive: its length, nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

from flowengine.events import DigitPressed, Input, InterimHeard, SegmentHeard

MASK = "•"


def masked(event: Input) -> Input:
    """The event without digits and words; `#` and `*` stay, for they only end an entry."""
    match event:
        case DigitPressed(digit):
            return DigitPressed(masked_text(digit))
        case InterimHeard() | SegmentHeard():
            return replace(event, text=masked_text(event.text))
        case _:
            return event


def masked_text(text: str) -> str:
    """Every letter and digit as `•`."""
    return re.sub(r"\w", MASK, text)
