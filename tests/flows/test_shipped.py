"""What every shipped flow has: no finding, a sub-flow, a person within reach, a call to try."""

from __future__ import annotations

import json

import pytest

from flowengine.flow.edge_model import OnOutcome
from flowengine.nodes import load_kinds
from flowengine.testing.calendar_service import Calendar
from flowengine.testing.scripts import read_script
from tests.flows.lines import FLOWS, Line
from tests.flows.test_appointments import service
from tests.flows.test_crm import Book
from tests.flows.test_sales import NAME
from tests.flows.test_support import check_pin, find_account

pytestmark = pytest.mark.conversation

NAMES = ("appointments", "crm", "ivr", "sales", "support")
LINES = {name: Line(name) for name in NAMES}
NOT_YET = {"message", "record"}
"""Kinds that no shipped flow uses."""


def test_these_are_all_the_shipped_flows() -> None:
    assert sorted(path.parent.name for path in FLOWS.glob("*/flow.json")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_checks_have_nothing_to_say(name: str) -> None:
    assert LINES[name].warnings == ()
    assert LINES[name].program.flow.id == name
    assert len(LINES[name].program.flow.nodes) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_the_flow_or_a_sub_flow_that_returns(name: str) -> None:
    line = LINES[name]
    files = {path.stem for path in line.folder.glob("*.json")}
    assert files == set(line.flows)
    assert len(files) > 1
    for stem in files - {"flow"}:
        kinds = {node.kind for node in line.flows[stem].nodes.values()}
        assert "return" in kinds


@pytest.mark.parametrize("name", NAMES)
def test_every_conversation_is_also_one_without_an_llm(name: str) -> None:
    flow = LINES[name].program.flow
    for node_id, node in flow.nodes.items():
        if node.kind == "dialog":
            ways_on = [
                edge.to
                for edge in flow.edges
                if node_id in edge.sources
                and isinstance(edge.on, OnOutcome)
                and "failed" in edge.on.outcomes
            ]
            assert ways_on, node_id
            assert flow.nodes[ways_on[0]].kind in ("menu", "collect")


def test_all_kinds_but_two_are_shown_by_some_flow() -> None:
    used = {
        node.kind
        for line in LINES.values()
        for flow in line.flows.values()
        for node in flow.nodes.values()
    }
    assert used == set(load_kinds()) - NOT_YET


@pytest.mark.parametrize("name", NAMES)
def test_its_page_shows_the_graph_and_how_to_run_it(name: str) -> None:
    folder = LINES[name].folder
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert "](flow.svg)" in page
    assert f"flowengine call flows/{name}/flow.json" in page
    picture = (folder / "flow.svg").read_text(encoding="utf-8")
    document = json.loads((folder / "flow.json").read_text(encoding="utf-8"))
    missing = [node for node in document["nodes"] if f">{node}<" not in picture]
    assert missing == []


ENDS = {
    "appointments": "booked",
    "crm": "done",
    "ivr": "done",
    "sales": "callback",
    "support": "solved",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_call_to_try_goes_to_its_end(name: str) -> None:
    script = list(read_script((LINES[name].folder / "call.txt").read_text(encoding="utf-8")))
    assert script
    book = Book()
    if name == "crm":
        call = book.ring(*script)
    else:
        tools = {
            **service(Calendar()),
            "find_account": find_account,
            "check_pin": check_pin,
            "save_lead": {"id": 7},
        }
        inputs = NAME if name == "sales" else None
        call = LINES[name].ring(*script, tools=tools, inputs=inputs)
    assert call.disposition == ENDS[name]
    assert [visit["upshot"] for visit in book.visits] == (["order"] if name == "crm" else [])
