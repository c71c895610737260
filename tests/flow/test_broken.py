"""Broken documents: each mistake gives one finding with code, JSON path and what to write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowengine.flow.findings import Finding
from flowengine.flow.program import expression_findings
from tests.flow.documents import LANGUAGE, REMOVED, dental, edited

pytestmark = pytest.mark.unit

Place = tuple[str | int, ...]
WELCOME: Place = ("nodes", "welcome")
TRIAGE: Place = ("nodes", "triage")
DESK: Place = ("nodes", "desk")
EDGE: Place = ("edges", 0)
VARS: Place = ("variables",)
TOOL: Place = ("tools", "find_patient")
OFFICE: Place = ("calendars", "office")
DEFAULTS: Place = ("defaults",)

BROKEN: list[tuple[Place, Any, str, str, str]] = [
    # Where, what is put there, code, path, part of the message or advice.
    (("nods",), {}, "unknown_key", "$.nods", "'nodes'"),
    (("flow",), "2", "wrong_value", "$.flow", "one of 1"),
    (("flow",), 1, "wrong_value", "$.flow", "one of 1"),
    (("start",), REMOVED, "missing_key", "$.start", "Add 'start'"),
    (("id",), "Dental Desk", "bad_value", "$.id", "look like"),
    (("nodes",), {}, "bad_value", "$.nodes", "at least 1"),
    (("nodes",), [], "wrong_type", "$.nodes", "an object, not a list"),
    (("edges",), {}, "wrong_type", "$.edges", "a list, not an object"),
    ((*WELCOME, "sya"), "Hi", "unknown_key", "$.nodes.welcome.sya", "'say'"),
    ((*WELCOME, "kind"), "greting", "unknown_kind", "$.nodes.welcome.kind", "'greeting'"),
    ((*WELCOME, "kind"), REMOVED, "unknown_kind", "$.nodes.welcome.kind", "no 'kind'"),
    ((*WELCOME, "kind"), 3, "unknown_kind", "$.nodes.welcome.kind", "collect, dialog"),
    (WELCOME, "greeting", "wrong_type", "$.nodes.welcome", '{"kind": "say"'),
    ((*WELCOME, "say"), 3, "bad_text", "$.nodes.welcome.say", "a number"),
    ((*WELCOME, "say"), [], "bad_text", "$.nodes.welcome.say", "empty"),
    ((*WELCOME, "say"), {"en_US": "Hi"}, "unknown_key", "$.nodes.welcome.say.en_US", '"en-US"'),
    ((*WELCOME, "say"), {"adio": "a.wav"}, "unknown_key", "$.nodes.welcome.say.adio", "'audio'"),
    (
        (*WELCOME, "say"),
        {"audio": "a.wav", "voice": "x"},
        "unknown_key",
        "$.nodes.welcome.say.voice",
        "Remove 'voice'",
    ),
    (
        (*WELCOME, "say"),
        [{"if": "true", "txt": "a"}, "b"],
        "unknown_key",
        "$.nodes.welcome.say[0].txt",
        "'text'",
    ),
    (
        (*WELCOME, "say"),
        [{"if": "true", "text": "a"}],
        "text_without_else",
        "$.nodes.welcome.say[0]",
        "End the list",
    ),
    ((*WELCOME, "say"), ["a", "b"], "text_without_guard", "$.nodes.welcome.say[0]", '"if"'),
    ((*WELCOME, "say"), {"if": "true", "text": "a"}, "bad_text", "$.nodes.welcome.say", "[ ]"),
    (
        (*WELCOME, "say"),
        [{"if": "reason == 1", "text": "a"}, "b"],
        "expression_type",
        "$.nodes.welcome.say[0].if",
        "column 8",
    ),
    ((*WELCOME, "say"), "Hi {{ reasn }}", "unknown_name", "$.nodes.welcome.say", "'reason'"),
    ((*WELCOME, "say"), "Hi {{ reason", "unclosed_template", "$.nodes.welcome.say", "}}"),
    ((*WELCOME, "say"), "{{ secrets.x }}", "unknown_name", "$.nodes.welcome.say", "tool's request"),
    (
        (*WELCOME, "use"),
        {"tts": {"voic": "x"}},
        "unknown_key",
        "$.nodes.welcome.use.tts.voic",
        "'voice'",
    ),
    ((*WELCOME, "use"), {"sst": {}}, "unknown_key", "$.nodes.welcome.use.sst", "'stt'"),
    (
        (*WELCOME, "retry"),
        {"after": "7 sec"},
        "bad_duration",
        "$.nodes.welcome.retry.after",
        '"7s"',
    ),
    (
        (*TRIAGE, "interruptible"),
        "no",
        "wrong_type",
        "$.nodes.triage.interruptible",
        "true or false",
    ),
    ((*TRIAGE, "collect"), "reason", "wrong_type", "$.nodes.triage.collect", "a list"),
    ((*TRIAGE, "memory"), {"lst": 3}, "unknown_key", "$.nodes.triage.memory.lst", "'last'"),
    (
        (*TRIAGE, "save"),
        {"reason": "result.resaon"},
        "unknown_name",
        "$.nodes.triage.save.reason",
        "'result.reason'",
    ),
    ((*DESK, "ring"), 25, "wrong_type", "$.nodes.desk.ring", '"25s"'),
    ((*DESK, "mode"), "wram", "wrong_value", "$.nodes.desk.mode", "'warm'"),
    (("nodes", "@back"), {"kind": "say"}, "bad_node_name", "$.nodes['@back']", "Name it"),
    ((*EDGE, "to"), REMOVED, "missing_key", "$.edges[0].to", "Add 'to'"),
    ((*EDGE, "iff"), "true", "unknown_key", "$.edges[0].iff", "'if'"),
    ((*EDGE, "on"), {"digit": "1"}, "unknown_key", "$.edges[0].on.digit", "'digits'"),
    ((*EDGE, "on"), {"digits": 1}, "wrong_type", "$.edges[0].on.digits", "in quotes"),
    ((*EDGE, "on"), {"digits": "1x"}, "bad_keys", "$.edges[0].on.digits", "0-9"),
    ((*EDGE, "on"), {"when": "true", "intent": "x"}, "bad_trigger", "$.edges[0].on", "one trigger"),
    (
        (*EDGE, "on"),
        {"intent": "x", "exampels": []},
        "unknown_key",
        "$.edges[0].on.exampels",
        "'examples'",
    ),
    ((*EDGE, "on"), ["else", "done"], "bad_trigger", "$.edges[0].on", 'Write "else"'),
    ((*EDGE, "on"), 3, "bad_trigger", "$.edges[0].on", "an outcome"),
    ((*EDGE, "from"), ["*", "welcome"], "bad_from", "$.edges[0].from", '"*"'),
    ((*EDGE, "id"), "e1", "duplicate_edge_id", "$.edges[1].id", "another id"),
    ((*EDGE, "cooldown"), "soon", "bad_duration", "$.edges[0].cooldown", '"10m"'),
    ((*EDGE, "if"), "", "empty_expression", "$.edges[0].if", "empty"),
    ((*EDGE, "if"), "open('offic')", "unknown_calendar", "$.edges[0].if", "'office'"),
    ((*EDGE, "if"), "call.frm == ''", "unknown_name", "$.edges[0].if", "'call.from'"),
    ((*EDGE, "if"), "reason == 'biling'", "not_in_enum", "$.edges[0].if", "'billing'"),
    ((*EDGE, "if"), "reason = 'billing'", "expression_syntax", "$.edges[0].if", "=="),
    ((*EDGE, "if"), "party", "expression_type", "$.edges[0].if", "true or false"),
    ((*EDGE, "set"), {"day": "3"}, "expression_type", "$.edges[0].set.day", "a date"),
    ((*EDGE, "set"), {"language": "3"}, "expression_type", "$.edges[0].set.language", "a string"),
    ((*VARS, "Day"), {"type": "date"}, "bad_variable_name", "$.variables.Day", "lower-case"),
    ((*VARS, "import"), {"type": "date"}, "reserved_name", "$.variables.import", "reserved are"),
    ((*VARS, "party", "type"), "int", "wrong_value", "$.variables.party.type", "'integer'"),
    ((*VARS, "party", "min"), "1", "wrong_type", "$.variables.party.min", "without quotes"),
    ((*VARS, "party", "min"), 11, "bad_bounds", "$.variables.party.min", "Swap"),
    (
        (*VARS, "party", "length"),
        3,
        "constraint_not_for_type",
        "$.variables.party.length",
        "Remove",
    ),
    (
        (*VARS, "card_number", "length"),
        [3, 1],
        "bad_length",
        "$.variables.card_number.length",
        "[1, 10]",
    ),
    (
        (*VARS, "card_number", "pattern"),
        "(",
        "bad_pattern",
        "$.variables.card_number.pattern",
        "RE2",
    ),
    ((*VARS, "party", "default"), "two", "bad_default", "$.variables.party.default", "integer"),
    (
        (*VARS, "day", "valid"),
        "value > 3",
        "expression_type",
        "$.variables.day.valid",
        "date('2026",
    ),
    ((*VARS, "l"), {"type": "list"}, "missing_key", "$.variables.l.of", "'of'"),
    (
        (*VARS, "o"),
        {"type": "object", "fields": {"a": {"typ": "string"}}},
        "unknown_key",
        "$.variables.o.fields.a.typ",
        "'type'",
    ),
    ((*TOOL, "kind"), "htp", "unknown_tool_kind", "$.tools.find_patient.kind", "'http'"),
    ((*TOOL, "method"), "GTE", "wrong_value", "$.tools.find_patient.method", "'GET'"),
    (
        (*TOOL, "url"),
        "https://x/{{ input.q }}",
        "unknown_name",
        "$.tools.find_patient.url",
        "'input'",
    ),
    ((*TOOL, "heders"), {}, "unknown_key", "$.tools.find_patient.heders", "'headers'"),
    (
        (*TOOL, "save"),
        {"patient_id": "result.bdy.id"},
        "unknown_name",
        "$.tools.find_patient.save.patient_id",
        "'result.body'",
    ),
    ((*OFFICE, "timezone"), "Paris", "bad_timezone", "$.calendars.office.timezone", "Europe/Paris"),
    (
        (*OFFICE, "weekly", "monday"),
        [],
        "bad_days",
        "$.calendars.office.weekly.monday",
        '"mon-fri"',
    ),
    (
        (*OFFICE, "weekly", "mon"),
        ["9-12"],
        "bad_interval",
        "$.calendars.office.weekly.mon[0]",
        "09:00",
    ),
    ((*OFFICE, "holidays"), "France", "bad_region", "$.calendars.office.holidays", '"FR"'),
    ((*OFFICE, "holidays"), "XX", "bad_region", "$.calendars.office.holidays", '"FR"'),
    ((*OFFICE, "closed"), ["24.12.2026"], "bad_date", "$.calendars.office.closed[0]", "2026-12-24"),
    (("lists", "vip"), ["0612"], "bad_phone", "$.lists.vip[0]", "country code"),
    ((*DEFAULTS, "limits", "call"), "10min", "bad_duration", "$.defaults.limits.call", '"10m"'),
    ((*DEFAULTS, "recording"), "yes", "wrong_type", "$.defaults.recording", "without quotes"),
    (
        (*DEFAULTS, "retry", "at_most"),
        2.5,
        "wrong_type",
        "$.defaults.retry.at_most",
        "whole number",
    ),
    ((*DEFAULTS, "retry", "at_most"), -1, "bad_value", "$.defaults.retry.at_most", "at least 0"),
    ((*DEFAULTS, "llm", "modle"), "x", "unknown_key", "$.defaults.llm.modle", "'model'"),
    (
        (*DEFAULTS, "persona"),
        "You are {{ nam }}",
        "unknown_name",
        "$.defaults.persona",
        "column 12",
    ),
    (("layout", "welcome", "z"), 1, "unknown_key", "$.layout.welcome.z", "x, y"),
]


def findings(document: Any) -> tuple[Finding, ...]:
    parsed = LANGUAGE.parse(json.dumps(document))
    if parsed.flow is None:
        return parsed.findings
    return parsed.findings + expression_findings(parsed.flow)


@pytest.mark.parametrize(
    ("place", "value", "code", "path", "advice"),
    BROKEN,
    ids=[f"{index}-{row[3]}-{row[2]}" for index, row in enumerate(BROKEN)],
)
def test_one_finding(place: Place, value: Any, code: str, path: str, advice: str) -> None:
    found = findings(edited(dental(), (place, value)))
    assert [(finding.code, finding.path) for finding in found] == [(code, path)]
    assert advice in f"{found[0].message} {found[0].fix}"
    assert found[0].severity == "error"


def test_several_mistakes_are_all_found() -> None:
    document = edited(
        dental(),
        ((*WELCOME, "sya"), "x"),
        ((*DESK, "ring"), 25),
        ((*EDGE, "iff"), "true"),
        ((*VARS, "party", "type"), "int"),
    )
    assert [finding.path for finding in findings(document)] == [
        "$.variables.party.type",
        "$.nodes.welcome.sya",
        "$.nodes.desk.ring",
        "$.edges[0].iff",
    ]


def test_a_misspelt_required_key_is_one_mistake() -> None:
    document = edited(dental(), ((*EDGE, "to"), REMOVED), ((*EDGE, "too"), "triage"))
    assert [finding.code for finding in findings(document)] == ["unknown_key"]


@pytest.mark.parametrize(
    ("source", "code", "where", "advice"),
    [
        ('{"a": 1,}', "json_syntax", "line 1, column", "comma"),
        ('{\n"a" 1}', "json_syntax", "line 2, column 5", "colon"),
        ("{'a': 1}", "json_syntax", "column 2", "double quotes"),
        ('{"a": [1,2}', "json_syntax", "column 11", "comma"),
        ("// x\n{}", "json_syntax", "column 1", "comments"),
        ('{"a": 1', "json_syntax", "column", "ends too early"),
        ("", "json_syntax", "column 1", "ends too early"),
        ('{"a": NaN}', "json_syntax", "NaN", "plain JSON"),
        ("[" * 100_000, "json_syntax", "deep", "plain JSON"),
        ('{"a":' * 300 + "1" + "}" * 300, "json_syntax", "deeper", "flatter"),
        ("[]", "wrong_type", "object", "flow"),
        (b'{"a": "\xff"}', "bad_encoding", "byte 7", "UTF-8"),
    ],
)
def test_what_is_no_json(source: str | bytes, code: str, where: str, advice: str) -> None:
    (finding,) = LANGUAGE.parse(source).findings
    assert (finding.code, finding.path) == (code, "$")
    assert where in finding.message
    assert advice in finding.fix


def test_a_key_written_twice() -> None:
    source = json.dumps(dental()).replace('"kind": "warm"', "")
    twice = source.replace('"mode": "warm"', '"mode": "warm", "mode": "refer"')
    (finding,) = LANGUAGE.parse(twice).findings
    assert (finding.code, finding.path) == ("duplicate_key", "$.nodes.desk.mode")
    assert LANGUAGE.parse(twice).flow is None
