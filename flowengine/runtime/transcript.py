"""A call's transcript from its facts: who said what, when, at which node, and what was heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from flowengine.events import (
    DigitPressed,
    Event,
    NodeEntered,
    TurnEnded,
    UtteranceSpoken,
    from_json,
)
from flowengine.ports import JournalRecord


@dataclass(frozen=True, slots=True)
class TranscriptTurn:
    """One thing that was said.

    `text` of the bot is what the caller heard; `whole` is what it would have said, if it was cut.
    """

    at_ms: int
    role: Literal["caller", "bot"]
    text: str
    node: str
    by: str = ""
    """How the caller's turn came: `stt`, `silence` or `keys`."""
    whole: str = ""
    response_ms: int | None = None


def transcript(events: Iterable[tuple[int, Event]]) -> list[TranscriptTurn]:
    """The turns, in order; what nobody heard a word of is left out.

    `events` are a journal's inputs and facts: keys that chose something are no turn of the actor's,
    so they are taken from the inputs, where the journal has masked what is sensitive.
    """
    node, keys, keyed_ms = "", "", 0
    turns: list[TranscriptTurn] = []
    for at_ms, event in events:
        match event:
            case DigitPressed(digit):
                keys, keyed_ms = keys + digit, keyed_ms if keys else at_ms
            case NodeEntered():
                if keys:
                    turns.append(TranscriptTurn(keyed_ms, "caller", keys, node, "keys"))
                    keys = ""
                node = event.node
            case TurnEnded():
                keys = "" if event.by == "keys" else keys
                if event.text:
                    turns.append(TranscriptTurn(at_ms, "caller", event.text, node, event.by))
            case UtteranceSpoken() if event.heard:
                turns.append(_spoken(at_ms, event))
            case _:
                pass
    return turns


def _spoken(at_ms: int, fact: UtteranceSpoken) -> TranscriptTurn:
    return TranscriptTurn(
        at_ms,
        "bot",
        fact.heard,
        fact.node,
        whole=fact.text if fact.cut else "",
        response_ms=fact.response_ms,
    )


def transcript_of(journal: Iterable[JournalRecord]) -> list[TranscriptTurn]:
    """The transcript of a journal."""
    return transcript(
        (record.at_ms, from_json(record.body))
        for record in journal
        if record.family in ("input", "fact") and record.body["type"] in _NEEDED
    )


_NEEDED = frozenset(
    kind.__name__ for kind in (DigitPressed, NodeEntered, TurnEnded, UtteranceSpoken)
)
