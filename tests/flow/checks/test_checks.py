"""Every check: what it finds, where, what it advises, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.flow.checks import CHECKS
from flowengine.flow.checks.codes import CODES
from flowengine.flow.checks.keys import first_keys
from flowengine.flow.checks.subject import Subject, listed, nearest
from flowengine.flow.variables import Variable
from tests.flow.checks.documents import DESK, broken, checked, document, flow_of, places

pytestmark = pytest.mark.unit


def test_a_good_flow_has_no_findings() -> None:
    assert checked(DESK) == []


ERRORS: list[tuple[str, Any, str | None, str, str]] = [
    # path, value, code, where, what the finding says
    ("start", "welcom", "unknown_node", "$.start", "'welcome'"),
    ("edges.0.to", "triag", "unknown_node", "$.edges[0].to", "'triage'"),
    ("edges.10.from", ["ask_dya", "ask_party"], "unknown_node", "$.edges[10].from[0]", "'ask_day'"),
    ("edges.3.from", "triagee", "unknown_node", "$.edges[3].from", "'triage'"),
    ("nodes.ask_day.var", "dya", "unknown_variable", "$.nodes.ask_day.var", "'day'"),
    (
        "nodes.triage.collect",
        ["reasn"],
        "unknown_variable",
        "$.nodes.triage.collect[0]",
        "'reason'",
    ),
    ("nodes.ask_party.of", "slot", "unknown_variable", "$.nodes.ask_party.of", "'slots'"),
    ("edges.8.set", {"slotz": "['1']"}, "unknown_variable", "$.edges[8].set.slotz", "'slots'"),
    ("edges.8.need", ["prty"], "unknown_variable", "$.edges[8].need[0]", "'party'"),
    (
        "nodes.look_up.save",
        {"pateint": "result.body.id"},
        "unknown_variable",
        "$.nodes.look_up.save.pateint",
        "'patient'",
    ),
    (
        "tools.find_patient.save",
        {"pat": "result.body.id"},
        "unknown_variable",
        "$.tools.find_patient.save.pat",
        "Did you mean",
    ),
    (
        "nodes.look_up.tool",
        "find_pacient",
        "unknown_tool",
        "$.nodes.look_up.tool",
        "'find_patient'",
    ),
    ("nodes.triage.tools", ["find"], "unknown_tool", "$.nodes.triage.tools[0]", "find_patient"),
    ("edges.18.on", "done", "star_trigger", "$.edges[18].on", "'done'"),
    ("edges.18.on", "else", "star_trigger", "$.edges[18].on", "'else'"),
    ("edges.18.on", ["error", "book"], "star_trigger", "$.edges[18].on[1]", "'book'"),
    ("edges.4.on", "boook", "unknown_outcome", "$.edges[4].on", "'book'"),
    ("edges.12.on", ["no_inptu", "no_match"], "unknown_outcome", "$.edges[12].on[0]", "'no_input'"),
    ("edges.+", {"from": "bye", "to": "desk"}, "unknown_outcome", "$.edges[20]", "no outcome"),
    (
        "edges.16",
        {"from": "confirm", "on": "error", "to": "bye"},
        "unhandled_outcome",
        "$.nodes.confirm",
        "'done'",
    ),
    (
        "edges.15",
        {"from": "sort", "on": "error", "to": "confirm"},
        "unhandled_outcome",
        "$.nodes.sort",
        "no guard",
    ),
    ("edges.6", {"from": "choose", "on": "no_match", "to": "desk"}, None, "", ""),
    ("edges.5", {"from": "choose", "on": "no_match", "to": "ask_card"}, None, "", ""),
    ("nodes.lost", {"kind": "hangup"}, "unreachable_node", "$.nodes.lost", "'welcome'"),
    ("variables.card.output", True, "sensitive_exposed", "$.variables.card.output", "webhooks"),
    (
        "nodes.confirm.say",
        "Your card is {{ card }}.",
        "sensitive_exposed",
        "$.nodes.confirm.say",
        "Text",
    ),
    (
        "nodes.triage.prompt",
        "Card {{ card }}.",
        "sensitive_exposed",
        "$.nodes.triage.prompt",
        "Text",
    ),
    ("nodes.triage.also", ["card"], "sensitive_exposed", "$.nodes.triage.also[0]", "LLM"),
    (
        "tools.find_patient.url",
        "https://x.example/{{ card }}",
        "sensitive_exposed",
        "$.tools.find_patient.url",
        "URL",
    ),
    (
        "nodes.look_up.with",
        {"phone": "card"},
        "sensitive_exposed",
        "$.nodes.look_up.with.phone",
        "URL",
    ),
    ("defaults.persona", "Know {{ card }}.", "sensitive_exposed", "$.defaults.persona", "Text"),
    ("edges.9.on", {"digits": "2"}, "key_begins_value", "$.edges[9].on.digits", "'*' or '0'"),
    ("edges.9.on", {"digits": "12"}, "key_begins_value", "$.edges[9].on.digits", "'1'"),
]


@pytest.mark.parametrize(("path", "value", "code", "where", "says"), ERRORS)
def test_errors(path: str, value: Any, code: str | None, where: str, says: str) -> None:
    findings = checked(broken(path, value))
    errors = [finding for finding in findings if finding.severity == "error"]
    if code is None:
        assert errors == []
        return
    (found,) = [finding for finding in errors if finding.code == code and finding.path == where]
    assert says in f"{found.message} {found.fix}"


WARNINGS: list[tuple[str, Any, str | None, str, str]] = [
    ("layout.welcom", {"x": 1, "y": 2}, "unknown_place", "$.layout.welcom", "'welcome'"),
    ("edges.12", {"from": "ask_card", "on": "no_input", "to": "desk"}, None, "", ""),
    ("edges.19", {"from": "*", "on": "hung_up", "to": "bye"}, "apology", "$.edges", "'welcome'"),
    (
        "nodes.choose.choices.book.key",
        "",
        "voice_only_menu",
        "$.nodes.choose.choices.book",
        "'book'",
    ),
    (
        "nodes.choose.choices.bill.key",
        "1",
        "overlapping_keys",
        "$.nodes.choose.choices.bill.key",
        "'1'",
    ),
    (
        "edges.+",
        {"from": "choose", "on": {"digits": "2"}, "to": "desk"},
        "overlapping_keys",
        "$.edges[20].on.digits",
        "'bill'",
    ),
    (
        "edges.+",
        {"from": "*", "on": {"digits": "2"}, "to": "desk"},
        "overlapping_keys",
        "$.nodes.choose.choices.bill.key",
        "'e20'",
    ),
    (
        "edges.+",
        {"from": "triage", "on": {"intent": "The caller asks for the person"}, "to": "bye"},
        "overlapping_intents",
        "$.edges[18].on.intent",
        "$.edges[20]",
    ),
    (
        "edges.+",
        {"from": "desk", "on": "else", "to": "choose"},
        "edge_never_taken",
        "$.edges[20]",
        "edges[17]",
    ),
    (
        "edges.+",
        {"from": "choose", "on": "book", "to": "desk"},
        "edge_never_taken",
        "$.edges[20]",
        "edges[4]",
    ),
    (
        "edges.+",
        {"from": "sort", "on": {"digits": "9"}, "to": "desk"},
        "edge_never_taken",
        "$.edges[20]",
        "route",
    ),
    ("edges.2.if", "false", "edge_never_taken", "$.edges[2]", "never true"),
    (
        "edges.+",
        {"from": "triage", "on": {"when": "reason=='billing'"}, "to": "bye"},
        "edge_never_taken",
        "$.edges[20]",
        "same",
    ),
    ("variables.spare", {"type": "string"}, "variable_never_read", "$.variables.spare", "'spare'"),
    ("edges.6.to", "ask_day", None, "", ""),
    ("edges.6.set", {"language": "'nl-NL'", "recording": "false"}, None, "", ""),
    ("nodes.ask_day.say", ..., None, "", ""),
]


@pytest.mark.parametrize(("path", "value", "code", "where", "says"), WARNINGS)
def test_warnings(path: str, value: Any, code: str | None, where: str, says: str) -> None:
    findings = checked(broken(path, value))
    if code is None:
        assert findings == []
        return
    (found,) = findings
    assert (found.code, found.path, found.severity) == (code, where, "warning")
    assert says in f"{found.message} {found.fix}" or says in found.path


def test_every_code_of_the_checks_is_in_the_table() -> None:
    assert all(CODES[code].code == code for code in CODES)
    for _, _, code, _, _ in ERRORS:
        assert code is None or CODES[code].severity == "error"
    for _, _, code, _, _ in WARNINGS:
        assert code is None or CODES[code].severity == "warning"


def test_checks_do_not_depend_on_each_other() -> None:
    """Each check alone finds what it finds among all of them."""
    flow = flow_of(broken("start", "welcom"))
    alone = [finding for check in reversed(CHECKS) for finding in check(Subject(flow))]
    assert {f.code for f in alone} == {f.code for f in checked(broken("start", "welcom"))}


def test_a_loop_without_an_end_is_a_dead_end() -> None:
    made = document(
        nodes={"a": {"kind": "say", "say": "One."}, "b": {"kind": "say", "say": "Two."}},
        edges=[{"from": "a", "to": "b"}, {"from": "b", "to": "a"}],
        start="a",
        layout={},
    )
    found = [finding for finding in checked(made) if finding.code == "dead_end"]
    assert [(f.path, f.trace) for f in found] == [("$.nodes.a", ("a",))]
    assert "'a' and 'b'" in found[0].message


def test_what_leads_only_to_a_dead_end_is_one_too() -> None:
    made = broken("edges.16", {"from": "confirm", "to": "pit"})
    made["nodes"]["pit"] = {"kind": "wait", "longest": "5s"}
    made["edges"].append({"from": "pit", "to": "pit"})
    made["edges"] = [edge for edge in made["edges"] if edge["from"] != "*"]
    found = [finding for finding in checked(made) if finding.code == "dead_end"]
    assert [finding.path for finding in found] == ["$.nodes.confirm", "$.nodes.pit"]
    assert found[1].trace[0] == "welcome"
    assert found[1].trace[-1] == "pit"


def test_going_back_is_no_dead_end() -> None:
    made = broken("edges.+", {"from": "triage", "on": {"digits": "9"}, "to": "help"})
    made["nodes"]["help"] = {"kind": "say", "say": "We are open till six."}
    made["edges"].append({"from": "help", "to": "@back"})
    assert checked(made) == []


def test_star_edges_count_as_ways() -> None:
    made = broken("edges.+", {"from": "*", "on": "time_up", "to": "late"})
    made["nodes"]["late"] = {"kind": "hangup", "say": "Our time is up."}
    assert checked(made) == []


def test_no_way_to_a_person() -> None:
    made = broken("nodes.desk", {"kind": "say", "say": "Nobody is here."})
    assert ("no_person", "$.nodes") in places(checked(made))
    made["nodes"]["bye"] = {"kind": "return"}
    assert "no_person" not in {code for code, _ in places(checked(made))}


def test_silence_after_silence() -> None:
    made = broken("edges.10", {"from": ["ask_day", "ask_party"], "on": "no_input", "to": "mute"})
    made["edges"].append({"from": ["ask_day", "ask_party"], "on": "else", "to": "desk"})
    made["nodes"]["mute"] = {"kind": "dialog", "prompt": "Help.", "until": "they are helped"}
    made["edges"].append({"from": "mute", "on": "else", "to": "bye"})
    assert places(checked(made)) == [("silent_entry", "$.edges[10].to")]
    made["nodes"]["mute"]["say"] = "I did not hear you."
    assert checked(made) == []


def test_guards_that_are_opposites_leave_nothing_out() -> None:
    made = broken("edges.14.if", "known(day)")
    made["variables"]["slots"]["output"] = True
    made["edges"][15] = {"from": "sort", "to": "confirm", "if": "!known(day)"}
    assert checked(made) == []
    made["edges"][15]["if"] = "!known(party)"
    assert ("unhandled_outcome", "$.nodes.sort") in places(checked(made))


def test_required_inputs() -> None:
    made = broken("variables.campaign.default", ...)
    assert checked(made) == []
    assert places(checked(made, bound=frozenset())) == [("unbound_input", "$.variables.campaign")]
    assert checked(made, bound=frozenset({"campaign"})) == []
    made["variables"]["campaign"]["default"] = None
    assert checked(made, bound=frozenset()) == []


def sub_flow(flow_id: str, calls: str = "") -> dict[str, Any]:
    """A sub-flow with a required input, which may call another."""
    nodes: dict[str, Any] = {
        "go": {"kind": "say", "say": "Hm, {{ pin }}."},
        "end": {"kind": "return", "as": "checked"},
    }
    edges: list[dict[str, Any]] = [{"from": "go", "to": "end"}]
    if calls:
        nodes["deeper"] = {"kind": "flow", "flow": calls, "with": {"pin": "pin"}}
        edges = [{"from": "go", "to": "deeper"}, {"from": "deeper", "on": "else", "to": "end"}]
    return {
        "flow": "1", "id": flow_id, "start": "go", "nodes": nodes, "edges": edges,
        "variables": {"pin": {"type": "string", "input": True}},
    }  # fmt: skip


def with_sub_flow(**settings: Any) -> dict[str, Any]:
    """The good document, calling the sub-flow `verify` in place of its say."""
    made = broken("nodes.confirm", {"kind": "flow", "flow": "verify", **settings})
    made["edges"][16] = {"from": "confirm", "on": "checked", "to": "bye"}
    made["variables"]["day"]["output"] = True
    made["variables"]["party"]["output"] = True
    return made


def test_sub_flows() -> None:
    inner = flow_of(sub_flow("verify"))
    good = with_sub_flow(**{"with": {"pin": "'1'"}})
    assert checked(good, subflows={"verify": inner}) == []
    assert places(checked(good, subflows={})) == [("unknown_flow", "$.nodes.confirm.flow")]
    assert checked(good) == []
    unbound = checked(with_sub_flow(), subflows={"verify": inner})
    assert places(unbound) == [("unbound_input", "$.nodes.confirm")]
    extra = with_sub_flow(**{"with": {"pin": "'1'", "pn": "'2'"}})
    (found,) = checked(extra, subflows={"verify": inner})
    assert (found.code, found.path) == ("unknown_variable", "$.nodes.confirm.with.pn")
    assert "'pin'" in found.fix


def test_a_return_without_an_edge() -> None:
    made = with_sub_flow(**{"with": {"pin": "'1'"}})
    made["edges"][16] = {"from": "confirm", "on": "failed", "to": "bye"}
    found = checked(made, subflows={"verify": flow_of(sub_flow("verify"))})
    assert ("unhandled_outcome", "$.nodes.confirm") in places(found)


def test_sub_flows_that_call_each_other_for_ever() -> None:
    flows = {
        name: flow_of(sub_flow(name, calls)) for name, calls in [("verify", "b"), ("b", "verify")]
    }
    (found,) = [
        f for f in checked(sub_flow("verify", "b"), subflows=flows) if f.severity == "error"
    ]
    assert (found.code, found.path) == ("flow_recursion", "$.nodes.deeper.flow")
    assert found.trace == ("verify", "b", "verify")
    (itself,) = [f for f in checked(sub_flow("verify", "verify")) if f.severity == "error"]
    assert itself.trace == ("verify", "verify")


def test_a_sub_flow_leaves_errors_to_the_flow_around_it() -> None:
    assert checked(sub_flow("verify")) == []
    alone = sub_flow("verify")
    alone["nodes"]["end"] = {"kind": "hangup"}
    assert {"apology", "no_person"} == {code for code, _ in places(checked(alone))}


def test_too_many_nodes() -> None:
    made = broken("nodes.confirm.say", "Yes.")
    made["nodes"] |= {f"n{number}": {"kind": "hangup"} for number in range(2000)}
    assert "too_many_nodes" in {code for code, _ in places(checked(made))}


def test_findings_stand_in_the_order_of_the_document() -> None:
    made = broken("start", "welcom")
    made["edges"][2]["to"] = "dsk"
    made["edges"][10]["to"] = "dsk"
    made["nodes"]["ask_day"]["var"] = "dya"
    paths = [finding.path for finding in checked(made) if finding.code.startswith("unknown")]
    assert paths == ["$.start", "$.nodes.ask_day.var", "$.edges[2].to", "$.edges[10].to"]


@pytest.mark.parametrize(
    ("declared", "keys"),
    [
        ({"type": "digits"}, "0123456789"),
        ({"type": "integer", "min": 10, "max": 29}, "12"),
        ({"type": "integer", "min": 1, "max": 10}, "123456789"),
        ({"type": "integer", "min": 0, "max": 3}, "0123"),
        ({"type": "integer", "min": 95, "max": 105}, "19"),
        ({"type": "integer", "enum": [12, 30]}, "13"),
        ({"type": "digits", "enum": ["07", "42"]}, "04"),
        ({"type": "digits", "pattern": "[12][0-9]{3}", "length": 4}, "12"),
        ({"type": "digits", "pattern": "0612345678"}, "0123456789"),
        ({"type": "boolean"}, "12"),
    ],
)  # fmt: skip
def test_the_first_keys_of_values(declared: dict[str, Any], keys: str) -> None:
    assert first_keys(Variable.model_validate(declared)) == frozenset(keys)


def test_advice_names_the_nearest_or_all() -> None:
    assert nearest("triag", ["triage", "desk"]) == "Did you mean 'triage'?"
    assert nearest("zzz", ["triage", "desk"]) == "Known are: desk, triage."
    assert nearest("zzz", [], "Declare it.") == "Declare it."
    assert listed(["a"]) == "'a'"
    assert listed("abc") == "'a', 'b' and 'c'"
    assert listed("abcdef") == "'a', 'b', 'c', 'd' and 2 more"
