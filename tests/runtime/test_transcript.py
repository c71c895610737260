"""A call's transcript from its events."""

from __future__ import annotations

import pytest

from flowengine.events import (
    DigitPressed,
    Event,
    NodeEntered,
    TurnEnded,
    UtteranceSpoken,
    to_json,
)
from flowengine.ports import JournalRecord
from flowengine.runtime.happenings import TYPES, happening
from flowengine.runtime.transcript import TranscriptTurn, transcript, transcript_of

pytestmark = pytest.mark.unit


def at(node: str) -> NodeEntered:
    return NodeEntered(node, "menu", 1, "outcome")


def said(text: str, heard: str, *, node: str = "menu", cut: bool = False) -> UtteranceSpoken:
    return UtteranceSpoken(1, node, text, heard, cut, 500)


def of(*events: Event) -> list[TranscriptTurn]:
    return transcript((index * 100, event) for index, event in enumerate(events))


def test_words_of_both_with_what_was_heard() -> None:
    turns = of(
        at("menu"),
        said("How can I help you today?", "How can I", cut=True),
        TurnEnded(1, "A visit", 0.9, "stt", 500),
        said("Never heard.", ""),
        at("next"),
        said("Good.", "Good.", node="next"),
    )
    assert turns == [
        TranscriptTurn(
            100, "bot", "How can I", "menu", whole="How can I help you today?", response_ms=500
        ),
        TranscriptTurn(200, "caller", "A visit", "menu", "stt"),
        TranscriptTurn(500, "bot", "Good.", "next", response_ms=500),
    ]


def test_keys_that_choose_are_a_turn_and_those_of_a_value_are_one_once() -> None:
    chosen = of(at("menu"), DigitPressed("1"), DigitPressed("2"), at("next"))
    assert chosen == [TranscriptTurn(100, "caller", "12", "menu", "keys")]
    typed = of(at("code"), DigitPressed("4"), TurnEnded(1, "4", 1.0, "keys", 0), at("next"))
    assert typed == [TranscriptTurn(200, "caller", "4", "code", "keys")]
    hidden = of(at("pin"), DigitPressed("4"), TurnEnded(1, "", 1.0, "keys", 0), at("next"))
    assert hidden == []


def test_a_journal_says_the_same() -> None:
    events: tuple[Event, ...] = (at("menu"), DigitPressed("1"), at("next"))
    journal = [
        JournalRecord(
            seq, seq * 10, "input" if isinstance(event, DigitPressed) else "fact", to_json(event)
        )
        for seq, event in enumerate(events, 1)
    ]
    journal.append(JournalRecord(9, 90, "effect", {"type": "SaveCheckpoint"}))
    assert transcript_of(journal) == [TranscriptTurn(20, "caller", "1", "menu", "keys")]


def test_what_the_world_is_told_has_a_known_type_and_no_keys() -> None:
    told = [happening(event) for event in (at("menu"), said("a", "a"), DigitPressed("1"))]
    assert [one and one[0] for one in told] == ["node.entered", "bot.spoke", None]
    assert all(one[0] in TYPES for one in told if one)
