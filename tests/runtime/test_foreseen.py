"""Which words are answered before a turn is over: foreseen ends, and words that stand still."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.events import (
    EndpointForeseen,
    EndpointRevoked,
    InterimHeard,
    SegmentHeard,
    SpeechStopped,
)
from flowengine.ports import LlmMessage, LlmRequest, LlmTool
from flowengine.runtime.foreseen import (
    LONGEST_SPEECH_MS,
    MOST_A_TURN,
    SETTLED_MS,
    STABLE_MS,
    STABLE_WORDS,
    AskAhead,
    DropAhead,
    Foreseen,
    Foresight,
    is_same_question,
    same_words,
)
from flowengine.runtime.waits import Waits

pytestmark = pytest.mark.unit


class Ahead:
    """A foresight, its waits, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.waits = Waits()
        self.foresight = Foresight(self.waits)
        self.now_ms = 1000
        self.words = ""
        self.wanted = True

    def foreseen(self, text: str, confidence: float = 0.5) -> Foreseen | None:
        event = EndpointForeseen(text, confidence)
        return self.foresight.foresee(event, self.now_ms, wanted=self.wanted)

    def revoked(self) -> Foreseen | None:
        return self.foresight.foresee(EndpointRevoked(), self.now_ms, wanted=self.wanted)

    def interim(self, text: str, confidence: float = 0.5) -> Foreseen | None:
        self.words = text
        event = InterimHeard(text, confidence)
        return self.foresight.heard(event, text, self.now_ms, wanted=self.wanted)

    def speaks(self) -> None:
        self.foresight.gate(is_quiet=False, now_ms=self.now_ms)

    def hushes(self) -> Foreseen | None:
        self.foresight.gate(is_quiet=True, now_ms=self.now_ms)
        event = SpeechStopped("energy")
        return self.foresight.heard(event, self.words, self.now_ms, wanted=self.wanted)

    def wait(self) -> Foreseen | None:
        """The wait comes to its limit."""
        due_ms = self.waits.deadline_ms
        assert due_ms is not None, "nothing is waited for"
        self.now_ms = due_ms
        wait = self.waits.passed(self.now_ms)
        assert wait is not None
        assert wait.name == STABLE_WORDS
        return self.foresight.heard(None, self.words, self.now_ms, wanted=self.wanted)


# --- the recogniser foresees ---


def test_a_foreseen_end_is_asked_for_at_once() -> None:
    ahead = Ahead()
    assert ahead.foreseen("Hello there", 0.7) == AskAhead("Hello there", 0.7)
    assert not ahead.waits.names


def test_the_same_words_are_not_asked_for_twice() -> None:
    ahead = Ahead()
    ahead.foreseen("Hello there")
    assert ahead.foreseen("hello, there.") is None
    assert ahead.interim("Hello there!") is None
    assert ahead.foreseen("Hello there, you") == AskAhead("Hello there, you", 0.5)


def test_what_was_revoked_is_dropped_once_and_may_be_foreseen_again() -> None:
    ahead = Ahead()
    assert ahead.revoked() is None
    ahead.foreseen("Hello")
    assert ahead.revoked() == DropAhead()
    assert ahead.revoked() is None
    assert ahead.foreseen("Hello") == AskAhead("Hello", 0.5)


def test_other_words_drop_what_was_foreseen() -> None:
    ahead = Ahead()
    ahead.interim("Hello there")
    ahead.foreseen("Hello there you")
    assert ahead.interim("hello there") is None, "nothing new"
    ahead.speaks()
    assert ahead.interim("Hello there you all") == DropAhead()
    assert ahead.interim("Hello there you all two") is None


def test_words_that_vanish_drop_what_was_foreseen() -> None:
    ahead = Ahead()
    ahead.interim("Hello")
    ahead.foreseen("Hello")
    assert ahead.interim("") == DropAhead()


def test_a_foreseen_end_without_words_is_none() -> None:
    ahead = Ahead()
    assert ahead.foreseen(" ... ") is None
    ahead.foreseen("Hello")
    assert ahead.foreseen("") == DropAhead()


def test_three_a_turn() -> None:
    ahead = Ahead()
    for count in range(MOST_A_TURN):
        assert ahead.foreseen(f"word {count}") == AskAhead(f"word {count}", 0.5)
    assert ahead.foreseen("one more") == DropAhead(), "what is open is wrong all the same"
    assert ahead.foreseen("and more") is None
    ahead.foresight.turn_over()
    assert ahead.foreseen("one more") == AskAhead("one more", 0.5)


def test_who_speaks_for_long_is_heard_out() -> None:
    ahead = Ahead()
    ahead.interim("Well")
    ahead.now_ms += LONGEST_SPEECH_MS
    assert ahead.foreseen("Well so") == AskAhead("Well so", 0.5)
    ahead.now_ms += 1
    assert ahead.foreseen("Well so then") == DropAhead()
    ahead.foresight.turn_over()
    assert ahead.foreseen("Next") == AskAhead("Next", 0.5)
    ahead.now_ms += LONGEST_SPEECH_MS + 1
    assert ahead.foreseen("Next one") == DropAhead(), "it counts from what was foreseen first"


def test_nothing_is_asked_for_where_nobody_wants_it() -> None:
    ahead = Ahead()
    ahead.wanted = False
    assert ahead.foreseen("Hello") is None
    assert ahead.interim("Hello") is None
    assert not ahead.waits.names
    ahead.wanted = True
    assert ahead.foreseen("Hello") == AskAhead("Hello", 0.5), "it was not counted either"


# --- words that stand still ---


def test_words_that_stand_still_in_the_quiet_are_asked_for() -> None:
    ahead = Ahead()
    ahead.speaks()
    assert ahead.interim("I want to", 0.4) is None
    assert not ahead.waits.names, "somebody speaks"
    ahead.now_ms += 1000
    assert ahead.hushes() is None
    assert not ahead.waits.names, "these words are too old to have the last one"
    ahead.now_ms += 20
    assert ahead.interim("I want to book", 0.8) is None
    assert ahead.wait() == AskAhead("I want to book", 0.8)
    assert ahead.now_ms == 2020 + STABLE_MS
    assert not ahead.waits.names


def test_the_same_words_again_in_the_quiet_are_asked_for_at_once() -> None:
    ahead = Ahead()
    ahead.speaks()
    ahead.interim("I want to book")
    ahead.now_ms += 400
    ahead.hushes()
    ahead.now_ms += 1
    assert ahead.interim("i want to book.") == AskAhead("i want to book.", 0.5)


@pytest.mark.parametrize(("before_ms", "is_settled"), [(SETTLED_MS, True), (SETTLED_MS + 1, False)])
def test_words_may_come_shortly_before_the_gate_says_quiet(
    before_ms: int, is_settled: bool
) -> None:
    ahead = Ahead()
    ahead.speaks()
    ahead.interim("Hello")
    ahead.now_ms += before_ms
    expected = AskAhead("Hello", 0.5) if is_settled else None
    assert ahead.hushes() == expected
    assert not ahead.waits.names


def test_words_that_just_came_are_waited_for_in_the_quiet() -> None:
    ahead = Ahead()
    ahead.speaks()
    ahead.interim("Hello")
    ahead.now_ms += 30
    assert ahead.hushes() is None
    assert ahead.wait() == AskAhead("Hello", 0.5)
    assert ahead.now_ms == 1000 + STABLE_MS


def test_a_segment_counts_as_words() -> None:
    ahead = Ahead()
    segment = SegmentHeard("Hello", 0.9)
    assert ahead.foresight.heard(segment, "Hello", ahead.now_ms, wanted=True) is None
    ahead.words = "Hello"
    assert ahead.wait() == AskAhead("Hello", 0.9)


def test_words_that_change_are_waited_for_again() -> None:
    ahead = Ahead()
    ahead.interim("One")
    ahead.now_ms += STABLE_MS - 1
    assert ahead.interim("One two") is None
    assert ahead.wait() == AskAhead("One two", 0.5)
    assert ahead.now_ms == 1000 + 2 * STABLE_MS - 1
    assert ahead.interim("One two three") == DropAhead()
    assert ahead.wait() == AskAhead("One two three", 0.5)


def test_speech_ends_the_wait() -> None:
    ahead = Ahead()
    ahead.interim("One")
    assert STABLE_WORDS in ahead.waits
    ahead.speaks()
    ahead.interim("One")
    assert not ahead.waits.names


def test_words_are_tried_but_once() -> None:
    ahead = Ahead()
    ahead.interim("One")
    ahead.wait()
    ahead.revoked()
    ahead.now_ms += 1000
    assert ahead.interim("one") is None
    assert not ahead.waits.names
    ahead.foresight.turn_over()
    ahead.interim("")
    ahead.interim("One")
    assert ahead.wait() == AskAhead("One", 0.5)


def test_what_is_foreseen_stands_against_words_that_stand_still() -> None:
    ahead = Ahead()
    ahead.interim("One")
    ahead.foreseen("One two")
    assert not ahead.waits.names
    ahead.now_ms += STABLE_MS
    assert ahead.interim("One") is None
    assert not ahead.waits.names


def test_no_words_are_not_waited_for() -> None:
    ahead = Ahead()
    assert ahead.interim("") is None
    assert ahead.hushes() is None
    assert not ahead.waits.names
    ahead.interim("One")
    ahead.wait()
    ahead.interim("")
    assert not ahead.waits.names


def test_the_end_of_a_turn_ends_the_wait_and_forgets_its_words() -> None:
    ahead = Ahead()
    ahead.interim("One")
    ahead.foresight.turn_over()
    assert not ahead.waits.names
    assert ahead.revoked() is None
    ahead.foreseen("Two")
    ahead.foresight.turn_over()
    assert ahead.revoked() is None, "what became of it is not known here"


def test_the_wait_asks_for_nothing_where_nobody_wants_it_any_more() -> None:
    ahead = Ahead()
    ahead.interim("One")
    ahead.wanted = False
    assert ahead.wait() is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["foreseen", "revoked", "interim", "speaks", "hushes", "time"]),
        st.sampled_from(["", "one", "One.", "one two", "three", "..."]),
        st.integers(0, 400),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_is_heard(steps: list[tuple[str, str, int]]) -> None:
    ahead = Ahead()
    asked: list[str] = []
    is_open = False
    for kind, text, ms in steps:
        effect: Foreseen | None = None
        match kind:
            case "foreseen":
                effect = ahead.foreseen(text)
            case "revoked":
                effect = ahead.revoked()
                assert effect is None or is_open
            case "interim":
                effect = ahead.interim(text)
            case "speaks":
                ahead.speaks()
            case "hushes":
                effect = ahead.hushes()
            case "time" if ahead.waits.names:
                effect = ahead.wait()
            case _:
                ahead.now_ms += ms
        assert ahead.waits.names <= {STABLE_WORDS}
        if isinstance(effect, AskAhead):
            assert any(map(str.isalnum, effect.text))
            assert not (is_open and same_words(effect.text, asked[-1])), "never the same twice"
            asked.append(effect.text)
            is_open = True
        elif effect is not None:
            assert is_open, "only what is open is dropped"
            is_open = False
    assert len(asked) <= MOST_A_TURN


def test_the_limits() -> None:
    assert (MOST_A_TURN, LONGEST_SPEECH_MS) == (3, 10_000), "as core.md has them"
    assert (STABLE_MS, SETTLED_MS, STABLE_WORDS) == (100, 100, "stable_words")


# --- is it the same question ---

ASKED = LlmRequest(
    "m",
    (LlmMessage("system", "Help."), LlmMessage("user", "i want to book")),
    (LlmTool("note", "Notes.", {"type": "object"}),),
    {"temperature": 0},
)


def _said(*texts: str) -> LlmRequest:
    first, last = texts
    messages = (LlmMessage("system", first), LlmMessage("user", last))
    return replace(ASKED, messages=messages)


def test_case_and_punctuation_make_no_other_question() -> None:
    assert same_words("I want, to book.", "i want to book")
    assert not same_words("I want to book", "I want to cook")
    assert is_same_question(ASKED, _said("Help.", "I want to book."))


@pytest.mark.parametrize(
    "other",
    [
        _said("Help.", "I want to book it"),
        _said("help", "i want to book"),
        replace(ASKED, model="n"),
        replace(ASKED, tools=()),
        replace(ASKED, options={}),
        replace(ASKED, messages=()),
        replace(ASKED, messages=ASKED.messages[1:]),
        replace(ASKED, messages=(*ASKED.messages, LlmMessage("tool", "i want to book"))),
        replace(ASKED, messages=(ASKED.messages[0], LlmMessage("assistant", "i want to book"))),
    ],
)
def test_anything_else_is_another_question(other: LlmRequest) -> None:
    assert not is_same_question(ASKED, other)
    assert not is_same_question(other, ASKED)
