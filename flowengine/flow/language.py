"""The flow language as one object: parse a document, export its schema, compile it.

`Language` is given the node kinds and scans nothing itself, so that tests, plug-ins and the engine
each decide which kinds there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from flowengine.events import Json
from flowengine.flow.canonical import version_hash
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.kind import Node
from flowengine.flow.paths import root
from flowengine.flow.program import Program
from flowengine.flow.reading import findings_of, read_json
from flowengine.flow.types import language_pattern
from flowengine.ids import VersionHash


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document as read: `flow` is None when it has an error; `document` is the written JSON."""

    name: str
    flow: Flow | None
    findings: tuple[Finding, ...] = ()
    document: Json = None


class Language:
    """The flow language with a set of node kinds."""

    def __init__(self, kinds: Mapping[str, type[Node]]) -> None:
        self.kinds = dict(sorted(kinds.items()))

    def parse(self, source: str | bytes, name: str = "flow.json") -> Parsed:
        """Read a document; what is wrong with its shape comes back as findings."""
        document, findings = read_json(source)
        if document is None and findings:
            return Parsed(name, None, findings)
        return self._read(document, name, findings)

    def parse_document(self, document: Json, name: str = "flow.json") -> Parsed:
        """The same for a document that is JSON already (an API's body)."""
        return self._read(document, name, ())

    def _read(self, document: Json, name: str, findings: tuple[Finding, ...]) -> Parsed:
        if not isinstance(document, dict):
            message = "A flow is a JSON object."
            finding = Finding("wrong_type", "error", root, message, 'Begin with {"flow": "1", …}.')
            return Parsed(name, None, (finding,), document)
        try:
            flow = Flow.model_validate(document, context={"kinds": self.kinds})
        except ValidationError as error:
            more = findings_of(error, document, self.kinds)
            return Parsed(name, None, (*findings, *more), document)
        if any(finding.severity == "error" for finding in findings):
            return Parsed(name, None, findings, document)
        return Parsed(name, flow.came_from(document), findings, document)

    def compile(self, flow: Flow, subflows: Mapping[str, Program] | None = None) -> Program:
        """Compile a parsed flow; raises FlowError at the first expression that does not compile."""
        return Program(flow, self.version(flow), subflows)

    def version(self, flow: Flow) -> VersionHash:
        """The hash that names this version of the flow."""
        return version_hash(flow.document)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of a document with these kinds, for editors and forms."""
        models: list[Any] = [
            (Flow, "validation"),
            *((k, "validation") for k in self.kinds.values()),
        ]
        references, top = models_json_schema(models, ref_template="#/$defs/{model}")
        definitions: dict[str, Any] = _with_text(top["$defs"])
        definitions["Text"] = _text_schema()
        refs = {name: references[(kind, "validation")]["$ref"] for name, kind in self.kinds.items()}
        document = definitions.pop(references[(Flow, "validation")]["$ref"].rpartition("/")[2])
        document["properties"]["nodes"]["additionalProperties"] = {
            "oneOf": [{"$ref": ref} for ref in refs.values()],
            "discriminator": {"propertyName": "kind", "mapping": refs},
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **document,
            "title": "Flow",
            "$defs": definitions,
        }


def _with_text(schema: Any) -> Any:
    """Every field that is a Text refers to the one definition of it."""
    if isinstance(schema, list):
        return [_with_text(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-flow") == "text":
        kept = ("title", "description", "default")
        return {"$ref": "#/$defs/Text", **{key: schema[key] for key in kept if key in schema}}
    return {key: _with_text(item) for key, item in schema.items()}


def _text_schema() -> dict[str, Any]:
    text = {"$ref": "#/$defs/Text"}
    string = {"type": "string"}
    guarded = {
        "type": "object",
        "properties": {"if": {**string, "x-flow": "cel", "x-wants": "bool"}, "text": text},
        "required": ["if", "text"],
        "additionalProperties": False,
    }
    return {
        "title": "Text",
        "description": "What is said, sent or given to the LLM.",
        "x-flow": "text",
        "anyOf": [
            {**string, "x-flow": "template", "description": "Words, with {{ }}."},
            _only("audio", "A recording to play."),
            _only("prompt", "What the LLM is to say."),
            {
                "type": "object",
                "description": "One Text by language.",
                "propertyNames": {"pattern": f"^{language_pattern}$"},
                "additionalProperties": text,
                "minProperties": 1,
            },
            {
                "type": "array",
                "description": "The first whose guard holds; the last has none.",
                "items": {"anyOf": [guarded, text]},
                "minItems": 1,
            },
        ],
    }


def _only(key: str, description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": {key: {"type": "string", "minLength": 1}},
        "required": [key],
        "additionalProperties": False,
    }
