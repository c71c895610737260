"""Checks never fail themselves: whatever is changed in a flow, findings come back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.flow.checks import check_source
from flowengine.flow.checks.codes import CODES
from flowengine.flow.checks.report import to_sarif, to_text
from flowengine.flow.language import Language
from flowengine.nodes import load_kinds
from tests.flow.checks.documents import DESK

pytestmark = pytest.mark.unit

LANGUAGE = Language(load_kinds())

Place = tuple[str | int, ...]


def places_in(value: Any, place: Place = ()) -> list[Place]:
    """Every place of a document but the whole of it."""
    found: list[Place] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        found.append((*place, key))
        if isinstance(item, (dict, list)):
            found += places_in(item, (*place, key))
    return found


def value_at(place: Place) -> Any:
    """A part of the good document."""
    at: Any = DESK
    for part in place:
        at = at[part]
    return at


PLACES = places_in(DESK)
WORDS = ["welcome", "desk", "day", "card", "else", "done", "*", "@back", "error", "known(day)", "x"]
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.none(),
    st.booleans(),
    st.integers(-3, 30),
    st.just([]),
    st.just({}),
    st.sampled_from(PLACES).map(value_at),
)


def changed(place: Place, value: Any, *, remove: bool) -> dict[str, Any]:
    """The good document with one place changed or taken away."""
    made: Any = copy.deepcopy(DESK)
    at = made
    for part in place[:-1]:
        at = at[part]
    if remove:
        del at[place[-1]]
    else:
        at[place[-1]] = copy.deepcopy(value)
    return dict(made)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), VALUES, st.booleans())
def test_any_change_gives_findings_or_none(place: Place, value: Any, remove: bool) -> None:
    source = json.dumps(changed(place, value, remove=remove), indent=1)
    found = check_source(LANGUAGE, source)
    for finding in found:
        assert CODES[finding.code].severity == finding.severity
        assert finding.message
    assert check_source(LANGUAGE, source) == found
    assert to_text(found, file="flow.json", source=source).endswith(".\n")
    json.loads(to_sarif(found, file="flow.json", source=source, version="0"))
