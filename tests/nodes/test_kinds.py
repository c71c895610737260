"""The fifteen kinds as a family: how they are found, what they state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, EntryPoints
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from flowengine import nodes
from flowengine.errors import ConfigError
from flowengine.events import Json
from flowengine.flow.kind import FlowFacts, Node, OutcomeSpec
from flowengine.flow.references import references
from flowengine.flow.tools import Tool
from flowengine.flow.variables import Variable
from flowengine.nodes import load_kinds
from flowengine.nodes.stage import Outcome, Stage
from tests.nodes.scripted import KINDS, node

pytestmark = pytest.mark.unit

SETTINGS = {
    "greeting": "say notice first wait machine",
    "say": "say press",
    "dialog": "say prompt collect also until tools memory turns",
    "collect": "var say by finish confirm of item",
    "menu": "say choices",
    "route": "",
    "extract": "values prompt",
    "tool": "tool with say",
    "transfer": ("to mode say show ring hold longest whisper summary accept press data priority"),
    "message": "to text",
    "record": "say beep silence longest finish transcribe",
    "wait": "say hold longest resume",
    "flow": "flow with",
    "return": "as with",
    "hangup": "say disposition",
}
COMMON = "kind label note use save retry interruptible"


@dataclass
class Facts:
    """A flow with one sensitive variable and one sub-flow."""

    variables: Mapping[str, Variable] = field(
        default_factory=lambda: {
            "pin": Variable.model_validate({"type": "digits", "sensitive": True}),
            "day": Variable.model_validate({"type": "date"}),
        }
    )
    tools: Mapping[str, Tool] = field(default_factory=dict)

    def returns(self, flow_id: str) -> tuple[OutcomeSpec, ...] | None:
        if flow_id != "pay":
            return None
        return (
            OutcomeSpec("paid", {"receipt": "string"}, needs_edge=True),
            OutcomeSpec("failed", {"code": "integer"}, needs_edge=True),
        )


FACTS: FlowFacts = Facts()


# --- settings -----------------------------------------------------------------------------------


def test_there_are_fifteen() -> None:
    assert KINDS.keys() == SETTINGS.keys()


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_are_those_of_the_language(kind: str) -> None:
    fields = KINDS[kind].model_fields
    names = {info.alias or name for name, info in fields.items()}
    assert names == set(f"{SETTINGS[kind]} {COMMON}".split())


def _undescribed(schema: Json, place: str = "") -> Iterator[str]:
    if isinstance(schema, dict):
        for name, inner in schema.get("properties", {}).items():
            if not inner.get("description"):
                yield f"{place}.{name}"
        for name, inner in schema.get("$defs", {}).items():
            yield from _undescribed(inner, name)


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_is_described(kind: str) -> None:
    schema = KINDS[kind].model_json_schema(by_alias=True)
    assert list(_undescribed(schema, kind)) == []
    assert KINDS[kind].__doc__


@pytest.mark.parametrize("kind", SETTINGS)
def test_an_unknown_key_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="sya"):
        node(kind, sya="Hello.")


def test_the_dental_front_desk() -> None:
    written: dict[str, dict[str, Json]] = {
        "welcome": {
            "kind": "greeting",
            "say": [
                {"if": "open('office')", "text": "Thanks for calling. How can I help?"},
                "We are closed, but I can take a message.",
            ],
        },
        "triage": {
            "kind": "dialog",
            "prompt": "Find out why the caller is calling.",
            "collect": ["reason"],
        },
        "desk": {
            "kind": "transfer",
            "to": ["+33123456789", "+33123456780"],
            "mode": "warm",
            "ring": "25s",
        },
        "message": {"kind": "record", "say": "Please leave a message after the tone."},
        "bye": {"kind": "hangup", "say": "Goodbye.", "disposition": "served"},
    }
    read = {name: KINDS[item["kind"]].model_validate(item) for name, item in written.items()}
    again = {
        name: item.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for name, item in read.items()
    }
    assert again == written
    found = {(ref.path, ref.marker.name) for ref in references(read["welcome"], "$.nodes.welcome")}
    assert ("$.nodes.welcome.say[0].if", "cel") in found
    marked = {(ref.value, ref.marker.name) for ref in references(read["triage"], "$")}
    assert ("reason", "variable") in marked


# --- what each kind states ----------------------------------------------------------------------

REASON = {"reason": "string"}
CALLED = {"status": "integer", "body": "any", "error": "string"}
JOINED = {"to": "phone", "seconds": "integer", "reason": "string"}
CHOSEN = {"choice": "string"}


def done(**result: str) -> OutcomeSpec:
    return OutcomeSpec("done", result, needs_edge=True)


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (
            "greeting",
            {},
            (
                done(),
                OutcomeSpec("voicemail", when="outbound"),
                OutcomeSpec("unreached", REASON, when="outbound"),
            ),
        ),
        ("say", {}, (done(),)),
        (
            "dialog",
            {},
            tuple(OutcomeSpec(n) for n in ("no_input", "max_turns"))
            + (OutcomeSpec("failed", REASON),),
        ),
        ("collect", {"var": "day"}, (done(), OutcomeSpec("no_input"), OutcomeSpec("no_match"))),
        (
            "collect",
            {"var": "day", "of": "days"},
            (done(item="any"), OutcomeSpec("no_input"), OutcomeSpec("no_match")),
        ),
        (
            "menu",
            {"choices": {"a": {}, "b": {}}},
            (
                OutcomeSpec("a", CHOSEN, needs_edge=True),
                OutcomeSpec("b", CHOSEN, needs_edge=True),
                OutcomeSpec("no_input"),
                OutcomeSpec("no_match"),
            ),
        ),
        ("route", {}, (done(),)),
        ("extract", {"values": ["day"]}, (done(), OutcomeSpec("failed", REASON))),
        (
            "tool",
            {"tool": "book"},
            (done(**CALLED), OutcomeSpec("failed", CALLED), OutcomeSpec("timeout", CALLED)),
        ),
        (
            "transfer",
            {"to": "+33123456789"},
            tuple(
                OutcomeSpec(n, JOINED) for n in ("done", "busy", "no_answer", "declined", "failed")
            ),
        ),
        ("message", {"text": "Hi."}, (done(), OutcomeSpec("failed", REASON))),
        ("record", {}, (done(recording="recording"), OutcomeSpec("no_input"))),
        ("wait", {}, (done(),)),
        ("wait", {"resume": "paid"}, (done(body="any"), OutcomeSpec("timeout"))),
        (
            "flow",
            {"flow": "pay"},
            (
                OutcomeSpec("paid", {"receipt": "string"}, needs_edge=True),
                OutcomeSpec("failed", {"code": "integer", **REASON}, needs_edge=True),
            ),
        ),
        ("flow", {"flow": "unknown"}, (OutcomeSpec("failed", REASON),)),
        ("return", {}, ()),
        ("hangup", {}, ()),
    ],
)
def test_outcomes(kind: str, settings: dict[str, Json], expected: tuple[OutcomeSpec, ...]) -> None:
    assert node(kind, **settings).outcomes(FACTS) == expected


@pytest.mark.parametrize("settings", [{"collect": ["day"]}, {"until": "x"}])
def test_a_dialog_that_can_be_done_says_so(settings: dict[str, Json]) -> None:
    assert done() in node("dialog", **settings).outcomes(FACTS)


def test_only_return_ends_a_sub_flow() -> None:
    ended = node("return", as_="booked", with_={"id": "booking"})
    assert ended.returns(FACTS) == OutcomeSpec("booked", {"id": "any"}, needs_edge=True)
    assert node("hangup").returns(FACTS) is None


def test_facts_of_each_kind() -> None:
    def those(fact: str) -> set[str]:
        return {kind for kind, model in KINDS.items() if getattr(model, fact)}

    assert those("thinks") == {"dialog", "extract", "flow"}
    assert those("listens") == {"greeting", "dialog", "collect", "menu", "transfer"} | {
        "record",
        "flow",
    }
    assert KINDS.keys() - those("speaks") == {"route", "extract", "message", "return"}
    assert KINDS.keys() - those("needs_line") == {
        *("route", "extract", "tool", "message", "flow", "return", "hangup")
    }
    assert those("may_end") == {"transfer", "return", "hangup"}
    families = {kind: model.family for kind, model in KINDS.items()}
    assert families["menu"] == families["route"] == "decide"
    assert families["hangup"] == families["return"] == "end"
    assert families["dialog"] == "talk"
    assert families["tool"] == "act"


def test_a_sensitive_collect_is_private() -> None:
    assert node("collect", var="pin").is_private(FACTS)
    assert not node("collect", var="day").is_private(FACTS)
    assert not node("collect", var="unknown").is_private(FACTS)


@pytest.mark.parametrize(
    ("settings", "gathers"), [({}, True), ({"by": ["voice"]}, False), ({"of": "days"}, False)]
)
def test_which_collects_gather_keys(settings: dict[str, Json], gathers: bool) -> None:
    assert node("collect", var="day", **settings).gathers_keys(FACTS) is gathers


# --- kinds of other packages --------------------------------------------------------------------


class Jingle(Node):
    """A kind from elsewhere."""

    kind: Literal["jingle"] = Field(description="Plays a jingle.")

    async def run(self, stage: Stage) -> Outcome:
        return Outcome("done")


class OtherSay(Node):
    """A kind whose name is taken."""

    kind: Literal["say"] = Field(description="Says it too.")

    async def run(self, stage: Stage) -> Outcome:
        return Outcome("done")


class Idle(Node):
    """Settings without behaviour."""

    kind: Literal["idle"] = Field(description="Does nothing.")


def installed(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = EntryPoints(
        EntryPoint(f"point{index}", value, nodes.entry_point_group)
        for index, value in enumerate(values)
    )

    def entry_points(*, group: str) -> EntryPoints:
        return points.select(group=group)

    monkeypatch.setattr(nodes, "entry_points", entry_points)


def test_an_installed_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, f"{__name__}:Jingle")
    assert load_kinds() == {**KINDS, "jingle": Jingle}


def test_an_installed_module_of_kinds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "flowengine.nodes.say")
    assert load_kinds() == KINDS


def test_a_clash_of_names_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, f"{__name__}:OtherSay")
    with pytest.raises(ConfigError, match="'say' is defined twice") as caught:
        load_kinds()
    assert caught.value.code == "node_kind_clash"
    assert "flowengine.nodes.say and entry point point0" in caught.value.where


@pytest.mark.parametrize(
    "value", [f"{__name__}:Idle", f"{__name__}:KINDS", "flowengine.flow.kind:Node", "ast"]
)
def test_what_is_no_kind_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    installed(monkeypatch, value)
    with pytest.raises(ConfigError) as caught:
        load_kinds()
    assert caught.value.code == "bad_node_kind"


# --- files --------------------------------------------------------------------------------------


def test_every_file_has_at_most_one_kind() -> None:
    homes = [model.__module__ for model in KINDS.values()]
    assert len(set(homes)) == len(homes)
