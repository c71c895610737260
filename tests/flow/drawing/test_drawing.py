"""Pictures: every part is there, text is escaped, a call's way is shown, Graphviz is optional."""

from __future__ import annotations

import shutil
from typing import Any, ClassVar, Literal
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.errors import ConfigError
from flowengine.events import Json
from flowengine.flow.drawing import (
    Step,
    draw_dot,
    draw_mermaid,
    draw_svg,
    families_of,
    graph_of,
    render_dot,
)
from flowengine.flow.drawing.picture import first_words
from flowengine.flow.drawing.trail import order_text, trail_of
from flowengine.flow.kind import Family as KindFamily
from flowengine.flow.kind import Node

pytestmark = pytest.mark.unit

SVG = "{http://www.w3.org/2000/svg}"

DESK: dict[str, Any] = {
    "name": "Front desk",
    "start": "welcome",
    "nodes": {
        "welcome": {"kind": "greeting", "say": "Thanks for calling."},
        "triage": {"kind": "dialog", "prompt": "Find out why <b>they</b> call & ask."},
        "desk": {"kind": "transfer", "label": "Front desk", "to": ["+33123456789", "+33123456780"]},
        "bye": {"kind": "hangup", "disposition": "served"},
    },
    "edges": [
        {"from": "welcome", "to": "triage", "if": "open('office')"},
        {"from": ["welcome", "triage"], "on": "else", "to": "bye"},
        {"from": "triage", "on": {"intent": "The caller asks for a person"}, "to": "desk"},
        {"from": "triage", "on": {"digits": "0"}, "to": "desk", "id": "zero"},
        {"from": "triage", "on": {"when": "reason == 'billing'"}, "to": "desk"},
        {"from": "desk", "on": ["busy", "no_answer"], "to": "@back"},
        {"from": "*", "on": "error", "to": "bye"},
    ],
}


def texts(svg: str) -> str:
    """All words that a reader sees."""
    return " ".join(
        element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")
    )


def by_attribute(svg: str, name: str) -> dict[str, list[str]]:
    """The classes of every element that has the attribute, by its value."""
    found: dict[str, list[str]] = {}
    for element in ElementTree.fromstring(svg).iter():
        if name in element.attrib:
            found.setdefault(element.attrib[name], []).append(element.attrib.get("class", ""))
    return found


def test_svg_shows_every_card_and_edge() -> None:
    svg = draw_svg(graph_of(DESK))
    words = texts(svg)
    for word in ["GREETING", "welcome", "Thanks for calling.", "Front desk", "+33123456789,"]:
        assert word in words
    for word in ["key 0", "reason == 'billing'", "busy, no answer", "From anywhere", "error"]:
        assert word in words
    assert set(by_attribute(svg, "data-node")) == {"welcome", "triage", "desk", "bye"}
    assert len(by_attribute(svg, "data-edge")["e1"]) == 2
    assert "zero" in by_attribute(svg, "data-edge")


def test_svg_is_self_contained_and_knows_dark_pages() -> None:
    svg = draw_svg(graph_of(DESK))
    assert "prefers-color-scheme:dark" in svg
    assert "<script" not in svg
    assert "href" not in svg
    assert svg.count("http") == 1  # the namespace


def test_svg_shows_the_way_of_a_call() -> None:
    steps = [
        Step("welcome"),
        Step("triage", "e0"),
        Step("desk", "zero"),
        Step("bye", "e6"),
    ]
    svg = draw_svg(graph_of(DESK), steps=steps)
    nodes = by_attribute(svg, "data-node")
    assert all("taken" in nodes[name][0] for name in ("welcome", "triage", "desk", "bye"))
    edges = by_attribute(svg, "data-edge")
    assert "taken" in edges["zero"][0]
    assert "faded" in edges["e2"][0]
    assert "taken" in edges["e6"][0]


def test_a_trail_takes_the_line_of_the_node_that_was_left() -> None:
    graph = graph_of(DESK)
    trail = trail_of(graph, [Step("welcome"), Step("bye", "e1"), Step("welcome", "nowhere")])
    assert trail.nodes == {"welcome": [1, 3], "bye": [2]}
    ((number, orders),) = trail.edges.items()
    assert (graph.edges[number].from_, orders) == ("welcome", [2])


def test_order_numbers_stay_short() -> None:
    assert order_text([1]) == "1"
    assert order_text([1, 4, 9, 12]) == "1 4 9 …"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(min_size=1, max_size=20))
def test_any_words_make_well_formed_pictures(words: str, guard: str, name: str) -> None:
    document: dict[str, Json] = {
        "name": words,
        "start": name,
        "nodes": {name: {"kind": words, "label": words, "say": guard}},
        "edges": [{"from": name, "to": name, "on": {"when": words}, "if": guard}],
    }
    graph = graph_of(document)
    ElementTree.fromstring(draw_svg(graph, steps=[Step(name)]))
    mermaid = draw_mermaid(graph)
    for line in mermaid.splitlines():
        assert line.count('"') % 2 == 0
    assert draw_dot(graph).startswith("digraph")


def test_a_broken_document_can_still_be_drawn() -> None:
    document: dict[str, Json] = {
        "start": 7,
        "nodes": {"a": "say", "b": {"kind": ["x"], "say": {"if": 3}}},
        "edges": ["no", {"from": "a", "to": "gone"}, {"from": 3, "to": "a"}, {"to": "a"}],
        "layout": {"a": {"x": "left"}, "b": 4},
    }
    svg = draw_svg(graph_of(document))
    assert "gone?" in texts(svg)
    assert set(by_attribute(svg, "data-node")) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello", "Hello"),
        ({"audio": "hi.wav"}, "♪ hi.wav"),
        ({"prompt": "say hi"}, "say hi"),
        ({"nl-NL": "Hoi", "en-US": "Hi"}, "Hoi"),
        ([{"if": "true", "text": "One"}, "Two"], "One"),
        (None, ""),
        ([], ""),
    ],
)
def test_first_words_of_every_form_of_text(text: Json, words: str) -> None:
    assert first_words(text) == words


def test_kinds_of_other_packages_have_a_family() -> None:
    class Pager(Node):
        kind: Literal["pager"]
        family: ClassVar[KindFamily] = "act"

    families = families_of({"pager": Pager, "say": Pager})
    assert families == {"pager": "act"}
    graph = graph_of({"nodes": {"a": {"kind": "pager"}, "b": {"kind": "other"}}}, families)
    assert [node.family for node in graph.nodes] == ["act", "other"]


def test_mermaid_names_every_part() -> None:
    mermaid = draw_mermaid(graph_of(DESK))
    assert mermaid.startswith("flowchart TD\n")
    assert "n0 -->|\"if open('office')\"| n1" in mermaid
    assert "#60;b#62;they" in mermaid
    assert 'anywhere -.->|"error"| n3' in mermaid
    assert 'x6(["back to where it was"])' in mermaid


def test_dot_names_every_part() -> None:
    dot = draw_dot(graph_of(DESK))
    assert 'n1 -> n2 [label="key 0"' in dot
    assert "start -> n0" in dot
    assert "anywhere -> n3" in dot


def test_png_without_graphviz_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError) as caught:
        render_dot(graph_of(DESK))
    assert caught.value.code == "dot_missing"
    assert "apt-get install graphviz" in caught.value.fix


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_png_is_drawn_by_graphviz() -> None:
    assert render_dot(graph_of(DESK)).startswith(b"\x89PNG")
