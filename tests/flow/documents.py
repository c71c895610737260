"""Documents and scopes that the tests of the flow language share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowengine.events import Json
from flowengine.flow.language import Language
from flowengine.flow.program import Program
from flowengine.flow.scope import CallFacts, Scope, TurnFacts
from flowengine.flow.variables import Variable
from flowengine.nodes import load_kinds

EXAMPLE = Path(__file__).parent / "examples" / "dental.json"
LANGUAGE = Language(load_kinds())
REMOVED = object()


def dental() -> dict[str, Any]:
    """The large example of the language's page."""
    document: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    return document


def edited(document: Mapping[str, Any], *edits: tuple[tuple[str | int, ...], Any]) -> Json:
    """A copy with values put at (or, with REMOVED, taken from) places."""
    changed = deepcopy(dict(document))
    for place, value in edits:
        target: Any = changed
        for part in place[:-1]:
            target = target[part]
        if value is REMOVED:
            del target[place[-1]]
        else:
            target[place[-1]] = value
    return changed


def flow_of(
    nodes: Mapping[str, Json],
    edges: list[Json],
    variables: Mapping[str, Json] | None = None,
    **more: Json,
) -> dict[str, Json]:
    """A small document that starts at its first node."""
    return {
        "flow": "1",
        "id": "small",
        "start": next(iter(nodes)),
        "nodes": dict(nodes),
        "edges": edges,
        "variables": dict(variables or {}),
        **more,
    }


def program_of(document: Json, subflows: Mapping[str, Program] | None = None) -> Program:
    """The compiled document; the test fails when it has findings."""
    parsed = LANGUAGE.parse_document(document)
    assert parsed.flow is not None, parsed.findings
    return LANGUAGE.compile(parsed.flow, subflows)


def variable(**fields: Any) -> Variable:
    """A declared variable."""
    return Variable.model_validate(fields)


def scope(values: Mapping[str, Json] | None = None, **changes: Any) -> Scope:
    """An inbound call on Friday 29 May 2026, 12:00 in Paris."""
    fields: dict[str, Any] = {
        "call": CallFacts("call_1", "inbound", "+33611111111", "+33123456789", country="FR"),
        "now": datetime(2026, 5, 29, 10, 0, tzinfo=UTC),
        "timezone": "Europe/Paris",
        "language": "en-US",
        "turn": TurnFacts("hello", 0.9, 1),
        **changes,
    }
    return Scope(values=values or {}, **fields)
