"""`greeting`: inbound, outbound, machines, the notice, and a caller who speaks first."""

from __future__ import annotations

from typing import Literal

import pytest

from flowengine.nodes.stage import Answered, Ask, AwaitAnswer, Expect, Outcome, Say
from tests.nodes.scripted import SILENCE, ScriptedStage, heard, node, play, words

pytestmark = pytest.mark.unit


def outbound(answered_by: str = "") -> ScriptedStage:
    return ScriptedStage(direction="outbound", answered_by=answered_by)


def test_inbound_says_notice_then_first_words() -> None:
    played = play(node("greeting", notice="We record.", say="Hello."))
    assert played.outcome == Outcome("done")
    assert played.requests == (
        Say(words("We record."), interruptible=False, is_notice=True),
        Say(words("Hello."), interruptible=True),
    )


def test_a_greeting_with_nothing_to_say() -> None:
    assert play(node("greeting")).requests == ()


def test_the_caller_speaks_first() -> None:
    asked = node("greeting", notice="We record.", say="Hello?", first="caller")
    played = play(asked, None, heard("hi, it's me"))
    assert (played.outcome, played.said) == (Outcome("done"), ["We record.", ""])
    assert played.all_of(Ask)[0].expect == Expect(after_ms=4000)


def test_a_silent_caller_is_greeted() -> None:
    asked = node("greeting", say="Hello?", first="caller", wait="1500ms")
    played = play(asked, None, SILENCE)
    assert (played.outcome, played.said) == (Outcome("done"), ["", "Hello?"])
    assert played.all_of(Ask)[0].expect.after_ms == 1500


@pytest.mark.parametrize("by", ["human", "unknown"])
def test_outbound_waits_for_the_answer(by: Literal["human", "unknown"]) -> None:
    played = play(node("greeting", say="Hello."), outbound(), Answered(by))
    assert played.outcome == Outcome("done")
    assert played.requests[0] == AwaitAnswer(detect_machine=True, beep=True)
    assert played.said == ["Hello."]


def test_a_machine_is_voicemail_and_hears_nothing_here() -> None:
    asked = node("greeting", say="Hello.", machine={"beep": False})
    played = play(asked, outbound(), Answered("machine"))
    assert (played.outcome, played.said) == (Outcome("voicemail"), [])
    assert played.requests == (AwaitAnswer(detect_machine=True, beep=False),)


def test_nobody_answers() -> None:
    played = play(node("greeting", say="Hello."), outbound(), Answered("unreached", "busy"))
    assert (played.outcome, played.said) == (Outcome("unreached", {"reason": "busy"}), [])


def test_without_detection_all_count_as_human() -> None:
    asked = node("greeting", say="Hello.", machine={"detect": False})
    played = play(asked, outbound(), Answered("machine"))
    assert (played.outcome, played.said) == (Outcome("done"), ["Hello."])


@pytest.mark.parametrize(("by", "outcome"), [("human", "done"), ("machine", "voicemail")])
def test_an_answer_that_is_known_is_not_awaited(by: str, outcome: str) -> None:
    played = play(node("greeting"), outbound(by))
    assert (played.outcome, played.requests) == (Outcome(outcome), ())


def test_after_a_crash_only_the_notice_is_said_again() -> None:
    """The first, empty words are where the stage puts its own sentence."""
    stage = ScriptedStage(resumed=True)
    played = play(node("greeting", notice="We record.", say="Hi."), stage)
    assert played.said == ["", "We record."]


def test_on_the_way_back_nothing_is_said_again() -> None:
    stage = ScriptedStage(entered_by="back")
    assert play(node("greeting", notice="We record.", say="Hi."), stage).said == []
