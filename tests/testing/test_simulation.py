"""Whole calls on a virtual clock: the caller, the LLM, tools and transfers are scripted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from flowengine.events import BargeIn, CallEnded, FaultMet, ToolCalled, UtteranceSpoken, ValueSet
from flowengine.ports import LlmRequest, ToolResult
from flowengine.testing.result import plain
from flowengine.testing.scripts import ScriptError, Step, read_script
from flowengine.testing.simulated_llm import Answer
from flowengine.testing.simulated_tools import ToolNotScripted
from flowengine.testing.simulation import (
    Caller,
    LlmFails,
    LlmStalls,
    Proposes,
    Responder,
    SimulationError,
    ToolStalls,
    Transfer,
    simulate,
)
from tests.runtime.small_flows import BYE, desk, program, shop, talk

pytestmark = pytest.mark.conversation

CHATTY = Responder(
    takes={"human": "real person", "stop": "goodbye", "done": "that is all"},
    notes={"day": {"monday": "monday", "friday": "friday"}, "name": {"Smith|Jones": None}},
    calls={"look_up": {"who am I": {"who": "Smith"}}},
    says={"weather": "It is sunny."},
    otherwise="Which day do you want?",
)


def test_a_call_by_voice() -> None:
    call = simulate(
        shop(),
        [
            Caller.hears("Welcome to the shop"),
            Caller.hears("For orders press one"),
            Caller.says("I would like to order"),
            Caller.hears("how many"),
            Caller.says("three please"),
            Caller.hears("Is that right?"),
            Caller.says("yes"),
            Caller.hears("You get 3"),
        ],
    )
    assert call.nodes == ("welcome", "choose", "how_many", "sold")
    assert call.edges == ("e0", "e1", "e6")
    assert call.values == {"count": 3}
    assert (call.disposition, call.reason, call.outputs) == ("sold", "flow", {"count": 3})
    said = [(line.who, line.text) for line in call.transcript]
    assert said[2:4] == [("caller", "I would like to order"), ("bot", "How many do you want?")]
    assert all(line.heard == line.text and not line.cut for line in call.transcript if line.heard)
    assert [entry.by for entry in call.conversation[:3]] == ["bot", "bot", "caller"]


def test_a_call_by_keys_alone() -> None:
    call = simulate(
        shop(), [Caller.presses("1", after_ms=0), Caller.presses("12#"), Caller.presses("1")]
    )
    assert call.values == {"count": 12}
    assert [line.text for line in call.transcript if line.who == "keys"] == list("112#1")
    assert call.path[-1].by == "key"


def test_nobody_says_anything() -> None:
    call = simulate(shop(), [*[Caller.silent()] * 3, Caller.hears("goodbye")])
    assert call.edges[-1] == "e5"
    assert call.path[-1].decision is not None
    assert call.path[-1].decision.trigger == {"outcome": "no_input"}
    assert 30_000 < call.duration_ms < 60_000


def test_words_that_break_in_are_heard_and_the_rest_is_dropped() -> None:
    call = simulate(
        shop(),
        [Caller.hears("For orders"), Caller.breaks_in("a person", after_words=2)],
        transfers=[Transfer(stays=False)],
    )
    cut = next(line for line in call.transcript if line.cut)
    assert cut.heard == "For orders press one."
    assert cut.text.startswith(cut.heard)
    assert not call.said("for the secret")
    assert call.nodes == ("welcome", "choose", "desk")
    assert call.disposition == "transferred"
    assert call.transfers[0]["to"] == ["+33123456789"]
    assert [fact.phase for fact in call.facts_of(BargeIn)] == ["paused", "confirmed"]


def test_what_the_engine_believes_was_heard_was_heard() -> None:
    for after_ms in range(100, 4000, 100):
        call = simulate(
            shop(),
            [Caller.breaks_in("the secret", after_ms=after_ms), Caller.hangs_up()],
        )
        (cut,) = (fact for fact in call.facts_of(UtteranceSpoken) if fact.cut)
        believed = " ".join(f.heard.strip() for f in call.facts_of(UtteranceSpoken) if f.heard)
        assert plain(believed) == plain(call.really_heard), f"cut after {after_ms} ms: {cut}"


def test_a_cough_makes_the_bot_stop_and_go_on() -> None:
    call = simulate(
        shop(), [Caller.coughs(150, after_ms=700), Caller.hears("press three"), Caller.hangs_up()]
    )
    assert [fact.phase for fact in call.facts_of(BargeIn)] == ["paused", "resumed"]
    assert not any(line.cut for line in call.transcript)
    first = call.facts_of(UtteranceSpoken)[0]
    assert first.heard == first.text


def test_a_backchannel_does_not_take_the_floor() -> None:
    call = simulate(shop(), [Caller.breaks_in("uh-huh", after_ms=500), Caller.hears("press three")])
    assert "resumed" in [fact.phase for fact in call.facts_of(BargeIn)]
    assert not any(line.cut for line in call.transcript)


def test_the_caller_hangs_up() -> None:
    call = simulate(shop(), [Caller.hears("For orders"), Caller.hangs_up(after_ms=300)])
    assert (call.disposition, call.reason) == ("hung_up", "hung_up")
    assert call.transcript[-1].text == "(the caller hangs up)"


def test_a_transfer_that_is_busy_comes_back() -> None:
    call = simulate(
        shop(),
        [Caller.says("person"), Caller.hears("For orders"), Caller.hangs_up()],
        transfers=[Transfer("busy")],
    )
    assert call.nodes == ("welcome", "choose", "desk", "desk", "choose")
    assert call.path[-1].decision is not None
    assert call.path[-1].decision.trigger == {"outcome": "busy"}


def test_a_broken_line_resumes_at_the_node_with_its_values() -> None:
    call = simulate(
        shop(),
        [
            Caller.says("order"),
            Caller.says("seven"),
            Caller.hears("I have 7"),
            Caller.loses_line(),
            Caller.hears("we were cut off"),
            Caller.says("eight"),
            Caller.says("yes"),
        ],
    )
    assert call.nodes == ("welcome", "choose", "how_many", "how_many", "sold")
    assert call.path[3].by == "resume"
    assert call.values == {"count": 8}
    assert len(call.facts_of(CallEnded)) == 1


def test_what_is_sensitive_stands_nowhere() -> None:
    call = simulate(shop(), [Caller.says("secret"), Caller.presses("4711"), Caller.hangs_up()])
    assert [line.text for line in call.transcript if line.who == "keys"] == ["•"] * 4
    assert "4711" not in str(call.journal)
    digits = [record.body["digit"] for record in call.journal if "digit" in record.body]
    assert digits == ["•"] * 4
    assert ValueSet("pin", {"sensitive": True, "length": 4}, "caller") in call.facts_of(ValueSet)


# --- the LLM ---


def test_a_dialog_notes_values_and_takes_the_goal() -> None:
    call = simulate(
        talk(),
        [
            Caller.hears("What can I do"),
            Caller.says("how is the weather"),
            Caller.hears("It is sunny"),
            Caller.says("monday please, Jones is my name"),
            Caller.says("good, that is all"),
        ],
        llm=CHATTY,
    )
    assert call.nodes == ("hello", "talk", "bye")
    assert call.values["day"] == "monday"
    assert call.values["name"] == "Jones"
    assert call.outputs == {"day": "monday"}
    roles = [message.role for message in call.llm_requests[0].messages]
    assert roles == ["system", "assistant", "assistant", "user"]


def test_a_value_that_fires_an_edge_leaves_the_dialog() -> None:
    call = simulate(talk(), [Caller.says("on friday")], llm=CHATTY)
    assert call.nodes == ("hello", "talk", "friday", "bye")
    assert call.path[2].by == "value"


def test_the_llm_takes_an_edge_with_the_callers_words() -> None:
    call = simulate(talk(), [Caller.says("give me a real person")], llm=CHATTY)
    assert call.edges == ("e0", "human", "e6")
    decision = call.path[2].decision
    assert decision is not None
    assert (decision.decided_by, decision.quote) == ("llm", "give me a real person")


def test_an_edge_without_evidence_is_refused() -> None:
    asked: list[LlmRequest] = []

    def invents(request: LlmRequest) -> Answer:
        asked.append(request)
        if any(tool.name == "take_edge" for tool in request.tools):
            return Proposes("take_edge", {"edge": "human", "quote": "I want a person"})
        return "What else?"

    call = simulate(talk(), [Caller.says("hello there"), Caller.hangs_up()], llm=invents)
    assert "human" not in call.edges
    assert len(asked) == 2, "told once, without the edges"
    assert call.said("What else?")


def test_a_tool_of_the_llm_runs_and_its_result_is_told() -> None:
    call = simulate(
        talk(),
        [Caller.says("who am I"), Caller.hangs_up()],
        llm=CHATTY,
        tools={"look_up": lambda who: f"customer {who}"},
    )
    assert call.values["found"] == "customer Smith"
    assert [fact.by for fact in call.facts_of(ToolCalled)] == ["llm"]
    assert "customer Smith" in call.llm_requests[-1].messages[-1].text


@pytest.mark.parametrize("fault", [LlmFails("overloaded"), LlmStalls()])
def test_an_llm_that_fails_ends_the_dialog(fault: Any) -> None:
    call = simulate(talk(), [Caller.says("hello")], llm=lambda request: fault)
    assert call.nodes == ("hello", "talk", "bye")
    assert call.path[-1].decision is not None
    assert call.path[-1].decision.trigger == {"outcome": "failed"}
    assert call.facts_of(FaultMet)


def test_without_an_llm_there_is_no_dialog() -> None:
    call = simulate(talk())
    assert call.nodes == ("hello", "talk", "bye")
    assert call.llm_requests == ()


def test_what_the_llm_says_can_be_broken_into() -> None:
    long = "I will tell you a very long story about the history of this clinic and its people."
    call = simulate(
        talk(),
        [
            Caller.says("tell me"),
            Caller.hears("a very long story"),
            Caller.breaks_in("no wait", after_ms=600),
            Caller.hangs_up(),
        ],
        llm=lambda request: long,
    )
    told = next(entry for entry in call.conversation if entry.text.startswith("I will tell"))
    assert long.startswith(told.text) and told.text != long
    assert told.text in [message.text for message in call.llm_requests[1].messages]


# --- tools, holding, sub-flows ---


def test_tools_sub_flows_and_a_wait_that_a_webhook_ends() -> None:
    orders: list[str] = []
    call = simulate(
        desk(),
        [
            Caller.hears("I look you up"),
            Caller.hears("Which size in blue"),
            Caller.says("five"),
            Caller.hears("still holding"),
            Caller.webhook("ready", {"a": 1}),
            Caller.hears("Goodbye"),
        ],
        tools={
            "account": {"tier": "gold"},
            "order": lambda: orders.append("order"),
        },
    )
    assert call.nodes == ("look", "sort", "gold", "size", "ask", "ok", "hold", "buy", "bye")
    assert orders == ["order"]
    assert call.values["left"] is True


def test_after_the_caller_left_only_what_needs_no_line_runs() -> None:
    call = simulate(
        desk(),
        [Caller.says("five"), Caller.hears("Please hold"), Caller.hangs_up()],
        tools={"account": ToolResult("failed", 500), "order": {"ok": True}},
    )
    assert call.nodes[-2:] == ("note", "bye")


def test_a_tool_that_never_answers_ends_in_time() -> None:
    call = simulate(
        desk(), [Caller.hangs_up()], tools={"account": ToolStalls(), "order": ToolStalls()}
    )
    decision = call.path[1].decision
    assert decision is not None
    assert decision.trigger == {"outcome": "timeout"}


def test_a_function_that_raises_is_the_tools_failure() -> None:
    def broken() -> None:
        raise RuntimeError

    call = simulate(desk(), [Caller.hangs_up()], tools={"account": broken})
    decision = call.path[1].decision
    assert decision is not None
    assert decision.trigger == {"outcome": "failed"}


def test_an_async_function_may_be_a_tool() -> None:
    async def account() -> dict[str, str]:
        return {"tier": "gold"}

    call = simulate(desk(), [Caller.hangs_up()], tools={"account": account})
    assert "gold" in call.nodes


def test_a_tool_that_the_test_forgot_fails_the_test() -> None:
    with pytest.raises(ToolNotScripted, match="'account'"):
        simulate(desk())


# --- outbound, time, inputs, the voice ---

OUTBOUND: dict[str, Any] = {
    "flow": "1",
    "id": "out",
    "start": "hi",
    "variables": {"who": {"type": "string", "input": True}},
    "calendars": {"office": {"timezone": "UTC", "weekly": {"mon-fri": ["09:00-17:00"]}}},
    "nodes": {
        "hi": {
            "kind": "greeting",
            "say": [{"if": "open('office')", "text": "Hello {{ who }}."}, "We are closed."],
        },
        "beep": {"kind": "hangup", "say": "Call us back.", "disposition": "voicemail"},
        "bye": BYE,
    },
    "edges": [{"from": "hi", "to": "bye"}, {"from": "hi", "on": "voicemail", "to": "beep"}],
}


@pytest.mark.parametrize(
    ("answered", "disposition"),
    [("human", "served"), ("machine", "voicemail"), ("busy", "unreached")],
)
def test_an_outbound_call_is_answered_or_not(answered: str, disposition: str) -> None:
    call = simulate(
        program(OUTBOUND), direction="outbound", answered=answered, inputs={"who": "Ada"}
    )
    assert call.disposition == disposition
    assert call.said("Hello Ada") == (answered == "human")


def test_the_time_of_day_counts() -> None:
    night = datetime(2026, 3, 3, 23, 0, tzinfo=UTC)
    assert simulate(program(OUTBOUND), inputs={"who": "Ada"}, wall=night).said("We are closed")


def test_a_voice_that_fails_does_not_leave_the_caller_in_silence() -> None:
    call = simulate(shop(), voice_fails=lambda text: "dropped" if "Welcome" in text else "")
    assert FaultMet("dropped", "tts") in call.facts_of(FaultMet)
    assert call.disposition == "failed"


# --- what a script expects ---


def test_what_is_not_heard_is_shown_with_the_transcript() -> None:
    with pytest.raises(SimulationError) as caught:
        simulate(shop(), [Caller.says("order"), Caller.hears("What colour")])
    assert caught.value.code == "unmet"
    assert "did not hear 'What colour'" in str(caught.value)
    assert "How many do you want?" in str(caught.value)
    assert "welcome → choose → how_many" in str(caught.value)
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize(
    "script",
    [
        [Caller.hangs_up(), Caller.says("hello")],
        [Caller.says("goodbye"), Caller.presses("1")],
        [Caller.says("goodbye"), Caller.hears("something else")],
        [Caller.breaks_in("stop", after_ms=60_000)],
        [Caller.breaks_in("stop", after_words=500)],
    ],
)
def test_a_script_that_cannot_be_followed_fails(script: list[Step]) -> None:
    with pytest.raises(SimulationError):
        simulate(shop(), script)


def test_what_was_heard_before_is_not_heard_again() -> None:
    with pytest.raises(SimulationError):
        simulate(shop(), [Caller.hears("Welcome"), Caller.hears("Welcome")])


def test_a_script_is_drawn_step_by_step() -> None:
    drawn: list[int] = []

    def script() -> Iterator[Step]:
        steps: list[Step] = [Caller.says("order"), Caller.hangs_up()]
        for number, step in enumerate(steps):
            drawn.append(number)
            yield step

    simulate(shop(), script(), on_said=lambda said: drawn.append(-1))
    assert drawn.index(1) > drawn.index(-1), "the second is drawn after the first was said"


def test_the_same_script_gives_the_same_call() -> None:
    def ring() -> Any:
        script: list[Step] = [
            Caller.breaks_in("order", after_ms=900),
            Caller.says("two"),
            Caller.says("yes"),
        ]
        return simulate(shop(), script)

    first, second = ring(), ring()
    assert first.journal == second.journal
    assert first.transcript == second.transcript
    assert first.shown() == second.shown()


def test_a_script_file() -> None:
    source = """
        # a remark
        < Welcome
        I want to order
        12#
        ! no wait after 500ms
        ! stop after 3 words
        ! now
        ...
        ... 12s
        #1
        *
        hang up
    """
    assert list(read_script(source)) == [
        Caller.hears("Welcome"),
        Caller.says("I want to order"),
        Caller.presses("12#"),
        Caller.breaks_in("no wait", after_ms=500),
        Caller.breaks_in("stop", after_words=3),
        Caller.breaks_in("now"),
        Caller.silent(),
        Caller.silent(12_000),
        Caller.presses("1"),
        Caller.presses("*"),
        Caller.hangs_up(),
    ]


@pytest.mark.parametrize("line", ["!", "... soon"])
def test_a_line_that_says_nothing_is_refused(line: str) -> None:
    with pytest.raises(ScriptError) as caught:
        list(read_script(f"hello\n{line}"))
    assert caught.value.where == "line 2"
