"""`collect`: a value by voice or key, its confirmation, and a choice from a list."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from flowengine.events import Json
from flowengine.nodes.stage import Ask, Choice, Expect, KeyPlan, Outcome, Rejected, SetValue
from tests.nodes.scripted import (
    SILENCE,
    ScriptedStage,
    heard,
    keyed,
    misfit,
    node,
    play,
    retry,
    words,
)

pytestmark = pytest.mark.unit

DAY = "2026-12-01"


def slots() -> list[Json]:
    return [{"id": 7, "at": "2026-12-01"}, {"id": 8, "at": "2026-12-02"}, {"id": 9}]


def test_a_value_is_set_and_the_node_done() -> None:
    stage = ScriptedStage()
    played = play(node("collect", var="day", say="Which day?"), stage, heard(DAY))
    assert played.outcome == Outcome("done")
    assert played.said == ["Which day?"]
    assert stage.values == {"day": DAY}


def test_a_known_value_is_not_asked_again() -> None:
    stage = ScriptedStage({"day": DAY})
    played = play(node("collect", var="day", say="Which day?"), stage)
    assert (played.outcome, played.requests) == (Outcome("done"), ())


@pytest.mark.parametrize(
    ("settings", "sensitive", "expected"),
    [
        ({}, False, Expect(keys=KeyPlan(1, 20, "#"), variable="x")),
        ({}, True, Expect(voice=False, keys=KeyPlan(1, 20, "#"), variable="x", sensitive=True)),
        ({"by": ["voice"]}, False, Expect(keys=None, variable="x")),
        ({"by": ["keys"]}, False, Expect(voice=False, keys=KeyPlan(1, 20, "#"), variable="x")),
        (
            {"by": ["keys", "voice"], "finish": ""},
            True,
            Expect(keys=KeyPlan(1, 20, ""), variable="x", sensitive=True),
        ),
    ],
)
def test_how_it_listens(settings: dict[str, Json], sensitive: bool, expected: Expect) -> None:
    stage = ScriptedStage(sensitive=frozenset({"x"} if sensitive else ()))
    played = play(node("collect", var="x", **settings), stage, heard(5))
    assert played.all_of(Ask)[0].expect == expected


def test_a_variable_that_keys_cannot_enter() -> None:
    played = play(node("collect", var="name"), ScriptedStage(keys=None), heard("Ann"))
    assert played.all_of(Ask)[0].expect == Expect(keys=None, variable="name")


@pytest.mark.parametrize(("failure", "name"), [(SILENCE, "no_input"), (misfit(), "no_match")])
def test_it_gives_up(failure: object, name: str) -> None:
    stage = ScriptedStage()
    played = play(node("collect", var="day", say="Which day?"), stage, *[failure] * 3)
    assert played.outcome == Outcome(name)
    assert played.said == ["Which day?"] * 3
    assert stage.values == {}


def test_the_variable_says_what_is_wrong_instead_of_the_usual_text() -> None:
    stage = ScriptedStage(retry=retry(no_match="Pardon?"))
    answers = [misfit("sunday", "We are closed that day."), misfit(), heard(DAY)]
    played = play(node("collect", var="day", say="Which day?"), stage, *answers)
    assert played.said[1:] == ["We are closed that day. | Which day?", "Pardon? | Which day?"]


def test_a_value_that_is_refused_when_set_is_a_misfit() -> None:
    refused = {DAY: Rejected(words("We are closed.")), "5": Rejected()}
    answers = [heard(DAY), heard(5), heard(DAY)]
    played = play(node("collect", var="day", say="Which?"), None, *answers, refused=refused)
    assert played.outcome == Outcome("no_match")
    assert played.said == ["Which?", "We are closed. | Which?", "Which?"]


# --- confirmation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "yes", [heard(choice="yes"), keyed("1", choice="yes"), misfit("yes, that's fine")]
)
def test_a_yes_confirms(yes: object) -> None:
    stage = ScriptedStage()
    played = play(node("collect", var="day", confirm=True), stage, heard(DAY), yes)
    assert played.outcome == Outcome("done")
    assert played.said == ["", "I have Tuesday, December 1. Is that right?"]
    assert stage.values == {"day": DAY}


def test_what_a_confirmation_listens_for() -> None:
    played = play(
        node("collect", var="day", confirm=True, retry={"after": "3s"}, interruptible=False),
        ScriptedStage(retry=retry(after="3s"), language="de-DE"),
        heard(DAY),
        keyed("1", choice="yes"),
    )
    ask = played.all_of(Ask)[1]
    assert ask.expect == Expect(
        keys=KeyPlan(strings=("1", "2")),
        choices=(
            Choice("yes", "1", ("ja", "richtig", "das stimmt")),
            Choice("no", "2", ("nein", "falsch", "das stimmt nicht")),
        ),
        after_ms=3000,
    )
    assert not ask.interruptible
    assert played.said[1] == "Ich habe Dienstag, der 1. Dezember. Ist das richtig?"


@pytest.mark.parametrize("no", [heard(choice="no"), keyed("2", choice="no"), misfit("no way")])
def test_a_no_asks_again(no: object) -> None:
    asked = node("collect", var="day", say="Which day?", confirm=True)
    stage = ScriptedStage()
    played = play(asked, stage, heard(DAY), no, heard("2026-12-02"), heard(choice="yes"))
    assert played.said[2] == "Which day?"
    assert played.all_of(SetValue) == [SetValue("day", "2026-12-02")]
    assert stage.values == {"day": "2026-12-02"}


def test_a_no_counts_as_a_misfit() -> None:
    answers = [heard(DAY), heard(choice="no")] * 3
    stage = ScriptedStage()
    played = play(node("collect", var="day", say="Which?", confirm=True), stage, *answers)
    assert played.outcome == Outcome("no_match")
    assert stage.values == {}


def test_the_authors_question_may_read_the_value_and_a_no_forgets_it() -> None:
    asked = node("collect", var="day", say="Which?", confirm="{{ day }}, right?")
    stage = ScriptedStage()
    answers = [heard(DAY), heard(choice="no"), heard("2026-12-02"), heard(choice="yes")]
    played = play(asked, stage, *answers)
    assert played.said == ["Which?", f"{DAY}, right?", "Which?", "2026-12-02, right?"]
    assert [request.value for request in played.all_of(SetValue)] == [DAY, None, "2026-12-02"]


def test_the_author_does_not_ask_about_a_value_that_is_refused() -> None:
    asked = node("collect", var="day", confirm="{{ day }}, right?", retry={"at_most": 0})
    stage = ScriptedStage(retry=retry(at_most=0))
    played = play(asked, stage, heard(DAY), refused={DAY: Rejected()})
    assert (played.outcome, played.said) == (Outcome("no_match"), [""])


def test_a_confirmed_value_may_still_be_refused() -> None:
    asked = node("collect", var="day", say="Which?", confirm=True)
    answers = [heard(DAY), heard(choice="yes"), heard("x"), heard(choice="yes")]
    played = play(asked, None, *answers, refused={DAY: Rejected(words("Taken."))})
    assert (played.outcome, played.said[2]) == (Outcome("done"), "Taken. | Which?")


@pytest.mark.parametrize(("failure", "name"), [(SILENCE, "no_input"), (misfit(), "no_match")])
def test_what_is_not_confirmed_is_forgotten(failure: object, name: str) -> None:
    stage = ScriptedStage(retry=retry(no_input="Hello?", no_match="Pardon?"))
    asked = node("collect", var="day", say="Which day?", confirm="{{ day }}, right?")
    played = play(asked, stage, heard(DAY), *[failure] * 3)
    assert played.outcome == Outcome(name)
    assert played.said == ["Which day?", *["2026-12-01, right?"] * 3]
    assert stage.values == {"day": None}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("4729", "4 7 2 9"),
        ("+336", "plus 3 3 6"),
        ("15:30", "3:30 PM"),
        ("2026-12-01T09:00", "Tuesday, December 1, 9 AM"),
        ("Ann Lee", "Ann Lee"),
        (True, "yes"),
        (12, "12"),
        (["red", "blue"], "red, blue"),
    ],
)
def test_how_a_value_is_read_back(value: Json, shown: str) -> None:
    yes = heard(choice="yes")
    played = play(node("collect", var="x", confirm=True), None, keyed("1", value), yes)
    assert played.said[1] == f"I have {shown}. Is that right?"


def test_a_keyed_value_is_confirmed_by_key() -> None:
    asked = node("collect", var="x", by=["keys"], confirm=True)
    played = play(asked, ScriptedStage(language="xx"), keyed("12", "12"), keyed("1", choice="yes"))
    assert played.said[1] == "I have 1 2. If that is right, press 1. If not, press 2."
    assert not played.all_of(Ask)[1].expect.voice


def test_a_sensitive_value_is_not_read_back_by_itself() -> None:
    stage = ScriptedStage(sensitive=frozenset({"pin"}))
    assert len(play(node("collect", var="pin", confirm=True), stage, keyed("1", "1")).said) == 1


def test_a_sensitive_value_may_be_confirmed_in_other_words() -> None:
    stage = ScriptedStage(sensitive=frozenset({"pin"}))
    asked = node("collect", var="pin", confirm="Sure? Press 1.")
    played = play(asked, stage, keyed("1", "1"), keyed("1", choice="yes"))
    assert played.said[1] == "Sure? Press 1."
    assert played.all_of(Ask)[1].expect.sensitive


# --- a choice from a list -----------------------------------------------------------------------


def test_elements_are_offered_by_key_and_voice() -> None:
    stage = ScriptedStage({"slots": slots()})
    asked = node("collect", var="slot", say="When?", of="slots", item="result.item.at")
    played = play(asked, stage, heard(choice="Wednesday, December 2"))
    first, second = "Tuesday, December 1", "Wednesday, December 2"
    assert played.said == [f"When? | For {first}, press 1. For {second}, press 2."]
    assert played.all_of(Ask)[0].expect == Expect(
        keys=KeyPlan(strings=("1", "2")),
        choices=(Choice(first, "1", (first,)), Choice(second, "2", (second,))),
    )
    assert stage.values["slot"] == {"id": 8, "at": "2026-12-02"}
    assert played.outcome == Outcome("done", {"item": {"id": 8, "at": "2026-12-02"}})


def test_a_chosen_element_is_confirmed_by_its_name() -> None:
    stage = ScriptedStage({"slots": slots()})
    asked = node("collect", var="slot", of="slots", item="result.item.at", confirm=True)
    played = play(asked, stage, keyed("2", choice="Wednesday, December 2"), heard(choice="yes"))
    assert played.said[1] == "I have Wednesday, December 2. Is that right?"


def test_an_element_without_a_name_names_itself() -> None:
    stage = ScriptedStage({"colours": ["red", "blue"]})
    asked = node("collect", var="colour", of="colours", by=["voice"])
    played = play(asked, stage, misfit(), heard(choice="red"))
    assert played.said == ["red. blue."] * 2
    assert played.all_of(Ask)[0].expect.keys is None
    assert stage.values["colour"] == "red"


@pytest.mark.parametrize(("by", "offered"), [(["keys"], 9), (["keys", "voice"], 11)])
def test_only_nine_elements_have_a_key(by: list[str], offered: int) -> None:
    stage = ScriptedStage({"names": [f"name {number}" for number in range(11)]})
    played = play(node("collect", var="x", of="names", by=by), stage, keyed("9", choice="name 8"))
    choices = played.all_of(Ask)[0].expect.choices
    assert len(choices) == offered
    assert [choice.keys for choice in choices[9:]] == [""] * (offered - 9)
    assert stage.values["x"] == "name 8"


def test_elements_of_the_same_name_stay_apart() -> None:
    stage = ScriptedStage({"slots": [{"id": 1, "at": "10:00"}, {"id": 2, "at": "10:00"}]})
    asked = node("collect", var="slot", of="slots", item="result.item.at")
    played = play(asked, stage, keyed("2", choice="10 AM 2"))
    assert played.said == ["For 10 AM, press 1. For 10 AM, press 2."]
    assert stage.values["slot"] == {"id": 2, "at": "10:00"}


@pytest.mark.parametrize("elements", [[], None, [""]])
def test_nothing_to_choose_from_is_no_match(elements: Json) -> None:
    played = play(node("collect", var="x", of="names"), ScriptedStage({"names": elements}))
    assert (played.outcome, played.requests) == (Outcome("no_match"), ())


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"var": "x", "by": []}, {"var": "x", "by": ["mail"]}, {"var": "x", "finish": "12"}]
    + [{"var": "x", "item": "result.item"}, {"var": "x", "confirm": 1}],
)
def test_broken_settings(settings: dict[str, Json]) -> None:
    with pytest.raises(ValidationError):
        node("collect", **settings)
