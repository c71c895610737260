"""The version's hash: what changes it and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.flow.canonical import canonical_json, version_hash
from tests.flow.documents import REMOVED, dental, edited

pytestmark = pytest.mark.unit


def shuffled(value: Any, order: int) -> Any:
    """The same JSON with its keys in another order."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: hash((key, order)))
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(st.integers())
def test_order_of_keys_does_not_matter(order: int) -> None:
    assert version_hash(shuffled(dental(), order)) == version_hash(dental())


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_for_people_does_not_matter(words: str, x: float) -> None:
    changed = edited(
        dental(),
        (("label",), words),
        (("note",), words),
        (("nodes", "welcome", "label"), words),
        (("nodes", "welcome", "note"), words),
        (("edges", 0, "label"), words),
        (("edges", 0, "note"), words),
        (("layout",), {"welcome": {"x": x, "y": 1}}),
    )
    assert version_hash(changed) == version_hash(dental())
    assert version_hash(edited(dental(), (("layout",), REMOVED))) == version_hash(dental())


@pytest.mark.parametrize(
    "edit",
    [
        (("name",), "Another"),
        (("nodes", "bye", "say"), "Bye."),
        (("edges", 0, "to"), "message"),
        (("variables", "label"), {"type": "string"}),
        (("variables", "note"), {"type": "string"}),
        (("tools", "find_patient", "query", "note"), "x"),
        (("lists", "vip"), []),
        (("defaults", "limits", "node_visits"), 21),
    ],
)
def test_everything_else_matters(edit: tuple[tuple[str | int, ...], Any]) -> None:
    assert version_hash(edited(dental(), edit)) != version_hash(dental())


def test_order_of_edges_matters() -> None:
    turned = edited(dental(), (("edges",), dental()["edges"][::-1]))
    assert version_hash(turned) != version_hash(dental())


def test_form() -> None:
    assert canonical_json({"b": 1.0, "a": "é", "label": "x"}) == '{"a":"é","b":1}'.encode()
    assert json.loads(canonical_json(dental()))["nodes"] == dental()["nodes"]
    assert len(version_hash(dental())) == 64
