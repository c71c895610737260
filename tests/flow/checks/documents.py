"""A small flow without a finding, and how to break it: the ground of the tables of checks."""

from __future__ import annotations

import copy
from typing import Any

from flowengine.flow.checks import check
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.nodes import load_kinds

Document = dict[str, Any]

_KINDS = load_kinds()

DESK: Document = {
    "flow": "1",
    "id": "front-desk",
    "name": "Front desk",
    "start": "welcome",
    "variables": {
        "reason": {
            "type": "string",
            "enum": ["booking", "billing"],
            "description": "why they call",
        },
        "day": {"type": "date", "valid": "value > now.date()", "invalid": "That day has passed."},
        "party": {"type": "integer", "min": 10, "max": 29},
        "card": {"type": "digits", "length": [13, 19], "sensitive": True},
        "patient": {"type": "string", "output": True},
        "slots": {"type": "list", "of": {"type": "string"}},
        "campaign": {"type": "string", "input": True, "default": ""},
    },
    "lists": {"vip": ["+33611111111"]},
    "calendars": {"office": {"timezone": "Europe/Paris", "weekly": {"mon-fri": ["09:00-18:00"]}}},
    "tools": {
        "find_patient": {
            "kind": "http",
            "description": "Looks a patient up",
            "method": "POST",
            "url": "https://crm.example/patients",
            "input": {"phone": "phone"},
            "query": {"phone": "{{ input.phone }}"},
            "headers": {"Authorization": "Bearer {{ secrets.crm_token }}"},
            "body": {"card": "{{ card }}"},
            "timeout": "3s",
            "save": {"patient": "result.body.id"},
        }
    },
    "defaults": {
        "language": "en-US",
        "timezone": "Europe/Paris",
        "persona": "You are the front desk of a clinic.",
        "retry": {"after": "7s", "no_input": "Are you there?", "at_most": 2},
    },
    "nodes": {
        "welcome": {
            "kind": "greeting",
            "say": [{"if": "open('office')", "text": "Thanks for calling."}, "We are closed."],
        },
        "triage": {
            "kind": "dialog",
            "say": "How can I help?",
            "prompt": "Find out why.",
            "collect": ["reason"],
        },
        "choose": {
            "kind": "menu",
            "say": "One for a day, two for billing.",
            "choices": {
                "book": {"key": "1", "words": ["a day"]},
                "bill": {"key": "2", "words": ["billing"]},
            },
        },
        "ask_day": {"kind": "collect", "var": "day", "say": "Which day?", "by": ["voice"]},
        "ask_party": {"kind": "collect", "var": "party", "say": "How many are you?"},
        "ask_card": {"kind": "collect", "var": "card", "say": "Your card number, please."},
        "look_up": {
            "kind": "tool",
            "tool": "find_patient",
            "with": {"phone": "call.from"},
            "say": "One moment.",
        },
        "sort": {"kind": "route"},
        "confirm": {
            "kind": "say",
            "say": "{{ known(day) ? date(day) : 'A day' }} for {{ known(party) ? party : 2 }}.",
        },
        "desk": {"kind": "transfer", "to": "+33123456789", "say": "I connect you."},
        "bye": {"kind": "hangup", "say": "Goodbye.", "disposition": "served"},
    },
    "edges": [
        {"from": "welcome", "to": "triage", "if": "open('office')"},
        {"from": "welcome", "on": "else", "to": "choose"},
        {"from": "triage", "on": {"when": "reason == 'billing'"}, "to": "desk"},
        {"from": "triage", "on": "else", "to": "choose"},
        {"from": "choose", "on": "book", "to": "ask_day"},
        {"from": "choose", "on": "bill", "to": "ask_card"},
        {"from": "choose", "on": "else", "to": "desk"},
        {"from": "ask_day", "to": "ask_party"},
        {"from": "ask_party", "to": "sort", "set": {"slots": "['09:00']"}},
        {"from": "ask_party", "on": {"digits": "0"}, "to": "desk"},
        {"from": ["ask_day", "ask_party"], "on": "else", "to": "desk"},
        {"from": "ask_card", "to": "look_up"},
        {"from": "ask_card", "on": ["no_input", "no_match"], "to": "desk"},
        {"from": "look_up", "on": "else", "to": "sort", "id": "looked"},
        {"from": "sort", "to": "desk", "if": "caller_in('vip') || size(slots) > 1"},
        {"from": "sort", "on": "else", "to": "confirm"},
        {"from": "confirm", "to": "bye"},
        {"from": "desk", "on": "else", "to": "bye"},
        {
            "from": "*",
            "on": {"intent": "The caller asks for a person"},
            "to": "desk",
            "cooldown": "10s",
        },
        {"from": "*", "on": "error", "to": "desk"},
    ],
    "layout": {"welcome": {"x": 0, "y": 0}},
}


def document(**parts: Any) -> Document:
    """The good document, with whole parts replaced."""
    return {**copy.deepcopy(DESK), **parts}


def broken(path: str, value: Any) -> Document:
    """The good document with one thing changed: `nodes.bye.kind`, `edges.3.on`; `...` removes."""
    made = copy.deepcopy(DESK)
    *parents, last = path.split(".")
    at: Any = made
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if isinstance(at, list):
        if last == "+":
            at.append(value)
        elif value is ...:
            del at[int(last)]
        else:
            at[int(last)] = value
    elif value is ...:
        del at[last]
    else:
        at[last] = value
    return made


def flow_of(made: Document) -> Flow:
    """The model of a document that is well-formed."""
    return Flow.model_validate(made, context={"kinds": _KINDS})


def checked(made: Document, **options: Any) -> list[Finding]:
    """What `check` finds."""
    return check(flow_of(made), **options)


def places(findings: list[Finding]) -> list[tuple[str, str]]:
    """Code and path of each finding."""
    return [(finding.code, finding.path) for finding in findings]
