"""Small flows that calls in tests run through."""

from __future__ import annotations

from typing import Any

MENU: dict[str, Any] = {
    "flow": "1",
    "id": "front-desk",
    "start": "welcome",
    "nodes": {
        "welcome": {"kind": "say", "say": "Welcome to the clinic."},
        "choose": {
            "kind": "menu",
            "say": "For sales press one, for help press two.",
            "choices": {
                "sales": {"key": "1", "words": ["sales"]},
                "help": {"key": "2", "words": ["help"]},
            },
        },
        "talk": {"kind": "dialog", "prompt": "Help the caller."},
        "bye": {"kind": "hangup", "say": "Goodbye.", "disposition": "served"},
        "sorry": {"kind": "hangup", "say": "Sorry, that did not work.", "disposition": "failed"},
    },
    "edges": [
        {"from": "welcome", "to": "choose"},
        {"from": "choose", "on": "sales", "to": "bye"},
        {"from": "choose", "on": "help", "to": "talk"},
        {"from": "choose", "on": "else", "to": "sorry"},
        {"from": "talk", "on": {"intent": "The caller says goodbye"}, "to": "bye"},
        {"from": "talk", "on": "else", "to": "sorry"},
        {"from": "*", "on": "error", "to": "sorry"},
    ],
}

TRANSFER: dict[str, Any] = {
    "flow": "1",
    "id": "switchboard",
    "start": "hello",
    "nodes": {
        "hello": {"kind": "say", "say": "I connect you."},
        "desk": {"kind": "transfer", "to": ["+14155550111", "+14155550112"]},
        "nobody": {"kind": "hangup", "say": "Nobody is there.", "disposition": "nobody"},
        "back": {"kind": "hangup", "say": "Welcome back.", "disposition": "back"},
    },
    "edges": [
        {"from": "hello", "to": "desk"},
        {"from": "desk", "on": ["busy", "no_answer", "declined", "failed"], "to": "nobody"},
        {"from": "nobody", "on": "error", "to": "back"},
    ],
}
