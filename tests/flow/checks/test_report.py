"""Reports: text, JSON and SARIF name the place in the source; positions are found in any JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.flow.checks.positions import Position, position_of, positions
from flowengine.flow.checks.report import to_json, to_sarif, to_text
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_index, at_key

pytestmark = pytest.mark.unit

SOURCE = """{
  "start": "a",
  "nodes": {
    "a": {"kind": "say", "say": ["x", "y"]}
  }
}
"""
UNKNOWN = Finding("unknown_node", "error", "$.start", "No node 'a'.", "Did you mean 'b'?")
LOOP = Finding(
    "silent_loop", "error", "$.nodes.a.say[1]", "It turns.", "Guard it.", ("a", "b", "a")
)
PERSON = Finding("no_person", "warning", "$.nodes.a.gone", "Nobody.")


def test_text_has_place_message_advice_and_path() -> None:
    text = to_text([UNKNOWN, LOOP, PERSON], file="flow.json", source=SOURCE)
    assert text.splitlines() == [
        "flow.json:2:3: $.start: error[unknown_node] No node 'a'.",
        "    Did you mean 'b'?",
        "flow.json:4:39: $.nodes.a.say[1]: error[silent_loop] It turns.",
        "    Guard it.",
        "    path: a → b → a",
        "flow.json:4:5: $.nodes.a.gone: warning[no_person] Nobody.",
        "2 errors, 1 warning.",
    ]


def test_text_without_a_source_has_paths_alone() -> None:
    assert to_text([PERSON]).startswith("$.nodes.a.gone: warning")
    assert to_text([PERSON], file="f.json", source="{").startswith("f.json: $.nodes.a.gone")
    assert to_text([]) == "No errors, no warnings.\n"


def test_json_is_plain_data() -> None:
    report = json.loads(to_json([LOOP, PERSON], source=SOURCE))
    assert (report["errors"], report["warnings"]) == (1, 1)
    assert report["findings"][0] == {
        "code": "silent_loop",
        "severity": "error",
        "path": "$.nodes.a.say[1]",
        "message": "It turns.",
        "fix": "Guard it.",
        "trace": ["a", "b", "a"],
        "line": 4,
        "column": 39,
    }


def test_sarif_has_rules_and_regions() -> None:
    log = json.loads(to_sarif([UNKNOWN, PERSON], file="flow.json", source=SOURCE, version="1.0"))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["no_person", "unknown_node"]
    first, second = run["results"]
    assert (first["ruleId"], first["level"], second["level"]) == (
        "unknown_node",
        "error",
        "warning",
    )
    place = first["locations"][0]
    assert place["physicalLocation"]["region"] == {"startLine": 2, "startColumn": 3}
    assert place["logicalLocations"] == [{"fullyQualifiedName": "$.start"}]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def paths_in(value: Any, path: str = "$") -> list[str]:
    """Every path of a value."""
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths_in(item, at_key(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths_in(item, at_index(path, index))
    return found


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 2]))
def test_every_value_of_any_json_has_a_position(value: Any, indent: int | None) -> None:
    source = json.dumps(value, indent=indent)
    placed = positions(source)
    assert set(placed) == set(paths_in(value))
    lines = source.split("\n")
    for position in placed.values():
        assert lines[position.line - 1][position.column - 1 :].strip()


def test_positions_are_of_the_key() -> None:
    placed = positions('{"a":\n  {"b": [10, 20]}}')
    assert placed["$.a"] == Position(1, 2)
    assert placed["$.a.b"] == Position(2, 4)
    assert placed["$.a.b[1]"] == Position(2, 14)


def test_what_is_not_there_is_at_its_parent() -> None:
    placed = positions('{"a": {"b c": [1]}}')
    assert position_of(placed, "$.a['b c'][7].x") == placed["$.a['b c']"]
    assert position_of(placed, "$.z") == Position(1, 1)
