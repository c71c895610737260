"""Calls out for sales: the right person, consent, a short talk, voicemail, and no for an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowengine.ports import ToolResult
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import Caller, LlmFails, Responder, SimulatedCall, Transfer
from tests.flows.lines import TUESDAY_NIGHT, Line, tools_called, way

pytestmark = pytest.mark.conversation

SALES = Line("sales")
GONE = Transfer("done", stays=False)
OURS, THEIRS = "+14805550199", "+16025550142"
NAME = {"contact_name": "Robin Hale"}
LEAD = dict.fromkeys(
    ("interest", "owner", "monthly_bill", "objection", "call_day", "call_time"), None
)

MODEL = Responder(
    takes={"no more calls": "never call", "human being": "a human"},
    notes={
        "owner": {"own (it|the house)": True, "I rent": False},
        "monthly_bill": {r"about (150|one fifty)": 150},
        "interest": {"advisor now": "now", "next week": "later", "not for us": "no"},
        "objection": {"roof is old": "The roof is old."},
    },
    otherwise="Thank you. Would you like to speak with an advisor?",
)


def ring(*script: Step, inputs: dict[str, str] | None = None, **world: Any) -> SimulatedCall:
    """Place a call; the one who picks up is a human being unless told otherwise."""
    tools = {"do_not_call": {"ok": True}, "save_lead": {"id": 7}} | world.pop("tools", {})
    return SALES.ring(
        *script,
        direction="outbound",
        from_number=THEIRS,
        to_number=OURS,
        inputs=NAME if inputs is None else inputs,
        tools=tools,
        **world,
    )


CONSENTED = (
    Caller.hears("the automated assistant of Solstice Solar"),
    Caller.hears("Am I speaking with Robin Hale"),
    Caller.presses("1"),
    Caller.hears("If I may go on and record the call"),
    Caller.presses("1"),
)


def test_who_agrees_speaks_with_an_advisor() -> None:
    call = ring(
        Caller.hears("Am I speaking with Robin Hale"),
        Caller.says("yes, speaking"),
        Caller.hears("If I may go on and record the call"),
        Caller.says("sure, go ahead"),
        Caller.hears("what do you pay for electricity"),
        Caller.says("I own the house and pay about 150"),
        Caller.hears("Would you like to speak with an advisor"),
        Caller.says("an advisor now would be nice"),
        Caller.hears("I am connecting you to an advisor"),
        llm=MODEL,
        transfers=[GONE],
    )
    assert way(call)[-4:] == ("talk", "details", "judge", "advisor")
    assert call.values["owner"] is True
    assert call.values["monthly_bill"] == 150
    assert (call.values["interest"], call.values["consent"]) == ("now", "recorded")
    assert call.transfers[0]["caller_id"] == "own"


def test_keys_alone_lead_to_an_advisor_without_an_llm() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("Let us do it by key"),
        Caller.presses("1"),
        Caller.hears("Key in the dollars"),
        Caller.presses("180#"),
        Caller.hears("To speak with an advisor now, press 1"),
        Caller.presses("1"),
        Caller.hears("I am connecting you to an advisor"),
        transfers=[GONE],
    )
    assert call.values["monthly_bill"] == 180
    assert way(call)[-2:] == ("judge", "advisor")
    assert call.llm_requests == ()


def test_breaking_in_with_a_refusal_ends_all_calls() -> None:
    call = ring(
        Caller.hears("Am I speaking with"),
        Caller.breaks_in("take me off your list", after_ms=200),
        Caller.hears("You will get no more calls from us"),
    )
    asked = next(said for said in call.transcript if said.node == "identity")
    assert asked.cut
    assert "press 9" not in asked.heard
    assert [name for name, _ in tools_called(call)] == ["do_not_call"]
    assert call.disposition == "do_not_call"


def test_no_more_calls_is_understood_in_the_middle_of_the_talk() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("what do you pay for electricity"),
        Caller.says("please never call here again"),
        Caller.hears("You will get no more calls from us"),
        llm=MODEL,
    )
    left = next(hop for hop in call.path if hop.node == "stop")
    assert left.decision is not None
    assert left.decision.decided_by == "llm"
    assert call.disposition == "do_not_call"


def test_silence_is_no_consent() -> None:
    call = ring(Caller.hears("Am I speaking with Robin Hale"), Caller.presses("1"), Caller.silent())
    assert call.really_heard.count("Are you still there?") == 2
    assert (call.nodes[-1], call.disposition) == ("declined", "not_interested")
    assert "consent" not in call.values


def test_an_amount_that_cannot_be_is_asked_for_again() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("Do you own your home"),
        Caller.says("yes"),
        Caller.hears("Key in the dollars"),
        Caller.says("a lot"),
        Caller.hears("I need an amount in dollars"),
        Caller.says("one hundred and twenty dollars"),
        Caller.hears("If you are not interested, press 3"),
        Caller.says("not interested"),
        Caller.hears("Thank you for your time"),
    )
    assert call.values["monthly_bill"] == 120
    assert tools_called(call) == [
        ("save_lead", LEAD | {"owner": True, "monthly_bill": 120, "interest": "no"})
    ]
    assert call.disposition == "not_interested"


def test_who_asks_for_a_human_being_gets_an_advisor_while_they_are_in() -> None:
    call = ring(
        Caller.hears("Am I speaking with Robin Hale"),
        Caller.says("can I talk to someone real"),
        Caller.hears("I am connecting you to an advisor"),
        transfers=[GONE],
    )
    assert way(call)[-2:] == ("identity", "advisor")


def test_at_night_a_human_being_calls_on_another_day() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("what do you pay for electricity"),
        Caller.says("give me a human please"),
        Caller.hears("May an advisor call you on another day"),
        Caller.says("yes please"),
        Caller.hears("Which day suits you"),
        Caller.says("next Saturday"),
        Caller.hears("Our advisors call from Monday to Friday"),
        Caller.says("next Tuesday"),
        Caller.hears("between nine and six"),
        Caller.says("eight in the evening"),
        Caller.hears("I need a time between nine"),
        Caller.says("half past ten"),
        Caller.hears("10:30 AM. Is that right"),
        Caller.says("yes"),
        Caller.hears("we will call you on Tuesday, March 10, at 10:30 AM"),
        llm=MODEL,
        wall=TUESDAY_NIGHT,
    )
    assert (call.disposition, call.outputs["call_day"]) == ("callback", "2026-03-10")
    assert call.outputs["call_time"] == "10:30"
    assert tools_called(call)[-1] == (
        "save_lead",
        LEAD | {"call_day": "2026-03-10", "call_time": "10:30"},
    )


def test_a_machine_gets_a_message_after_its_beep() -> None:
    call = ring(answered="machine")
    assert call.nodes == ("hello", "voicemail")
    assert call.disposition == "voicemail"
    assert call.said("Hello Robin Hale, this is Ava")
    assert call.said("call us back at plus 1 4 8 0 5 5 5 0 1 9 9")


def test_a_machine_gets_a_message_without_a_name_too() -> None:
    call = ring(answered="machine", inputs={})
    assert call.said("about your question on solar panels")


def test_who_is_not_reached_hears_nothing() -> None:
    call = ring(answered="busy")
    assert (call.nodes[-1], call.disposition) == ("unreached", "unreached")
    assert call.transcript == ()


def test_a_tenant_is_thanked_as_soon_as_he_says_so() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("what do you pay for electricity"),
        Caller.says("I rent, so it is up to my landlord"),
        Caller.hears("Thank you for your time"),
        llm=MODEL,
    )
    left = next(hop for hop in call.path if hop.node == "details")
    assert left.by == "value"
    assert tools_called(call) == [("save_lead", LEAD | {"owner": False, "interest": "no"})]


def test_a_tenant_who_uses_the_keys_is_thanked_too() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("Do you own your home"),
        Caller.presses("2"),
        Caller.hears("Thank you for your time"),
    )
    assert way(call)[-5:] == ("owner", "judge", "lead", "sort", "declined")


def test_an_objection_is_written_down() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("what do you pay for electricity"),
        Caller.says("the roof is old, it is not for us"),
        Caller.hears("Thank you for your time"),
        llm=MODEL,
    )
    (tool, arguments) = tools_called(call)[-1]
    assert (tool, arguments["objection"]) == ("save_lead", "The roof is old.")
    assert arguments["interest"] == "no"


def test_without_a_recording_the_talk_goes_on_unrecorded() -> None:
    call = ring(
        *CONSENTED[:-1],
        Caller.says("without recording please"),
        Caller.hears("what do you pay for electricity"),
        Caller.hangs_up(),
        llm=MODEL,
    )
    recorded = [bool(r.body["recording"]) for r in call.journal if "recording" in r.body]
    assert recorded
    assert not any(recorded)
    assert call.values["consent"] == "unrecorded"


def test_recording_begins_with_the_consent() -> None:
    call = ring(
        *CONSENTED, Caller.hears("what do you pay for electricity"), Caller.hangs_up(), llm=MODEL
    )
    recorded = [bool(r.body["recording"]) for r in call.journal if "recording" in r.body]
    assert recorded[0] is False
    assert recorded[-1] is True


def test_another_day_may_be_agreed_at_once_or_refused() -> None:
    agreed = ring(
        *CONSENTED[:-1],
        Caller.presses("3"),
        Caller.hears("May an advisor call you"),
        Caller.presses("1"),
        Caller.hears("Which day suits you"),
        Caller.presses("0305"),
        Caller.hears("between nine and six"),
        Caller.presses("1430"),
        Caller.hears("Is that right"),
        Caller.presses("1"),
        Caller.hears("we will call you on Thursday, March 5, at 2:30 PM"),
    )
    assert agreed.disposition == "callback"
    refused = ring(
        *CONSENTED[:-1],
        Caller.says("not now"),
        Caller.hears("May an advisor call you"),
        Caller.says("rather not"),
        Caller.hears("Thank you for your time"),
    )
    assert refused.disposition == "not_interested"
    star = ring(
        *CONSENTED[:-1],
        Caller.presses("3"),
        Caller.hears("May an advisor call you"),
        Caller.presses("1"),
        Caller.hears("Which day suits you"),
        Caller.presses("*"),
        Caller.hears("Thank you for your time"),
    )
    assert star.disposition == "not_interested"


def test_somebody_else_brings_the_person_to_the_phone() -> None:
    for step in (Caller.presses("1"), Caller.says("hello, I am here now")):
        call = ring(
            Caller.hears("Am I speaking with Robin Hale"),
            Caller.says("no"),
            Caller.hears("Could you bring Robin Hale to the phone"),
            Caller.says("one moment"),
            Caller.hears("I am holding"),
            Caller.silent(10_000),
            step,
            Caller.hears("If I may go on and record the call"),
            Caller.presses("9"),
            Caller.hears("You will get no more calls from us"),
        )
        assert way(call)[-4:] == ("hold", "consent", "stop", "stopped")


def test_nobody_comes_to_the_phone() -> None:
    waited = ring(
        Caller.hears("Am I speaking with Robin Hale"),
        Caller.presses("2"),
        Caller.hears("Press 1, and I will hold"),
        Caller.presses("1"),
        Caller.hears("I am still here"),
        Caller.hears("Never mind"),
    )
    absent = ring(
        Caller.hears("Am I speaking with Robin Hale"),
        Caller.presses("2"),
        Caller.hears("If you cannot, press 2"),
        Caller.presses("2"),
        Caller.hears("Never mind"),
    )
    assert waited.disposition == absent.disposition == "absent"
    assert way(waited)[-2:] == ("hold", "absent")


def test_without_a_name_it_asks_for_consent_at_once() -> None:
    call = ring(
        Caller.hears("You asked us about solar panels"),
        Caller.says("no more calls"),
        Caller.hears("You will get no more calls from us"),
        inputs={},
        tools={"do_not_call": ToolResult("failed", 503, None, "http_status")},
    )
    assert "identity" not in call.nodes
    assert call.disposition == "do_not_call"


def test_an_llm_that_fails_leaves_the_keypad_and_busy_advisors_call_back() -> None:
    call = ring(
        *CONSENTED,
        Caller.hears("what do you pay for electricity"),
        Caller.says("let me think"),
        Caller.hears("Let us do it by key"),
        Caller.presses("1"),
        Caller.hears("Key in the dollars"),
        Caller.presses("200#"),
        Caller.hears("For a call on another day, press 2"),
        Caller.presses("2"),
        Caller.hears("May an advisor call you"),
        Caller.says("no thank you"),
        llm=lambda _request: LlmFails("overloaded"),
        faults=1,
    )
    assert way(call)[-5:] == ("begin", "refused", "lead", "sort", "declined")
    busy = ring(
        Caller.hears("Am I speaking with Robin Hale"),
        Caller.says("give me a human"),
        Caller.hears("I am connecting you to an advisor"),
        Caller.hears("May an advisor call you on another day"),
        Caller.presses("2"),
        transfers=[Transfer("busy")],
    )
    assert "advisor" in busy.nodes
    assert busy.disposition == "not_interested"


def test_a_call_that_lasts_too_long_ends_politely() -> None:
    long_story = "Let me tell you about it. " * 12
    call = ring(
        *CONSENTED,
        Caller.hears("what do you pay for electricity"),
        *(Caller.says(f"that is a long story, part {part}") for part in range(8)),
        llm=Responder(otherwise=long_story),
    )
    assert (call.nodes[-1], call.disposition) == ("out_of_time", "time_up")
    assert call.said("I promised to be brief")
    assert 240_000 < call.duration_ms < 270_000


def test_a_voice_that_fails_ends_with_words() -> None:
    call = ring(
        voice_fails=lambda text: "vendor_down" if "Solstice" in text else "",
        wall=datetime(2026, 3, 3, 18, 0, tzinfo=UTC),
        faults=1,
    )
    assert call.nodes == ("hello", "lost")
    assert call.disposition == "error"


def test_every_edge_is_taken_by_some_call() -> None:
    assert SALES.never_taken(globals()) == []
