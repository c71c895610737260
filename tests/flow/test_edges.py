"""The choice of an edge, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.events import Json
from flowengine.flow.edges import Choice, EdgeState
from flowengine.flow.program import Program
from flowengine.ids import EdgeId, NodeId
from tests.flow.documents import flow_of, program_of, scope

pytestmark = pytest.mark.unit

NODES: dict[str, Json] = {
    "menu": {"kind": "menu", "say": "?", "choices": {"order": {"key": "1", "words": ["order"]}}},
    "talk": {"kind": "dialog", "prompt": "Help.", "collect": ["reason"]},
    "pin": {"kind": "collect", "var": "pin", "say": "Your PIN?"},
    "size": {"kind": "collect", "var": "size", "say": "How many?"},
    "fork": {"kind": "route"},
    "ask": {"kind": "tool", "tool": "t"},
    "desk": {"kind": "transfer", "to": "+33123456789"},
    "hello": {"kind": "greeting", "say": "Hi."},
    "help": {"kind": "say", "say": "Help."},
    "bye": {"kind": "hangup", "say": "Bye."},
}
VARIABLES: dict[str, Json] = {
    "reason": {"type": "string"},
    "size": {"type": "integer"},
    "pin": {"type": "digits", "sensitive": True},
}
TOOLS: dict[str, Json] = {"t": {"kind": "http", "url": "https://x.example/"}}


def program(*edges: Json) -> Program:
    return program_of(flow_of(NODES, list(edges), VARIABLES, tools=TOOLS))


def edge(source: Any, to: str, **more: Any) -> dict[str, Any]:
    if "if_" in more:
        more["if"] = more.pop("if_")
    return {"from": source, "to": to, **more}


def outcome(program: Program, node: str, name: str, **values: Json) -> Choice:
    return program.edges.on_outcome(NodeId(node), name, scope(values))


def key(program: Program, node: str, digits: str, **more: Any) -> Choice:
    return program.edges.on_key(NodeId(node), digits, scope(), **more)


def verdicts(choice: Choice) -> dict[str, str]:
    return {item.edge: item.verdict for item in choice.considered}


def test_own_then_else_then_star() -> None:
    book = program(
        edge("*", "bye", on="failed"),
        edge("ask", "help", on="else"),
        edge("ask", "menu", on="failed", if_="size == 1"),
    )
    assert outcome(book, "ask", "failed", size=1).to == "menu"
    second = outcome(book, "ask", "failed", size=2)
    assert second.to == "help"
    assert verdicts(second) == {"e2": "guard_false", "e1": "taken"}
    without_else = program(edge("*", "bye", on="failed"))
    assert outcome(without_else, "ask", "failed").to == "bye"


def test_done_is_the_default_and_else_takes_it_too() -> None:
    assert outcome(program(edge("ask", "help")), "ask", "done").to == "help"
    assert outcome(program(edge("ask", "help", on="else")), "ask", "done").to == "help"


def test_else_takes_neither_error_nor_hung_up() -> None:
    book = program(edge("ask", "help", on="else"))
    assert (outcome(book, "ask", "error").to, outcome(book, "ask", "error").built_in) == (
        None,
        "apology",
    )
    assert (outcome(book, "ask", "hung_up").to, outcome(book, "ask", "hung_up").built_in) == (
        None,
        "hangup",
    )


def test_document_order_decides() -> None:
    book = program(edge("ask", "help", if_="size > 1"), edge("ask", "menu"), edge("ask", "bye"))
    choice = outcome(book, "ask", "done", size=5)
    assert choice.to == "help"
    assert verdicts(choice) == {"e0": "taken", "e1": "not_looked_at", "e2": "not_looked_at"}
    assert choice.considered[0].guard == "size > 1"
    assert choice.considered[0].values == {"size": 5}


def test_a_list_of_sources_and_of_outcomes() -> None:
    book = program(edge(["ask", "size"], "help", on=["failed", "no_match"]))
    assert outcome(book, "ask", "failed").to == "help"
    assert outcome(book, "size", "no_match").to == "help"
    assert outcome(book, "fork", "done").to is None


def test_unset_guard_is_not_true_and_the_record_names_it() -> None:
    book = program(edge("ask", "help", if_="size > 1"), edge("ask", "menu"))
    choice = outcome(book, "ask", "done")
    assert choice.to == "menu"
    first = choice.considered[0]
    assert (first.verdict, first.reason) == ("unset", "not set: size")


def test_star_never_leads_to_its_own_target() -> None:
    book = program(
        edge("*", "help", on={"intent": "help"}),
        edge("*", "help", on="error"),
        edge("*", "bye", on={"digits": "9"}),
    )
    assert book.edges.intents(NodeId("help"), scope()) == ()
    assert outcome(book, "help", "error").built_in == "apology"
    assert [e.id for e in book.edges.intents(NodeId("talk"), scope())] == ["e0"]
    assert key(book, "bye", "9").to is None


def test_own_self_edge_is_allowed() -> None:
    book = program(edge("size", "size", on="no_match"))
    assert outcome(book, "size", "no_match").to == "size"


def test_star_keys_and_intents_are_not_in_force_everywhere() -> None:
    book = program(
        edge("*", "help", on={"digits": "0"}),
        edge("*", "help", on={"intent": "help"}),
        edge("*", "help", on={"when": "size > 100"}),
        edge("*", "help", on="error"),
    )
    for node in ("menu", "talk", "size", "desk", "hello"):
        assert book.edges.digits(NodeId(node)) == ("0",), node
    for node in ("pin", "fork"):
        assert book.edges.digits(NodeId(node)) == (), node
        assert book.edges.intents(NodeId(node), scope()) == (), node
        assert book.edges.on_change(NodeId(node), scope({"size": 200})).to is None, node
        assert outcome(book, node, "error").to == "help", node
    assert book.edges.digits(NodeId("hello"), star=False) == ()
    assert key(book, "desk", "0", star=False).to is None


def test_keys() -> None:
    book = program(
        edge("*", "bye", on={"digits": "9"}),
        edge("talk", "help", on={"digits": "9"}, if_="size == 1"),
        edge("talk", "menu", on={"digits": "12"}),
        edge("talk", "desk", on={"digits": "1"}),
    )
    assert book.edges.digits(NodeId("talk")) == ("9", "12", "1")
    assert key(book, "talk", "12").to == "menu"
    assert key(book, "talk", "1").to == "desk"
    assert key(book, "talk", "9").to == "bye"
    assert key(book, "talk", "3") == Choice(None, None)


def test_only_the_first_key_of_a_keyed_collect() -> None:
    book = program(
        edge("pin", "desk", on={"digits": "*"}), edge("talk", "desk", on={"digits": "*"})
    )
    assert key(book, "pin", "*").to == "desk"
    assert key(book, "pin", "*", first_key=False).to is None
    assert key(book, "talk", "*", first_key=False).to == "desk"


def test_when() -> None:
    book = program(
        edge("talk", "desk", on={"when": "reason == 'billing'"}, if_="size > 1"),
        edge("talk", "help", on={"when": "known(reason)"}),
    )

    def change(**values: Json) -> Choice:
        return book.edges.on_change(NodeId("talk"), scope(values))

    assert change().to is None
    assert change(reason="x").to == "help"
    assert change(reason="billing", size=2).to == "desk"
    both = change(reason="billing", size=1)
    assert both.to == "help"
    assert both.considered[0].guard == "reason == 'billing' && size > 1"
    assert both.considered[0].values == {"reason": "billing", "size": 1}


def test_intents_are_own_then_star_and_guarded() -> None:
    book = program(
        edge("*", "bye", on={"intent": "stop"}, id="stop"),
        edge("talk", "desk", on={"intent": "person"}, if_="size == 1", id="person"),
        edge("talk", "menu", on={"intent": "menu", "examples": ["the menu"]}, id="menu"),
    )
    node = NodeId("talk")
    assert [e.id for e in book.edges.intents(node, scope())] == ["menu", "stop"]
    assert [e.id for e in book.edges.intents(node, scope({"size": 1}))] == [
        "person",
        "menu",
        "stop",
    ]
    taken = book.edges.on_intent(node, EdgeId("stop"), scope(), score=0.8)
    assert (taken.to, taken.decided_by) == ("bye", "llm")
    assert verdicts(taken) == {"person": "not_looked_at", "menu": "not_looked_at", "stop": "taken"}
    refused = book.edges.on_intent(node, EdgeId("person"), scope({"size": 2}), decided_by="matcher")
    assert (refused.edge, refused.decided_by) == (None, "matcher")
    assert verdicts(refused)["person"] == "guard_false"
    unknown = book.edges.on_intent(node, EdgeId("nowhere"), scope())
    assert (unknown.edge, verdicts(unknown)["nowhere"]) == (None, "refused")


def test_need_and_cooldown() -> None:
    book = program(
        edge("talk", "desk", on={"intent": "person"}, need=["size"], id="a"),
        edge("talk", "help", on={"intent": "help"}, cooldown="30s", id="b"),
    )
    node = NodeId("talk")
    needs = book.edges.on_intent(node, EdgeId("a"), scope())
    assert (needs.edge, needs.considered[0].verdict, needs.considered[0].reason) == (
        None,
        "need",
        "not known: size",
    )
    assert book.edges.on_intent(node, EdgeId("a"), scope({"size": 0})).to == "desk"
    fired = {"b": 10_000}
    resting = book.edges.on_intent(node, EdgeId("b"), scope(), EdgeState(39_999, fired))
    assert (resting.edge, verdicts(resting)["b"]) == (None, "cooldown")
    assert book.edges.on_intent(node, EdgeId("b"), scope(), EdgeState(40_000, fired)).to == "help"
    assert book.edges.intents(node, scope({"size": 1}), EdgeState(20_000, fired))[0].id == "a"
    assert len(book.edges.intents(node, scope({"size": 1}), EdgeState(20_000, fired))) == 1


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("ask", "failed"),
        ("ask", "timeout"),
        ("size", "no_match"),
        ("size", "no_input"),
        ("talk", "max_turns"),
        ("desk", "busy"),
        ("desk", "no_answer"),
        ("desk", "declined"),
    ],
)
def test_what_goes_wrong_takes_error_then_star_error_then_sorry(node: str, name: str) -> None:
    star = edge("*", "bye", on="error")
    assert outcome(program(edge(node, "help", on="error"), star), node, name).to == "help"
    assert outcome(program(star), node, name).to == "bye"
    assert outcome(program(star, edge("*", "help", on=name)), node, name).to == "help"
    sorry = outcome(program(), node, name)
    assert (sorry.edge, sorry.built_in, sorry.decided_by) == (None, "apology", "built_in")


def test_machines_and_nobody_are_hung_up_on() -> None:
    star = edge("*", "bye", on="error")
    for name in ("voicemail", "unreached"):
        assert outcome(program(star), "hello", name).built_in == "hangup"
        assert outcome(program(edge("hello", "help", on=name)), "hello", name).to == "help"


def test_hung_up_and_time_up() -> None:
    assert outcome(program(), "talk", "hung_up").built_in == "hangup"
    book = program(edge("*", "ask", on="hung_up"), edge("*", "bye", on="time_up"))
    assert outcome(book, "talk", "hung_up").to == "ask"
    assert outcome(book, "talk", "time_up").to == "bye"
    assert outcome(program(edge("talk", "help", on="else")), "talk", "time_up").built_in == "hangup"


def test_a_transfer_that_is_over_ends_the_call_and_a_lost_route_says_sorry() -> None:
    assert outcome(program(), "desk", "done").built_in == "hangup"
    guarded = edge("fork", "help", if_="size == 1")
    assert outcome(program(guarded), "fork", "done", size=2).built_in == "apology"
    star = edge("*", "bye", on="error")
    assert outcome(program(guarded, star), "fork", "done", size=2).to == "bye"


def test_back_is_returned_as_such() -> None:
    assert outcome(program(edge("help", "@back")), "help", "done").to == "@back"


def test_sets_are_evaluated_together() -> None:
    book = program(
        edge("ask", "help", set={"size": "size + 1", "reason": "string(size)", "pin": "null"})
    )
    assert outcome(book, "ask", "done", size=1).sets == (
        ("size", 2),
        ("reason", "1"),
        ("pin", None),
    )
    failed = outcome(book, "ask", "done")
    assert failed.to == "help"
    assert failed.sets == (("pin", None),)
    assert "size not set: unset: size" in failed.considered[0].reason


def test_result_guards_outcomes() -> None:
    book = program(
        edge("ask", "help", if_="result.status == 200"),
        edge("ask", "menu", set={"reason": "result.body.why"}),
    )
    node = NodeId("ask")
    good = book.edges.on_outcome(node, "done", scope(result={"status": 200, "body": {}}))
    assert good.to == "help"
    other = book.edges.on_outcome(node, "done", scope(result={"status": 201, "body": {"why": "x"}}))
    assert (other.to, other.sets) == ("menu", (("reason", "x"),))


def test_an_outer_flow_lends_only_its_star_edges() -> None:
    book = program(
        edge("fork", "help"),
        edge("fork", "help", on={"digits": "1"}),
        edge("*", "bye", on={"digits": "9"}),
        edge("*", "desk", on={"intent": "person"}),
        edge("*", "bye", on="error"),
    )
    node = NodeId("fork")
    assert book.edges.digits(node, only_star=True) == ("9",)
    assert key(book, "fork", "1", only_star=True).to is None
    assert key(book, "fork", "9", only_star=True).to == "bye"
    assert len(book.edges.intents(node, scope(), only_star=True)) == 1
    assert book.edges.on_outcome(node, "done", scope(), only_star=True).built_in == "hangup"
    assert book.edges.on_outcome(node, "failed", scope(), only_star=True).to == "bye"


OUTCOMES = ["done", "failed", "timeout", "error", "hung_up", "time_up", "no_input", "else"]
NAMES = list(NODES)


@st.composite
def random_edges(draw: st.DrawFn) -> list[dict[str, Any]]:
    edges = []
    for _ in range(draw(st.integers(0, 12))):
        made = edge(draw(st.sampled_from([*NAMES, "*"])), draw(st.sampled_from([*NAMES, "@back"])))
        trigger = draw(
            st.sampled_from([*OUTCOMES, {"digits": "1"}, {"intent": "x"}, {"when": "size > 1"}])
        )
        made["on"] = trigger
        guard = draw(st.sampled_from([None, "size > 1", "known(size)", "reason == 'a'"]))
        if guard:
            made["if"] = guard
        edges.append(made)
    return edges


@given(
    random_edges(),
    st.sampled_from(NAMES),
    st.sampled_from(OUTCOMES[:-1]),
    st.dictionaries(st.just("size"), st.integers(0, 3)),
)
def test_choice_is_deterministic_and_always_ends_somewhere(
    edges: list[dict[str, Any]], node: str, name: str, values: dict[str, Json]
) -> None:
    book = program(*edges)
    choice = outcome(book, node, name, **values)
    assert choice == outcome(program(*edges), node, name, **values)
    assert (choice.edge is None) == (choice.built_in is not None)
    taken = [item.edge for item in choice.considered if item.verdict == "taken"]
    assert taken == ([choice.edge.id] if choice.edge else [])
    if choice.edge is not None and choice.edge.is_star:
        assert choice.to != node
    for picked in (key(book, node, "1"), book.edges.on_change(NodeId(node), scope(values))):
        assert picked.built_in is None
        assert picked.edge is None or picked.to == picked.edge.to
