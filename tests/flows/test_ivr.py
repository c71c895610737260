"""Calls to the company line: departments, office hours, emergencies, call-backs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowengine.testing.simulation import Caller, Transfer
from tests.flows.lines import TUESDAY_NIGHT, Line, way

pytestmark = pytest.mark.conversation

IVR = Line("ivr")
CALLER = "+14155550100"
CONTRACT = "+12025550171"
GONE = Transfer("done", stays=False)


def test_a_caller_says_what_he_needs_and_is_connected() -> None:
    call = IVR.ring(
        Caller.hears("Thank you for calling Northgate"),
        Caller.hears("just tell me what you need"),
        Caller.says("I have a question about my bill"),
        Caller.hears("six digit invoice number"),
        Caller.says("four eight two nine one three"),
        Caller.hears("about invoice 4 8 2 9 1 3"),
        transfers=[GONE],
    )
    assert call.nodes == ("welcome", "who", "department", "invoice", "billing")
    assert call.values == {"topic": "billing", "invoice": "482913"}
    assert call.transfers[0]["to"] == ["+12025550140"]


def test_keys_alone_lead_to_sales() -> None:
    call = IVR.ring(
        Caller.hears("For sales, press 1"), Caller.presses("1", after_ms=200), transfers=[GONE]
    )
    assert call.nodes[-1] == "sales"
    assert call.said("I am connecting you to sales")
    assert not call.said("just tell me what you need")
    assert call.transfers[0]["to"] == ["+12025550120"]


def test_breaking_in_cuts_the_menu_short() -> None:
    call = IVR.ring(
        Caller.hears("For sales, press 1"),
        Caller.breaks_in("something is broken", after_ms=300),
        Caller.hears("press 1 or say emergency"),
        Caller.says("it's not urgent, just a visit"),
        transfers=[GONE],
    )
    menu = next(said for said in call.transcript if said.node == "department")
    assert menu.cut
    assert menu.text.startswith(menu.heard)
    assert len(menu.heard) < len(menu.text) / 2
    assert call.nodes[-2:] == ("service_kind", "service")


def test_a_silent_caller_is_asked_three_times_then_told_goodbye() -> None:
    call = IVR.ring(Caller.hears("just tell me what you need"))
    asked = [said for said in call.transcript if said.node == "department"]
    assert len(asked) == 3
    assert "Are you still there?" in asked[1].text
    assert "Sales is 1, service 2" in asked[2].text
    assert call.said("I could not hear you well")
    assert (call.nodes[-1], call.disposition) == ("unheard", "silent")


def test_words_that_fit_nothing_bring_a_person_in_the_end() -> None:
    call = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.says("purple elephants"),
        Caller.hears("Sorry, I did not get that"),
        Caller.presses("7"),
        Caller.hears("Sorry, I did not get that"),
        Caller.says("seven yellow ducks"),
        Caller.hears("connecting you to our front desk"),
        transfers=[GONE],
    )
    assert call.nodes[-2:] == ("department", "operator")


def test_who_wants_a_person_gets_one_from_anywhere() -> None:
    call = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.says("billing"),
        Caller.hears("six digit invoice number"),
        Caller.says("can I speak to someone please"),
        Caller.hears("connecting you to our front desk"),
        transfers=[GONE],
    )
    assert call.nodes[-2:] == ("invoice", "operator")
    assert "invoice" not in call.values


def test_a_contract_customer_skips_the_menu_even_at_night() -> None:
    call = IVR.ring(
        Caller.hears("straight through to an engineer"),
        from_number=CONTRACT,
        wall=TUESDAY_NIGHT,
        transfers=[GONE],
    )
    assert call.nodes == ("welcome", "who", "contract")
    assert call.transfers[0]["to"] == ["+12025550110", "+12025550111"]


def test_at_night_an_emergency_reaches_the_engineer_on_duty() -> None:
    call = IVR.ring(
        Caller.hears("Our office is closed right now"),
        Caller.hears("If this is an emergency"),
        Caller.says("help, water is running everywhere"),
        Caller.hears("turn off the water"),
        wall=TUESDAY_NIGHT,
        transfers=[GONE],
    )
    assert call.nodes == ("welcome", "who", "after_hours", "dispatch")
    assert call.values["topic"] == "your emergency"
    assert call.transfers[0]["ring_s"] == 15


def test_at_night_a_caller_leaves_his_number() -> None:
    call = IVR.ring(
        Caller.hears("press 2"),
        Caller.presses("2"),
        Caller.hears("call you back about our front desk"),
        Caller.says("another number"),
        Caller.hears("with its area code"),
        Caller.says("two one two five five five zero one four two"),
        Caller.hears("Is that right"),
        Caller.says("yes"),
        Caller.hears("morning or in the afternoon"),
        Caller.says("in the afternoon"),
        Caller.hears("We will call you back"),
        wall=TUESDAY_NIGHT,
    )
    assert call.disposition == "callback"
    assert call.outputs["callback_number"] == "+12125550142"
    assert call.outputs["callback_part"] == "afternoon"


def test_a_withheld_number_is_asked_for() -> None:
    call = IVR.ring(
        Caller.hears("If this is an emergency"),
        Caller.says("I want to talk to a human"),
        Caller.hears("Please say or key in your number"),
        Caller.presses("2125550142#"),
        Caller.hears("Is that right"),
        Caller.presses("1"),
        Caller.hears("morning or in the afternoon"),
        Caller.presses("1"),
        from_number="",
        wall=TUESDAY_NIGHT,
    )
    assert "offer" not in call.nodes
    assert call.outputs["callback_number"] == "+12125550142"
    assert call.outputs["callback_part"] == "morning"


def test_at_night_the_hours_tell_when_the_office_opens() -> None:
    call = IVR.ring(
        Caller.hears("If this is an emergency"),
        Caller.presses("3"),
        Caller.hears("We open again on Wednesday, March 4, at 8 AM"),
        Caller.hears("If this is an emergency"),
        Caller.says("never mind, goodbye"),
        wall=TUESDAY_NIGHT,
    )
    assert call.nodes[-4:] == ("hours", "who", "after_hours", "bye")
    assert call.disposition == "served"


def test_on_a_public_holiday_the_office_is_closed() -> None:
    labor_day = datetime(2026, 9, 7, 15, 0, tzinfo=UTC)
    call = IVR.ring(Caller.hears("If this is an emergency"), Caller.hangs_up(), wall=labor_day)
    assert call.nodes[:3] == ("welcome", "who", "after_hours")
    assert call.reason == "hung_up"


def test_a_question_in_between_leads_back_to_where_he_was() -> None:
    call = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.presses("3"),
        Caller.hears("six digit invoice number"),
        Caller.says("are you open on Saturday"),
        Caller.hears("nine to one on Saturday"),
        Caller.presses("482913"),
        Caller.hears("about invoice 4 8 2 9 1 3"),
        transfers=[GONE],
    )
    assert call.nodes[-4:] == ("invoice", "hours_aside", "invoice", "billing")
    assert call.really_heard.count("six digit invoice number") == 1


def test_without_an_invoice_number_billing_answers_all_the_same() -> None:
    by_key = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.presses("3"),
        Caller.hears("If you do not have it"),
        Caller.presses("*"),
        transfers=[GONE],
    )
    by_voice = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.presses("3"),
        Caller.hears("If you do not have it"),
        Caller.says("I can't find the invoice"),
        transfers=[GONE],
    )
    for call in (by_key, by_voice):
        assert call.nodes[-1] == "billing"
        assert call.said("I am connecting you to billing")
        assert "invoice" not in call.values


def test_a_busy_service_desk_is_tried_again_then_calls_back() -> None:
    call = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.says("I need a repair"),
        Caller.hears("To arrange a visit"),
        Caller.presses("2"),
        Caller.hears("Please hold, and I will try again"),
        Caller.hears("I am trying our service desk again"),
        Caller.hears("call you back about service"),
        Caller.says("yes please"),
        Caller.hears("morning or in the afternoon"),
        Caller.says("in the morning"),
        transfers=[Transfer("busy"), Transfer("no_answer")],
    )
    assert way(call).count("service") == 2
    assert call.outputs["callback_number"] == CALLER
    assert call.disposition == "callback"


def test_who_holds_can_ask_for_a_call_by_key() -> None:
    call = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.presses("2"),
        Caller.hears("To arrange a visit"),
        Caller.says("a visit"),
        Caller.hears("Or press 1, and we will call you back"),
        Caller.presses("1"),
        Caller.hears("call you back about service"),
        Caller.presses("3"),
        Caller.hears("Thank you for calling Northgate. Goodbye"),
        transfers=[Transfer("busy")],
    )
    assert way(call).count("service") == 1
    assert call.disposition == "served"
    assert "callback_number" not in call.outputs


def test_hours_by_day_and_a_person_by_key() -> None:
    call = IVR.ring(
        Caller.hears("just tell me what you need"),
        Caller.says("opening hours"),
        Caller.hears("We are open now"),
        Caller.hears("Sales is 1"),
        Caller.presses("0"),
        transfers=[GONE],
    )
    assert call.nodes[-4:] == ("hours", "who", "department", "operator")


def test_when_nothing_can_be_said_the_caller_hears_why() -> None:
    call = IVR.ring(
        voice_fails=lambda text: "vendor_down" if "sales" in text else "",
        faults=1,
    )
    assert call.nodes[-1] == "sorry"
    assert call.said("something went wrong at our end")
    assert call.disposition == "error"


def test_every_edge_is_taken_by_some_call() -> None:
    assert IVR.never_taken(globals()) == []
