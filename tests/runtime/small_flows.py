"""Small flows for the tests of the runtime, and how they become programs."""

from __future__ import annotations

from functools import cache
from typing import Any

from flowengine.flow.language import Language
from flowengine.flow.program import Program
from flowengine.nodes import load_kinds

LANGUAGE = Language(load_kinds())

STOP = {
    "from": "*",
    "on": {"intent": "The caller wants to stop", "examples": ["goodbye", "stop it"]},
    "to": "bye",
    "id": "stop",
}
BYE = {"kind": "hangup", "say": "Goodbye.", "disposition": "served"}

SHOP: dict[str, Any] = {
    "flow": "1",
    "id": "shop",
    "start": "welcome",
    "variables": {
        "count": {"type": "integer", "min": 1, "max": 20, "output": True},
        "pin": {"type": "digits", "length": 4, "sensitive": True},
    },
    "nodes": {
        "welcome": {"kind": "greeting", "say": "Welcome to the shop. We are glad that you call."},
        "choose": {
            "kind": "menu",
            "say": "For orders press one. For a person press two. For the secret press three.",
            "choices": {
                "order": {"key": "1", "words": ["order", "buy"]},
                "person": {"key": "2", "words": ["person", "human"]},
                "secret": {"key": "3", "words": ["secret"]},
            },
        },
        "how_many": {
            "kind": "collect",
            "var": "count",
            "say": "How many do you want?",
            "confirm": True,
        },
        "secret": {"kind": "collect", "var": "pin", "say": "Please key your pin."},
        "desk": {"kind": "transfer", "to": "+33123456789", "say": "One moment."},
        "sold": {"kind": "hangup", "say": "You get {{ count }}. Goodbye.", "disposition": "sold"},
        "bye": BYE,
    },
    "edges": [
        {"from": "welcome", "to": "choose"},
        {"from": "choose", "on": "order", "to": "how_many"},
        {"from": "choose", "on": "person", "to": "desk"},
        {"from": "choose", "on": "secret", "to": "secret"},
        {"from": "choose", "on": {"digits": "99"}, "to": "bye", "id": "nines"},
        {"from": "choose", "on": "else", "to": "bye"},
        {"from": "how_many", "to": "sold"},
        {"from": "how_many", "on": "else", "to": "choose"},
        {"from": "secret", "to": "choose", "set": {"pin": "null"}},
        {"from": "secret", "on": "else", "to": "bye"},
        {"from": "desk", "on": "else", "to": "choose"},
        STOP,
        {"from": "*", "on": {"digits": "0"}, "to": "desk", "id": "zero"},
    ],
}

TALK: dict[str, Any] = {
    "flow": "1",
    "id": "talk",
    "start": "hello",
    "variables": {
        "day": {"type": "string", "enum": ["monday", "friday"], "output": True},
        "name": {"type": "name"},
        "found": {"type": "string"},
    },
    "tools": {
        "look_up": {
            "kind": "python",
            "function": "look_up",
            "description": "Looks a customer up.",
            "input": {"who": "string"},
            "save": {"found": "string(result.body)"},
        }
    },
    "defaults": {"persona": "You work in a clinic.", "limits": {"call": "5m"}},
    "nodes": {
        "hello": {"kind": "say", "say": "Hello, this is the clinic speaking to you."},
        "talk": {
            "kind": "dialog",
            "say": "What can I do for you?",
            "prompt": "Find out the day.",
            "collect": ["day"],
            "also": ["name"],
            "until": "the caller is satisfied",
            "tools": ["look_up"],
            "turns": 4,
        },
        "friday": {"kind": "say", "say": "Friday it is."},
        "person": {"kind": "say", "say": "A person will call you."},
        "bye": BYE,
    },
    "edges": [
        {"from": "hello", "to": "talk"},
        {"from": "talk", "to": "bye"},
        {"from": "talk", "on": {"when": "day == 'friday'"}, "to": "friday", "id": "on_friday"},
        {
            "from": "talk",
            "on": {"intent": "The caller asks for a person", "examples": ["a real person"]},
            "to": "person",
            "id": "human",
        },
        {"from": "talk", "on": "else", "to": "bye"},
        {"from": "friday", "to": "bye"},
        {"from": "person", "to": "bye"},
        STOP,
    ],
}

INNER: dict[str, Any] = {
    "flow": "1",
    "id": "inner",
    "start": "ask",
    "variables": {
        "size": {"type": "integer", "min": 1, "max": 9, "output": True},
        "color": {"type": "string", "input": True, "default": "red"},
    },
    "nodes": {
        "ask": {"kind": "collect", "var": "size", "say": "Which size in {{ color }}?"},
        "ok": {"kind": "return", "as": "sized"},
        "no": {"kind": "return", "as": "none"},
    },
    "edges": [{"from": "ask", "to": "ok"}, {"from": "ask", "on": "else", "to": "no"}],
}

DESK: dict[str, Any] = {
    "flow": "1",
    "id": "desk",
    "start": "look",
    "variables": {
        "size": {"type": "integer"},
        "tier": {"type": "string", "default": "plain"},
        "left": {"type": "boolean"},
    },
    "tools": {
        "account": {
            "kind": "http",
            "url": "https://crm.example/account",
            "save": {"tier": "string(result.body.tier)"},
        },
        "order": {"kind": "http", "method": "POST", "url": "https://crm.example/orders"},
    },
    "nodes": {
        "look": {"kind": "tool", "tool": "account", "say": "I look you up."},
        "sort": {"kind": "route"},
        "size": {"kind": "flow", "flow": "inner", "with": {"color": "'blue'"}},
        "hold": {
            "kind": "wait",
            "say": "Please hold.",
            "hold": "Still holding.",
            "longest": "20s",
            "resume": "ready",
        },
        "buy": {"kind": "tool", "tool": "order"},
        "gold": {"kind": "say", "say": "Welcome, gold customer."},
        "note": {"kind": "tool", "tool": "order"},
        "bye": BYE,
    },
    "edges": [
        {"from": "look", "to": "sort"},
        {"from": "look", "on": "else", "to": "sort"},
        {"from": "sort", "if": "tier == 'gold'", "to": "gold", "id": "is_gold"},
        {"from": "sort", "on": "else", "to": "size"},
        {"from": "gold", "to": "size"},
        {"from": "size", "on": "sized", "to": "hold", "set": {"left": "true"}},
        {"from": "size", "on": "else", "to": "bye"},
        {"from": "hold", "to": "buy"},
        {"from": "hold", "on": "else", "to": "buy"},
        {"from": "buy", "to": "bye"},
        {"from": "buy", "on": "else", "to": "bye"},
        {"from": "note", "to": "bye"},
        {"from": "note", "on": "else", "to": "bye"},
        STOP,
        {"from": "*", "on": "hung_up", "to": "note", "if": "left"},
        {"from": "*", "on": {"digits": "0"}, "to": "bye", "id": "zero"},
    ],
}


def program(document: dict[str, Any], **subflows: Program) -> Program:
    """Compile a document; a finding in it is a fault of the test."""
    parsed = LANGUAGE.parse_document(document)
    assert parsed.flow is not None, parsed.findings
    return LANGUAGE.compile(parsed.flow, subflows)


@cache
def shop() -> Program:
    return program(SHOP)


@cache
def talk() -> Program:
    return program(TALK)


@cache
def desk() -> Program:
    return program(DESK, inner=program(INNER))
