"""Loops are cut and invented words dropped; what callers do say stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.providers.local.transcript import cut_loops, tidy

pytestmark = pytest.mark.unit

WORDS = st.lists(st.sampled_from(["yes", "no", "speak", "to", "Bill.", "four"]), max_size=24)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Speak to Bill. Speak to Bill.", "Speak to Bill."),
        ("I want to pay I want to pay I want to pay", "I want to pay"),
        ("one two three, one two three", "one two three, one two three"),
        ("no no no", "no no no"),
        ("five five five one two three four", "five five five one two three four"),
        ("uh uh uh uh uh uh uh uh uh uh", "uh"),
        ("please hold. Then speak to me, speak to me now", "please hold. Then speak to me, now"),
    ],
)
def test_loops_are_cut(said: str, kept: str) -> None:
    assert " ".join(cut_loops(said.split())) == kept


@given(WORDS)
def test_cutting_twice_changes_nothing_more(words: list[str]) -> None:
    once = cut_loops(words)
    assert set(once) <= set(words)
    assert cut_loops(once) == once


def test_likely_words_stay_with_their_confidence() -> None:
    heard = tidy("Speak to billing.", -0.1, speech_ms=1200)
    assert heard.text == "Speak to billing."
    assert heard.confidence == pytest.approx(0.9048, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "logp", "speech_ms"),
    [
        ("You", -0.2, 1000),
        (" - ... ", -0.2, 1000),
        ("I do not know.", -1.9, 2000),
        ("I am going to tell you all about it.", -0.3, 200),
    ],
)
def test_invented_words_are_dropped(text: str, logp: float, speech_ms: int) -> None:
    heard = tidy(text, logp, speech_ms=speech_ms)
    assert (heard.text, heard.confidence) == ("", 0.0)
