"""`menu`, and with it the retry ladder: every outcome, every text by try."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from flowengine.events import Json
from flowengine.flow.kind import Node
from flowengine.nodes.stage import Ask, Choice, Expect, KeyPlan, Outcome
from tests.nodes.scripted import (
    SILENCE,
    ScriptedStage,
    heard,
    keyed,
    misfit,
    node,
    play,
    retry,
)

pytestmark = pytest.mark.unit

CHOICES = {
    "order": {"key": "1", "words": ["order", "buy"]},
    "person": {"key": "09"},
    "other": {},
}
GENERAL = retry(no_input="Still there?", no_match="Pardon?")


def menu(**settings: Json) -> Node:
    return node("menu", say="Order or person?", choices=CHOICES, **settings)


@pytest.mark.parametrize(
    "answer", [heard(choice="order"), keyed("1", choice="order")], ids=["voice", "key"]
)
def test_a_choice_is_the_outcome(answer: object) -> None:
    played = play(menu(), None, answer)
    assert played.outcome == Outcome("order", {"choice": "order"})
    assert played.said == ["Order or person?"]


def test_listens_for_every_choice_by_key_and_voice() -> None:
    played = play(menu(retry={"after": "5s"}), ScriptedStage(retry=retry(after="5s")), heard(1))
    assert played.all_of(Ask)[0].expect == Expect(
        voice=True,
        keys=KeyPlan(strings=("1", "0", "9")),
        choices=(
            Choice("order", "1", ("order", "buy")),
            Choice("person", "09", ()),
            Choice("other", "", ()),
        ),
        after_ms=5000,
    )


def test_a_menu_without_keys_gathers_none() -> None:
    played = play(node("menu", choices={"a": {}}), None, heard(choice="a"))
    assert played.all_of(Ask)[0].expect.keys is None


def test_silence_and_misfits_have_their_own_counters() -> None:
    answers = [SILENCE, misfit(), SILENCE, misfit(), SILENCE]
    played = play(menu(), ScriptedStage(retry=GENERAL), *answers)
    assert played.outcome == Outcome("no_input")
    assert played.said == [
        "Order or person?",
        "Still there? | Order or person?",
        "Pardon? | Order or person?",
        "Still there? | Order or person?",
        "Pardon? | Order or person?",
    ]


def test_the_last_misfit_says_nothing() -> None:
    stage = ScriptedStage(retry=retry(no_match="Pardon?", at_most=1))
    played = play(menu(), stage, misfit(), misfit())
    assert played.outcome == Outcome("no_match")
    assert len(played.said) == 2


def test_no_retry_at_all() -> None:
    played = play(menu(), ScriptedStage(retry=retry(at_most=0)), SILENCE)
    assert (played.outcome, played.said) == (Outcome("no_input"), ["Order or person?"])


def test_a_text_by_try_and_the_last_for_all_later_ones() -> None:
    own = {"no_input": ["Hello?", "Last time {try}."], "at_most": 3}
    played = play(menu(retry=own), ScriptedStage(retry=retry(**own)), *[SILENCE] * 4)
    assert played.outcome == Outcome("no_input")
    assert played.said == ["Order or person?", "Hello?", "Last time 2.", "Last time 3."]


def test_a_text_of_the_node_stands_alone_and_a_general_one_does_not() -> None:
    stage = ScriptedStage(retry=retry(no_input="Key 1 or 0.", no_match="Pardon?"))
    own = menu(use={"retry": {"no_input": "Key 1 or 0."}})
    played = play(own, stage, SILENCE, misfit(), heard(choice="other"))
    assert played.said[1:] == ["Key 1 or 0.", "Pardon? | Order or person?"]


def test_the_question_knows_its_try() -> None:
    asked = node("menu", say="Choose ({try}).", choices=CHOICES)
    played = play(asked, None, SILENCE, misfit(), keyed("1", choice="order"))
    assert played.said == ["Choose (1).", "Choose (2).", "Choose (3)."]


def test_no_second_opening_on_the_way_back() -> None:
    played = play(menu(), ScriptedStage(entered_by="back"), SILENCE, heard(choice="order"))
    assert played.said == ["", "Order or person?"]


def test_after_a_crash_the_question_is_asked_again() -> None:
    played = play(menu(), ScriptedStage(resumed=True), heard(choice="order"))
    assert played.said == ["Order or person?"]


def test_interruptible_is_passed_on() -> None:
    played = play(menu(interruptible=False), None, heard(choice="order"))
    assert not played.all_of(Ask)[0].interruptible


@pytest.mark.parametrize("name", ["no_input", "error", "else", "done", ""])
def test_a_choice_may_not_be_named_like_another_outcome(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be the name of a choice"):
        node("menu", choices={name: {"key": "1"}})


@pytest.mark.parametrize("choices", [{}, {"a": {"key": "x"}}, {"a": {"word": ["b"]}}])
def test_broken_choices(choices: Json) -> None:
    with pytest.raises(ValidationError):
        node("menu", choices=choices)
