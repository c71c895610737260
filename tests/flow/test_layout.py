"""Layout: same in, same out; nothing on top of anything; saved positions kept; quick enough."""

from __future__ import annotations

import json
import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.flow.layout import Box, Graph, GraphEdge, GraphNode, Layout, lay_out
from flowengine.flow.layout.coordinates import isotonic
from flowengine.flow.layout.layers import assign_rows, backward_edges
from flowengine.flow.layout.ordering import crossings_between
from flowengine.flow.layout.text import shorten, text_width, wrap

pytestmark = pytest.mark.unit


def graph_with(*edges: tuple[str, str], start: str = "a", label: str = "") -> Graph:
    """A graph of the nodes that the edges name."""
    names = dict.fromkeys([start, *(name for edge in edges for name in edge)])
    nodes = tuple(GraphNode(n, "say", "speak") for n in names if n not in {"*", "@back"})
    lines = tuple(GraphEdge(f"e{n}", a, b, label=label) for n, (a, b) in enumerate(edges))
    return Graph(start=start, nodes=nodes, edges=lines)


def random_flow(count: int, seed: int) -> Graph:
    """A flow-like graph: a tree with retries, and ends that many nodes share."""
    chance = random.Random(seed)
    nodes = [GraphNode(f"n{n}", "say", "speak", lines=("Hello there.",)) for n in range(count)]
    edges: list[GraphEdge] = []
    for n in range(1, count):
        parent = max(0, n - chance.randint(1, 6))
        edges.append(GraphEdge(f"t{n}", f"n{parent}", f"n{n}", label="no match"))
        if chance.random() < 0.1:
            edges.append(GraphEdge(f"r{n}", f"n{n}", f"n{max(0, n - 3)}", label="no input"))
        if chance.random() < 0.3:
            edges.append(GraphEdge(f"s{n}", f"n{n}", f"n{count - 1}", label="error"))
    return Graph(start="n0", nodes=tuple(nodes), edges=tuple(edges))


def solid_boxes(layout: Layout) -> list[Box]:
    """Every card, label and panel of a layout."""
    labels = [edge.label_box for edge in layout.edges if edge.label_box]
    panel = [layout.panel_box] if layout.panel_box else []
    return [*layout.boxes.values(), *labels, *panel]


def overlapping(layout: Layout) -> list[tuple[Box, Box]]:
    """The pairs of boxes that lie on top of each other."""
    return [pair for pair in combinations(solid_boxes(layout), 2) if pair[0].overlaps(pair[1])]


def test_a_chain_runs_straight_down() -> None:
    layout = lay_out(graph_with(("a", "b"), ("b", "c")))
    middles = {box.middle for box in layout.boxes.values()}
    assert len(middles) == 1
    assert layout.boxes["a"].bottom < layout.boxes["b"].y < layout.boxes["c"].y
    assert [edge.curve[0][0] for edge in layout.edges] == [layout.boxes["a"].middle] * 2


def test_the_same_graph_gives_the_same_layout() -> None:
    assert lay_out(random_flow(60, 3)) == lay_out(random_flow(60, 3))


def test_an_empty_graph_has_a_layout() -> None:
    layout = lay_out(Graph(start="", nodes=(), edges=()))
    assert (layout.boxes, layout.edges) == ({}, ())


@pytest.mark.parametrize("seed", range(8))
def test_nothing_lies_on_top_of_anything(seed: int) -> None:
    assert overlapping(lay_out(random_flow(40, seed))) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh*"), st.sampled_from([*"abcdefgh", "@back", "gone"])),
        max_size=24,
    ),
    st.sampled_from(["", "else", "the caller asks for a person who can decide"]),
)
def test_any_graph_is_laid_out_without_overlap(edges: list[tuple[str, str]], label: str) -> None:
    nodes = tuple(GraphNode(n, "say", "speak") for n in "abcdefgh")
    lines = tuple(GraphEdge(f"e{n}", a, b, label=label) for n, (a, b) in enumerate(edges))
    layout = lay_out(Graph(start="a", nodes=nodes, edges=lines))
    assert set(layout.boxes) == set("abcdefgh")
    assert {edge.edge for edge in layout.edges} == {n for n, e in enumerate(edges) if e[0] != "*"}
    assert overlapping(layout) == []
    for box in solid_boxes(layout):
        assert box.x >= 0
        assert box.y >= 0
        assert box.right <= layout.width
        assert box.bottom <= layout.height


def test_lines_pass_under_no_card() -> None:
    graph = random_flow(40, 5)
    layout = lay_out(graph)
    for edge in layout.edges:
        ends = {graph.edges[edge.edge].from_, graph.edges[edge.edge].to}
        # The joints of a line lie between rows or beside cards.
        joints = edge.curve[::3]
        for node, box in layout.boxes.items():
            if node in ends:
                continue
            assert not any(box.x < x < box.right and box.y < y < box.bottom for x, y in joints)


def test_a_line_begins_and_ends_at_its_cards() -> None:
    layout = lay_out(graph_with(("a", "b"), ("a", "c"), ("c", "a"), label="go"))
    down, _, back = layout.edges
    assert down.curve[0][1] == layout.boxes["a"].bottom
    assert down.curve[-1][1] == layout.boxes["b"].y
    assert back.upward
    assert back.curve[0][1] == layout.boxes["c"].y
    assert back.curve[-1][1] == layout.boxes["a"].bottom


def test_long_edges_to_a_shared_end_are_stubs_and_one_line_stays() -> None:
    chain = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "end")]
    graph = graph_with(*chain, ("a", "end"), ("b", "end"), label="x")
    layout = lay_out(graph)
    stubs = {edge.edge for edge in layout.edges if edge.stub}
    assert stubs == {4, 5}
    assert {edge.label.pill for edge in layout.edges if edge.stub and edge.label} == {"end"}


def test_an_edge_to_nowhere_is_a_stub_with_a_question_mark() -> None:
    layout = lay_out(graph_with(("a", "a")))
    assert not layout.edges[0].stub
    lost = Graph("a", (GraphNode("a", "say"),), (GraphEdge("e", "a", "bye"),))
    placed = lay_out(lost).edges[0]
    assert placed.stub
    assert placed.label is not None
    assert placed.label.pill == "bye?"


def test_edges_from_anywhere_are_rows_of_one_box() -> None:
    layout = lay_out(graph_with(("a", "b"), ("*", "b"), ("*", "@back"), label="stop"))
    assert [edge.edge for edge in layout.edges] == [0]
    assert layout.panel is not None
    assert [(row.edge, row.pill) for row in layout.panel.rows] == [
        (1, "b"),
        (2, "back to where it was"),
    ]


def test_an_added_node_leaves_the_order_of_the_others() -> None:
    before = lay_out(graph_with(("a", "b"), ("a", "c"), ("a", "d")))
    after = lay_out(graph_with(("a", "b"), ("a", "c"), ("a", "d"), ("a", "e")))
    for layout in (before, after):
        assert sorted("bcd", key=lambda n: layout.boxes[n].x) == ["b", "c", "d"]


def test_saved_positions_are_kept_and_others_fit_in() -> None:
    graph = random_flow(12, 1)
    saved = {"n0": (0.0, 0.0), "n1": (900.0, 40.0), "n2": (300.0, 700.0)}
    layout = lay_out(Graph(graph.start, graph.nodes, graph.edges, positions=saved))
    zero = layout.boxes["n0"]
    for node, (x, y) in saved.items():
        assert (layout.boxes[node].x - zero.x, layout.boxes[node].y - zero.y) == (x, y)
    cards = list(layout.boxes.values())
    assert not any(one.overlaps(other) for one, other in combinations(cards, 2))


def test_positions_of_our_own_layout_give_the_same_picture() -> None:
    graph = random_flow(12, 2)
    first = lay_out(graph)
    saved = {node: (box.x + 40, box.y - 7) for node, box in first.boxes.items()}
    again = lay_out(Graph(graph.start, graph.nodes, graph.edges, positions=saved))
    assert again.boxes == first.boxes
    assert again.edges == first.edges


def test_two_thousand_nodes_are_laid_out() -> None:
    layout = lay_out(random_flow(2000, 1))
    assert len(layout.boxes) == 2000
    json.dumps([edge.curve for edge in layout.edges], allow_nan=False)


def test_isotonic_keeps_order_and_is_nearest() -> None:
    assert isotonic([1, 2, 3], [1, 1, 1]) == [1, 2, 3]
    assert isotonic([3, 1], [1, 1]) == [2, 2]
    assert isotonic([4, 1], [2, 1]) == [3, 3]


def test_crossings_are_counted() -> None:
    below = [[2, 3], [2], [], []]
    assert crossings_between([0, 1], below, [0, 1, 0, 1]) == 1
    assert crossings_between([1, 0], below, [1, 0, 0, 1]) == 0


def test_backward_edges_close_cycles() -> None:
    assert backward_edges(3, [(0, 1), (1, 2), (2, 0)], 0) == {2}
    assert backward_edges(3, [(0, 1), (0, 2), (1, 2)], 0) == frozenset()


def test_rows_follow_the_longest_way() -> None:
    rows = assign_rows(4, [(0, 1), (1, 2), (0, 2), (3, 2)], 0)
    assert rows.row == (0, 1, 2, 1)


def test_text_is_measured_wrapped_and_shortened() -> None:
    assert text_width("iiii", 12) < text_width("WWWW", 12)
    assert text_width("日本", 12) == 24
    assert text_width("e\u0301", 12) == text_width("e", 12)
    assert shorten("hello", 12, 500) == "hello"
    assert shorten("hello there, caller", 12, 60).endswith("…")
    assert text_width(shorten("hello there, caller", 12, 60), 12) <= 60
    lines = wrap("one two three four five six seven", 12, 70, 2)
    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert all(text_width(line, 12) <= 70 for line in lines)
    assert wrap("", 12, 70, 2) == ()
