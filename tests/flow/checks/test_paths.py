"""Reads before a value is set, and loops without the caller: what is found, and what is trusted."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.flow.checks.narrowing import set_after, set_if_false, set_if_true
from flowengine.flow.checks.reads import expression_names, template_expressions
from flowengine.flow.findings import Finding
from tests.flow.checks.documents import checked

pytestmark = pytest.mark.unit

Edge = dict[str, Any]


def call(edges: list[Edge], **nodes: Any) -> list[Finding]:
    """The errors about paths of a flow that asks for a day, and says something with it."""
    made = {
        "flow": "1",
        "id": "paths",
        "start": "start",
        "variables": {
            "day": {"type": "date", "output": True},
            "name": {"type": "name", "output": True},
            "city": {"type": "string", "default": "Lyon"},
            "source": {"type": "string", "input": True},
            "campaign": {"type": "string", "input": True, "default": None},
        },
        "tools": {
            "book": {
                "kind": "http",
                "method": "POST",
                "url": "https://x.example/book",
                "body": {"day": "{{ day }}"},
                "save": {"name": "result.body.name"},
            }
        },
        "nodes": {
            "start": {"kind": "greeting", "say": "Hello."},
            "ask": {"kind": "collect", "var": "day", "say": "Which day?"},
            "tell": {"kind": "say", "say": "Until {{ date(day) }}."},
            "end": {"kind": "hangup"},
            **nodes,
        },
        "edges": edges,
    }
    codes = ("unset_read", "silent_loop")
    return [finding for finding in checked(made) if finding.code in codes]


ASK_FIRST: list[Edge] = [
    {"from": "start", "to": "ask"},
    {"from": "ask", "to": "tell"},
    {"from": "ask", "on": "else", "to": "end"},
    {"from": "tell", "to": "end"},
]


def test_what_was_collected_may_be_read() -> None:
    assert call(ASK_FIRST) == []


def test_a_way_round_the_question_is_found_with_its_path() -> None:
    (found,) = call([*ASK_FIRST[:2], {"from": "ask", "on": "else", "to": "tell"}, ASK_FIRST[3]])
    assert (found.code, found.path) == ("unset_read", "$.nodes.tell.say")
    assert found.trace == ("start", "ask", "tell")
    assert "known(day)" in found.fix


def test_a_star_edge_is_a_way_round_too() -> None:
    star = {"from": "*", "on": {"intent": "The caller is in a hurry"}, "to": "tell"}
    (found,) = call([*ASK_FIRST, star])
    assert found.trace == ("start", "tell")


@pytest.mark.parametrize(
    "say",
    [
        "{{ known(day) ? date(day) : 'then' }}",
        [{"if": "known(day)", "text": "Until {{ date(day) }}."}, "Bye."],
        [{"if": "day > now.date() && open_on('x', day)", "text": "{{ date(day) }}"}, "Bye."],
        [{"if": "!known(day)", "text": "Bye."}, "Until {{ date(day) }}."],
        "In {{ city }}, {{ source }}.",
    ],
)
def test_a_text_may_narrow(say: Any) -> None:
    assert (
        call([{"from": "start", "to": "tell"}, ASK_FIRST[3]], tell={"kind": "say", "say": say})
        == []
    )


@pytest.mark.parametrize(
    ("say", "path"),
    [
        ("{{ day }}", "$.nodes.tell.say"),
        ([{"if": "!known(day)", "text": "{{ day }}"}, "Bye."], "$.nodes.tell.say[0].text"),
        ([{"if": "known(name)", "text": "{{ name }}"}, "{{ day }}"], "$.nodes.tell.say[1]"),
        ([{"if": "known(day) || visit > 1", "text": "{{ day }}"}, "."], "$.nodes.tell.say[0].text"),
        ({"en-US": "{{ day }}"}, "$.nodes.tell.say.en-US"),
        ("{{ campaign }}", "$.nodes.tell.say"),
    ],
)
def test_a_text_that_reads_what_may_be_unset(say: Any, path: str) -> None:
    (found,) = call(
        [{"from": "start", "to": "tell"}, ASK_FIRST[3]], tell={"kind": "say", "say": say}
    )
    assert (found.code, found.path) == ("unset_read", path)


@pytest.mark.parametrize(
    "first",
    [
        {"from": "start", "to": "tell", "if": "known(day)"},
        {"from": "start", "to": "tell", "need": ["day"]},
        {"from": "start", "to": "tell", "if": "day == date('2026-01-31') && open_on('x', day)"},
        {"from": "start", "to": "tell", "set": {"day": "date('2026-01-31')"}},
        {"from": "start", "on": {"when": "day > now.date()"}, "to": "tell"},
    ],
)
def test_an_edge_may_narrow(first: Edge) -> None:
    rest = {"from": "start", "on": "else", "to": "end"}
    assert call([first, rest, ASK_FIRST[3]]) == []


def test_a_refused_guard_narrows_the_next_edge() -> None:
    edges = [
        {"from": "start", "to": "end", "if": "!known(day)"},
        {"from": "start", "to": "tell"},
        ASK_FIRST[3],
    ]
    assert call(edges) == []
    edges[0]["if"] = "!known(name)"
    assert [finding.path for finding in call(edges)] == ["$.nodes.tell.say"]


def test_a_value_that_was_forgotten_is_unset() -> None:
    edges = [ASK_FIRST[0], {"from": "ask", "to": "tell", "set": {"day": "null"}}, *ASK_FIRST[2:]]
    (found,) = call(edges)
    assert (found.path, found.trace) == ("$.nodes.tell.say", ("start", "ask", "tell"))


def test_a_set_reads_before_it_sets() -> None:
    edges = [{"from": "start", "to": "tell", "set": {"day": "day"}}, ASK_FIRST[3]]
    assert [finding.path for finding in call(edges)] == ["$.edges[0].set.day"]


def test_a_tools_request_is_read_where_it_is_called() -> None:
    book = {"kind": "tool", "tool": "book"}
    edges = [
        {"from": "start", "to": "book"},
        {"from": "book", "on": "else", "to": "end"},
    ]
    (found,) = call(edges, book=book)
    assert (found.path, found.trace) == ("$.tools.book.body.day", ("start", "book"))


def test_what_a_tool_saves_is_set_when_it_is_done() -> None:
    nodes = {
        "book": {"kind": "tool", "tool": "book"},
        "thank": {"kind": "say", "say": "{{ name }}"},
    }
    edges = [
        *ASK_FIRST[:1],
        {"from": "ask", "to": "book"},
        ASK_FIRST[2],
        {"from": "book", "to": "thank"},
        {"from": "book", "on": "else", "to": "end"},
        {"from": "thank", "to": "end"},
    ]
    assert call(edges, **nodes) == []
    edges[4]["to"] = "thank"
    assert [finding.trace for finding in call(edges, **nodes)] == [
        ("start", "ask", "book", "thank")
    ]


LOOP: list[Edge] = [
    {"from": "start", "to": "book"},
    {"from": "book", "to": "end"},
    {"from": "book", "on": "else", "to": "sorry"},
    {"from": "sorry", "to": "book"},
]
LOOP_NODES = {
    "book": {"kind": "tool", "tool": "book", "with": {}},
    "sorry": {"kind": "say", "say": "One more time."},
}


def loops(edges: list[Edge]) -> list[tuple[str, ...]]:
    """The rings that are found."""
    return [f.trace for f in call(edges, **LOOP_NODES) if f.code == "silent_loop"]


def test_a_loop_of_failures_turns_without_the_caller() -> None:
    assert loops(LOOP) == [("book", "sorry", "book")]


@pytest.mark.parametrize(
    "bounded",
    [
        {"from": "book", "on": "else", "to": "sorry", "if": "visits('book') < 3"},
        {"from": "book", "on": "failed", "to": "sorry", "cooldown": "10s"},
    ],
)
def test_a_guard_that_counts_bounds_a_loop(bounded: Edge) -> None:
    last = {"from": "book", "on": "else", "to": "end"}
    assert loops([*LOOP[:2], bounded, last, LOOP[3]]) == []


def test_a_counting_guard_before_it_bounds_a_loop() -> None:
    out = {"from": "book", "on": "else", "to": "end", "if": "visits('book') > 2"}
    assert loops([LOOP[0], LOOP[1], out, *LOOP[2:]]) == []


def test_a_variable_that_the_loop_sets_bounds_it() -> None:
    edges = [
        *LOOP[:2],
        {**LOOP[2], "if": "city != 'x'"},
        {"from": "book", "on": "else", "to": "end"},
    ]
    assert loops([*edges, LOOP[3]]) == [("book", "sorry", "book")]
    assert loops([*edges, {**LOOP[3], "set": {"city": "city + 'x'"}}]) == []


def test_silence_makes_a_loop_and_an_answer_does_not() -> None:
    ring = [*ASK_FIRST[:2], {"from": "ask", "on": "no_match", "to": "start"}, *ASK_FIRST[3:]]
    assert call(ring) == []
    ring[2] = {"from": "ask", "on": "no_input", "to": "ask"}
    assert [(f.code, f.trace) for f in call(ring)] == [("silent_loop", ("ask", "ask"))]


@pytest.mark.parametrize(
    ("source", "values", "asked"),
    [
        ("day > now.date()", {"day", "now"}, set()),
        ("known(day) && party > 2", {"party"}, {"day"}),
        ("reason == 'day' || x.day", {"reason", "x"}, set()),
        ("size(slots) + call.from", {"slots", "call"}, set()),
        ('caller_in("vip")', set(), set()),
        ("known( day )", set(), {"day"}),
    ],
)
def test_the_names_in_an_expression(source: str, values: set[str], asked: set[str]) -> None:
    names = expression_names(source)
    assert (set(names.values), set(names.asked)) == (values, asked)


def test_what_conditions_tell() -> None:
    assert set_if_true("known(a) && b > 1") >= {"a", "b"}
    assert set_if_true("!known(a) && b > 1") == {"b"}
    assert set_if_true("known(a) || known(b)") == frozenset()
    assert set_if_false("!known(a) || ! known( b )") == {"a", "b"}
    assert set_if_false("!known(a) && !known(b)") == frozenset()
    assert set_after(["!known(a)", None, "x"]) == {"a"}
    assert template_expressions("a {{ b }} c {{d}}") == ("b", "d")
