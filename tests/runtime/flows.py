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


LANGUAGES: dict[str, Any] = {
    "flow": "1",
    "id": "two-languages",
    "start": "which",
    "defaults": {
        "language": "en-US",
        "stt": {"keyterms": ["Zaandam"]},
        "tts": {
            "voice": {"en-US": "amy", "nl-NL": "saskia"},
            "pronunciation": {"SQL": {"nl-NL": "es ku el"}},
        },
    },
    "nodes": {
        "which": {
            "kind": "menu",
            "say": "For English press one, voor Nederlands druk op twee.",
            "choices": {"english": {"key": "1"}, "dutch": {"key": "2"}},
        },
        "talk": {
            "kind": "dialog",
            "say": {"en-US": "How can we help?", "nl-NL": "Waarmee kunnen we u helpen?"},
            "prompt": "Help the caller.",
        },
        "bye": {"kind": "hangup", "say": {"en-US": "Goodbye.", "nl-NL": "Tot ziens."}},
    },
    "edges": [
        {"from": "which", "on": "english", "to": "talk"},
        {"from": "which", "on": "dutch", "to": "talk", "set": {"language": "'nl-NL'"}},
        {"from": "which", "on": "else", "to": "bye"},
        {"from": "talk", "on": {"intent": "The caller says goodbye"}, "to": "bye", "id": "leave"},
        {"from": "talk", "on": "else", "to": "bye"},
    ],
}
