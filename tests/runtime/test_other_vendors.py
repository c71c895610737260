"""Whole spoken calls with vendors that are not the ordinary ones, over the simulated phone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowengine.assurance.why import facts_of
from flowengine.events import (
    Json,
    SpeakingFailed,
    TurnEnded,
    Usage,
    UsageCounted,
    UtteranceSpoken,
)
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.answers import Answer, saying
from flowengine.testing.providers.cartesia import FakeCartesia
from flowengine.testing.providers.faults import status
from flowengine.testing.providers.google import FakeGoogle, heard_ms
from flowengine.testing.providers.serving import KEY
from tests.runtime.flows import MENU
from tests.runtime.house import CALLED, CALLER, Running, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]

LONG = "We are open every day from eight to five, and on Saturdays until noon, but not on Sundays."


def talking(**use: Any) -> dict[str, Any]:
    return {
        "flow": "1",
        "id": "other-vendors",
        "start": "talk",
        "defaults": use,
        "nodes": {
            **{name: MENU["nodes"][name] for name in ("bye", "sorry")},
            "talk": {"kind": "dialog", "say": "What can I do?", "prompt": "Help the caller."},
        },
        "edges": [edge for edge in MENU["edges"] if edge["from"] in ("talk", "*")],
    }


async def a_talk(run: Running) -> None:
    """Hear the greeting, ask, break into the answer, ask again, hang up."""
    async with run.phone.call(CALLER, CALLED) as call:
        await call.hears()
        await call.say(babble(700))
        await call.hears_speech()
        await call.pause(1500)
        await call.say(babble(900, seed=3))
        await call.hears()
        await call.hang_up()
        await call.over()
    await run.settled()


async def used_in(run: Running) -> list[Usage]:
    """What the call used, its ears and its voice included: these say so at its end."""
    (row,) = await run.engine.store.calls(1)
    facts = facts_of(await run.engine.store.journal(row.id))
    return [fact.usage for _, fact in facts if isinstance(fact, UsageCounted)]


async def test_cartesia_hears_and_speaks_and_its_voice_is_stood_in_for(tmp_path: Path) -> None:
    flow = talking(
        stt={"provider": "cartesia"},
        tts={"provider": "cartesia", "fallback": [{"provider": "elevenlabs"}]},
    )
    async with vendors() as behind, FakeCartesia() as cartesia:
        cartesia.plan.extend(["when are you open", "and on sundays"])
        behind.openai.plan.extend([saying(LONG), saying("On Sundays we are closed.")])
        more = {"CARTESIA_API_KEY": KEY, "CARTESIA_BASE_URL": cartesia.url}
        async with running(tmp_path, flow, behind, more=more) as run:
            await a_talk(run)
            turns = [fact.text for fact in run.facts(TurnEnded)]
            greeting, cut, last = run.facts(UtteranceSpoken)
            used = {usage.provider for usage in await used_in(run)}
        assert turns == ["when are you open", "and on sundays"]
        assert greeting.heard == "What can I do?"
        assert cut.cut and LONG.startswith(cut.heard.strip()) and 0 < len(cut.heard) < len(LONG)
        assert last.heard.strip() == "On Sundays we are closed." and not last.cut
        assert {"cartesia", "openai"} <= used
        assert behind.deepgram.connections == behind.elevenlabs.connections == 0
        assert cartesia.violations == []
    async with vendors() as behind, FakeCartesia() as cartesia:
        behind.deepgram.plan.extend(["when are you open", "and on sundays"])
        behind.openai.plan.extend([saying(LONG), saying("On Sundays we are closed.")])
        flow["defaults"].pop("stt")
        more = {"CARTESIA_API_KEY": KEY, "CARTESIA_BASE_URL": cartesia.url}
        (tmp_path / "later").mkdir()
        async with running(tmp_path / "later", flow, behind, more=more) as run:
            cartesia.faults.extend([status(503)] * 20)
            await a_talk(run)
            spoken = run.facts(UtteranceSpoken)
            failed = run.facts(SpeakingFailed)
        assert spoken[-1].heard.strip() == "On Sundays we are closed."
        assert failed == [] and behind.elevenlabs.connections > 0


async def test_google_hears_and_thinks(tmp_path: Path) -> None:
    words = iter(["When are you open?", "And on Sundays?"])
    replies = iter([LONG, "On Sundays we are closed."])

    def answered(body: Json) -> Answer:
        return saying(next(words) if heard_ms(body) else next(replies))

    flow = talking(
        stt={"provider": "google"}, llm={"provider": "google", "model": "gemini-3.8-flash"}
    )
    async with vendors() as behind, FakeGoogle(answer=answered) as google:
        more = {"GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": google.url}
        async with running(tmp_path, flow, behind, more=more) as run:
            await a_talk(run)
            turns = [fact.text for fact in run.facts(TurnEnded)]
            spoken = run.facts(UtteranceSpoken)
            used = await used_in(run)
        asked = [body for body in google.requests if not heard_ms(body)]
        assert turns == ["When are you open?", "And on Sundays?"]
        assert spoken[1].cut and LONG.startswith(spoken[1].heard.strip())
        assert spoken[-1].heard.strip() == "On Sundays we are closed."
        assert spoken[1].heard.strip() in json.dumps(asked[1]["contents"])
        assert {one.model for one in used if one.provider == "google"} == {
            "gemini-3.5-flash-lite",
            "gemini-3.8-flash",
        }
        assert sum(one.audio_in for one in used) > 20
        assert behind.deepgram.connections == behind.openai.connections == 0
        assert google.violations == []
