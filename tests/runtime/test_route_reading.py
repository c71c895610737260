"""What is wrong with a routing table, each with its place; schema, tests within a table."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from flowengine.errors import RouteError
from flowengine.flow.findings import Finding
from flowengine.runtime.route_reading import (
    CODES,
    load_table,
    parse_table,
    parse_table_document,
    read_reply,
    table_schema,
)
from flowengine.runtime.route_testing import failed_tests
from flowengine.runtime.routes import FlowTarget, ForwardTarget, RefuseTarget, RouteTable
from flowengine.runtime.routing import Router
from tests.runtime.route_tables import BERLIN, LAST, PARIS, made, table

pytestmark = pytest.mark.unit

VIP = "the caller is in the list 'vip'"
WORKDAY = "the date is not a public holiday in the calendar 'office'"
ASK = {"ask": "https://crm.example/route", "default": LAST}
ERRORS: list[tuple[dict[str, Any], str, str]] = [
    ({"when": {"calendar": {"open": "offise"}}}, "unknown_calendar", ".when.calendar.open"),
    ({"when": {"calendar": {"holiday": "x"}}}, "unknown_calendar", ".when.calendar.holiday"),
    ({"when": {"caller": {"list": "vips"}}}, "unknown_list", ".when.caller.list"),
    ({"when": {"caller": {"not": {"list": "x"}}}}, "unknown_list", ".when.caller.not.list"),
    ({"when": {"caller": {"exact": "0140506070"}}}, "bad_phone", ".when.caller.exact"),
    ({"when": {"caller": {"exact": [PARIS, "x"]}}}, "bad_phone", ".when.caller.exact[1]"),
    ({"when": {"caller": {"prefix": "0033"}}}, "bad_prefix", ".when.caller.prefix"),
    ({"when": {"caller": {"country": "fr"}}}, "bad_country", ".when.caller.country"),
    ({"when": {"caller": {"country": ["FR", "UK"]}}}, "bad_country", ".when.caller.country[1]"),
    ({"when": {"caller": {"country": []}}}, "empty_condition", ".when.caller.country"),
    ({"when": {"caller": {}}}, "empty_condition", ".when.caller"),
    ({"when": {"calendar": {}}}, "empty_condition", ".when.calendar"),
    ({"when": {"header": {"X": {}}}}, "empty_condition", ".when.header.X"),
    ({"when": {"load": {}}}, "empty_condition", ".when.load"),
    ({"when": {"load": {"at_least": 3, "below": 3}}}, "bad_bounds", ".when.load.below"),
    ({"when": {"load": {"of": "some", "below": 3}}}, "wrong_value", ".when.load.of"),
    ({"when": {"share": {"percent": 0}}}, "empty_share", ".when.share.percent"),
    ({"when": {"share": {"percent": 101}}}, "empty_share", ".when.share.percent"),
    ({"when": {"share": {"percent": "10"}}}, "wrong_type", ".when.share.percent"),
    ({"when": {"metadata": {"a": None}}}, "wrong_type", ".when.metadata.a"),
    ({"when": {"caler": {}}}, "unknown_key", ".when.caler"),
    ({"when": {"header": {"X": {"prefx": "a"}}}}, "unknown_key", ".when.header.X.prefx"),
    ({"to": {"split": []}}, "empty_share", ".to.split"),
    ({"to": {"split": [{"weight": 0, "to": LAST}]}}, "empty_share", ".to.split"),
    ({"to": {"split": [{"weight": 1, "to": {}}]}}, "no_target", ".to.split[0].to"),
    (
        {"to": {"split": [{"weight": 1, "to": {"split": [{"weight": 1, "to": LAST}]}}]}},
        "no_target",
        ".to.split[0].to",
    ),
    ({"to": {"flow": "a", "versoin": 3}}, "unknown_key", ".to.versoin"),
    ({"to": {"flow": "a", "version": 1, "tag": "x"}}, "two_versions", ".to.tag"),
    ({"to": {"flow": "a", "variables": {"Bad": 1}}}, "bad_variable_name", ".to.variables.Bad"),
    ({"to": {"flow": "a", "forward": PARIS}}, "two_targets", ".to.forward"),
    ({"to": {"forward": "112"}}, "bad_phone", ".to.forward"),
    ({"to": {"refuse": "bussy"}}, "wrong_value", ".to.refuse"),
    ({"to": {"ask": "https://x.example"}}, "missing_key", ".to.default"),
    ({"to": {**ASK, "ask": "file:///etc/passwd"}}, "bad_url", ".to.ask"),
    ({"to": {**ASK, "ask": "https://[x"}}, "bad_url", ".to.ask"),
    ({"to": {**ASK, "timeout": "11s"}}, "bad_timeout", ".to.timeout"),
    ({"to": {**ASK, "timeout": "0ms"}}, "bad_timeout", ".to.timeout"),
    ({"to": {**ASK, "default": ASK}}, "no_target", ".to.default"),
    ({"to": "desk"}, "wrong_type", ".to"),
    ({"name": "last"}, "reserved_name", ".name"),
    ({"name": "Two words"}, "bad_value", ".name"),
]
OFFICE = {"timezone": "Europe/Paris"}
TABLE_ERRORS: list[tuple[dict[str, Any], str, str]] = [
    ({"last": None}, "wrong_type", "$.last"),
    ({"routes": "2"}, "wrong_value", "$.routes"),
    ({"lists": {"vip": ["1"]}}, "bad_phone", "$.lists.vip[0]"),
    ({"calendars": {"a": {}}}, "missing_timezone", "$.calendars.a"),
    (
        {"calendars": {"a": {**OFFICE, "holidays": "XX"}}},
        "unknown_region",
        "$.calendars.a.holidays",
    ),
    ({"calendars": {"a": {"timezone": "Paris"}}}, "bad_timezone", "$.calendars.a.timezone"),
    ({"calendars": {"a": {**OFFICE, "closed": ["24.12."]}}}, "bad_date", "$.calendars.a.closed[0]"),
    ({"tests": [{"at": "noon", "rule": "last"}]}, "bad_time", "$.tests[0].at"),
    ({"tests": [{"at": "2026-12-24", "rule": "x"}]}, "unknown_rule", "$.tests[0].rule"),
]
WARNINGS: list[tuple[list[dict[str, Any]], str, str]] = [
    ([{}, {"when": {"caller": {"list": "vip"}}}], "never_reached", "$.rules[1]"),
    (
        [
            {"when": {"caller": {"list": "vip"}}},
            {"when": {"calendar": {"open": "office"}, "caller": {"list": "vip"}}},
        ],
        "never_reached",
        "$.rules[1]",
    ),
    (
        [{"when": {"header": {"X": "a"}}}, {"when": {"header": {"x": "a"}}}],
        "never_reached",
        "$.rules[1]",
    ),
    ([{"when": {"share": {"percent": 100}}}, {}], "never_reached", "$.rules[1]"),
    (
        [{"when": {"calendar": {"holiday": "bar"}}}],
        "never_holds",
        "$.rules[0].when.calendar.holiday",
    ),
    (
        [{"when": {"calendar": {"open": "bar", "closed": "bar"}}}],
        "never_holds",
        "$.rules[0].when.calendar.closed",
    ),
    (
        [
            {
                "when": {"share": {"percent": 10}},
                "to": {"split": [{"weight": 1, "to": LAST}], "salt": "r0"},
            }
        ],
        "same_salt",
        "$.rules[0].to.salt",
    ),
    ([{"when": {"caller": {"not": {"list": "vip"}}}}], "unused", "$.calendars.office"),
]  # fmt: skip
FINE: list[list[dict[str, Any]]] = [
    [{"when": {"caller": {"list": "vip"}}}, {"when": {"caller": {"not": {"list": "vip"}}}}],
    [{"when": {"share": {"percent": 50}}}, {"when": {"share": {"percent": 50}}}, {}],
    [{"when": {"metadata": {"a": 1}}}, {"when": {"metadata": {"a": True}}}],
    [{"when": {"load": {"below": 3}}}, {"when": {"load": {"of": "all", "below": 3}}}],
]


def found(document: Any) -> tuple[Finding, ...]:
    return parse_table_document(document).findings


def errors(document: Any) -> list[tuple[str, str]]:
    return [(item.code, item.path) for item in found(document) if item.severity == "error"]


@pytest.mark.parametrize(("rule", "code", "path"), ERRORS)
def test_a_wrong_rule_is_one_error_with_its_place(
    rule: dict[str, Any], code: str, path: str
) -> None:
    document = table({}, rule)
    assert errors(document) == [(code, f"$.rules[1]{path}")]
    assert parse_table_document(document).table is None


@pytest.mark.parametrize(("fields", "code", "path"), TABLE_ERRORS)
def test_a_wrong_table_is_an_error_with_its_place(
    fields: dict[str, Any], code: str, path: str
) -> None:
    assert errors(table(**fields)) == [(code, path)]


def test_no_last_resort_is_an_error() -> None:
    document = table({})
    del document["last"]
    assert errors(document) == [("missing_key", "$.last")]


def test_two_rules_of_one_name_are_an_error() -> None:
    assert errors(table({"name": "a"}, {"name": "a"})) == [("duplicate_rule", "$.rules[1].name")]


def test_advice_names_the_nearest_key() -> None:
    (finding,) = (
        f for f in found(table({"to": {"flow": "a", "versoin": 3}})) if f.code == "unknown_key"
    )
    assert finding.fix == "Did you mean 'version'?"


@pytest.mark.parametrize(("rules", "code", "path"), WARNINGS)
def test_what_is_surely_not_meant_is_a_warning(
    rules: list[dict[str, Any]], code: str, path: str
) -> None:
    document = table(*rules)
    assert errors(document) == []
    assert (code, path) in [(item.code, item.path) for item in found(document)]


@pytest.mark.parametrize("rules", FINE)
def test_what_may_be_meant_is_none(rules: list[dict[str, Any]]) -> None:
    codes = {item.code for item in found(table(*rules))}
    assert codes <= {"unused"}


def test_every_code_is_given_somewhere() -> None:
    given = {code for _, code, _ in (*ERRORS, *TABLE_ERRORS, *WARNINGS)}
    assert set(CODES) - given == {"duplicate_rule", "test_failed"}


@pytest.mark.parametrize("source", [b"\xff", "{", "[]", "3", '{"routes": "1", "routes": "1"}'])
def test_what_is_no_table_is_refused(source: str | bytes) -> None:
    parsed = parse_table(source)
    assert parsed.table is None
    assert parsed.findings
    with pytest.raises(RouteError) as refused:
        load_table(source)
    assert refused.value.code == "bad_routes"


def test_a_table_comes_back_as_it_was_written() -> None:
    document = table(
        {"when": {"caller": {"prefix": ["+331"], "not": {"list": "vip"}}}, "to": ASK},
        {"to": {"split": [{"weight": 1, "to": LAST}, {"weight": 2, "to": ASK}], "salt": "s"}},
    )
    read = load_table(json.dumps(document))
    assert read.written() == document
    assert RouteTable.model_validate(read.written()) == read


def test_the_schema_takes_what_the_models_take() -> None:
    schema = table_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = table(
        {"when": {"caller": {"prefix": "+331", "country": ["FR"]}}, "to": ASK},
        {"when": {"header": {"X": ["a"], "Y": {"present": True}}, "metadata": {"a": 1}}},
        {"when": {"load": {"of": {"flow": "a"}, "below": 3}, "share": {"percent": 2.5}}},
        tests=[{"caller": None, "at": "2026-12-24T10:00", "rule": "last", "to": LAST}],
    )
    assert not list(validator.iter_errors(good))
    assert parse_table_document(good).table is not None
    shapes = [rule for rule, code, _ in ERRORS if code in ("unknown_key", "missing_key")]
    assert len(shapes) > 3
    for rule in shapes:
        assert list(validator.iter_errors(table(rule))), rule


# --- answers of webhooks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"flow": "a", "tag": "x", "variables": {"n": 1}}, FlowTarget.model_validate(
            {"flow": "a", "tag": "x", "variables": {"n": 1}})),
        ({"forward": BERLIN}, ForwardTarget(forward=BERLIN)),
        ({"refuse": "busy"}, RefuseTarget(refuse="busy")),
    ],
)  # fmt: skip
def test_an_answer_is_a_target(body: Any, target: Any) -> None:
    assert read_reply(body) == target


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (None, "wrong_type", "$"),
        ("desk", "wrong_type", "$"),
        ([], "wrong_type", "$"),
        ({}, "no_target", "$"),
        (ASK, "no_target", "$"),
        ({"split": []}, "no_target", "$"),
        ({"flow": "a", "x": 1}, "unknown_key", "$.x"),
        ({"flow": 3}, "wrong_type", "$.flow"),
        ({"flow": "a", "version": "3"}, "wrong_type", "$.version"),
        ({"forward": "911"}, "bad_phone", "$.forward"),
    ],
)
def test_another_answer_is_a_typed_fault(body: Any, code: str, path: str) -> None:
    fault = read_reply(body)
    assert isinstance(fault, Finding)
    assert (fault.code, fault.path) == (code, path)


# --- tests within a table ---------------------------------------------------------------------


def test_the_tests_of_a_table_say_what_goes_elsewhere() -> None:
    sides = {"split": [{"weight": 1, "to": {"flow": "a"}}]}
    document = table(
        {"when": {"calendar": {"holiday": "office"}}},
        {"when": {"caller": {"list": "vip"}}, "to": sides},
        {"when": {"calendar": {"closed": "office"}}},
        {"when": {"load": {"at_least": 3}, "header": {"X": "y"}, "metadata": {"n": 1}}},
        timezone="Europe/Paris",
        tests=[
            {"at": "2026-12-25T10:00", "caller": PARIS, "rule": "r0"},
            {"at": "2026-12-23T10:00", "caller": PARIS, "rule": "r1", "to": {"flow": "a"}},
            {"at": "2026-12-23T17:00Z", "rule": "r2"},
            {"at": "2026-12-23T10:00", "rule": "last", "to": LAST},
            {"at": "2026-12-23T10:00", "rule": "r3", "running": {"number": 3},
             "header": {"x": "y"}, "metadata": {"n": 1}},
            {"name": "eve", "at": "2026-12-24T10:00", "caller": PARIS, "rule": "r2"},
            {"at": "2026-12-25T10:00", "rule": "r1"},
            {"at": "2026-12-23T10:00", "caller": PARIS, "rule": "r1", "to": {"flow": "b"}},
            {"at": "2026-12-23T10:00", "rule": "r0"},
        ],
    )  # fmt: skip
    failed = list(failed_tests(Router(made(document))))
    assert [(item.path, item.code) for item in failed] == [
        ("$.tests[5].rule", "test_failed"),
        ("$.tests[6].rule", "test_failed"),
        ("$.tests[7].to", "test_failed"),
        ("$.tests[8].rule", "test_failed"),
    ]
    assert [item.message for item in failed] == [
        "The test 'eve' wants 'r2' and gets 'r1': " + VIP + ", and it stands before.",
        "Test 7 wants 'r1' and gets 'r0': caller.list: the caller is not in the list 'vip'.",
        "Test 8 wants the flow b and gets the flow a.",
        "Test 9 wants 'r0' and gets 'last': calendar.holiday: " + WORKDAY + ".",
    ]
