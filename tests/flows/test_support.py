"""Calls to an Internet provider's support: account and PIN, help with and without an LLM."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.events import Json
from flowengine.ports import ToolResult
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import (
    Caller,
    LlmFails,
    Responder,
    SimulatedCall,
    ToolStalls,
    Transfer,
)
from tests.flows.lines import Line, tools_called, way

pytestmark = pytest.mark.conversation

SUPPORT = Line("support")
GONE = Transfer("done", stays=False)
ACCOUNT = "20417783"
PIN = "4096"
NOT_FOUND = ToolResult("failed", 404, {"error": "no such account"}, "http_status")
FORBIDDEN = ToolResult("failed", 403, {"error": "wrong PIN"}, "http_status")
DOWN = ToolResult("failed", 503, None, "http_status")

MODEL = Responder(
    takes={"person": "a human|a person", "end the call": "goodbye"},
    notes={
        "topic": {
            "bill|charged": "billing",
            "slow|crawls": "slow",
            "nothing works|no internet": "outage",
            "new house": "other",
        },
        "summary": {"new house": "The caller moves to a new house and wants the line moved."},
    },
    otherwise="Could you tell me a little more?",
)


def find_account(account: str) -> Json | ToolResult:
    if account != ACCOUNT:
        return NOT_FOUND
    return {"name": "Maria Lopez", "balance": 64.5, "due": "2026-03-20"}


def check_pin(account: str, pin: str) -> Json | ToolResult:
    return {"ok": True} if (account, pin) == (ACCOUNT, PIN) else FORBIDDEN


def ring(*script: Step, **world: Any) -> SimulatedCall:
    """Ring support, whose systems know one customer and no outage."""
    tools = {
        "find_account": find_account,
        "find_by_phone": {"account": ACCOUNT, "name": "Maria Lopez", "balance": 0},
        "check_pin": check_pin,
        "find_outage": {},
        "open_ticket": {"ticket": "8841"},
    } | world.pop("tools", {})
    return SUPPORT.ring(*script, tools=tools, **world)


SIGN_IN = (
    Caller.hears("eight digit account number"),
    Caller.presses(ACCOUNT),
    Caller.hears("four digit PIN"),
    Caller.presses(PIN),
)


def test_a_customer_asks_for_the_bill_in_his_own_words() -> None:
    call = ring(
        Caller.hears("This call is recorded"),
        Caller.hears("eight digit account number"),
        Caller.says("two zero four one seven seven eight three"),
        Caller.hears("four digit PIN"),
        Caller.presses(PIN),
        Caller.hears("Thank you, Maria Lopez. What can I do for you today?"),
        Caller.says("I think I was charged too much"),
        Caller.hears("Your bill is 64 dollars and 50 cents, due on Friday, March 20"),
        Caller.says("no thank you"),
        Caller.hears("Thank you for calling Brightline"),
        llm=MODEL,
    )
    assert way(call)[-5:] == ("help", "sort", "bill", "more", "bye")
    assert (call.disposition, call.outputs["topic"]) == ("solved", "billing")
    assert [name for name, _ in tools_called(call)] == ["find_account", "check_pin"]


def test_the_pin_is_in_no_record_of_the_call() -> None:
    call = ring(*SIGN_IN, Caller.hears("What can I do for you"), Caller.hangs_up(), llm=MODEL)
    name, arguments = tools_called(call)[-1]
    assert (name, arguments["account"]) == ("check_pin", ACCOUNT)
    assert arguments["pin"]["sensitive"] is True
    facts = [str(record.body) for record in call.journal if record.family == "fact"]
    assert facts
    assert not [fact for fact in facts if PIN in fact]
    assert not [said for said in call.transcript if PIN in said.text]
    assert PIN not in str(call.conversation)


def test_keys_alone_help_where_there_is_no_llm() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("Let us do it by key"),
        Caller.presses("3"),
        Caller.hears("Please unplug it"),
        Caller.presses("1"),
        Caller.hears("Now plug it in again"),
        Caller.presses("1"),
        Caller.hears("Can I help with anything else"),
        Caller.presses("2"),
        Caller.hears("Goodbye"),
    )
    assert "help" in call.nodes
    assert (call.disposition, call.outputs["topic"]) == ("solved", "slow")
    assert call.llm_requests == ()


def test_breaking_into_the_opening_is_answered_at_once() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("Thank you, Maria"),
        Caller.breaks_in("no internet since this morning", after_ms=200),
        Caller.hears("There is an outage near you"),
        Caller.hears("expect your connection back at 6:30 PM"),
        Caller.presses("2"),
        llm=MODEL,
        tools={"find_outage": {"back_at": "18:30"}},
    )
    opening = next(said for said in call.transcript if said.node == "help")
    assert opening.cut
    assert "today" not in opening.heard
    assert call.outputs["topic"] == "outage"


def test_a_silent_customer_is_asked_again_and_let_go() -> None:
    call = ring(*SIGN_IN, Caller.hears("What can I do for you"), Caller.silent(), llm=MODEL)
    assert call.really_heard.count("Are you still there?") == 2
    assert (call.nodes[-1], call.disposition) == ("unheard", "silent")


def test_wrong_numbers_and_a_wrong_pin_are_asked_for_again() -> None:
    call = ring(
        Caller.hears("eight digit account number"),
        Caller.presses("123#"),
        Caller.hears("has eight digits"),
        Caller.presses("99999999"),
        Caller.hears("I cannot find an account with that number"),
        Caller.presses(ACCOUNT),
        Caller.hears("four digit PIN"),
        Caller.presses("1111"),
        Caller.hears("That PIN is not right"),
        Caller.presses(PIN),
        Caller.hears("Thank you, Maria Lopez"),
        Caller.hangs_up(),
        llm=MODEL,
    )
    assert call.values["account"] == ACCOUNT
    assert way(call).count("find_account") == 2
    assert way(call).count("pin") == 2


def test_after_three_wrong_pins_a_person_takes_over() -> None:
    call = ring(
        *SIGN_IN[:-1],
        *(
            step
            for pin in ("1111", "2222")
            for step in (Caller.presses(pin), Caller.hears("That PIN is not right"))
        ),
        Caller.presses("3333"),
        Caller.hears("connecting you to a colleague"),
        transfers=[GONE],
    )
    assert way(call).count("check_pin") == 3
    assert way(call)[-2:] == ("notes", "desk")


def test_who_wants_a_person_gets_one_who_knows_what_it_is_about() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("What can I do for you"),
        Caller.says("my connection crawls"),
        Caller.hears("Let us restart your router"),
        Caller.says("no, give me an agent"),
        Caller.hears("connecting you to a colleague"),
        llm=MODEL,
        transfers=[GONE],
    )
    assert way(call)[-4:] == ("restart", "unplug", "notes", "desk")
    assert call.transfers[0]["to"] == ["+13035550150", "+13035550151"]


def test_the_llm_hands_over_with_the_callers_own_words_as_evidence() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("What can I do for you"),
        Caller.says("I would like to talk to a human"),
        Caller.hears("connecting you to a colleague"),
        llm=MODEL,
        transfers=[GONE],
    )
    handed = next(hop for hop in call.path if hop.node == "notes")
    assert handed.decision is not None
    assert handed.decision.decided_by == "llm"
    assert handed.decision.quote == "I would like to talk to a human"


def test_anything_else_goes_to_a_person_with_a_summary() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("What can I do for you"),
        Caller.says("we are moving"),
        Caller.hears("Could you tell me a little more"),
        Caller.says("to a new house in May"),
        Caller.hears("connecting you to a colleague"),
        llm=MODEL,
        transfers=[GONE],
    )
    assert way(call)[-3:] == ("sort", "notes", "desk")
    assert call.values["topic"] == "other"
    assert call.values["summary"] == MODEL.notes["summary"]["new house"]


def test_without_a_number_the_caller_is_known_by_his_phone() -> None:
    for step in (Caller.presses("*"), Caller.says("I don't have the number with me")):
        call = ring(
            Caller.hears("press star"),
            step,
            Caller.hears("look for the number you are calling from"),
            Caller.hears("four digit PIN"),
            Caller.presses(PIN),
            Caller.hears("Let us do it by key"),
            Caller.says("my bill"),
            Caller.hears("Your account is fully paid"),
            Caller.says("no thank you"),
        )
        assert call.values["account"] == ACCOUNT
        assert call.disposition == "solved"


def test_without_a_pin_a_person_helps() -> None:
    call = ring(
        *SIGN_IN[:-1],
        Caller.presses("*"),
        Caller.hears("connecting you to a colleague"),
        transfers=[GONE],
    )
    assert way(call)[-3:] == ("pin", "notes", "desk")
    assert "check_pin" not in [name for name, _ in tools_called(call)]


def test_an_outage_that_nobody_knows_of_leads_to_a_restart() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("Let us do it by key"),
        Caller.says("no internet"),
        Caller.hears("check the lines at your address"),
        Caller.hears("Please unplug it"),
        Caller.says("okay"),
        Caller.hears("Now plug it in again"),
        Caller.says("it is red"),
        Caller.hears("takes a little longer"),
        Caller.hears("look once more"),
        Caller.says("no"),
        Caller.hears("connecting you to a colleague"),
        transfers=[GONE],
    )
    assert way(call).count("plug") == 2
    assert ("find_outage", {"account": ACCOUNT}) in tools_called(call)


def test_who_cannot_restart_now_is_handed_over() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("Let us do it by key"),
        Caller.presses("3"),
        Caller.hears("If you cannot do it now, press 2"),
        Caller.presses("2"),
        Caller.hears("connecting you to a colleague"),
        transfers=[GONE],
    )
    assert way(call)[-3:] == ("not_fixed", "notes", "desk")


def test_a_second_question_is_answered_too() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("What can I do for you today"),
        Caller.says("how high is my bill"),
        Caller.hears("Can I help with anything else"),
        Caller.says("yes please"),
        Caller.hears("What else can I do for you"),
        Caller.says("goodbye then"),
        Caller.hears("Thank you for calling Brightline"),
        llm=MODEL,
    )
    assert way(call)[-3:] == ("more", "help", "bye")
    assert "topic" not in call.values


def test_an_llm_that_fails_leaves_the_keypad() -> None:
    call = ring(
        *SIGN_IN,
        Caller.hears("What can I do for you"),
        Caller.says("well, where do I begin"),
        Caller.hears("Let us do it by key"),
        Caller.presses("0"),
        Caller.hears("connecting you to a colleague"),
        llm=lambda _request: LlmFails("overloaded"),
        transfers=[GONE],
        faults=2,
    )
    assert way(call)[-4:] == ("help", "topics", "notes", "desk")


def test_when_nobody_is_free_the_caller_holds_then_gets_a_ticket() -> None:
    call = ring(
        Caller.hears("eight digit account number"),
        Caller.says("can I speak to someone"),
        Caller.hears("I will try again in half a minute"),
        Caller.hears("Thank you for holding"),
        Caller.hears("I am trying again"),
        Caller.hears("I am opening a ticket for you"),
        Caller.hears("Your ticket number is 8 8 4 1"),
        transfers=[Transfer("busy"), Transfer("no_answer")],
    )
    assert (call.disposition, call.outputs["ticket"]) == ("ticket", "8841")
    assert tools_called(call) == [
        ("open_ticket", {"account": None, "topic": None, "summary": None})
    ]


def test_who_holds_may_have_the_ticket_at_once() -> None:
    call = ring(
        Caller.hears("eight digit account number"),
        Caller.says("give me an agent"),
        Caller.hears("press 1, and I will open a ticket"),
        Caller.presses("1"),
        Caller.hears("Your ticket number is 8 8 4 1"),
        transfers=[Transfer("busy")],
    )
    assert way(call).count("desk") == 1
    assert call.disposition == "ticket"


def test_when_everything_is_down_the_caller_hears_so() -> None:
    call = ring(
        Caller.hears("eight digit account number"),
        Caller.presses(ACCOUNT),
        Caller.hears("connecting you to a colleague"),
        Caller.hears("something is not working at our end"),
        tools={"find_account": ToolStalls(), "open_ticket": DOWN},
        transfers=[Transfer("failed")],
    )
    assert way(call)[-5:] == ("find_account", "notes", "desk", "ticket", "sorry")
    assert call.disposition == "error"


def test_a_voice_that_fails_ends_with_words() -> None:
    call = ring(
        voice_fails=lambda text: "vendor_down" if "Brightline support" in text else "", faults=1
    )
    assert call.nodes == ("welcome", "sorry")
    assert call.said("Please call us again in a few minutes")


def test_every_edge_is_taken_by_some_call() -> None:
    assert SUPPORT.never_taken(globals()) == []
