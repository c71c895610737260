"""Somebody outside steers a call: what is said, where it goes, and how it ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from flowengine.assurance.why import why
from flowengine.commands import (
    Command,
    OperatorEnded,
    OperatorMoved,
    OperatorSaid,
    OperatorTransferred,
)
from flowengine.events import (
    CallEnded,
    ClauseReady,
    CommandAnswered,
    DigitPressed,
    LineClosed,
    LineOpened,
    NodeEntered,
    ReplyEnded,
    SegmentHeard,
    SpeakingFailed,
    SpeechStarted,
    SpeechStopped,
    TransferEnded,
    UtteranceSpoken,
    from_json,
    to_json,
)
from flowengine.runtime.actor import Actor
from flowengine.runtime.effects import CutSpeech, LeaveLine, Report, SaveCheckpoint, Speak
from tests.runtime.small_flows import TALK, program
from tests.runtime.test_properties import FLOWS, SETUP, WALL, World

pytestmark = pytest.mark.unit

HELLO = "This is a person speaking."


def facts(world: World, kind: type[Any]) -> list[Any]:
    effects = [effect for _, effects in world.log for effect in effects]
    return [
        effect.fact
        for effect in effects
        if isinstance(effect, Report) and isinstance(effect.fact, kind)
    ]


def answers(world: World) -> list[str]:
    return [fact.refused for fact in facts(world, CommandAnswered)]


def nodes(world: World) -> list[str]:
    return [fact.node for fact in facts(world, NodeEntered)]


def said(world: World) -> list[str]:
    return ["".join(texts) for texts in world.spoken.values()]


def step_left(world: World) -> dict[str, Any]:
    (effect,) = (e for _, effects in world.log for e in effects if isinstance(e, LeaveLine))
    return dict(effect.step)


def at_the_menu() -> World:
    """A call that has heard the menu and is silent."""
    world = World(FLOWS["shop"]())
    world.finish()
    assert world.actor.node == "choose"
    return world


# --- say ---


def test_words_are_said_behind_what_the_bot_says_and_heard_by_the_llm() -> None:
    world = World(FLOWS["talk"]())
    world.feed(OperatorSaid("c1", HELLO))
    assert said(world) == ["Hello, this is the clinic speaking to you.", HELLO]
    world.finish()
    assert answers(world) == [""]
    assert [fact.heard for fact in facts(world, UtteranceSpoken)][:2] == said(world)[:2]
    assert HELLO in [entry.text for entry in world.actor.conversation]


def test_words_that_cut_are_said_at_once_and_the_node_goes_on_behind_them() -> None:
    world = World(FLOWS["shop"]())
    world.finish()
    world.turn("order")
    world.feed(OperatorSaid("c1", HELLO, cuts=True))
    assert any(isinstance(effect, CutSpeech) for effect in world.log[-1][1])
    assert said(world)[-1] == HELLO
    world.finish()
    assert world.actor.node == "how_many"
    assert "no_input" in world.actor.waits


def test_nobody_cuts_what_the_caller_may_not_break_into() -> None:
    world = at_the_menu()
    world.feed(DigitPressed("9"))
    world.feed(DigitPressed("9"))
    assert world.actor.node == "bye"
    world.feed(OperatorSaid("c1", HELLO, cuts=True))
    assert said(world)[-2:] == ["Goodbye.", HELLO]
    assert not any(isinstance(effect, CutSpeech) for effect in world.log[-1][1])


def test_words_wait_for_a_caller_who_speaks_and_come_before_the_answer() -> None:
    world = World(FLOWS["talk"]())
    world.finish()
    world.feed(SpeechStarted("energy"))
    world.feed(OperatorSaid("c1", HELLO))
    assert HELLO not in said(world)
    world.feed(SpeechStopped("energy"))
    world.feed(SegmentHeard("I want to talk about the weather", 0.9, endpoint=True))
    world.feed(ClauseReady(world.replies[-1], "Very well. "))
    world.feed(ReplyEnded(world.replies[-1], "stop"))
    assert said(world)[-2:] == [HELLO, "Very well. "]
    world.finish()
    spoken = {fact.text: fact.response_ms for fact in facts(world, UtteranceSpoken)}
    assert spoken[HELLO] is None, "they answer nobody"
    assert spoken["Very well. "] is not None


def test_a_voice_that_fails_in_an_operators_words_is_no_fault_of_the_node() -> None:
    world = at_the_menu()
    world.feed(OperatorSaid("c1", HELLO))
    world.feed(SpeakingFailed(list(world.spoken)[-1], "dropped"))
    assert world.actor.node == "choose" and not world.actor.is_over


def test_silence_counts_from_the_end_of_an_operators_words() -> None:
    world = at_the_menu()
    world.advance(6000)
    world.feed(OperatorSaid("c1", HELLO))
    assert "no_input" not in world.actor.waits
    world.finish()
    assert "no_input" in world.actor.waits


def test_words_that_were_not_said_outlive_a_crash() -> None:
    world = World(FLOWS["talk"]())
    world.finish()
    world.feed(SpeechStarted("energy"))
    world.feed(OperatorSaid("c1", HELLO, cuts=True))
    effects = restored(world).receive(LineOpened(WALL, resumed=True), world.now_ms)
    spoken = [p.text for e in effects if isinstance(e, Speak) for p in e.pieces]
    assert spoken[-1] == HELLO


def restored(world: World) -> Actor:
    """The call as its newest checkpoint has it."""
    found = [e for _, effects in world.log for e in effects if isinstance(e, SaveCheckpoint)]
    saved = orjson.loads(orjson.dumps(found[-1].checkpoint))
    return Actor.restore(SETUP, world.program, saved, saved["sensitive"])


# --- move ---


def test_the_call_goes_to_a_node_and_why_says_so() -> None:
    world = at_the_menu()
    world.feed(OperatorMoved("c1", "how_many", "he told me on another line"))
    assert world.actor.node == "how_many"
    assert said(world)[-1] == "How many do you want?"
    assert facts(world, NodeEntered)[-1].by == "operator"
    timed = [
        (0, effect.fact)
        for _, effects in world.log
        for effect in effects
        if isinstance(effect, Report)
    ]
    line = "choose: operator he told me on another line → to how_many, decided by operator"
    assert line in why(timed)


def test_an_unknown_node_changes_nothing() -> None:
    world = at_the_menu()
    before = (world.actor.node, world.actor.waits, world.actor.deadline_ms)
    world.feed(OperatorMoved("c1", "nowhere"))
    assert answers(world) == ["unknown_node"]
    assert before == (world.actor.node, world.actor.waits, world.actor.deadline_ms)


def test_a_dialog_without_an_opening_goes_on_by_itself() -> None:
    flow = FLOWS["talk"]()
    world = World(flow)
    world.finish()
    world.feed(OperatorMoved("c1", "talk"))
    assert nodes(world) == ["hello", "talk", "talk"]
    assert said(world)[-1] == "What can I do for you?"


# --- transfer ---


def test_a_transfer_leaves_by_the_flows_own_way() -> None:
    world = at_the_menu()
    world.feed(OperatorTransferred("c1", ("+331", "+332"), "I connect you.", ring_s=10))
    assert not world.has_left, "first the words are heard"
    world.finish()
    assert said(world)[-1] == "I connect you."
    assert step_left(world) == {
        "do": "dial",
        "to": ["+331", "+332"],
        "ring_s": 10,
        "longest_s": 14_400,
        "caller_id": "caller",
        "press": "",
    }
    assert not facts(world, CallEnded)


@pytest.mark.parametrize(
    ("back", "outcome", "node", "disposition"),
    [
        ("", "done", "choose", "transferred"),
        ("", "busy", "choose", ""),
        ("how_many", "done", "how_many", ""),
        ("how_many", "no_answer", "how_many", ""),
    ],
)
def test_the_call_comes_back_from_a_transfer(
    back: str, outcome: Any, node: str, disposition: str
) -> None:
    world = at_the_menu()
    world.feed(OperatorTransferred("c1", ("+331",), back=back))
    actor = restored(world)
    effects = actor.receive(LineOpened(WALL, resumed=True), world.now_ms)
    effects += actor.receive(TransferEnded(outcome, "+331"), world.now_ms)
    ended = [
        e.fact.disposition
        for e in effects
        if isinstance(e, Report) and isinstance(e.fact, CallEnded)
    ]
    assert ended == ([disposition] if disposition else [])
    assert actor.node == node
    assert actor.is_over == bool(disposition)


def test_a_transfer_of_which_nothing_is_told_goes_on_where_it_was() -> None:
    world = at_the_menu()
    world.feed(OperatorTransferred("c1", ("+331",)))
    world.actor = restored(world)
    world.twin = restored(world)
    world.has_left = False
    world.feed(LineOpened(WALL, resumed=True))
    world.feed(OperatorMoved("c2", "bye"))
    assert answers(world)[-1] == "in_transfer"
    world.advance(5100)
    world.finish()
    assert world.actor.node == "choose" and "no_input" in world.actor.waits


# --- end ---


def test_a_call_is_ended_with_last_words() -> None:
    world = at_the_menu()
    world.feed(OperatorEnded("c1", "We have to stop here.", "abuse"))
    world.feed(OperatorSaid("c2", HELLO))
    world.feed(OperatorMoved("c3", "bye"))
    world.feed(OperatorEnded("c4"))
    assert answers(world) == ["", "call_is_ending", "call_is_ending", ""]
    world.finish()
    assert said(world)[-1] == "We have to stop here."
    (ended,) = facts(world, CallEnded)
    assert (ended.disposition, ended.reason) == ("abuse", "operator")
    assert step_left(world) == {"do": "hang_up"}


def test_an_end_comes_before_a_transfer_that_is_about_to_be() -> None:
    world = at_the_menu()
    world.feed(OperatorTransferred("c1", ("+331",), "I connect you."))
    world.feed(OperatorEnded("c2"))
    world.finish()
    assert step_left(world) == {"do": "hang_up"}
    assert facts(world, CallEnded)[-1].disposition == "ended"


def test_when_the_caller_has_gone_only_the_end_is_left() -> None:
    tool = {"kind": "tool", "tool": "look_up", "with": {"who": "'x'"}}
    nodes = {**TALK["nodes"], "after": tool}
    edges = [
        *TALK["edges"],
        {"from": "*", "on": "hung_up", "to": "after"},
        {"from": "after", "on": "else", "to": "bye"},
    ]
    world = World(program({**TALK, "nodes": nodes, "edges": edges}))
    world.feed(LineClosed("hung_up"))
    assert world.actor.node == "after" and not world.actor.is_over
    world.feed(OperatorSaid("c1", HELLO))
    world.feed(OperatorEnded("c2"))
    assert answers(world) == ["caller_left", ""]
    assert world.actor.is_over


# --- journal ---


@pytest.mark.parametrize(
    "command",
    [
        OperatorSaid("c1", HELLO, cuts=True),
        OperatorMoved("c1", "bye", "so it is"),
        OperatorTransferred("c1", ("+331", "sip:desk@pbx.example"), back="bye"),
        OperatorEnded("c1", "Goodbye.", "done"),
    ],
)
def test_a_journal_holds_a_command_whole(command: Command) -> None:
    read = orjson.loads(orjson.dumps(to_json(command)))
    assert from_json(read) == command
