"""Where a call is in its graph: which edge, of which flow, and the record of it."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.events import Considered, EdgeDecided, Json
from flowengine.flow.defaults import SttUse, TtsUse
from flowengine.flow.scope import CallFacts
from flowengine.ids import CallId, NodeId
from flowengine.runtime.context import Context, Frame, ServerDefaults
from flowengine.runtime.effects import Report
from flowengine.runtime.walk import Move, Walk
from tests.runtime.small_flows import program

pytestmark = pytest.mark.unit

SAY = {"kind": "say", "say": "Hm."}
OUTER: dict[str, Any] = {
    "flow": "1",
    "id": "outer",
    "start": "a",
    "variables": {
        "n": {"type": "integer"},
        "kind": {"type": "string"},
        "ok": {"type": "boolean"},
    },
    "defaults": {"limits": {"node_visits": 2}},
    "nodes": {
        "a": {"kind": "menu", "say": "One?", "choices": {"one": {"key": "1", "words": ["one"]}}},
        "b": SAY,
        "sub": {"kind": "flow", "flow": "inner"},
        "t": {"kind": "transfer", "to": "+33123456789"},
        "end": {"kind": "hangup"},
    },
    "edges": [
        {"id": "small", "from": "a", "on": "one", "if": "n < 5", "to": "b"},
        {"id": "big", "from": "a", "on": "one", "to": "end", "set": {"kind": "'big'"}},
        {"id": "else", "from": "a", "on": "else", "to": "end"},
        {"id": "five", "from": "a", "on": {"digits": "5"}, "to": "b"},
        {"id": "seven", "from": "a", "on": {"digits": "7"}, "if": "n > 3", "to": "b"},
        {"id": "many", "from": "a", "on": {"when": "n > 100"}, "to": "b"},
        {
            "id": "person",
            "from": "a",
            "on": {"intent": "wants a person", "examples": ["human"], "not": ["personal"]},
            "to": "t",
            "cooldown": "10s",
        },
        {"id": "rich", "from": "a", "on": {"intent": "is rich"}, "if": "n > 3", "to": "b"},
        {"id": "b_end", "from": "b", "to": "end"},
        {"id": "sub_end", "from": "sub", "on": "else", "to": "end"},
        {"id": "stop", "from": "*", "on": {"intent": "wants to stop"}, "to": "end"},
        {"id": "back", "from": "*", "on": {"digits": "9"}, "to": "@back"},
        {"id": "zero", "from": "*", "on": {"digits": "0"}, "to": "t"},
        {"id": "failed", "from": "*", "on": "error", "to": "end"},
        {"id": "time", "from": "*", "on": "time_up", "to": "b"},
        {"id": "flag", "from": "*", "on": {"when": "ok"}, "to": "b"},
    ],
}
INNER: dict[str, Any] = {
    "flow": "1",
    "id": "inner",
    "start": "ask",
    "variables": {"m": {"type": "integer"}},
    "nodes": {
        "ask": {"kind": "collect", "var": "m", "say": "Which?"},
        "ok": {"kind": "return", "as": "done"},
    },
    "edges": [
        {"id": "asked", "from": "ask", "to": "ok"},
        {"id": "star", "from": "*", "on": {"digits": "0"}, "to": "ok"},
        {"id": "mine", "from": "ask", "on": {"intent": "wants out"}, "to": "ok"},
    ],
}
PROGRAM = program(OUTER, inner=program(INNER))
INNER_PROGRAM = PROGRAM.subflows["inner"]
SERVER = ServerDefaults(
    SttUse.model_validate({"provider": "s"}), None, TtsUse.model_validate({"provider": "s"})
)
CALL = CallFacts("c", "inbound", "+1", "+2")


def walk_at(node: str, inner: str = "", **values: Json) -> tuple[Walk, Context]:
    """A walk that stands at a node, and in a sub-flow's node if one is named."""
    context = Context(CALL, PROGRAM, SERVER, CallId("c"))
    context.frame.values.update(values)
    walk = Walk(context)
    walk.enter(NodeId(node))
    if inner:
        context.frames.append(Frame(INNER_PROGRAM))
        walk.enter(NodeId(inner))
    return walk, context


def decided(context: Context) -> list[EdgeDecided]:
    """The decision records since it was asked last."""
    effects = context.take_effects()
    facts = [effect.fact for effect in effects if isinstance(effect, Report)]
    assert len(facts) == len(effects)
    return [fact for fact in facts if isinstance(fact, EdgeDecided)]


def test_an_outcome_takes_the_first_edge_whose_guard_holds() -> None:
    walk, context = walk_at("a", n=3)
    assert walk.on_outcome("one") == Move(NodeId("b"), "outcome", 0)
    assert decided(context) == [
        EdgeDecided(
            "a",
            {"outcome": "one"},
            "small",
            "b",
            (
                Considered("small", "taken", "n < 5", {"n": 3}),
                Considered("big", "not_looked_at"),
            ),
            "engine",
        )
    ]


def test_the_next_edge_is_taken_when_the_guard_does_not_hold() -> None:
    walk, context = walk_at("a", n=8)
    assert walk.on_outcome("one") == Move(NodeId("end"), "outcome", 0, (("kind", "big"),))
    (record,) = decided(context)
    assert [item.verdict for item in record.considered] == ["guard_false", "taken"]
    assert record.edge == "big"


def test_an_outcome_without_an_edge_ends_by_the_built_in_rules() -> None:
    walk, context = walk_at("t")
    assert walk.on_outcome("done") == Move(
        None, "outcome", 0, built_in="hangup", disposition="done"
    )
    assert walk.on_outcome("hung_up") == Move(
        None, "outcome", 0, built_in="hangup", disposition="hung_up"
    )
    records = decided(context)
    assert [(item.edge, item.to, item.decided_by) for item in records] == [
        (None, None, "built_in"),
        (None, None, "built_in"),
    ]


def test_what_goes_wrong_takes_the_error_edge() -> None:
    walk, _ = walk_at("t")
    assert walk.on_outcome("busy") == Move(NodeId("end"), "outcome", 0)
    alone = Walk(Context(CALL, INNER_PROGRAM, SERVER, CallId("c")))
    alone.enter(NodeId("ask"))
    assert alone.on_outcome("no_match") == Move(
        None, "outcome", 0, built_in="apology", disposition="failed"
    )


def test_an_outcome_of_a_sub_flow_asks_it_first_then_the_outer_stars() -> None:
    walk, context = walk_at("sub", "ask")
    assert walk.on_outcome("done") == Move(NodeId("ok"), "outcome", 1)
    assert walk.on_outcome("error") == Move(NodeId("end"), "outcome", 0)
    assert [(item.node, item.edge) for item in decided(context)] == [
        ("ask", "asked"),
        ("sub", "failed"),
    ]


def test_a_key_is_tried_in_the_running_flow_first() -> None:
    walk, context = walk_at("sub", "ask")
    assert walk.key_strings() == ("0", "9")
    assert walk.on_key("0") == Move(NodeId("ok"), "key", 1)
    assert decided(context)[0].trigger == {"digits": "0"}
    outer, _ = walk_at("a")
    assert outer.key_strings() == ("5", "7", "9", "0")
    assert outer.on_key("0") == Move(NodeId("t"), "key", 0)


def test_while_a_value_is_keyed_only_the_nodes_own_edges_wait_for_keys() -> None:
    """Rule 5 of the flow language: a key from anywhere would take the first key of a number."""
    assert walk_at("sub", "ask")[0].key_strings(own_only=True) == ()
    assert walk_at("a")[0].key_strings(own_only=True) == ("5", "7")


def test_a_key_that_no_edge_may_take_leaves_its_record() -> None:
    walk, context = walk_at("a", n=1)
    assert walk.on_key("7") is None
    (record,) = decided(context)
    assert (record.node, record.edge, record.trigger) == ("a", None, {"digits": "7"})
    assert record.considered == (Considered("seven", "guard_false", "n > 3", {"n": 1}),)
    assert walk.on_key("4") is None
    assert decided(context) == [], "nothing was considered"


def test_back_goes_where_the_last_key_turn_or_value_left() -> None:
    walk, context = walk_at("a")
    assert walk.on_key("9") == Move(NodeId("a"), "back", 0), "nowhere to go back to"
    assert walk.on_key("5") == Move(NodeId("b"), "key", 0)
    walk.enter(NodeId("b"))
    assert context.frame.back == "a"
    assert walk.on_key("9") == Move(NodeId("a"), "back", 0)
    assert context.frame.back == "a", "going back leaves the place as it was"


def test_an_outcome_leaves_no_place_to_go_back_to() -> None:
    walk, context = walk_at("b")
    walk.on_outcome("done")
    assert context.frame.back is None
    walk, context = walk_at("a", ok=True)
    walk.on_change()
    assert context.frame.back == "a"


def test_a_change_of_value_takes_a_when_edge_and_leaves_no_record_else() -> None:
    walk, context = walk_at("a", n=50)
    assert walk.on_change() is None
    assert decided(context) == []
    context.frame.values["n"] = 101
    assert walk.on_change() == Move(NodeId("b"), "value", 0)
    assert [(item.edge, item.trigger) for item in decided(context)] == [("many", {"change": True})]


def test_a_change_in_a_sub_flow_may_fire_an_outer_star() -> None:
    walk, context = walk_at("sub", "ask", ok=True)
    assert walk.on_change() == Move(NodeId("b"), "value", 0)
    assert decided(context)[0].node == "sub"


def test_the_intents_in_force_are_those_whose_guard_holds() -> None:
    walk, _ = walk_at("a", n=1)
    assert [item.id for item in walk.intents()] == ["person", "stop"]
    person = walk.intents()[0]
    assert (person.intent, person.examples, person.not_examples, person.depth) == (
        "wants a person",
        ("human",),
        ("personal",),
        0,
    )
    rich, _ = walk_at("a", n=4)
    assert [item.id for item in rich.intents()] == ["person", "rich", "stop"]


def test_intents_of_outer_flows_have_names_of_their_own() -> None:
    walk, context = walk_at("sub", "ask")
    assert [(item.id, item.depth) for item in walk.intents()] == [("mine", 1), ("outer0.stop", 0)]
    assert walk.on_intent("outer0.stop", "llm", quote="stop it", took_ms=7) == Move(
        NodeId("end"), "turn", 0
    )
    (record,) = decided(context)
    assert (record.node, record.edge, record.decided_by) == ("sub", "stop", "llm")
    assert (record.quote, record.took_ms) == ("stop it", 7)
    assert record.trigger == {"intent": "outer0.stop"}
    assert walk.on_intent("mine", "llm") == Move(NodeId("ok"), "turn", 1)


def test_an_intent_carries_its_score_and_rests_after_it_fired() -> None:
    walk, context = walk_at("a")
    context.begin(1000)
    assert walk.on_intent("person", "matcher", quote="human", score=0.75) == Move(
        NodeId("t"), "turn", 0
    )
    (record,) = decided(context)
    assert record.decided_by == "matcher"
    assert record.took_ms == 0
    assert record.considered[0] == Considered("person", "taken", score=0.75)
    assert context.frame.fired_ms == {"person": 1000}
    context.begin(2000)
    assert walk.on_intent("person", "matcher") is None
    assert decided(context)[0].considered[0].verdict == "cooldown"
    context.begin(11_000)
    assert walk.on_intent("person", "matcher") is not None


@pytest.mark.parametrize("name", ["outer7.stop", "outer9.person"])
def test_an_intent_of_a_flow_that_is_not_there_is_no_move(name: str) -> None:
    walk, context = walk_at("a")
    assert walk.on_intent(name, "llm") is None
    assert decided(context) == []


@pytest.mark.parametrize("name", ["nonsense", "outer.stop", "outerx.stop", "outer0"])
def test_an_unknown_intent_is_refused_with_a_record(name: str) -> None:
    walk, context = walk_at("a")
    assert walk.on_intent(name, "llm") is None
    (record,) = decided(context)
    assert record.considered[-1].verdict == "refused"
    assert record.considered[-1].edge == name


def test_what_the_engine_refuses_has_its_record() -> None:
    walk, context = walk_at("a")
    walk.refused("person", "no evidence", "a human being")
    assert decided(context) == [
        EdgeDecided(
            "a",
            {"intent": "person"},
            None,
            None,
            (Considered("person", "refused", reason="no evidence"),),
            "llm",
            quote="a human being",
        )
    ]


def test_when_the_time_is_up_only_an_edge_of_the_flow_moves() -> None:
    walk, context = walk_at("a")
    assert walk.on_time_up() == Move(NodeId("b"), "outcome", 0)
    assert decided(context)[0].trigger == {"outcome": "time_up"}
    inner, _ = walk_at("sub", "ask")
    assert inner.on_time_up() == Move(NodeId("b"), "outcome", 0)
    at_its_target, _ = walk_at("b")
    assert at_its_target.on_time_up() is None


def test_entering_counts_visits() -> None:
    walk, context = walk_at("a")
    context.frame.tries = 3
    assert (context.node_entry, context.frame.visits) == (1, {"a": 1})
    assert walk.enter(NodeId("b")) == 1
    assert walk.enter(NodeId("a")) == 2
    assert context.frame.tries == 1
    assert context.frame.node == "a"
    assert (context.node_entry, context.frame.visits) == (3, {"a": 2, "b": 1})


def test_too_many_visits_without_the_caller_are_spinning() -> None:
    walk, _ = walk_at("a")
    walk.enter(NodeId("a"))
    assert not walk.is_spinning()
    walk.enter(NodeId("a"))
    assert walk.is_spinning()
    walk.enter(NodeId("b"))
    assert not walk.is_spinning(), "each node counts for itself"
    walk.enter(NodeId("a"))
    assert walk.is_spinning()
    walk.caller_acted()
    assert not walk.is_spinning()
    walk.enter(NodeId("a"))
    assert not walk.is_spinning()


def test_visits_count_apart_in_a_sub_flow() -> None:
    walk, context = walk_at("a")
    walk.enter(NodeId("a"))
    walk.enter(NodeId("a"))
    context.frames.append(Frame(PROGRAM))
    walk.enter(NodeId("a"))
    assert not walk.is_spinning()


def test_a_call_without_a_flow_is_a_fault() -> None:
    walk, context = walk_at("a")
    context.frames.clear()
    with pytest.raises((RuntimeError, IndexError)):
        walk.on_outcome("done")
