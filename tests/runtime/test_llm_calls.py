"""Whole calls whose LLM is not OpenAI: spoken turns, an edge taken, a note, usage, a failover."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from flowengine.events import CallEnded, TurnEnded, UsageCounted, UtteranceSpoken
from flowengine.providers.deadlines import Deadlines
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.answers import Answer, FakeLlm, saying
from flowengine.testing.providers.anthropic import FakeAnthropic
from flowengine.testing.providers.faults import status
from flowengine.testing.providers.google import FakeGoogle
from flowengine.testing.providers.openai import MISTRAL, FakeOpenAi
from flowengine.testing.providers.serving import KEY
from tests.runtime.house import CALLED, CALLER, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]

FLOW: dict[str, Any] = {
    "flow": "1",
    "id": "desk",
    "start": "talk",
    "variables": {
        "name": {"type": "text", "output": True},
        "day": {"type": "text", "output": True},
    },
    "nodes": {
        "talk": {
            "kind": "dialog",
            "say": "Hello, this is the desk.",
            "prompt": "Help the caller.",
            "also": ["name", "day"],
        },
        "bye": {"kind": "hangup", "say": "Goodbye.", "disposition": "served"},
        "sorry": {"kind": "hangup", "say": "Sorry.", "disposition": "failed"},
    },
    "edges": [
        {"from": "talk", "on": {"intent": "The caller says goodbye"}, "to": "bye", "id": "leave"},
        {"from": "talk", "on": "else", "to": "sorry"},
        {"from": "*", "on": "error", "to": "sorry"},
    ],
}
LEAVE = (("take_edge", '{"edge":"leave","quote":"okay goodbye"}'),)
NOTES = (("note", '{"name":"Ada"}'), ("note", '{"day":"Monday"}'))


def flow(provider: str, **more: Any) -> dict[str, Any]:
    return {**FLOW, "defaults": {"llm": {"provider": provider, "model": "some-model", **more}}}


@pytest.mark.parametrize(
    ("provider", "setting", "make"),
    [
        ("anthropic", "ANTHROPIC", FakeAnthropic),
        ("google", "GEMINI", FakeGoogle),
        ("mistral", "MISTRAL", lambda: FakeOpenAi(habits=MISTRAL)),
    ],
    ids=["anthropic", "google", "mistral"],
)
async def test_a_call_with_notes_and_an_edge(
    tmp_path: Path, provider: str, setting: str, make: Callable[[], FakeLlm]
) -> None:
    fake = make()
    fake.plan += [Answer(tools=NOTES), saying("Thank you, Ada."), Answer(tools=LEAVE)]
    async with vendors() as behind, fake:
        more = {f"{setting}_API_KEY": KEY, f"{setting}_BASE_URL": fake.url}
        behind.deepgram.plan.extend(["I am Ada, on Monday", "okay goodbye"])
        async with running(tmp_path, flow(provider), behind, more=more) as run:
            async with run.phone.call(CALLER, CALLED) as call:
                await call.hears()
                await call.say(babble(700))
                await call.hears()
                await call.say(babble(700, seed=2))
                await call.over()
            await run.settled()
    assert [fact.text for fact in run.facts(TurnEnded)] == ["I am Ada, on Monday", "okay goodbye"]
    assert [fact.text for fact in run.facts(UtteranceSpoken)][-2:] == [
        "Thank you, Ada.",
        "Goodbye.",
    ]
    assert [fact.disposition for fact in run.facts(CallEnded)] == ["served"]
    used = [fact.usage for fact in run.facts(UsageCounted) if fact.usage.provider == provider]
    assert [usage.amount_in for usage in used] == [100, 100, 100]
    assert b'"Ada' in orjson.dumps(fake.requests[1])
    assert fake.violations == []


async def test_another_vendor_takes_over_what_the_first_began(tmp_path: Path) -> None:
    fake = FakeAnthropic([Answer(tools=NOTES)])
    fake.faults += [None, status(529, retry_after_s=30)]
    async with vendors() as behind, fake:
        more = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": fake.url}
        behind.deepgram.plan.extend(["I am Ada, on Monday", "okay goodbye"])
        # The first one asks to be left alone for 30 s: it is not asked again, nor the next turn.
        behind.openai.plan += [saying("Thank you, Ada."), Answer(tools=LEAVE)]
        served = flow("anthropic", fallback=[{"provider": "openai", "model": "other-model"}])
        deadlines = Deadlines(recovery_ms=2000)
        async with running(tmp_path, served, behind, more=more, deadlines=deadlines) as run:
            async with run.phone.call(CALLER, CALLED) as call:
                await call.hears()
                await call.say(babble(700))
                await call.hears()
                await call.say(babble(700, seed=2))
                await call.over()
            await run.settled()
    assert [fact.text for fact in run.facts(UtteranceSpoken)][-2:] == [
        "Thank you, Ada.",
        "Goodbye.",
    ]
    assert [fact.disposition for fact in run.facts(CallEnded)] == ["served"]
    assert (fake.connections, len(behind.openai.requests)) == (2, 2)
    assert (fake.violations, behind.openai.violations) == ([], [])
