"""The language as a whole: the page's examples, the schema, compiling, rendering."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import FlowError
from flowengine.flow.document import Surroundings
from flowengine.flow.edge_model import OnOutcome
from flowengine.flow.language import Language
from flowengine.flow.parts import AudioFile, Composed, Words
from flowengine.flow.program import expression_findings
from flowengine.flow.references import references
from flowengine.flow.types import duration_ms, text_of_try
from flowengine.ids import EdgeId, NodeId
from flowengine.nodes import load_kinds
from tests.flow.documents import (
    EXAMPLE,
    LANGUAGE,
    dental,
    edited,
    flow_of,
    program_of,
    scope,
)

pytestmark = pytest.mark.unit

SCHEMA = LANGUAGE.schema()
PROGRAM = program_of(dental())


def test_the_example_parses_and_compiles() -> None:
    parsed = LANGUAGE.parse(EXAMPLE.read_bytes())
    assert parsed.findings == ()
    assert parsed.flow is not None
    assert expression_findings(parsed.flow) == ()
    assert LANGUAGE.version(parsed.flow) == PROGRAM.version
    assert parsed.flow.document == dental()


def test_a_flow_written_again_is_the_same_flow() -> None:
    written = json.loads(json.dumps(PROGRAM.flow.written()))
    assert written["edges"] == dental()["edges"]
    assert written["nodes"] == dental()["nodes"]
    assert program_of(written).flow == PROGRAM.flow


@pytest.mark.parametrize(
    "say",
    [
        "Hello {{ reason }}",
        {"audio": "file.wav"},
        {"prompt": "let the LLM say hello"},
        {"nl-NL": "Hallo", "en-US": ["Hello"]},
        [{"if": "visit > 1 && try == 1", "text": {"audio": "again.wav"}}, {"en-US": "Hello"}],
        "",
    ],
)
def test_every_form_of_text(say: Any) -> None:
    document = edited(dental(), (("nodes", "bye", "say"), say))
    assert program_of(document).flow.nodes["bye"].written()["say"] == say
    jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize(
    "edge",
    [
        {"from": "triage", "on": "no_input", "to": "bye"},
        {"from": ["triage", "desk"], "on": ["failed", "no_input"], "to": "@back"},
        {"from": "triage", "set": {"day": "null", "reason": "'booking'"}, "to": "bye"},
        {"from": "*", "on": {"digits": "0"}, "to": "desk", "need": ["reason"], "cooldown": "30s"},
        {"from": "*", "on": {"intent": "x", "examples": ["a"], "not": ["b"]}, "to": "desk"},
        {"from": "desk", "on": "failed", "if": "result.reason == 'x'", "to": "bye", "id": "lost"},
    ],
)
def test_every_form_of_edge(edge: dict[str, Any]) -> None:
    document = edited(dental(), (("edges",), [*dental()["edges"], edge]))
    flow = program_of(document).flow
    assert flow.edges[-1].written() == edge
    jsonschema.validate(document, SCHEMA)


def test_edges_have_ids_by_their_place() -> None:
    assert [edge.id for edge in PROGRAM.flow.edges][:3] == ["e0", "e1", "e2"]
    assert PROGRAM.flow.edge(EdgeId("e1")).to == "message"
    assert PROGRAM.flow.edges[0].on == OnOutcome(outcomes=("done",))
    with pytest.raises(KeyError):
        PROGRAM.flow.edge(EdgeId("e99"))


def test_schema_is_a_schema_and_takes_the_example() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(dental(), SCHEMA)
    for broken in (
        edited(dental(), (("nodes", "bye", "sya"), "x")),
        edited(dental(), (("nodes", "bye", "kind"), "bye")),
        edited(dental(), (("nodes", "bye", "say"), 3)),
        edited(dental(), (("edges", 0, "iff"), "x")),
        edited(dental(), (("defaults", "limits", "call"), "10min")),
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_schema_describes_every_setting() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    kinds = SCHEMA["properties"]["nodes"]["additionalProperties"]["discriminator"]["mapping"]
    assert set(kinds) == set(load_kinds())
    for name, definition in SCHEMA["$defs"].items():
        for key, field in definition.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key} has no description"


def test_schema_marks_what_strings_mean() -> None:
    edge = SCHEMA["$defs"]["Edge"]["properties"]
    assert edge["if"]["anyOf"][0]["x-flow"] == "cel"
    assert edge["if"]["anyOf"][0]["x-wants"] == "bool"
    assert SCHEMA["$defs"]["Hangup"]["properties"]["say"]["anyOf"][0] == {"$ref": "#/$defs/Text"}


def test_the_schema_says_the_same_for_the_same_kinds() -> None:
    turned = dict(reversed(list(load_kinds().items())))
    assert Language(turned).schema() == SCHEMA


def test_references_find_everything_with_its_path() -> None:
    found = {(item.path, item.marker.name): item.value for item in references(PROGRAM.flow, "$")}
    assert found["$.start", "node"] == "welcome"
    assert found["$.edges[0].if", "cel"] == "open('office')"
    assert found["$.edges[0].from[0]", "node"] == "welcome"
    assert found["$.edges[4].on.when", "cel"] == "reason == 'billing'"
    assert found["$.nodes.welcome.say[0].if", "cel"] == "open('office')"
    assert found["$.nodes.welcome.say[1]", "template"].startswith("We are closed")
    assert found["$.nodes.triage.collect[0]", "variable"] == "reason"
    assert found["$.nodes.triage.prompt", "text"].startswith("Find out")
    assert found["$.tools.find_patient.headers.Authorization", "template"].startswith("Bearer")
    assert found["$.tools.find_patient.save.patient_id", "variable"] == "patient_id"
    assert found["$.tools.find_patient.save.patient_id", "cel"] == "result.body.id"
    assert found["$.variables.day.valid", "cel"].startswith("value >")
    assert found["$.lists.vip[0]", "phone"] == "+33611111111"
    assert found["$.defaults.limits.call", "duration"] == "10m"


def test_settings_are_merged_key_by_key() -> None:
    use = {
        "recording": False,
        "tts": {"voice": "adam"},
        "llm": {"provider": "anthropic", "model": "claude-haiku-5-5"},
        "turn_taking": {"endpointing": "1s"},
    }
    program = program_of(
        edited(
            dental(),
            (("nodes", "triage", "use"), use),
            (("nodes", "triage", "retry"), {"at_most": 1}),
        )
    )
    settings = program.settings(NodeId("triage"))
    assert settings.recording is False
    assert settings.language == "en-US"
    assert settings.tts is not None
    assert (settings.tts.provider, settings.tts.voice) == ("elevenlabs", "adam")
    assert settings.turn_taking is not None
    assert (settings.turn_taking.endpointing, settings.turn_taking.barge_in) == ("1s", "200ms")
    assert settings.retry is not None
    assert (settings.retry.at_most, settings.retry.after) == (1, "7s")
    assert settings.llm is not None
    assert (settings.llm.model, len(settings.llm.fallback or ())) == ("claude-haiku-5-5", 1)
    assert program.settings(NodeId("bye")) == program.flow.defaults == program.settings()


def test_another_provider_does_not_get_the_firsts_model() -> None:
    use = {"llm": {"provider": "anthropic"}, "stt": {"model": "nova-2"}}
    program = program_of(edited(dental(), (("nodes", "triage", "use"), use)))
    settings = program.settings(NodeId("triage"))
    assert settings.llm is not None
    assert settings.stt is not None
    assert (settings.llm.provider, settings.llm.model) == ("anthropic", None)
    assert (settings.stt.provider, settings.stt.model) == ("deepgram", "nova-2")


def test_vendors_own_settings_are_kept() -> None:
    document = edited(dental(), (("defaults", "tts", "stability"), 0.4))
    tts = program_of(document).flow.defaults.tts
    assert tts is not None
    assert dict(tts.settings) == {"stability": 0.4}


def test_rendering() -> None:
    open_now = scope()
    closed = scope(now=open_now.now.replace(hour=22))
    say = dental()["nodes"]["welcome"]["say"]
    assert PROGRAM.render(say, open_now) == (
        Words("Thanks for calling. How can I help?", static=True),
    )
    assert PROGRAM.render(say, closed)[0] == Words(
        "We are closed, but I can take a message.", static=True
    )
    by_language = {"nl-NL": "Hallo", "en-GB": {"audio": "hello.wav"}}
    assert PROGRAM.render(by_language, open_now) == (AudioFile("hello.wav"),)
    assert PROGRAM.render(by_language, scope(language="nl-NL"))[0] == Words("Hallo", static=True)
    assert PROGRAM.render(by_language, scope(language="fr-FR"))[0] == Words("Hallo", static=True)
    composed = PROGRAM.render({"prompt": "Greet {{ call.from }}"}, open_now)
    assert composed == (Composed("Greet +33611111111"),)
    assert PROGRAM.render_text({"prompt": "On {{ day }}"}, scope({"day": "2026-06-01"})) == (
        "On 2026-06-01"
    )
    assert PROGRAM.render_string("{{ reason }}!", scope({"reason": "billing"})) == "billing!"
    assert PROGRAM.render("", open_now) == ()
    with pytest.raises(FlowError) as caught:
        PROGRAM.render("{{ reason }}", open_now)
    assert caught.value.code == "unset_value"


def test_rendering_a_tools_request() -> None:
    tool = PROGRAM.flow.tools["find_patient"]
    vault = scope(secrets={"crm_token": "s3cr3t"})
    assert PROGRAM.render_request("find_patient", tool.written()["query"], vault) == {
        "phone": "+33611111111"
    }
    assert PROGRAM.render_request("find_patient", tool.written()["headers"], vault) == {
        "Authorization": "Bearer s3cr3t"
    }
    body = {"n": "{{ party }}", "list": ["{{ day }}", "x{{ party }}"], "k": True}
    rendered = PROGRAM.render_request("find_patient", body, scope({"party": 3}))
    assert rendered == {"n": 3, "list": [None, "x3"], "k": True}
    assert PROGRAM.render_json({"a": ["{{ party }}"]}, scope({"party": 3})) == {"a": [3]}


def test_assign_and_evaluate() -> None:
    assert PROGRAM.assign("result.body.id", scope(result={"body": {"id": "p7"}})) == "p7"
    assert PROGRAM.evaluate("party", scope()).unset == ("party",)
    with pytest.raises(FlowError) as caught:
        PROGRAM.assign("party + 1", scope())
    assert caught.value.code == "unset_value"


def test_a_program_refuses_what_does_not_compile() -> None:
    parsed = LANGUAGE.parse_document(edited(dental(), (("edges", 0, "if"), "reasn == 'x'")))
    assert parsed.flow is not None
    with pytest.raises(FlowError) as caught:
        LANGUAGE.compile(parsed.flow)
    assert (caught.value.code, caught.value.where) == ("unknown_name", "$.edges[0].if")


def test_sub_flows_give_their_return_outcomes() -> None:
    inner = program_of(
        flow_of(
            {
                "a": {"kind": "return", "as": "booked", "with": {"slot": "day"}},
                "b": {"kind": "return", "as": "gave_up"},
            },
            [],
            {"day": {"type": "date", "output": True}},
        )
    )
    outer = program_of(
        flow_of(
            {"book": {"kind": "flow", "flow": "small", "save": {"day": "result.day"}}},
            [{"from": "book", "on": "booked", "to": "book", "set": {"slot": "result.slot"}}],
            {"day": {"type": "date"}, "slot": {"type": "date"}},
        )
        | {"id": "outer"},
        {"small": inner},
    )
    names = [spec.name for spec in outer.node(NodeId("book")).outcomes(outer.around)]
    assert set(names) == {"booked", "gave_up", "failed"}
    assert Surroundings(outer.flow).returns("small") is None
    # A sub-flow that is not at hand is another finding; its result may then be anything.
    assert expression_findings(outer.flow) == ()
    misspelt = edited(outer.flow.document, (("nodes", "book", "save"), {"day": "result.dya"}))
    parsed = LANGUAGE.parse_document(misspelt)
    assert parsed.flow is not None
    (finding,) = expression_findings(parsed.flow, {"small": inner.flow})
    assert (finding.code, finding.path) == ("unknown_name", "$.nodes.book.save.day")


def test_durations() -> None:
    assert [duration_ms(text) for text in ("400ms", "7s", "1.5s", "10m", "2h")] == [
        400,
        7000,
        1500,
        600_000,
        7_200_000,
    ]
    for wrong in ("", "7", "7 s", "s", "-1s"):
        with pytest.raises(ValueError, match="no"):
            duration_ms(wrong)


def test_texts_by_try() -> None:
    assert [text_of_try(["a", "b"], n) for n in (1, 2, 3)] == ["a", "b", "b"]
    guarded = [{"if": "try == 1", "text": "a"}, "b"]
    assert text_of_try(guarded, 2) == guarded
    assert text_of_try("a", 5) == "a"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "say", "on", "from", "to", "if", "type", "text", "x"]),
            inside,
            max_size=3,
        )
    ),
    max_leaves=8,
)
PLACES: list[tuple[str | int, ...]] = [
    ("nodes", "welcome"),
    ("nodes", "desk", "to"),
    ("nodes", "triage", "memory"),
    ("edges", 0),
    ("edges", 2, "on"),
    ("variables", "day"),
    ("tools", "find_patient"),
    ("calendars", "office", "weekly"),
    ("defaults", "tts"),
    ("defaults", "retry", "no_input"),
]


@given(st.sampled_from(PLACES), JSON)
def test_any_document_parses_or_is_refused_where_it_is_wrong(
    place: tuple[str | int, ...], value: Any
) -> None:
    parsed = LANGUAGE.parse(json.dumps(edited(dental(), (place, value))))
    assert (parsed.flow is None) == bool(parsed.findings)
    for finding in parsed.findings:
        assert finding.path.startswith(f"$.{place[0]}")
        assert finding.message
    assert len({(f.code, f.path) for f in parsed.findings}) == len(parsed.findings)
    if parsed.flow is not None:
        expression_findings(parsed.flow)
