"""Calls to the visit line: a colleague logs field visits by voice or key, with Python tools."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from flowengine.events import Json
from flowengine.ports import ToolResult
from flowengine.testing import crm_book
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

CRM = Line("crm")
GONE = Transfer("done", stays=False)

MODEL = Responder(
    takes={"wants to stop": "goodbye"},
    notes={
        "upshot": {"ordered": "order", "liked it": "interest"},
        "amount": {"twelve hundred": 1200},
        "follow_up": {"next friday": "2026-03-13"},
        "remark": {"ask for the manager": "Ask for the manager."},
    },
    otherwise="When will you get in touch again?",
)


class Book:
    """The customer system of one test: what is on file, and its tools while a call lasts."""

    def __init__(self, *visits: dict[str, Json]) -> None:
        self.visits = list(visits)

    def ring(self, *script: Step, **world: Any) -> SimulatedCall:
        """Ring the visit line with this book behind it."""
        names = ("sign_in", "find_account", "add_visit", "last_visit")
        tools = {name: getattr(crm_book, name) for name in names} | world.pop("tools", {})
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            path = Path(folder) / "visits.jsonl"
            path.write_text("".join(f"{json.dumps(visit)}\n" for visit in self.visits))
            patch.setenv(crm_book.FILE_VARIABLE, str(path))
            call = CRM.ring(*script, tools=tools, **world)
            self.visits = [json.loads(line) for line in path.read_text().splitlines()]
        return call


SIGN_IN = (
    Caller.hears("this is the visit line"),
    Caller.hears("Your personal number, please"),
    Caller.presses("4711"),
    Caller.hears("Hello Dana. To log a visit, press 1"),
)
TO_THE_CUSTOMER = (*SIGN_IN, Caller.presses("1"), Caller.hears("Which customer"))


def test_a_visit_is_told_in_a_sentence_and_saved() -> None:
    book = Book()
    call = book.ring(
        Caller.hears("Your personal number, please"),
        Caller.says("four seven one one"),
        Caller.hears("Hello Dana"),
        Caller.says("log a visit"),
        Caller.hears("Which customer"),
        Caller.says("one zero two zero four"),
        Caller.hears("Hillside Bakery. How did it go"),
        Caller.says("they ordered for twelve hundred, ask for the manager, again next Friday"),
        Caller.hears("Hillside Bakery: order, 1200 dollars, next contact on Friday, March 13"),
        Caller.says("save it"),
        Caller.hears("Saved, as entry 1"),
        Caller.says("that's all"),
        Caller.hears("Drive safely"),
        llm=MODEL,
    )
    assert book.visits == [
        {
            "number": 1,
            "account": "10204",
            "colleague": "4711",
            "upshot": "order",
            "amount": 1200,
            "follow_up": "2026-03-13",
            "remark": "Ask for the manager.",
            "draft": False,
        }
    ]
    assert (call.disposition, call.outputs["number"]) == ("done", 1)


def test_keys_alone_save_a_visit_without_an_llm() -> None:
    book = Book()
    call = book.ring(
        *TO_THE_CUSTOMER,
        Caller.presses("10311"),
        Caller.hears("Corner Bookshop. What came of it"),
        Caller.presses("1"),
        Caller.hears("What is the order worth"),
        Caller.presses("450*50#"),
        Caller.hears("When will you get in touch again"),
        Caller.presses("0310"),
        Caller.hears("For none, press pound"),
        Caller.presses("#"),
        Caller.hears("order, 450 dollars and 50 cents, next contact on Tuesday, March 10"),
        Caller.presses("1"),
        Caller.hears("Saved, as entry 1"),
        Caller.presses("3"),
        Caller.hears("Goodbye"),
    )
    (visit,) = book.visits
    assert (visit["amount"], visit["follow_up"], visit["remark"]) == (450.5, "2026-03-10", None)
    assert call.llm_requests == ()
    assert not [said for said in call.transcript if said.who == "caller"]


def test_breaking_into_the_review_saves_at_once() -> None:
    book = Book()
    call = book.ring(
        *TO_THE_CUSTOMER,
        Caller.presses("10204"),
        Caller.hears("How did it go"),
        Caller.says("they liked it"),
        Caller.hears("Hillside Bakery: interest"),
        Caller.breaks_in("save it", after_ms=200),
        Caller.hears("Saved, as entry 1"),
        Caller.hangs_up(),
        llm=MODEL,
    )
    review = next(said for said in call.transcript if said.node == "review")
    assert review.cut
    assert "start over" not in review.heard
    assert book.visits[0]["upshot"] == "interest"


def test_a_silent_colleague_is_asked_again_and_let_go() -> None:
    book = Book()
    call = book.ring(*TO_THE_CUSTOMER, Caller.silent())
    assert call.really_heard.count("Are you still there?") == 2
    assert (call.nodes[-1], call.disposition) == ("unheard", "silent")
    assert book.visits == []


def test_wrong_numbers_are_asked_for_again() -> None:
    call = Book().ring(
        Caller.hears("Your personal number, please"),
        Caller.presses("12#"),
        Caller.hears("your personal number has four digits"),
        Caller.presses("9999"),
        Caller.hears("I do not know that number"),
        Caller.presses("4712"),
        Caller.hears("Hello Sam"),
        Caller.presses("1"),
        Caller.hears("Which customer"),
        Caller.says("the bakery"),
        Caller.hears("the account number has five digits"),
        Caller.presses("55555"),
        Caller.hears("I do not know the account 5 5 5 5 5"),
        Caller.presses("31056"),
        Caller.hears("Blue Door Hotel"),
        Caller.hangs_up(),
    )
    assert call.values["colleague"] == "4712"
    assert way(call).count("check") == 2
    assert way(call).count("find") == 2


def test_who_wants_a_person_gets_the_office() -> None:
    for step in (Caller.says("can I speak to someone"), Caller.says("give me the office")):
        call = Book().ring(
            *TO_THE_CUSTOMER,
            step,
            Caller.hears("connecting you to the office"),
            transfers=[GONE],
        )
        assert way(call)[-2:] == ("account", "office")


def test_the_office_has_a_key_and_may_be_busy() -> None:
    call = Book().ring(
        *SIGN_IN,
        Caller.presses("0"),
        Caller.hears("connecting you to the office"),
        Caller.hears("something is not working at our end"),
        transfers=[Transfer("busy")],
    )
    assert (call.nodes[-1], call.disposition) == ("sorry", "error")


def test_who_is_not_known_is_refused_after_three_tries() -> None:
    call = Book().ring(
        Caller.hears("Your personal number, please"),
        Caller.presses("0001"),
        Caller.hears("I do not know that number"),
        Caller.presses("0002"),
        Caller.hears("I do not know that number"),
        Caller.presses("0003"),
        Caller.hears("I cannot sign you in"),
    )
    assert (call.nodes[-1], call.disposition) == ("refused", "refused")
    assert [name for name, _ in tools_called(call)] == ["sign_in"] * 3


def test_who_hangs_up_in_the_middle_leaves_a_draft() -> None:
    book = Book()
    call = book.ring(
        *TO_THE_CUSTOMER,
        Caller.presses("20877"),
        Caller.hears("What came of it"),
        Caller.says("they are interested"),
        Caller.hears("When will you get in touch again"),
        Caller.hangs_up(),
    )
    assert (call.disposition, way(call)[-2:]) == ("draft", ("draft", "drafted"))
    (draft,) = book.visits
    assert (draft["account"], draft["upshot"], draft["draft"]) == ("20877", "interest", True)


def test_who_hangs_up_after_saving_leaves_no_draft() -> None:
    book = Book()
    call = book.ring(
        *TO_THE_CUSTOMER,
        Caller.presses("10204"),
        Caller.hears("How did it go"),
        Caller.says("they liked it"),
        Caller.hears("Hillside Bakery: interest"),
        Caller.presses("1"),
        Caller.hears("Saved"),
        Caller.hangs_up(after_ms=100),
        llm=MODEL,
    )
    assert call.reason == "hung_up"
    assert [visit["draft"] for visit in book.visits] == [False]


def test_the_last_visit_is_read_out_and_another_customers_too() -> None:
    known = {"account": "10204", "upshot": "order", "follow_up": "2026-03-13", "draft": False}
    undated = {"account": "10311", "upshot": "interest", "follow_up": None, "draft": False}
    call = Book(known, undated).ring(
        *SIGN_IN,
        Caller.says("the last visit"),
        Caller.hears("Which customer"),
        Caller.presses("10204"),
        Caller.hears("At the last visit to Hillside Bakery: order."),
        Caller.hears("planned for Friday, March 13"),
        Caller.hears("What is next"),
        Caller.presses("2"),
        Caller.hears("Which customer"),
        Caller.presses("10311"),
        Caller.hears("At the last visit to Corner Bookshop: interest. What is next"),
        Caller.presses("2"),
        Caller.hears("Which customer"),
        Caller.presses("20877"),
        Caller.hears("There is no visit to Rivera and Sons on file"),
        Caller.says("nothing else"),
        Caller.hears("Goodbye"),
    )
    assert way(call).count("recall") == 3
    assert call.disposition == "done"


def test_the_review_may_be_corrected_until_it_is_right() -> None:
    book = Book()
    call = book.ring(
        *TO_THE_CUSTOMER,
        Caller.presses("10204"),
        Caller.hears("What came of it"),
        Caller.says("not interested"),
        Caller.hears("When will you get in touch again"),
        Caller.says("no date"),
        Caller.hears("Your remark, please"),
        Caller.says("The owner was ill"),
        Caller.hears("Hillside Bakery: no interest. Press 1 to save"),
        Caller.presses("2"),
        Caller.hears("What is the order worth"),
        Caller.says("three hundred dollars"),
        Caller.hears("When will you get in touch again"),
        Caller.presses("*"),
        Caller.hears("no interest, 300 dollars. Press 1 to save"),
        Caller.says("change the date"),
        Caller.hears("When will you get in touch again"),
        Caller.says("yesterday"),
        Caller.hears("That day is in the past"),
        Caller.says("next Monday"),
        Caller.hears("no interest, 300 dollars, next contact on Monday, March 9"),
        Caller.says("start over"),
        Caller.hears("Hillside Bakery. What came of it"),
        Caller.presses("4"),
        Caller.hears("When will you get in touch again"),
        Caller.presses("*"),
        Caller.hears("Your remark, please"),
        Caller.presses("#"),
        Caller.hears("Hillside Bakery: nobody there. Press 1"),
        Caller.presses("1"),
        Caller.hears("Saved, as entry 1"),
        Caller.hangs_up(),
    )
    (visit,) = book.visits
    assert (visit["upshot"], visit["amount"], visit["follow_up"]) == ("nobody there", None, None)
    assert visit["remark"] is None
    assert way(call).count("review") == 4


def test_a_write_that_fails_is_tried_once_more() -> None:
    book = Book()
    failed: list[str] = []

    def flaky(**visit: Any) -> dict[str, Json]:
        if not failed:
            failed.append(visit["account"])
            raise OSError
        return crm_book.add_visit(**visit)

    script = (
        *TO_THE_CUSTOMER,
        Caller.presses("10204"),
        Caller.hears("How did it go"),
        Caller.says("they liked it"),
        Caller.hears("Hillside Bakery: interest"),
        Caller.presses("1"),
        Caller.hears("I am trying once more"),
    )
    call = book.ring(
        *script,
        Caller.hears("Saved, as entry 1"),
        Caller.hangs_up(),
        llm=MODEL,
        tools={"add_visit": flaky},
    )
    assert way(call).count("write") == 2
    assert len(book.visits) == 1

    call = Book().ring(
        *script,
        Caller.hears("connecting you to the office"),
        llm=MODEL,
        tools={"add_visit": ToolResult("failed", error="raised")},
        transfers=[GONE],
    )
    assert way(call)[-2:] == ("write", "office")


def test_when_the_book_does_not_answer_a_person_does() -> None:
    call = Book().ring(
        *TO_THE_CUSTOMER,
        Caller.presses("10204"),
        Caller.hears("connecting you to the office"),
        tools={"find_account": ToolStalls()},
        transfers=[GONE],
    )
    assert way(call)[-2:] == ("find", "office")


def test_when_nobody_can_be_signed_in_the_caller_is_told() -> None:
    call = Book().ring(
        Caller.hears("Your personal number, please"),
        Caller.presses("4711"),
        Caller.hears("Please call the office"),
        tools={"sign_in": ToolStalls()},
    )
    assert call.disposition == "refused"


def test_an_llm_that_fails_leaves_the_keypad() -> None:
    call = Book().ring(
        *TO_THE_CUSTOMER,
        Caller.presses("10204"),
        Caller.hears("How did it go"),
        Caller.says("so, where do I begin"),
        Caller.hears("What came of it"),
        Caller.says("forget it, I will do it later"),
        Caller.hears("Drive safely"),
        llm=lambda _request: LlmFails("overloaded"),
        faults=1,
    )
    assert way(call)[-3:] == ("tell", "result", "bye")


def test_a_voice_that_fails_ends_with_words() -> None:
    call = Book().ring(
        voice_fails=lambda text: "vendor_down" if "visit line" in text else "", faults=1
    )
    assert call.nodes == ("welcome", "sorry")
    assert call.said("Please try again later")


def test_every_edge_is_taken_by_some_call() -> None:
    assert CRM.never_taken(globals()) == []
