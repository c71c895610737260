"""The kinds that do one thing: say, route, extract, tool, transfer, message, record, wait, ends."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError

from flowengine.events import Json
from flowengine.nodes import stage as asked
from flowengine.nodes.stage import Outcome, Say, SendDigits
from tests.nodes.scripted import ScriptedStage, node, play, words

pytestmark = pytest.mark.unit


# --- say, route, hangup, return -----------------------------------------------------------------


def test_say_speaks_then_presses() -> None:
    stage = ScriptedStage({"pin": "42"})
    played = play(node("say", say="One moment.", press="ww{{ pin }}#", interruptible=False), stage)
    assert played.outcome == Outcome("done")
    assert played.requests == (Say(words("One moment."), False), SendDigits("ww42#"))


def test_say_may_only_press() -> None:
    assert play(node("say", press="1")).requests == (SendDigits("1"),)


def test_say_repeats_after_a_crash_but_not_on_the_way_back() -> None:
    said = node("say", say="We close at six.")
    assert play(said, ScriptedStage(resumed=True)).said == ["", "We close at six."]
    assert play(said, ScriptedStage(entered_by="back")).said == []


@pytest.mark.parametrize("press", ["", "hello", "{{ pin }}x"])
def test_only_keys_can_be_pressed(press: str) -> None:
    with pytest.raises(ValidationError, match="no keys to press"):
        node("say", press=press)


def test_route_does_nothing() -> None:
    played = play(node("route"))
    assert (played.outcome, played.requests) == (Outcome("done"), ())


@pytest.mark.parametrize(("say", "said"), [("Goodbye.", ["Goodbye."]), (None, [])])
def test_hangup_says_its_last_words_to_the_end(say: str | None, said: list[str]) -> None:
    played = play(node("hangup", say=say, disposition="served"))
    assert played.outcome == Outcome("hung_up", disposition="served")
    assert played.said == said
    assert not any(request.interruptible for request in played.all_of(Say))


def test_return_names_its_outcome_and_values() -> None:
    stage = ScriptedStage({"id": 7})
    played = play(node("return", as_="booked", with_={"booking": "id", "other": "unset"}), stage)
    assert played.outcome == Outcome("booked", {"booking": 7, "other": None})


# --- extract, tool, flow ------------------------------------------------------------------------


def test_extract_fills_variables() -> None:
    stage = ScriptedStage({"name": "Ann"})
    filled = node("extract", values=["mood", "topic"], prompt="About {{ name }}.")
    played = play(filled, stage, asked.Extracted(("mood",)))
    assert played.outcome == Outcome("done")
    assert played.requests == (asked.Extract(("mood", "topic"), "About Ann."),)


def test_extract_fails_with_a_reason() -> None:
    played = play(node("extract", values=["x"]), None, asked.Extracted((), "no_llm"))
    assert played.outcome == Outcome("failed", {"reason": "no_llm"})


@pytest.mark.parametrize("name", ["done", "failed", "timeout"])
def test_tool_ends_as_the_call_did(name: Literal["done", "failed", "timeout"]) -> None:
    stage = ScriptedStage({"day": "2026-12-01"})
    called = node("tool", tool="book", with_={"day": "day", "name": "unset"}, say="One moment.")
    ended = asked.ToolOutcome(name, 201, {"id": 7}, "why")
    played = play(called, stage, ended)
    assert played.outcome == Outcome(name, {"status": 201, "body": {"id": 7}, "error": "why"})
    assert played.requests == (
        asked.CallTool("book", {"day": "2026-12-01", "name": None}, words("One moment.")),
    )


def test_flow_ends_with_what_the_other_flow_returns() -> None:
    stage = ScriptedStage({"day": "2026-12-01"})
    called = node("flow", flow="pay", with_={"on": "day", "sum": "unset"})
    played = play(called, stage, asked.SubflowEnded("paid", {"receipt": "r1"}))
    assert played.outcome == Outcome("paid", {"receipt": "r1"})
    assert played.requests == (asked.CallFlow("pay", {"on": "2026-12-01", "sum": None}),)


def test_flow_that_fails() -> None:
    played = play(node("flow", flow="pay"), None, asked.SubflowEnded("", failed="no_such_flow"))
    assert played.outcome == Outcome("failed", {"reason": "no_such_flow"})


# --- transfer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["done", "busy", "no_answer", "declined", "failed"])
def test_transfer_ends_as_the_line_says(
    name: Literal["done", "busy", "no_answer", "declined", "failed"],
) -> None:
    ended = asked.Transferred(name, "+33123456789", 61, "why")
    played = play(node("transfer", to="+33123456789"), None, ended)
    result = {"to": "+33123456789", "seconds": 61, "reason": "why"}
    assert played.outcome == Outcome(name, result)


def test_what_a_transfer_asks_for() -> None:
    settings = {"ring": "10s", "longest": "30m", "show": "own", "press": "{{ ext }}"}
    stage = ScriptedStage({"desk": "+33123456780", "ext": "12"})
    to = ["+33123456789", "{{ desk }}", ""]
    moved = node("transfer", to=to, say="I connect you.", **settings)
    played = play(moved, stage, asked.Transferred("busy"))
    assert played.requests == (
        Say(words("I connect you."), True),
        asked.Transfer(
            to=("+33123456789", "+33123456780"),
            mode="bridge",
            ring_ms=10_000,
            longest_ms=1_800_000,
            caller_id="own",
            press="12",
        ),
    )


def test_transfer_to_a_text_by_case_is_one_target() -> None:
    to = [{"if": "open('office')", "text": "+33111111111"}, "+33122222222"]
    played = play(node("transfer", to=to), None, asked.Transferred("busy"))
    assert played.all_of(asked.Transfer)[0].to == ("+33122222222",)


def test_after_a_hand_over_the_caller_hears_nothing_twice() -> None:
    stage = ScriptedStage(resumed=True)
    played = play(node("transfer", to="+33123456789", say="Bye."), stage, asked.Transferred("done"))
    assert played.said == []


@pytest.mark.parametrize("mode", ["warm", "refer", "queue"])
def test_a_mode_that_the_line_does_not_have(mode: str) -> None:
    moved = node("transfer", to="+33123456789", mode=mode)
    played = play(moved, None, asked.Transferred("not_supported"))
    assert played.outcome == Outcome("error", {"reason": "not_supported"})
    assert played.all_of(asked.Transfer)[0].mode == mode


@pytest.mark.parametrize(
    "settings", [{}, {"to": "+33123456789", "show": "me"}, {"to": "x", "mode": "cold"}]
)
def test_broken_transfers(settings: dict[str, Json]) -> None:
    with pytest.raises(ValidationError):
        node("transfer", **settings)


# --- message, record, wait ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "outcome"),
    [
        ("", Outcome("done")),
        ("blocked", Outcome("failed", {"reason": "blocked"})),
        ("not_supported", Outcome("error", {"reason": "not_supported"})),
    ],
)
def test_message(failed: str, outcome: Outcome) -> None:
    stage = ScriptedStage({"name": "Ann"})
    played = play(node("message", text="Hello {{ name }}."), stage, asked.Sent(failed))
    assert played.outcome == outcome
    assert played.requests == (asked.SendMessage("", "Hello Ann."),)


def test_message_to_somebody_else() -> None:
    sent = node("message", to="+33123456789", text="Hi.")
    assert play(sent, None, asked.Sent()).requests == (asked.SendMessage("+33123456789", "Hi."),)


@pytest.mark.parametrize(
    ("recorded", "outcome"),
    [
        (asked.Recorded("rec1"), Outcome("done", {"recording": "rec1"})),
        (asked.Recorded(failed="silence"), Outcome("no_input")),
        (asked.Recorded(failed="not_supported"), Outcome("error", {"reason": "not_supported"})),
    ],
)
def test_record(recorded: asked.Recorded, outcome: Outcome) -> None:
    settings = {"beep": False, "silence": "2s", "longest": "1m", "finish": "*", "transcribe": True}
    played = play(node("record", say="After the tone.", **settings), None, recorded)
    assert played.outcome == outcome
    assert played.requests == (
        Say(words("After the tone."), True),
        asked.Record(False, 2000, 60_000, "*", True),
    )


def test_record_as_one_expects_it() -> None:
    played = play(node("record"), None, asked.Recorded("rec1"))
    assert played.requests == (asked.Record(True, 3000, 120_000, "#", False),)


def test_wait_for_a_time() -> None:
    held = node("wait", say="Please hold.", hold={"audio": "music.wav"}, longest="20s")
    played = play(held, ScriptedStage(), asked.Waited(resumed=False))
    assert played.outcome == Outcome("done")
    assert played.said == ["Please hold."]
    assert played.all_of(asked.Wait)[0].longest_ms == 20_000


@pytest.mark.parametrize(
    ("waited", "outcome"),
    [
        (asked.Waited(True, {"paid": True}), Outcome("done", {"body": {"paid": True}})),
        (asked.Waited(False), Outcome("timeout")),
    ],
)
def test_wait_for_a_webhook(waited: asked.Waited, outcome: Outcome) -> None:
    played = play(node("wait", resume="payment"), None, waited)
    assert played.outcome == outcome
    assert played.requests == (asked.Wait((), 60_000, "payment"),)


def test_a_wait_is_announced_once() -> None:
    held = node("wait", say="Please hold.")
    played = play(held, ScriptedStage(entered_by="back"), asked.Waited(resumed=False))
    assert played.said == []


def test_record_and_hangup_say_their_words_after_a_crash_too() -> None:
    stage = ScriptedStage(resumed=True)
    played = play(node("record", say="After the tone."), stage, asked.Recorded("r"))
    assert played.said == ["", "After the tone."]
    assert play(node("hangup", say="Goodbye."), stage).said == ["", "Goodbye."]
