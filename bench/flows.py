"""The flows that are called in the benches."""

from __future__ import annotations

from typing import Any

GREETING = "Hello, this is the ticket desk. What can I do for you today?"
SORRY_CODE, FAILED_CODE = 2900, 2901
"""Static lines sound a number as tickets do, so that a caller can tell which edge was taken."""
SORRY = f"Sorry, code {SORRY_CODE}, something went wrong here and we will call you back."
DIALOG_FAILED = f"Sorry, code {FAILED_CODE}, I cannot think right now so please call again."

ENDPOINTING_MS = 300


def ticket_desk(stt_model: str = "nova-3") -> dict[str, Any]:
    """A greeting and a dialog that goes on for as long as the caller does."""
    return {
        "flow": "1",
        "id": "ticket-desk",
        "name": "Ticket desk",
        "start": "welcome",
        "defaults": {
            "language": "en-US",
            "stt": {"provider": "deepgram", "model": stt_model},
            "llm": {"provider": "openai", "model": "gpt-bench"},
            "tts": {"provider": "elevenlabs", "model": "eleven_flash_v2_5", "voice": "rachel"},
            "turn_taking": {"endpointing": f"{ENDPOINTING_MS}ms"},
        },
        "nodes": {
            "welcome": {"kind": "greeting", "say": GREETING},
            "talk": {"kind": "dialog", "prompt": "Help with tickets.", "turns": 400},
            "failed": {"kind": "hangup", "say": DIALOG_FAILED, "disposition": "dialog_failed"},
            "sorry": {"kind": "hangup", "say": SORRY, "disposition": "error"},
            "bye": {"kind": "hangup", "say": "Goodbye.", "disposition": "served"},
        },
        "edges": [
            {"from": "welcome", "to": "talk"},
            {"from": "talk", "on": "failed", "to": "failed"},
            {"from": "talk", "on": "else", "to": "bye"},
            {"from": "*", "on": "error", "to": "sorry"},
        ],
    }
