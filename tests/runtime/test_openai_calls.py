"""Whole calls at one vendor: OpenAI hears, thinks and speaks, in each of its ways to hear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowengine.events import (
    CallEnded,
    FaultMet,
    Json,
    TurnEnded,
    Usage,
    UsageCounted,
    UtteranceSpoken,
    from_json,
)
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.answers import Answer, saying
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.openai_realtime_transcription import FakeOpenAiLive
from flowengine.testing.providers.serving import KEY, Fault
from tests.runtime.house import CALLED, CALLER, Running, running, vendors
from tests.runtime.test_llm_calls import FLOW, LEAVE, NOTES

pytestmark = [pytest.mark.api, pytest.mark.anyio]

WAYS: dict[str, dict[str, Any]] = {
    "file": {"model": "whisper-1"},
    "streamed file": {"model": "gpt-transcribe"},
    "socket": {"model": "gpt-live-transcribe"},
    "socket with turns": {"model": "gpt-4o-transcribe", "live": True},
}
UNITS = {"file": "audio_ms", "socket": "audio_ms"}


def flow(stt: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        "stt": {"provider": "openai", **stt},
        "llm": {"provider": "openai", "model": "some-model"},
        "tts": {"provider": "openai", "model": "gpt-4o-mini-tts", "voice": "marin"},
    }
    return {**FLOW, "defaults": defaults}


async def talk(run: Running) -> None:
    async with run.phone.call(CALLER, CALLED) as call:
        await call.hears()
        await call.say(babble(700))
        await call.hears()
        await call.say(babble(700, seed=2))
        await call.over()
    await run.settled()


def served(run: Running) -> None:
    """The call went as it should."""
    heard = ["I am Ada, on Monday", "okay goodbye"]
    assert [fact.text for fact in run.facts(TurnEnded)] == heard
    spoken = [fact.text for fact in run.facts(UtteranceSpoken)]
    assert spoken[-2:] == ["Thank you, Ada.", "Goodbye."]
    assert [fact.disposition for fact in run.facts(CallEnded)] == ["served"]
    assert run.facts(FaultMet) == []


async def usages(run: Running) -> dict[str, Usage]:
    """What the journal says was used, by model; hearing and speaking are told at the end."""
    (row,) = await run.engine.store.calls(10)
    await run.engine.store.written(row.id)
    bodies = [record.body for record in await run.engine.store.journal(row.id)]
    told = [from_json(body) for body in bodies if body["type"] == "UsageCounted"]
    return {event.usage.model: event.usage for event in told if isinstance(event, UsageCounted)}


def answered(body: Json) -> Answer:
    """By what was heard last: what is asked ahead of a turn's end may be asked again."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return saying("Thank you, Ada.")
    return Answer(tools=LEAVE if "goodbye" in last["content"] else NOTES)


def whole_openai() -> tuple[FakeOpenAiLive, FakeOpenAi]:
    chat = FakeOpenAi(answer=answered)
    return FakeOpenAiLive(["I am Ada, on Monday", "okay goodbye"], chat=chat), chat


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_openai_hears_thinks_and_speaks(tmp_path: Path, way: str) -> None:
    fake, chat = whole_openai()
    async with vendors() as behind, fake:
        more = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": fake.url}
        async with running(tmp_path, flow(WAYS[way]), behind, more=more) as run:
            await talk(run)
            used = await usages(run)
    served(run)
    heard, spoken = used[WAYS[way]["model"]], used["gpt-4o-mini-tts"]
    assert (heard.provider, heard.unit, heard.estimated) == (
        "openai",
        UNITS.get(way, "tokens"),
        False,
    )
    assert heard.amount_in > 0
    assert (spoken.provider, spoken.unit) == ("openai", "tokens")
    assert behind.deepgram.connections == behind.elevenlabs.connections == 0
    assert (fake.violations, chat.violations) == ([], [])


async def test_an_ear_that_breaks_in_the_middle_of_a_turn_is_not_noticed(tmp_path: Path) -> None:
    fake, _ = whole_openai()
    async with vendors() as behind, fake:
        more = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": fake.url}
        async with running(tmp_path, flow(WAYS["socket"]), behind, more=more) as run:
            fake.fails = 1
            fake.plan.appendleft("I am Ada, on Monday")
            await talk(run)
    served(run)
    assert len(fake.sessions) == 2
    assert fake.violations == []


async def test_another_vendor_hears_when_every_request_fails(tmp_path: Path) -> None:
    fake, _ = whole_openai()
    stt = {**WAYS["file"], "fallback": [{"provider": "deepgram"}]}
    fake.plan.clear()
    async with vendors() as behind, fake:
        behind.deepgram.plan.extend(["I am Ada, on Monday", "okay goodbye"])
        more = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": fake.url}
        async with running(tmp_path, flow(stt), behind, more=more) as run:
            # Each of two sessions asks twice.
            fake.faults += [Fault("refuse", status=500)] * 4
            await talk(run)
    assert [fact.text for fact in run.facts(TurnEnded)] == ["I am Ada, on Monday", "okay goodbye"]
    assert behind.deepgram.connections == 1
