"""Strings with `{{ }}`: how they are split, read aloud and kept in JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import FlowError
from flowengine.flow.expressions import ExpressionError, Expressions, Place
from flowengine.flow.parts import Pause, Words
from flowengine.flow.templates import Template, compile_template, split
from tests.flow.documents import scope, variable

pytestmark = pytest.mark.unit

EXPRESSIONS = Expressions(
    {
        "name": variable(type="name"),
        "day": variable(type="date"),
        "at": variable(type="time"),
        "when": variable(type="datetime"),
        "code": variable(type="digits"),
        "total": variable(type="money"),
        "count": variable(type="integer"),
        "agreed": variable(type="boolean"),
        "items": variable(type="list", of={"type": "string"}),
    }
)
VALUES = {
    "name": "Ann",
    "day": "2026-06-01",
    "at": "15:30",
    "when": "2026-06-01T15:30",
    "code": "4711",
    "total": 12.5,
    "count": 3,
    "agreed": True,
    "items": ["a", "b"],
}
ALOUD = Place("text", aloud=True)


def template(source: str, place: Place = ALOUD) -> Template:
    return compile_template(EXPRESSIONS, source, place)


def test_static_fragments_are_told_from_the_rest() -> None:
    parts = template("Hello {{ name }}, welcome.").parts(scope(VALUES))
    assert parts == (
        Words("Hello ", static=True),
        Words("Ann", static=False),
        Words(", welcome.", static=True),
    )
    assert template("Hello.").is_static
    assert template("Hello {{ name }}").reads == {"name"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ digits(code) }}", "4 7 1 1"),
        ("{{ digits(count) }}", "3"),
        ("{{ spell(name) }}", "A, N, N"),
        ("{{ date(day) }}", "Monday, June 1"),
        ("{{ day }}", "Monday, June 1"),
        ("{{ date('2026-06-01') }}", "Monday, June 1"),
        ("{{ date(when) }}", "Monday, June 1"),
        ("{{ date(now) }}", "Friday, May 29"),
        ("{{ time(at) }}", "3:30 PM"),
        ("{{ at }}", "3:30 PM"),
        ("{{ time('18:00') }}", "6 PM"),
        ("{{ time(when) }}", "3:30 PM"),
        ("{{ money(total) }}", "12 dollars and 50 cents"),
        ("{{ money(count) }}", "3 dollars"),
        ("{{ money(total, 'EUR') }}", "12 euros and 50 cents"),
        ("{{ count }}", "3"),
        ("{{ total }}", "12.5"),
        ("{{ items }}", "a, b"),
        ("{{ agreed ? 'yes' : 'no' }}", "yes"),
        ("{{ 'a}}b' }}", "a}}b"),
    ],
)
def test_reading_aloud(source: str, said: str) -> None:
    assert template(source).parts(scope(VALUES)) == (Words(said, static=False),)


def test_reading_aloud_in_another_language() -> None:
    parts = template("{{ day }}").parts(scope(VALUES, language="de-DE"))
    assert parts == (Words("Montag, der 1. Juni", static=False),)


def test_pause() -> None:
    parts = template("One.{{ pause('1s') }}Two.").parts(scope())
    assert parts == (Words("One.", static=True), Pause(1000), Words("Two.", static=True))
    inside = template("{{ name + pause('300ms') + name }}").parts(scope(VALUES))
    assert inside == (Words("Ann", static=False), Pause(300), Words("Ann", static=False))
    assert template("One.{{ pause('1s') }}Two.").string(scope()) == "One. Two."


def test_strings_for_machines_keep_dates_as_written() -> None:
    assert template("on {{ day }} at {{ at }}").string(scope(VALUES)) == "on 2026-06-01 at 15:30"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ count }}", 3),
        (" {{ count }}", " 3"),
        ("{{ total }}", 12.5),
        ("{{ agreed }}", True),
        ("{{ items }}", ["a", "b"]),
        ("{{ day }}", "2026-06-01"),
        ("{{ {'n': count} }}", {"n": 3}),
        ("n={{ count }}", "n=3"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_one_expression_keeps_its_type(source: str, value: Any) -> None:
    assert template(source, Place("tool")).value(scope(VALUES)) == value


def test_unset() -> None:
    with pytest.raises(FlowError) as caught:
        template("Hello {{ name }}").parts(scope())
    assert caught.value.code == "unset_value"
    assert "name" in caught.value.what
    assert template("{{ name }}", Place("tool")).value(scope()) is None
    with pytest.raises(FlowError):
        template("x{{ name }}", Place("tool")).value(scope())
    with pytest.raises(FlowError):
        template("{{ secrets.none }}", Place("tool")).value(scope(secrets={}))


@pytest.mark.parametrize(
    ("source", "code", "column"),
    [
        ("Hi {{ nmae }}", "unknown_name", 7),
        ("Hi {{nmae}}", "unknown_name", 6),
        ("{{ name }} and {{ nmae }}", "unknown_name", 19),
        ("Hi {{ name", "unclosed_template", 4),
        ("Hi {{ 'a }}", "unclosed_template", 4),
        ("Hi {{ }}", "expression_syntax", 4),
        ("Hi {{ count > }}", "expression_syntax", 14),
        ("{{ {'a': 1} }}", "expression_type", 4),
    ],
)
def test_errors_have_the_column_of_the_whole_string(source: str, code: str, column: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        template(source)
    assert (caught.value.code, caught.value.column) == (code, column)


@given(st.lists(st.sampled_from(["a ", "{{ name }}", "{{ count }}", "}}", "{", "x."])))
def test_pieces_join_to_the_whole(pieces: list[str]) -> None:
    source = "".join(pieces)
    try:
        fragments = split(source)
    except ExpressionError:
        return
    joined = "".join(
        f"{{{{ {piece.text} }}}}" if piece.is_expression else piece.text for piece in fragments
    )
    assert joined.replace(" ", "") == source.replace(" ", "")
