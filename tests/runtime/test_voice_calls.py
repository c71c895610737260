"""Whole calls the other way round: ElevenLabs hears them and Deepgram speaks them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flowengine.events import (
    CallEnded,
    FaultMet,
    NodeEntered,
    TurnEnded,
    UtteranceSpoken,
)
from flowengine.ports import JournalRecord
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.serving import Fault
from tests.flows.spoken import Ear
from tests.runtime.house import CALLED, CALLER, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]

ASKED = "Would you like a table for lunch, or a table for dinner?"
FLOW: dict[str, Any] = {
    "flow": "1",
    "id": "bistro",
    "start": "ask",
    "nodes": {
        "ask": {
            "kind": "menu",
            "say": ASKED,
            "choices": {"lunch": {"words": ["lunch"]}, "dinner": {"words": ["dinner"]}},
        },
        "bye": {"kind": "hangup", "say": "Dinner it is. Goodbye.", "disposition": "served"},
        "sorry": {"kind": "hangup", "say": "Sorry.", "disposition": "failed"},
    },
    "edges": [
        {"from": "ask", "on": "dinner", "to": "bye"},
        {"from": "ask", "on": "else", "to": "sorry"},
        {"from": "*", "on": "error", "to": "sorry"},
    ],
}


def usage_in(record: JournalRecord) -> Mapping[str, Any]:
    """What a record says was used, if it does."""
    fact = record.body.get("fact") or record.body
    return fact.get("usage") or {}


@pytest.mark.parametrize(
    "voice", [{"voice": "aura-2-thalia-en"}, {"model": "flux-alexis-en"}], ids=["aura", "flux"]
)
@pytest.mark.parametrize("breaks", [False, True], ids=["well", "broken"])
async def test_a_caller_breaks_in_and_is_heard_and_answered(
    tmp_path: Path, voice: dict[str, str], breaks: bool
) -> None:
    """`broken`: the recogniser's session ends in the middle of what the caller says."""
    tts = {"provider": "deepgram", "speed": 1.1, **voice}
    flow = {**FLOW, "defaults": {"stt": {"provider": "elevenlabs"}, "tts": tts}}
    async with vendors() as behind:
        scribe, voices = behind.elevenlabs.scribe, behind.deepgram.voices
        scribe.plan.append("Dinner, please.")
        scribe.error = "session_time_limit_exceeded"
        if breaks:
            behind.elevenlabs.faults.append(Fault("error", after=2))
        async with running(tmp_path, flow, behind, prompts=False) as run:
            async with run.phone.call(CALLER, CALLED) as call:
                ear = Ear(call, voices.said)
                await ear.hears("lunch", for_ms=1000)
                await call.say(babble(900))
                await ear.hears("Dinner it is", for_ms=500)
                await call.over()
            await run.settled()
            (row,) = await run.engine.store.calls(10)
            await run.engine.store.written(row.id)
            journal = await run.engine.store.journal(row.id)
    assert [fact.text for fact in run.facts(TurnEnded)] == ["Dinner, please."]
    assert [fact.node for fact in run.facts(NodeEntered)] == ["ask", "bye"]
    asked, answered = run.facts(UtteranceSpoken)
    assert asked.cut and ASKED.startswith(asked.heard) and len(asked.heard) < len(ASKED)
    assert (answered.heard, answered.cut) == ("Dinner it is. Goodbye.", False)
    assert [fact.disposition for fact in run.facts(CallEnded)] == ["served"]
    assert run.facts(FaultMet) == []
    used = {usage["provider"]: usage for usage in map(usage_in, journal) if usage}
    assert (used["elevenlabs"]["unit"], used["elevenlabs"]["model"]) == (
        "audio_ms",
        "scribe_v2_realtime",
    )
    assert (used["deepgram"]["unit"], used["deepgram"]["amount_in"]) == (
        "characters",
        sum(map(len, voices.said)),
    )
    assert len(scribe.queries) == (2 if breaks else 1)
    assert behind.deepgram.queries == []
    assert {query["speed"] for query in voices.queries} == {"1.1"}
    assert (behind.elevenlabs.violations, behind.deepgram.violations) == ([], [])
