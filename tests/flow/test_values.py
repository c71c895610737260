"""What a variable accepts, from JSON, words and keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.events import Json
from flowengine.flow import values
from flowengine.flow.parts import Words
from flowengine.flow.values import Accepted, Rejected, mask, understand_keyed, understand_spoken
from flowengine.flow.variables import VariableType
from tests.flow.documents import dental, flow_of, program_of, scope, variable

pytestmark = pytest.mark.unit

PROGRAM = program_of(dental())


def accept(value: Json, **fields: Any) -> Json:
    taken = values.accept(variable(**fields), value, PROGRAM, scope())
    return taken.value if isinstance(taken, Accepted) else f"refused: {taken.reason}"


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        ("string", "x", "x"),
        ("string", 5, "5"),
        ("string", 5.0, "5"),
        ("string", " x ", "x"),
        ("string", "", "refused: type"),
        ("string", True, "refused: type"),
        ("string", ["x"], "refused: type"),
        ("integer", 5, 5),
        ("integer", 5.0, 5),
        ("integer", "5", 5),
        ("integer", "five", 5),
        ("integer", 5.5, "refused: type"),
        ("integer", True, "refused: type"),
        ("number", "5.5", 5.5),
        ("number", 5, 5),
        ("number", float("nan"), "refused: type"),
        ("money", 12.5, 12.5),
        ("boolean", True, True),
        ("boolean", "yes", True),
        ("boolean", "perhaps", "refused: type"),
        ("digits", "47 11", "4711"),
        ("digits", 4711, "4711"),
        ("digits", "four seven", "47"),
        ("digits", "x", "refused: type"),
        ("phone", "+33 6 11-11 11 11", "+33611111111"),
        ("phone", "hello", "refused: type"),
        ("email", "ann@example.org", "ann@example.org"),
        ("email", "ann", "refused: type"),
        ("date", "2026-06-01", "2026-06-01"),
        ("date", "2026-06-01T10:00", "2026-06-01"),
        ("date", "2026-02-30", "refused: type"),
        ("date", "tomorrow", "2026-05-30"),
        ("time", "18:00", "18:00"),
        ("time", "18:00:00", "18:00"),
        ("time", "25:00", "refused: type"),
        ("datetime", "2026-06-01 18:00", "2026-06-01T18:00"),
        ("object", {"a": 1}, {"a": 1}),
        ("object", "a", "refused: type"),
        ("recording", "rec_1", "rec_1"),
        ("string", None, "refused: type"),
    ],
)
def test_types(kind: str, value: Json, taken: Json) -> None:
    assert accept(value, type=kind) == taken


def test_constraints() -> None:
    assert accept("Billing", type="string", enum=["booking", "billing"]) == "billing"
    assert accept("bill", type="string", enum=["booking", "billing"]) == "refused: enum"
    assert accept(3, type="integer", enum=[1, 2]) == "refused: enum"
    assert accept(0, type="integer", min=1) == "refused: min"
    assert accept(11, type="integer", max=10) == "refused: max"
    assert accept("2026-01-01", type="date", min="2026-05-01") == "refused: min"
    assert accept("19:00", type="time", max="18:00") == "refused: max"
    assert accept("123", type="digits", length=4) == "refused: length"
    assert accept("1234", type="digits", length=[4, 6]) == "1234"
    assert accept("1234567", type="digits", length=[4, 6]) == "refused: length"
    assert accept("AB-1", type="string", pattern="[A-Z]{2}-[0-9]+") == "AB-1"
    assert accept("AB-1x", type="string", pattern="[A-Z]{2}-[0-9]+") == "refused: pattern"
    assert accept(4, type="integer", valid="value % 2 == 1") == "refused: valid"
    assert accept(5, type="integer", valid="value % 2 == 1") == 5


def test_inside_lists_and_objects() -> None:
    dates = {"type": "list", "of": {"type": "date"}, "length": [1, 2]}
    assert accept(["2026-06-01"], **dates) == ["2026-06-01"]
    assert accept([], **dates) == "refused: length"
    assert accept(["x"], **dates) == "refused: type"
    person = {
        "type": "object",
        "fields": {"name": {"type": "string"}, "age": {"type": "integer", "optional": True}},
    }
    assert accept({"name": "Ann"}, **person) == {"name": "Ann"}
    assert accept({"name": "Ann", "age": "5"}, **person) == {"name": "Ann", "age": 5}
    assert accept({"age": 5}, **person) == "refused: type"
    assert accept({"name": "Ann", "x": 1}, **person) == "refused: type"


def test_valid_of_the_page_and_its_text() -> None:
    day = PROGRAM.flow.variables["day"]
    assert values.accept(day, "2026-06-01", PROGRAM, scope()) == Accepted("2026-06-01")
    sunday = values.accept(day, "2026-06-07", PROGRAM, scope())
    assert sunday == Rejected("valid", (Words("We are closed that day.", static=True),))
    past = values.accept(day, "2026-05-28", PROGRAM, scope())
    assert isinstance(past, Rejected)
    nonsense = values.accept(day, "soonish", PROGRAM, scope())
    assert nonsense == Rejected("type")


def test_words_and_keys() -> None:
    party = PROGRAM.flow.variables["party"]
    assert understand_spoken(party, "four please", PROGRAM, scope()) == Accepted(4)
    assert understand_spoken(party, "forty", PROGRAM, scope()) == Rejected("max")
    assert understand_spoken(party, "whatever", PROGRAM, scope()) is None
    assert understand_keyed(party, "4", PROGRAM, scope()) == Accepted(4)
    assert understand_keyed(party, "99", PROGRAM, scope()) == Rejected("max")
    day = PROGRAM.flow.variables["day"]
    assert understand_keyed(day, "01062026", PROGRAM, scope()) == Accepted("2026-06-01")
    us = scope(call=scope().call.__class__("c", "inbound", "+1", "+1", country="US"))
    assert understand_keyed(day, "06012026", PROGRAM, us) == Accepted("2026-06-01")
    anything = variable(type="object")
    assert understand_spoken(anything, "x", PROGRAM, scope()) is None
    assert understand_keyed(anything, "1", PROGRAM, scope()) is None


def test_mask() -> None:
    card = PROGRAM.flow.variables["card_number"]
    assert mask(card, "4111111111111111") == {"sensitive": True, "length": 16}
    assert mask(card, None) is None
    assert mask(PROGRAM.flow.variables["party"], 3) == 3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "integer", "default": 5}, None),
        ({"type": "integer", "default": "5"}, "type"),
        ({"type": "integer", "default": 5, "max": 4}, "max"),
        ({"type": "string", "default": ""}, None),
        ({"type": "string", "default": "c", "enum": ["a", "b"]}, "enum"),
        ({"type": "date", "default": "2026-06-01"}, None),
        ({"type": "date", "default": "tomorrow"}, "type"),
        ({"type": "date", "default": "2026-06-01", "valid": "false"}, None),
        ({"type": "boolean", "default": False}, None),
        ({"type": "list", "of": {"type": "integer"}, "default": [1, 2]}, None),
        ({"type": "integer", "default": None}, None),
    ],
)
def test_default(fields: dict[str, Json], reason: str | None) -> None:
    assert values.check_default(variable(**fields)) == reason


SCALARS: list[VariableType] = [
    *("string", "text", "name", "phone", "email", "address", "integer", "number", "boolean"),
    *("digits", "date", "time", "datetime", "money", "recording"),
]


@given(
    st.sampled_from(SCALARS),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.lists(st.integers(), max_size=2),
)
def test_what_is_accepted_stays_accepted_and_can_be_read(kind: VariableType, value: Json) -> None:
    declared = variable(type=kind)
    taken = values.accept(declared, value, PROGRAM, scope())
    if isinstance(taken, Rejected):
        return
    assert values.accept(declared, taken.value, PROGRAM, scope()) == taken
    small = program_of(flow_of({"a": {"kind": "hangup"}}, [], {"x": {"type": kind}}))
    read = small.evaluate("x", scope({"x": taken.value}))
    assert read.error == ""
