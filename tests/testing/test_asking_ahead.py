"""Whole calls in which the caller is answered before his turn is over, or would have been."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from flowengine.assurance.replay import replay, server_of
from flowengine.events import TurnEnded, UsageCounted, UtteranceSpoken
from flowengine.flow.program import Program
from flowengine.ports import JournalRecord
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import (
    Caller,
    LlmFails,
    Responder,
    SimulatedCall,
    World,
    setup_of,
    simulate,
)
from tests.runtime.small_flows import TALK, program, shop, talk

pytestmark = pytest.mark.conversation

LLM = Responder(notes={"day": {"monday": "monday"}}, takes={"done": "that is all"})
SCRIPT: list[Step] = [
    Caller.says("I would like to come"),
    Caller.hears("I see"),
    Caller.says("on monday if you can"),
    Caller.hears("I see"),
    Caller.says("that is all"),
]

TWICE: list[Step] = [
    Caller.says("hello you"),
    Caller.hears("I see"),
    Caller.says("hello again"),
]


def slow_talk() -> Program:
    """The recogniser takes its time, so that a whole reply comes before the end of a turn."""
    return program({**TALK, "defaults": {"turn_taking": {"endpointing": "900ms"}}})


def effects(call: SimulatedCall, kind: str) -> list[dict[str, Any]]:
    return [dict(record.body) for record in call.journal if record.body.get("type") == kind]


def wasted(call: SimulatedCall) -> list[bool]:
    return [fact.usage.wasted for fact in call.facts_of(UsageCounted)]


def response_ms(call: SimulatedCall) -> list[int]:
    answers = [fact.response_ms for fact in call.facts_of(UtteranceSpoken)]
    return [ms for ms in answers if ms is not None]


@pytest.mark.parametrize("sees", [{"foresees_after_ms": 50}, {"last_interim_after_ms": 40}])
def test_the_caller_is_answered_sooner_and_in_the_same_way(sees: dict[str, Any]) -> None:
    plain = simulate(talk(), SCRIPT, llm=LLM)
    ahead = simulate(talk(), SCRIPT, llm=LLM, **sees)
    assert ahead.really_heard == plain.really_heard
    assert ahead.edges == plain.edges
    assert ahead.values == plain.values
    assert not effects(plain, "ConfirmReply")
    # The third turn takes an edge, with no words.
    assert len(effects(ahead, "ConfirmReply")) == 3
    assert ahead.llm_requests == plain.llm_requests, "nothing was asked for in vain"
    assert not any(wasted(ahead))
    sooner = zip(response_ms(ahead)[:2], response_ms(plain)[:2], strict=True)
    assert all(after <= before - 100 for after, before in sooner)


def test_a_part_of_an_answer_that_came_ahead_took_no_time_of_the_caller() -> None:
    call = simulate(slow_talk(), SCRIPT[:2], llm=LLM, foresees_after_ms=0)
    spoken = [fact for fact in call.facts_of(UtteranceSpoken) if fact.response_ms is not None]
    first = spoken[0]
    assert first.stages is not None
    assert first.response_ms == 0
    assert first.stages["llm"] == first.stages["tts"] == 0


@pytest.mark.parametrize("sees", [{"foresees_after_ms": 150}, {"last_interim_after_ms": 40}])
def test_a_caller_who_goes_on_is_answered_once_and_whole(sees: dict[str, Any]) -> None:
    pause = Caller.hesitates("I would like", "to come on monday", pause_ms=250)
    call = simulate(talk(), [pause, Caller.hears("I see")], llm=LLM, **sees)
    (turn,) = call.facts_of(TurnEnded)[:1]
    assert turn.text == "I would like to come on monday"
    asked = [request.messages[-1].text for request in call.llm_requests[:2]]
    assert asked == ["I would like", "I would like to come on monday"]
    assert wasted(call)[:2] == [True, False]
    assert call.facts_of(UsageCounted)[0].usage.estimated
    assert call.really_heard.count("I see") == 1


def test_what_is_dropped_before_it_is_complete_is_cancelled() -> None:
    pause = Caller.hesitates("I would like", "to come", pause_ms=250)
    call = simulate(talk(), [pause, Caller.hears("I see")], llm=LLM, foresees_after_ms=50)
    assert [drop["wasted"] for drop in effects(call, "CancelLlm")] == [True]
    assert call.facts_of(UsageCounted)[0].usage.wasted


def test_a_reply_that_fails_ahead_is_asked_for_again() -> None:
    answers: list[LlmFails | str] = [LlmFails("overloaded"), "Here I am."]
    call = simulate(
        slow_talk(), [Caller.says("hello you"), Caller.hears("Here I am")],
        llm=lambda _: answers.pop(0), foresees_after_ms=0,
    )  # fmt: skip
    assert not answers
    assert "failed" not in [hop.edge for hop in call.path]


def test_a_voice_that_fails_ahead_speaks_again() -> None:
    failures = ["dropped"]
    call = simulate(
        slow_talk(), [Caller.says("hello you"), Caller.hears("I see")], llm=LLM,
        foresees_after_ms=0,
        voice_fails=lambda text: failures.pop() if "I see" in text and failures else "",
    )  # fmt: skip
    assert call.said("I see. Go on.")


def test_only_a_dialog_is_answered_ahead() -> None:
    script: list[Step] = [Caller.says("order"), Caller.says("seven"), Caller.says("yes")]
    call = simulate(shop(), script, llm=LLM, foresees_after_ms=50, last_interim_after_ms=40)
    assert not call.llm_requests
    assert call.nodes[-1] == "sold"


def test_the_turn_behind_the_last_is_not_answered_ahead() -> None:
    document = {**TALK, "nodes": {**TALK["nodes"], "talk": {**TALK["nodes"]["talk"], "turns": 1}}}
    call = simulate(program(document), TWICE, llm=LLM, foresees_after_ms=50)
    assert len(call.llm_requests) == 1
    assert len(effects(call, "ConfirmReply")) == 1


def test_a_prompt_may_hold_the_turn() -> None:
    node = {**TALK["nodes"]["talk"], "prompt": "He said {{ turn.text }}."}
    document = {**TALK, "nodes": {**TALK["nodes"], "talk": node}}
    call = simulate(program(document), TWICE, llm=LLM, foresees_after_ms=50)
    assert len(effects(call, "ConfirmReply")) == 2
    assert "He said hello again." in call.llm_requests[1].messages[0].text


@pytest.mark.parametrize(
    "script",
    [
        SCRIPT,
        [Caller.hesitates("I would like", "to come"), *SCRIPT[1:]],
        [Caller.says("hello you"), Caller.breaks_in("wait a moment", after_ms=300), *SCRIPT[2:]],
        [Caller.hesitates("I would", "like it"), Caller.hangs_up(after_ms=100)],
    ],
)
@pytest.mark.parametrize("sees", [{"foresees_after_ms": 50}, {"last_interim_after_ms": 40}])
def test_such_a_call_is_equal_to_itself(script: list[Any], sees: dict[str, Any]) -> None:
    call = simulate(talk(), script, llm=LLM, **sees)
    assert any(effect["tentative"] for effect in effects(call, "AskLlm"))
    journal: list[JournalRecord] = [
        replace(record, body=orjson.loads(orjson.dumps(record.body, default=dict)))
        for record in call.journal
    ]
    setup = replace(setup_of(World()), server=server_of(journal, talk()))
    result = replay(setup, talk(), journal)
    assert result.verdict == "equal", result.told()


def test_a_prompt_that_cannot_be_written_is_told_when_the_turn_is_over() -> None:
    node = {**TALK["nodes"]["talk"], "prompt": "The day is {{ day }}."}
    document = {**TALK, "nodes": {**TALK["nodes"], "talk": node}}
    calls = [
        simulate(program(document), [Caller.says("hello you")], llm=LLM, foresees_after_ms=ms)
        for ms in (None, 50)
    ]
    assert not calls[1].llm_requests
    plain, ahead = ([fact for _, fact in call.facts] for call in calls)
    assert ahead == plain
