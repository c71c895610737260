"""`dialog`: who opens, how it ends, what the LLM is asked."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from flowengine.events import Json
from flowengine.nodes.stage import Ask, Expect, Outcome, Reply, Think
from tests.nodes.scripted import SILENCE, EnteredBy, ScriptedStage, heard, node, play, retry

pytestmark = pytest.mark.unit

GOES_ON = Reply("ok", cut=False)
COMPLETE = Reply("ok", cut=False, complete=True)
DONE = Reply("ok", cut=False, complete=True, done=True)
TURN = heard("hello")


def test_it_opens_with_its_words_and_listens_from_their_start() -> None:
    asked = node("dialog", say="How can I help?", collect=["reason"])
    played = play(asked, ScriptedStage(entered_by="turn"), TURN, COMPLETE)
    assert played.outcome == Outcome("done")
    assert played.said == ["How can I help?"]
    assert played.all_of(Ask)[0].expect == Expect(after_ms=7000, is_answered=True)


@pytest.mark.parametrize(
    ("entered_by", "llm_begins", "nobody_spoke"),
    [
        ("turn", True, False),
        ("value", True, False),
        ("start", True, True),
        ("key", True, True),
        ("outcome", False, False),
        ("return", False, False),
        ("back", False, False),
        ("resume", False, False),
    ],
)
def test_who_opens_without_say(entered_by: EnteredBy, llm_begins: bool, nobody_spoke: bool) -> None:
    answers = [DONE] if llm_begins else [TURN, DONE]
    stage = ScriptedStage(entered_by=entered_by)
    played = play(node("dialog", until="The caller is happy."), stage, *answers)
    assert played.outcome == Outcome("done")
    assert played.all_of(Think)[0].opening is nobody_spoke
    assert played.said == ([] if llm_begins else [""])


@pytest.mark.parametrize(("resumed", "entered_by"), [(True, "turn"), (False, "back")])
def test_no_second_opening(resumed: bool, entered_by: EnteredBy) -> None:
    stage = ScriptedStage(resumed=resumed, entered_by=entered_by)
    played = play(node("dialog", say="Hello.", until="x"), stage, TURN, DONE)
    assert played.said == [""]


def test_after_a_crash_it_listens_even_when_a_turn_led_in() -> None:
    stage = ScriptedStage(resumed=True, entered_by="turn")
    assert play(node("dialog", until="x"), stage, TURN, DONE).said == [""]


def test_what_the_llm_is_asked() -> None:
    asked = node(
        "dialog",
        prompt="Help {{ name }}.",
        collect=["day"],
        also=["note"],
        until="{{ name }} is happy.",
        tools=["find"],
        memory={"last": 6},
    )
    stage = ScriptedStage({"name": "Ann"}, entered_by="turn")
    think = play(asked, stage, DONE).all_of(Think)[0]
    assert think == Think(
        prompt="Help Ann.",
        collect=("day",),
        also=("note",),
        until="Ann is happy.",
        tools=("find",),
        memory=6,
    )


def test_a_prompt_by_case_is_one_text_too() -> None:
    asked = node("dialog", prompt=[{"if": "visit == 1", "text": "A"}, "B"], until="x")
    think = play(asked, ScriptedStage(entered_by="turn"), DONE).all_of(Think)[0]
    assert (think.prompt, think.memory) == ("B", "all")


@pytest.mark.parametrize(
    ("settings", "replies"),
    [
        ({"collect": ["day"]}, [GOES_ON, COMPLETE]),
        ({"until": "x"}, [COMPLETE, DONE]),
        ({"collect": ["day"], "until": "x"}, [COMPLETE, DONE]),
    ],
)
def test_when_it_is_done(settings: dict[str, Json], replies: list[Reply]) -> None:
    answers = [answer for reply in replies for answer in (TURN, reply)]
    assert play(node("dialog", **settings), None, *answers).outcome == Outcome("done")


def test_with_neither_it_is_never_done() -> None:
    answers = [answer for _ in range(20) for answer in (TURN, DONE)]
    assert play(node("dialog"), None, *answers, TURN).outcome == Outcome("max_turns")


@pytest.mark.parametrize(
    ("entered_by", "left"), [("turn", [GOES_ON, TURN]), ("start", [GOES_ON, TURN, GOES_ON, TURN])]
)
def test_the_turn_that_led_in_counts_and_an_opening_does_not(
    entered_by: EnteredBy, left: list[object]
) -> None:
    played = play(node("dialog", turns=1), ScriptedStage(entered_by=entered_by), *left)
    assert played.outcome == Outcome("max_turns")


def test_silence_climbs_the_ladder_and_a_turn_begins_it_anew() -> None:
    stage = ScriptedStage(retry=retry(after="4s", no_input=["Hello?", "Anybody?"]))
    answers = [SILENCE, SILENCE, TURN, GOES_ON, SILENCE, SILENCE, SILENCE]
    played = play(node("dialog", say="Hi."), stage, *answers)
    assert played.outcome == Outcome("no_input")
    assert played.said == ["Hi.", "Hello?", "Anybody?", "", "Hello?", "Anybody?"]
    assert played.all_of(Ask)[0].expect == Expect(after_ms=4000, is_answered=True)


def test_silence_without_a_text_listens_on() -> None:
    played = play(node("dialog", say="Hi."), None, SILENCE, SILENCE, SILENCE)
    assert played.said == ["Hi.", "", ""]


@pytest.mark.parametrize("entered_by", ["turn", "outcome"])
def test_an_llm_that_fails(entered_by: EnteredBy) -> None:
    answers = [Reply("", cut=False, failed="no_llm")]
    before = [] if entered_by == "turn" else [TURN]
    played = play(node("dialog"), ScriptedStage(entered_by=entered_by), *before, *answers)
    assert played.outcome == Outcome("failed", {"reason": "no_llm"})


# --- everything is known before -----------------------------------------------------------------


def known(entered_by: EnteredBy) -> ScriptedStage:
    return ScriptedStage({"day": "2026-12-01"}, entered_by=entered_by)


def test_all_known_and_an_opening_still_holds_a_turn() -> None:
    asked = node("dialog", say="Anything else?", collect=["day"])
    played = play(asked, known("outcome"), TURN, COMPLETE)
    assert (played.outcome, played.said) == (Outcome("done"), ["Anything else?"])


def test_all_known_and_a_turn_to_answer() -> None:
    played = play(node("dialog", collect=["day"]), known("turn"), COMPLETE)
    assert (played.outcome, len(played.requests)) == (Outcome("done"), 1)


@pytest.mark.parametrize("entered_by", ["outcome", "back"])
def test_all_known_and_nothing_to_say_is_done_at_once(entered_by: EnteredBy) -> None:
    played = play(node("dialog", collect=["day"]), known(entered_by))
    assert (played.outcome, played.requests) == (Outcome("done"), ())


def test_all_known_but_until_has_to_hold() -> None:
    asked = node("dialog", collect=["day"], until="The caller agrees.")
    assert play(asked, known("outcome"), TURN, DONE).outcome == Outcome("done")


@pytest.mark.parametrize("settings", [{"turns": 0}, {"memory": "some"}, {"memory": {"last": 0}}])
def test_broken_settings(settings: dict[str, Json]) -> None:
    with pytest.raises(ValidationError):
        node("dialog", **settings)
