"""Calls to the clinic's booking line, against the calendar service itself."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from flowengine.ports import ToolResult
from flowengine.testing.calendar_service import Calendar
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import Caller, SimulatedCall, ToolStalls, Transfer
from tests.flows.lines import Line, tools_called, way

pytestmark = pytest.mark.conversation

CLINIC = Line("appointments")
GONE = Transfer("done", stays=False)
CALLER = "+14155550100"
FRIDAY = "2026-03-06"


def service(calendar: Calendar) -> dict[str, Any]:
    """The flow's tools as the service answers them, without a socket."""

    def asked(method: str, path: str, query: Any = None, body: Any = None) -> ToolResult:
        answer = calendar.answer(method, path, query, body)
        is_done = 200 <= answer.status < 300
        return ToolResult(
            "done" if is_done else "failed",
            answer.status,
            answer.body,
            "" if is_done else "http_status",
        )

    def book(**wanted: Any) -> ToolResult:
        return asked("POST", "/bookings", body={**wanted, "phone": CALLER})

    return {
        "free_slots": lambda day: asked("GET", "/slots", {"day": day}),
        "next_free": lambda: asked("GET", "/next", {"after": "2026-03-03"}),
        "book": book,
        "find": lambda code: asked("GET", f"/bookings/{code}"),
        "cancel": lambda code: asked("DELETE", f"/bookings/{code}"),
    }


def ring(*script: Step, calendar: Calendar | None = None, **world: Any) -> SimulatedCall:
    """Ring the clinic. The Tuesday of these calls is the third of March, 2026."""
    tools = service(calendar or Calendar()) | world.pop("tools", {})
    return CLINIC.ring(*script, tools=tools, from_number=CALLER, **world)


TO_THE_TIMES = (
    Caller.hears("Lakeside Clinic"),
    Caller.presses("1"),
    Caller.hears("What is it for"),
    Caller.presses("2"),
    Caller.hears("Which day"),
    Caller.presses("0306"),
    Caller.hears("these times are free"),
)
"""Keys up to the free times of Friday, for a vaccination."""


def test_an_appointment_is_booked_in_plain_words() -> None:
    calendar = Calendar()
    call = ring(
        Caller.hears("This call may be recorded. Hello, this is the booking line"),
        Caller.says("I would like to book an appointment"),
        Caller.hears("What is it for"),
        Caller.says("a flu shot"),
        Caller.hears("Which day would you like"),
        Caller.says("this Friday please"),
        Caller.hears("On Friday, March 6 these times are free"),
        Caller.hears("For 10:30 AM, press 2"),
        Caller.says("the second one"),
        Caller.hears("date of birth"),
        Caller.says("May fifth nineteen eighty four"),
        Caller.hears("vaccination on Friday, March 6, at 10:30 AM, with Doctor Chen"),
        Caller.says("yes please"),
        Caller.hears("Your code is 1 0 7 9 1 9"),
        Caller.says("no thank you"),
        Caller.hears("We look forward to seeing you"),
        calendar=calendar,
    )
    assert call.disposition == "booked"
    booking = calendar.bookings["107919"]
    assert (booking.slot, booking.reason) == (f"{FRIDAY}T10:30", "vaccination")
    assert (booking.birth_date, booking.phone) == ("1984-05-05", CALLER)
    assert call.outputs["code"] == "107919"
    assert call.outputs["slot"] == {
        "id": f"{FRIDAY}T10:30",
        "time": "10:30",
        "doctor": "Doctor Chen",
    }


def test_keys_alone_book_an_appointment() -> None:
    calendar = Calendar()
    call = ring(
        *TO_THE_TIMES,
        Caller.presses("1"),
        Caller.hears("date of birth"),
        Caller.presses("05051984"),
        Caller.hears("at 9 AM, with Doctor Chen"),
        Caller.presses("1"),
        Caller.hears("Your code is"),
        Caller.presses("2"),
        calendar=calendar,
    )
    assert call.disposition == "booked"
    assert [booking.slot for booking in calendar.bookings.values()] == [f"{FRIDAY}T09:00"]
    assert tools_called(call) == [
        ("free_slots", {"day": FRIDAY}),
        (
            "book",
            {"slot": f"{FRIDAY}T09:00", "reason": "vaccination", "birth_date": "1984-05-05"},
        ),
    ]
    assert not [said for said in call.transcript if said.who == "caller"]


def test_breaking_into_the_times_takes_one_of_them() -> None:
    call = ring(
        *TO_THE_TIMES,
        Caller.breaks_in("number one", after_ms=400),
        Caller.hears("date of birth"),
        Caller.hangs_up(),
    )
    times = next(said for said in call.transcript if said.node == "time")
    assert times.cut
    assert "4 PM" not in times.heard
    assert call.values["slot"]["time"] == "09:00"


def test_nobody_can_break_into_the_recording_notice() -> None:
    call = ring(
        Caller.breaks_in("hello hello", after_ms=300),
        Caller.hears("This call may be recorded"),
        Caller.hears("press 1 or say book"),
        Caller.hangs_up(),
    )
    notice = call.transcript[0]
    assert notice.text == notice.heard == "This call may be recorded."
    assert not notice.cut


def test_a_silent_caller_is_asked_again_and_let_go() -> None:
    call = ring(Caller.hears("press 1 or say book"), Caller.silent(), Caller.silent())
    assert [said.text.startswith("Are you still there?") for said in call.transcript[2:5]] == [
        False,
        True,
        True,
    ]
    assert (call.nodes[-1], call.disposition) == ("nobody", "not_served")


def test_a_day_that_cannot_be_is_refused_with_the_reason() -> None:
    call = ring(
        Caller.hears("press 1 or say book"),
        Caller.says("book"),
        Caller.hears("What is it for"),
        Caller.says("test results"),
        Caller.hears("Which day"),
        Caller.says("next Sunday"),
        Caller.hears("We see patients from Monday to Friday"),
        Caller.says("banana"),
        Caller.hears("Sorry, I need a day"),
        Caller.presses("0306"),
        Caller.hears("these times are free"),
        Caller.hangs_up(),
    )
    assert call.values["day"] == FRIDAY
    assert call.values["reason"] == "test results"


def test_who_gives_no_day_at_all_gets_the_front_desk() -> None:
    call = ring(
        Caller.hears("press 1 or say book"),
        Caller.says("book"),
        Caller.hears("What is it for"),
        Caller.says("a check-up"),
        Caller.hears("Which day"),
        Caller.says("banana"),
        Caller.hears("Sorry, I need a day"),
        Caller.says("apple"),
        Caller.hears("Sorry, I need a day"),
        Caller.says("pear"),
        Caller.hears("connecting you to the front desk"),
        transfers=[GONE],
    )
    assert call.nodes[-2:] == ("day", "desk")
    assert call.values["reason"] == "check-up"


def test_who_wants_a_person_gets_the_front_desk() -> None:
    call = ring(
        *TO_THE_TIMES,
        Caller.says("can I speak to someone please"),
        Caller.hears("connecting you to the front desk"),
        transfers=[GONE],
    )
    assert call.nodes[-2:] == ("time", "desk")
    assert call.transfers[0]["to"] == ["+13125550140", "+13125550141"]


def test_the_first_free_day_is_found() -> None:
    for step in (Caller.presses("*"), Caller.says("as soon as possible")):
        calendar = Calendar(fully_booked={dt.date(2026, 3, 4)})
        call = ring(
            Caller.hears("press 1 or say book"),
            Caller.presses("1"),
            Caller.hears("What is it for"),
            Caller.presses("1"),
            Caller.hears("Which day"),
            step,
            Caller.hears("On Thursday, March 5 these times are free"),
            Caller.hangs_up(),
            calendar=calendar,
        )
        assert call.nodes[-3:] == ("day", "soonest", "time")
        assert call.values["day"] == "2026-03-05"


def test_a_calendar_without_a_free_day_ends_at_the_front_desk() -> None:
    call = ring(
        Caller.hears("press 1 or say book"),
        Caller.presses("1"),
        Caller.hears("What is it for"),
        Caller.presses("1"),
        Caller.hears("Which day"),
        Caller.presses("*"),
        Caller.hears("connecting you to the front desk"),
        tools={"next_free": {"day": "2026-06-01", "slots": []}},
        transfers=[GONE],
    )
    assert call.nodes[-2:] == ("soonest", "desk")


def test_on_a_full_day_another_is_asked_for() -> None:
    call = ring(
        *TO_THE_TIMES[:-1],
        Caller.hears("there is nothing free on Friday, March 6"),
        Caller.hears("Which day would you like instead"),
        Caller.says("Monday"),
        Caller.hears("On Monday, March 9 these times are free"),
        Caller.hangs_up(),
        calendar=Calendar(fully_booked={dt.date(2026, 3, 6)}),
    )
    assert call.values["day"] == "2026-03-09"


def test_another_day_or_another_time_may_be_chosen_until_it_fits() -> None:
    call = ring(
        *TO_THE_TIMES,
        Caller.says("none of those times work"),
        Caller.hears("Which day would you like instead"),
        Caller.presses("0309"),
        Caller.hears("On Monday, March 9 these times are free"),
        Caller.presses("*"),
        Caller.hears("Which day would you like instead"),
        Caller.presses("0310"),
        Caller.hears("On Tuesday, March 10 these times are free"),
        Caller.presses("3"),
        Caller.hears("date of birth"),
        Caller.presses("05051984"),
        Caller.hears("at 1 PM, with Doctor Patel"),
        Caller.says("another time"),
        Caller.hears("On Tuesday, March 10 these times are free"),
        Caller.says("half past two"),
        Caller.hears("at 2:30 PM, with Doctor Patel"),
        Caller.presses("3"),
        Caller.hears("Which day would you like instead"),
        Caller.says("never mind"),
        Caller.hears("Thank you for calling Lakeside Clinic"),
    )
    assert call.disposition == "served"
    assert "slot" not in call.values
    assert "birth_date" in call.values


def test_a_time_that_somebody_else_took_is_offered_no_more() -> None:
    calendar = Calendar()
    tools = service(calendar)

    def too_late(**wanted: Any) -> ToolResult:
        if not calendar.bookings:
            calendar.answer("POST", "/bookings", body={**wanted, "phone": "+14155550142"})
        result: ToolResult = tools["book"](**wanted)
        return result

    call = ring(
        *TO_THE_TIMES,
        Caller.presses("1"),
        Caller.hears("date of birth"),
        Caller.presses("05051984"),
        Caller.hears("at 9 AM"),
        Caller.presses("1"),
        Caller.hears("that time has just gone"),
        Caller.hears("For 10:30 AM, press 1"),
        Caller.presses("1"),
        Caller.hears("at 10:30 AM"),
        Caller.presses("1"),
        Caller.hears("You are booked"),
        Caller.hangs_up(),
        calendar=calendar,
        tools={"book": too_late},
    )
    assert way(call).count("patient") == 1
    assert sorted(b.slot for b in calendar.bookings.values()) == [
        f"{FRIDAY}T09:00",
        f"{FRIDAY}T10:30",
    ]


def test_an_appointment_is_cancelled_by_its_code_and_another_booked() -> None:
    calendar = Calendar()
    calendar.answer("POST", "/bookings", body={"slot": f"{FRIDAY}T09:00", "reason": "check-up"})
    call = ring(
        Caller.hears("To cancel one, press 2"),
        Caller.says("I need to cancel my appointment"),
        Caller.hears("six digit booking code"),
        Caller.says("one zero seven nine one nine"),
        Caller.hears("your appointment on Friday, March 6, at 9 AM"),
        Caller.says("cancel it"),
        Caller.hears("It is cancelled"),
        Caller.hears("Is there anything else"),
        Caller.presses("1"),
        Caller.hears("What else can I do"),
        Caller.presses("1"),
        Caller.hears("What is it for"),
        Caller.hangs_up(),
        calendar=calendar,
    )
    assert calendar.bookings == {}
    assert tools_called(call)[-1] == ("cancel", {"code": "107919"})


def test_an_appointment_may_be_kept_after_all() -> None:
    calendar = Calendar()
    calendar.answer("POST", "/bookings", body={"slot": f"{FRIDAY}T09:00", "reason": "check-up"})
    call = ring(
        Caller.hears("To cancel one, press 2"),
        Caller.presses("2"),
        Caller.hears("six digit booking code"),
        Caller.presses("107919"),
        Caller.hears("or 2 to keep it"),
        Caller.presses("2"),
        Caller.hears("Is there anything else"),
        Caller.says("no thank you"),
        Caller.hears("Thank you for calling Lakeside Clinic"),
        calendar=calendar,
    )
    assert list(calendar.bookings) == ["107919"]
    assert call.disposition == "served"


def test_an_unknown_code_is_asked_for_again_then_the_front_desk_helps() -> None:
    call = ring(
        Caller.hears("To cancel one, press 2"),
        Caller.presses("2"),
        Caller.hears("six digit booking code"),
        Caller.presses("111111"),
        Caller.hears("I cannot find a booking under 1 1 1 1 1 1"),
        Caller.presses("222222"),
        Caller.hears("I cannot find a booking under 2 2 2 2 2 2"),
        Caller.presses("333333"),
        Caller.hears("connecting you to the front desk"),
        transfers=[GONE],
    )
    assert way(call).count("find") == 3


def test_who_has_no_code_gets_the_front_desk() -> None:
    for step in (Caller.presses("*"), Caller.says("I lost the code")):
        call = ring(
            Caller.hears("To cancel one, press 2"),
            Caller.presses("2"),
            Caller.hears("If you do not have it"),
            step,
            Caller.hears("connecting you to the front desk"),
            transfers=[GONE],
        )
        assert call.nodes[-2:] == ("unknown", "desk")
        assert tools_called(call) == []


def test_when_the_calendar_does_not_answer_a_person_does() -> None:
    call = ring(
        *TO_THE_TIMES[:-1],
        Caller.hears("connecting you to the front desk"),
        tools={"free_slots": ToolStalls()},
        transfers=[GONE],
    )
    assert call.nodes[-2:] == ("look", "desk")


def test_when_the_front_desk_does_not_answer_either_the_caller_is_told() -> None:
    call = ring(
        Caller.hears("For the front desk, press 0"),
        Caller.presses("0"),
        Caller.hears("I cannot help you any further"),
        transfers=[Transfer("no_answer")],
    )
    assert (call.nodes[-1], call.disposition) == ("nobody", "not_served")


def test_when_a_prompt_cannot_be_spoken_the_call_ends_with_words() -> None:
    call = CLINIC.ring(
        voice_fails=lambda text: "vendor_down" if "booking line" in text else "", faults=1
    )
    assert call.nodes == ("welcome", "nobody")
    assert call.said("Please call us again between eight and five")


def test_every_edge_is_taken_by_some_call() -> None:
    assert CLINIC.never_taken(globals()) == []
