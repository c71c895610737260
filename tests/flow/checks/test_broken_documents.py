"""The table of broken documents: each mistake has its code, its place, and what to write instead.

Each row changes one thing in a flow without findings (`documents.DESK`); what `flowengine check`
says of it must name the exact JSON path and hold the advice.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowengine.flow.checks import check_source
from flowengine.flow.checks.codes import CODES
from flowengine.flow.findings import Finding
from flowengine.flow.language import Language
from flowengine.nodes import load_kinds
from tests.flow.checks.documents import DESK, broken

pytestmark = pytest.mark.unit

Row = tuple[str, Any, str, str, str]

LANGUAGE = Language(load_kinds())


def findings_of(source: str) -> list[Finding]:
    """What `flowengine check` says of a document's text."""
    return check_source(LANGUAGE, source)


def expect(found: list[Finding], code: str, path: str, says: str) -> None:
    """One finding is as expected; every one is well-formed."""
    for finding in found:
        assert finding.path.startswith("$")
        assert CODES[finding.code].severity == finding.severity
        assert finding.message.endswith((".", ")")), finding
    matching = [finding for finding in found if (finding.code, finding.path) == (code, path)]
    assert len(matching) == 1, found
    assert says in f"{matching[0].message} {matching[0].fix}", matching[0]


def test_the_unbroken_document_is_good() -> None:
    assert findings_of(json.dumps(DESK)) == []


SYNTAX: list[tuple[str, str, str]] = [
    # text, where, what the finding says
    ("", "$", "line 1"),
    ("{", "$", "line 1"),
    ('{"flow": "1",}', "$", "line 1"),
    ('{\n  "flow": "1"\n  "id": "x"\n}', "$", "line 3"),
    ("{'flow': '1'}", "$", "line 1"),
    ('{"flow": NaN}', "$", "NaN"),
]


@pytest.mark.parametrize(("source", "path", "says"), SYNTAX)
def test_json_that_cannot_be_read(source: str, path: str, says: str) -> None:
    expect(findings_of(source), "json_syntax", path, says)


def test_a_key_that_stands_twice() -> None:
    source = json.dumps(DESK).replace('"bye": {', '"desk": {"kind": "hangup"}, "bye": {', 1)
    assert source != json.dumps(DESK)
    found = findings_of(source)
    assert [(finding.code, finding.path) for finding in found] == [
        ("duplicate_key", "$.nodes.desk")
    ]


SHAPE: list[Row] = [
    # Unknown keys, at every level
    ("varaibles", {}, "unknown_key", "$.varaibles", "'variables'"),
    ("variables.day.typ", "date", "unknown_key", "$.variables.day.typ", "'type'"),
    ("variables.slots.of.typee", "x", "unknown_key", "$.variables.slots.of.typee", "'type'"),
    ("calendars.office.weekley", {}, "unknown_key", "$.calendars.office.weekley", "'weekly'"),
    ("tools.find_patient.headrs", {}, "unknown_key", "$.tools.find_patient.headrs", "'headers'"),
    ("defaults.langauge", "en", "unknown_key", "$.defaults.langauge", "'language'"),
    ("defaults.retry.at_mots", 2, "unknown_key", "$.defaults.retry.at_mots", "'at_most'"),
    ("defaults.limits", {"cal": "1m"}, "unknown_key", "$.defaults.limits.cal", "'call'"),
    ("defaults.tts", {"provdier": "x"}, "unknown_key", "$.defaults.tts.provdier", "'provider'"),
    ("nodes.bye.dispositon", "x", "unknown_key", "$.nodes.bye.dispositon", "'disposition'"),
    ("nodes.bye.use", {"langage": "en"}, "unknown_key", "$.nodes.bye.use.langage", "'language'"),
    (
        "nodes.choose.choices.book.word",
        [],
        "unknown_key",
        "$.nodes.choose.choices.book.word",
        "'words'",
    ),
    ("edges.0.form", "welcome", "unknown_key", "$.edges[0].form", "'from'"),
    ("edges.2.on", {"wehn": "true"}, "unknown_key", "$.edges[2].on.wehn", "'when'"),
    ("edges.18.on.exmaples", [], "unknown_key", "$.edges[18].on.exmaples", "'examples'"),
    ("layout.welcome.z", 1, "unknown_key", "$.layout.welcome.z", "x"),
    (
        "nodes.confirm.say",
        {"audoi": "a.wav"},
        "unknown_key",
        "$.nodes.confirm.say.audoi",
        "'audio'",
    ),
    # What is missing
    ("flow", ..., "missing_key", "$.flow", "'flow'"),
    ("start", ..., "missing_key", "$.start", "'start'"),
    ("nodes.ask_day.var", ..., "missing_key", "$.nodes.ask_day.var", "'var'"),
    ("edges.0.to", ..., "missing_key", "$.edges[0].to", "'to'"),
    ("variables.day.type", ..., "missing_key", "$.variables.day.type", "'type'"),
    ("variables.slots.of", ..., "missing_key", "$.variables.slots.of", "'of'"),
    ("nodes", {}, "bad_value", "$.nodes", "at least 1"),
    # Wrong types and values
    ("flow", "2", "wrong_value", "$.flow", "one of 1"),
    ("id", "Front Desk", "bad_value", "$.id", "a-z"),
    ("nodes", [], "wrong_type", "$.nodes", "object"),
    ("nodes.bye", "hangup", "wrong_type", "$.nodes.bye", "object"),
    ("edges", {}, "wrong_type", "$.edges", "list"),
    ("nodes.bye.interruptible", "yes", "wrong_type", "$.nodes.bye.interruptible", "true or false"),
    ("nodes.triage.turns", "many", "wrong_type", "$.nodes.triage.turns", "number"),
    ("nodes.confirm.say", 7, "bad_text", "$.nodes.confirm.say", "string"),
    ("variables.day.type", "dat", "wrong_value", "$.variables.day.type", "'date'"),
    ("variables.party.min", "ten", "wrong_type", "$.variables.party.min", "without quotes"),
    ("variables.party.min", 50, "bad_bounds", "$.variables.party.min", "Swap"),
    ("variables.card.min", 3, "constraint_not_for_type", "$.variables.card.min", "'digits'"),
    ("variables.Day", {"type": "date"}, "bad_variable_name", "$.variables.Day", "lower-case"),
    ("variables.call", {"type": "string"}, "reserved_name", "$.variables.call", "reserved"),
    ("defaults.retry.after", "7 seconds", "bad_duration", "$.defaults.retry.after", '"7s"'),
    ("lists.vip", ["0611"], "bad_phone", "$.lists.vip[0]", '"+33123456789"'),
    (
        "calendars.office.timezone",
        "Paris",
        "bad_timezone",
        "$.calendars.office.timezone",
        '"Europe/Paris"',
    ),
    ("nodes.bye.kind", "hangpu", "unknown_kind", "$.nodes.bye.kind", "'hangup'"),
    ("nodes.bye.kind", ..., "unknown_kind", "$.nodes.bye.kind", "kind"),
    ("tools.find_patient.kind", "htpp", "unknown_tool_kind", "$.tools.find_patient.kind", "'http'"),
    ("nodes.desk.mode", "brigde", "wrong_value", "$.nodes.desk.mode", "'bridge'"),
    ("edges.9.on", {"digits": "x"}, "bad_keys", "$.edges[9].on.digits", "0-9"),
    ("edges.9.on", {"digits": "0", "when": "true"}, "bad_trigger", "$.edges[9].on", "one trigger"),
    ("edges.6.on", ["else", "book"], "bad_trigger", "$.edges[6].on", '"else"'),
    ("edges.0.from", ["*", "desk"], "bad_from", "$.edges[0].from", '"*"'),
    ("edges.0.id", "looked", "duplicate_edge_id", "$.edges[13].id", "another"),
    (
        "nodes.welcome.say",
        [{"if": "true", "text": "Hi."}],
        "text_without_else",
        "$.nodes.welcome.say[0]",
        "End the list",
    ),
]


CALENDARS: list[Row] = [
    (
        "calendars.office.weekly",
        {"mon-fry": ["09:00-18:00"]},
        "bad_days",
        "$.calendars.office.weekly.mon-fry",
        "mon",
    ),
    (
        "calendars.office.weekly",
        {"mon": ["9-18"]},
        "bad_interval",
        "$.calendars.office.weekly.mon[0]",
        "09:00-",
    ),
    (
        "calendars.office.closed",
        ["24.12.2026"],
        "bad_date",
        "$.calendars.office.closed[0]",
        "2026-",
    ),
    ("calendars.office.holidays", "XX", "unknown_region", "$.calendars.office.holidays", "US-CA"),
]

EXPRESSIONS: list[Row] = [
    ("edges.0.if", "open('offcie')", "unknown_calendar", "$.edges[0].if", "'office'"),
    ("edges.14.if", "caller_in('vpi')", "unknown_list", "$.edges[14].if", "'vip'"),
    ("edges.0.if", "visits('welcom') > 1", "unknown_node", "$.edges[0].if", "'welcome'"),
    ("edges.2.on.when", "reson == 'billing'", "unknown_name", "$.edges[2].on.when", "'reason'"),
    ("edges.2.on.when", "call.frm == ''", "unknown_name", "$.edges[2].on.when", "column 5"),
    (
        "edges.2.on.when",
        "true && call.frm == ''",
        "unknown_name",
        "$.edges[2].on.when",
        "column 13",
    ),
    ("edges.2.on.when", "reason ==", "expression_syntax", "$.edges[2].on.when", "column"),
    ("edges.2.on.when", "party", "expression_type", "$.edges[2].on.when", "true or false"),
    ("edges.2.on.when", "party > 'a'", "expression_type", "$.edges[2].on.when", "column 7"),
    ("edges.8.set", {"party": "'ten'"}, "expression_type", "$.edges[8].set.party", "integer"),
    ("edges.2.on.when", "", "empty_expression", "$.edges[2].on.when", "Write it"),
    (
        "edges.2.on.when",
        "secrets.crm_token == ''",
        "unknown_name",
        "$.edges[2].on.when",
        "a tool's request",
    ),
    ("nodes.confirm.say", "Hi {{ nam }}.", "unknown_name", "$.nodes.confirm.say", "'nam'"),
    (
        "nodes.confirm.say",
        "Hi {{ known(day.",
        "unclosed_template",
        "$.nodes.confirm.say",
        "column 4",
    ),
    (
        "variables.day.valid",
        "vlue > now.date()",
        "unknown_name",
        "$.variables.day.valid",
        "'value'",
    ),
    (
        "tools.find_patient.query",
        {"phone": "{{ input.phon }}"},
        "unknown_name",
        "$.tools.find_patient.query.phone",
        "'input.phone'",
    ),
    (
        "tools.find_patient.save",
        {"patient": "result.bdy"},
        "unknown_name",
        "$.tools.find_patient.save.patient",
        "'result.body'",
    ),
    (
        "nodes.look_up.with",
        {"phone": "call.form"},
        "unknown_name",
        "$.nodes.look_up.with.phone",
        "'call.from'",
    ),
]

NAMES: list[Row] = [
    ("start", "welcom", "unknown_node", "$.start", "'welcome'"),
    ("edges.0.to", "triag", "unknown_node", "$.edges[0].to", "'triage'"),
    ("edges.3.from", "triagee", "unknown_node", "$.edges[3].from", "'triage'"),
    ("nodes.ask_day.var", "dya", "unknown_variable", "$.nodes.ask_day.var", "'day'"),
    (
        "nodes.triage.collect",
        ["reasn"],
        "unknown_variable",
        "$.nodes.triage.collect[0]",
        "'reason'",
    ),
    ("edges.8.need", ["prty"], "unknown_variable", "$.edges[8].need[0]", "'party'"),
    (
        "nodes.look_up.tool",
        "find_pacient",
        "unknown_tool",
        "$.nodes.look_up.tool",
        "'find_patient'",
    ),
    ("edges.4.on", "boook", "unknown_outcome", "$.edges[4].on", "'book'"),
    ("edges.18.on", "done", "star_trigger", "$.edges[18].on", "'done'"),
    ("nodes.confirm.say", "Card {{ card }}.", "sensitive_exposed", "$.nodes.confirm.say", "Text"),
    ("edges.9.on", {"digits": "2"}, "key_begins_value", "$.edges[9].on.digits", "'0'"),
    ("nodes.lost", {"kind": "hangup"}, "unreachable_node", "$.nodes.lost", "'welcome'"),
    (
        "edges.16",
        {"from": "confirm", "on": "error", "to": "bye"},
        "unhandled_outcome",
        "$.nodes.confirm",
        "'done'",
    ),
    ("nodes.confirm.say", "{{ party }}", "unset_read", "$.nodes.confirm.say", "known(party)"),
]

ROWS = [*SHAPE, *CALENDARS, *EXPRESSIONS, *NAMES]


@pytest.mark.parametrize(("path", "value", "code", "where", "says"), ROWS)
def test_a_broken_document(path: str, value: Any, code: str, where: str, says: str) -> None:
    expect(findings_of(json.dumps(broken(path, value))), code, where, says)


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) + len(SYNTAX) >= 60


def test_every_mistake_is_told_at_once() -> None:
    made = broken("nodes.bye.kind", "hangpu")
    made["edges"][0]["form"] = "x"
    made["variables"]["day"]["typ"] = "y"
    codes = {(finding.code, finding.path) for finding in findings_of(json.dumps(made))}
    assert codes >= {
        ("unknown_kind", "$.nodes.bye.kind"),
        ("unknown_key", "$.edges[0].form"),
        ("unknown_key", "$.variables.day.typ"),
    }
