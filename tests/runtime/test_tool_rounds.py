"""Tools that the LLM calls: side by side, with arguments that fit, and not for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.events import FaultMet, MoveRefused, ToolCalled
from flowengine.ports import LlmRequest, ToolResult
from flowengine.providers import anthropic_messages, google_content
from flowengine.providers.chat_hosts import ChatHost, chat_body
from flowengine.runtime.conversation import RUNNING
from flowengine.runtime.thinking import ROUNDS
from flowengine.testing.result import SimulatedCall
from flowengine.testing.scripts import Step
from flowengine.testing.simulated_llm import Item
from flowengine.testing.simulation import Caller, Proposes, ToolStalls, simulate
from tests.runtime.small_flows import program

pytestmark = pytest.mark.conversation

FLOW: dict[str, Any] = {
    "flow": "1",
    "id": "desk",
    "start": "talk",
    "variables": {"name": {"type": "name"}},
    "tools": {
        "book": {
            "kind": "python",
            "function": "book",
            "description": "Books a table.",
            "timeout": "2s",
            "input": {
                "day": {"type": "date", "min": "2026-03-01"},
                "party": {"type": "integer", "min": 1, "max": 10},
                "room": {"type": "string", "enum": ["inside", "garden"], "optional": True},
                "who": {
                    "type": "object",
                    "optional": True,
                    "fields": {"name": {"type": "name"}, "phone": {"type": "phone"}},
                },
            },
        },
        "look": {"kind": "python", "function": "look", "timeout": "20s"},
    },
    "nodes": {
        "talk": {
            "kind": "dialog",
            "say": "Hello, the restaurant.",
            "also": ["name"],
            "tools": ["book", "look"],
        },
        "bye": {"kind": "hangup", "say": "Goodbye."},
        "sorry": {"kind": "hangup", "say": "Sorry.", "disposition": "sorry"},
    },
    "edges": [
        {"from": "talk", "on": {"intent": "The caller says goodbye"}, "to": "bye", "id": "leave"},
        {"from": "talk", "on": "else", "to": "sorry"},
    ],
}
DONE = {"look": {"tables": 3}, "book": ToolResult("done", 201, {"number": 7})}
GOOD = {"day": "2026-03-05", "party": 4}


class Llm:
    """Answers by a list; then as often as it is asked the same, or nothing but words."""

    def __init__(self, *answers: Sequence[Item], last: Sequence[Item] = ("I see.",)) -> None:
        self._answers = list(answers)
        self._last = last
        self.asked: list[LlmRequest] = []

    def __call__(self, request: LlmRequest) -> Sequence[Item]:
        self.asked.append(request)
        return self._answers.pop(0) if self._answers else self._last


def called(llm: Any, *script: Step, tools: dict[str, Any] | None = None) -> SimulatedCall:
    steps = script or (Caller.says("A table please"), Caller.hangs_up())
    return simulate(program(FLOW), steps, llm=llm, tools={**DONE, **(tools or {})})


def told(request: LlmRequest) -> list[Any]:
    """The results of tools that stand last in a request."""
    found: list[Any] = []
    for message in reversed(request.messages):
        if message.role != "tool":
            break
        found.insert(0, orjson.loads(message.text))
    return found


def outcomes(call: SimulatedCall) -> dict[str, str]:
    """Each key's one outcome, from the journal."""
    found: dict[str, str] = {}
    for record in call.journal:
        if record.body.get("type") == "ToolEnded":
            assert record.body["key"] not in found
            found[record.body["key"]] = record.body["outcome"]
    return found


# --- side by side ---


def test_tools_of_one_answer_run_together_and_their_results_go_back_together() -> None:
    llm = Llm([Proposes("look", {}), Proposes("book", GOOD), Proposes("look", {})])
    call = called(llm)
    started = [(at_ms, fact.key) for at_ms, fact in call.facts if isinstance(fact, ToolCalled)]
    assert len({at_ms for at_ms, _ in started}) == 1
    assert len({key for _, key in started}) == len(started) == 3
    assert set(outcomes(call).values()) == {"done"}
    assert len(llm.asked) == 2
    *_, use, first, second, third = llm.asked[1].messages
    assert [(item.name, item.id) for item in use.tool_uses] == [
        ("look", first.tool_use_id),
        ("book", second.tool_use_id),
        ("look", third.tool_use_id),
    ]
    assert [item["body"] for item in told(llm.asked[1])] == [
        {"tables": 3},
        {"number": 7},
        {"tables": 3},
    ]


def test_every_vendor_gets_them_back_side_by_side() -> None:
    llm = Llm([Proposes("look", {}), Proposes("book", GOOD)])
    called(llm)
    asked = llm.asked[1]
    chat = chat_body(ChatHost("some", "https://llm.example/v1"), asked, "")["messages"]
    assert [message["role"] for message in chat[-3:]] == ["assistant", "tool", "tool"]
    assert len(chat[-3]["tool_calls"]) == 2
    for body, use, result in (
        (anthropic_messages.body(asked)["messages"], "tool_use", "tool_result"),
        (google_content.body(asked, {})["contents"], "functionCall", "functionResponse"),
    ):
        calls, results = (turn.get("content") or turn["parts"] for turn in body[-2:])
        assert [part.get("type") == use or use in part for part in calls] == [True, True]
        assert [part.get("type") == result or result in part for part in results] == [True, True]


def test_side_by_side_the_slowest_has_its_own_time() -> None:
    llm = Llm([Proposes("look", {}), Proposes("book", GOOD)])
    script = (Caller.says("A table please"), Caller.hears("I see"), Caller.hangs_up())
    call = called(llm, *script, tools={"look": ToolStalls()})
    ended = [r.at_ms for r in call.journal if r.body.get("type") == "ReplyEnded"]
    assert ended[1] - ended[0] > 20_000
    assert sorted(item["outcome"] for item in told(llm.asked[1])) == ["done", "timeout"]


def test_a_barge_in_cancels_no_tool_and_is_answered_with_the_result() -> None:
    llm = Llm(["One moment, I look that up in the big book.", Proposes("look", {})])
    script = (
        Caller.says("A table please"),
        Caller.breaks_in("by the window if you can", after_ms=700),
        Caller.hears("I see"),
        Caller.hangs_up(),
    )
    call = called(llm, *script, tools={"look": ToolStalls()})
    assert sum(isinstance(fact, ToolCalled) for _, fact in call.facts) == 1
    assert len(llm.asked) == 2
    texts = [message.text for message in llm.asked[1].messages]
    assert "by the window if you can" in texts
    assert any('"timeout"' in text for text in texts)


def test_a_tool_of_which_nothing_is_known_yet_is_not_called_again() -> None:
    llm = Llm(["One moment please, I look that up.", Proposes("look", {})], ["Still here."])
    script = (
        Caller.says("A table please"),
        Caller.loses_line(after_ms=900),
        Caller.says("are you there"),
        Caller.hears("Still here"),
        Caller.hangs_up(),
    )
    called(llm, *script, tools={"look": ToolStalls()})
    assert RUNNING in [message.text for message in llm.asked[1].messages]


# --- arguments ---


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (None, "the arguments are no JSON object"),
        ({"party": 4}, "day: is missing"),
        ({"day": "2026-13-40", "party": 4}, "day: is no date; write it as YYYY-MM-DD"),
        ({"day": "2026-02-01", "party": 4}, "day: is below 2026-03-01"),
        ({"day": "2026-03-05", "party": 40}, "party: is above 10"),
        ({"day": "2026-03-05", "party": [4]}, "party: is no integer"),
        ({**GOOD, "room": "roof"}, "room: is none of inside, garden"),
        ({**GOOD, "who": {"name": "Ada"}}, "who: is no object"),
        ({**GOOD, "table": 3}, "1 unknown; the arguments are: day, party, room, who"),
        ({"party": 0}, "day: is missing; party: is below 1"),
    ],
)
def test_arguments_that_do_not_fit_are_told_once_then_the_tool_has_failed(
    arguments: dict[str, Any] | None, fault: str
) -> None:
    wrong = [Proposes("book", arguments)]
    llm = Llm(wrong, wrong, ["I cannot book that."])
    call = called(llm)
    assert [told(request) for request in llm.asked[1:]] == [
        [{"outcome": "not_called", "error": fault}],
        # Both of its calls stand there; the last result is of the second.
        [{"outcome": "failed", "error": fault}],
    ]
    assert not outcomes(call)
    refused = [fact.reason for _, fact in call.facts if isinstance(fact, MoveRefused)]
    assert refused == [f"book: {fault}"]
    assert [f.code for _, f in call.facts if isinstance(f, FaultMet)] == ["bad_arguments"]
    assert call.nodes == ("talk",), "the dialog goes on"


def test_a_tool_that_there_is_not_is_told_and_the_right_one_runs() -> None:
    llm = Llm([Proposes("buy", {})], [Proposes("book", {**GOOD, "room": None})])
    call = called(llm)
    assert told(llm.asked[1]) == [{"outcome": "not_called", "error": "there is no such tool"}]
    assert list(outcomes(call).values()) == ["done"]


def test_arguments_reach_the_tool_in_the_form_of_their_types() -> None:
    given: list[Any] = []

    def book(**arguments: Any) -> int:
        given.append(arguments)
        return 1

    llm = Llm([Proposes("book", {"day": "next Friday", "party": "4", "room": "Garden"})])
    called(llm, tools={"book": book})
    assert given == [{"day": "2026-03-13", "party": 4, "room": "garden"}]


def test_one_schema_says_what_the_inputs_are() -> None:
    llm = Llm()
    called(llm)
    book = next(tool for tool in llm.asked[0].tools if tool.name == "book")
    assert book.parameters == {
        "type": "object",
        "properties": {
            "day": {"type": "string", "description": "as YYYY-MM-DD, not before 2026-03-01"},
            "party": {"type": "integer", "minimum": 1, "maximum": 10},
            "room": {"type": "string", "enum": ["inside", "garden"]},
            "who": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "phone": {"type": "string", "description": "in E.164, such as +14155550100"},
                },
                "required": ["name", "phone"],
                "additionalProperties": False,
            },
        },
        "required": ["day", "party"],
        "additionalProperties": False,
    }


# --- rounds ---


def test_an_llm_that_calls_tools_in_every_answer_is_asked_at_last_for_words() -> None:
    asked: list[LlmRequest] = []

    def llm(request: LlmRequest) -> Sequence[Item]:
        asked.append(request)
        return [Proposes("look", {})] if request.may_call else ["I find nothing."]

    call = called(llm, Caller.says("A table"), Caller.hears("I find nothing"), Caller.hangs_up())
    assert [request.may_call for request in asked] == [True] * ROUNDS + [False]
    assert all(request.tools == asked[0].tools for request in asked)
    assert list(outcomes(call).values()) == ["done"] * ROUNDS


def test_an_llm_that_has_no_words_even_then_has_failed() -> None:
    llm = Llm(last=[Proposes("look", {})])
    call = called(llm, Caller.says("A table"))
    assert len(llm.asked) == ROUNDS + 1
    assert (call.nodes, call.disposition) == (("talk", "sorry"), "sorry")


def test_what_it_said_on_the_way_is_an_answer() -> None:
    llm = Llm(["I look. ", Proposes("look", {})], last=[Proposes("look", {})])
    call = called(llm, Caller.says("A table"), Caller.hears("I look"), Caller.hangs_up())
    assert len(llm.asked) == ROUNDS + 1
    assert call.nodes == ("talk",)


ITEM = st.sampled_from(
    [
        Proposes("look", {}),
        Proposes("book", GOOD),
        Proposes("book", {"party": 99}),
        Proposes("book", None),
        Proposes("nothing", {}),
        Proposes("note", {"name": "Ada"}),
        Proposes("note", {"name": 3}),
        Proposes("take_edge", {"edge": "leave", "quote": "never said"}),
        "Some words. ",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    answers=st.lists(st.lists(ITEM, max_size=4), min_size=1, max_size=30),
    outcome=st.sampled_from([{"a": 1}, ToolResult("failed", error="raised"), ToolStalls()]),
    after_ms=st.sampled_from([None, 100, 400]),
)
def test_whatever_the_llm_calls_a_turn_ends(
    answers: list[list[Item]], outcome: Any, after_ms: int | None
) -> None:
    asked: list[LlmRequest] = []
    script: list[Step] = [Caller.says("A table please")]
    if after_ms is not None:
        script.append(Caller.breaks_in("or two tables", after_ms=after_ms))

    def llm(request: LlmRequest) -> Sequence[Item]:
        asked.append(request)
        return answers[(len(asked) - 1) % len(answers)]

    tools = {"look": outcome, "book": outcome}
    call = simulate(program(FLOW), script, llm=llm, tools=tools, is_live=True)
    keys = [fact.key for _, fact in call.facts if isinstance(fact, ToolCalled)]
    assert len(set(keys)) == len(keys)
    assert set(outcomes(call)) <= set(keys)
    run = 0
    for request in asked:
        run = run + 1 if request.messages[-1].role == "tool" else 1
        assert run <= ROUNDS + 1
        uses = [use.id for message in request.messages for use in message.tool_uses]
        answered = [m.tool_use_id for m in request.messages if m.role == "tool"]
        assert sorted(uses) == sorted(answered)
