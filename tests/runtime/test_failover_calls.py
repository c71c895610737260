"""Whole calls in which a vendor fails: somebody else goes on, and the caller is told to wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowengine.events import (
    CallEnded,
    FaultMet,
    Usage,
    UsageCounted,
    UtteranceSpoken,
    WaitPassed,
)
from flowengine.providers.deadlines import Deadlines
from flowengine.runtime.covering import COVER, COVER_MS
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.answers import Answer, saying
from flowengine.testing.providers.anthropic import FakeAnthropic
from flowengine.testing.providers.serving import KEY, Fault
from tests.runtime.house import CALLED, CALLER, Running, Vendors, running, vendors
from tests.runtime.test_llm_calls import FLOW, LEAVE

pytestmark = [pytest.mark.api, pytest.mark.anyio]

ONE_MOMENT = "One moment, please."
TWO_LLMS = {
    "provider": "openai",
    "model": "some-model",
    "fallback": [{"provider": "anthropic", "model": "other-model"}],
}
TWO_VOICES = {
    "provider": "elevenlabs",
    "model": "first-voice",
    "fallback": [{"provider": "elevenlabs", "model": "second-voice"}],
}
GREETING = "Hello, this is the desk."


@asynccontextmanager
async def desk(
    folder: Path, deadlines: Deadlines, **defaults: Any
) -> AsyncIterator[tuple[Vendors, FakeAnthropic, Running]]:
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(vendors())
        other = await stack.enter_async_context(FakeAnthropic())
        more = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": other.url}
        flow = {**FLOW, "defaults": defaults}
        served = running(folder, flow, behind, deadlines=deadlines, more=more)
        yield behind, other, await stack.enter_async_context(served)
        assert (behind.openai.violations, other.violations) == ([], [])


async def talked(run: Running, behind: Vendors, *words: str) -> None:
    """A caller says this, each when the bot has spoken, until the call is over."""
    behind.deepgram.plan.extend(words)
    async with run.phone.call(CALLER, CALLED) as call:
        for turn in range(len(words)):
            await call.hears()
            await call.say(babble(700, seed=turn + 1))
        await call.over()
    await run.settled()


def said(run: Running) -> list[str]:
    return [fact.heard.strip() for fact in run.facts(UtteranceSpoken)]


def used(run: Running, provider: str) -> list[Usage]:
    return [fact.usage for fact in run.facts(UsageCounted) if fact.usage.provider == provider]


async def test_another_llm_answers_beside_one_that_hangs_and_knows_what_was_said(
    tmp_path: Path,
) -> None:
    hedged = Deadlines(llm_hedge_ms=300)
    async with desk(tmp_path, hedged, llm=TWO_LLMS) as (behind, other, run):
        behind.openai.plan += [saying("Thank you, Ada."), saying("Late."), Answer(tools=LEAVE)]
        behind.openai.faults += [None, Fault("stall")]
        other.plan.append(saying("It is free."))
        await talked(run, behind, "I am Ada, on Monday", "and what does it cost", "okay goodbye")
        assert said(run) == [GREETING, "Thank you, Ada.", "It is free.", "Goodbye."]
        assert [fact.disposition for fact in run.facts(CallEnded)] == ["served"]
        assert run.facts(FaultMet) == []
        assert (len(behind.openai.requests), len(other.requests)) == (3, 1)
        assert behind.openai.aborted == 1
        asked = [
            (message["role"], part["text"])
            for message in other.requests[0]["messages"]
            for part in message["content"]
        ]
        assert asked[-3:] == [
            ("user", "I am Ada, on Monday"),
            ("assistant", "Thank you, Ada."),
            ("user", "and what does it cost"),
        ]
        (lost,) = [usage for usage in used(run, "openai") if usage.wasted]
        assert (lost.model, lost.estimated) == ("some-model", True)
        assert lost.amount_in > 0
        assert [(usage.model, usage.wasted) for usage in used(run, "anthropic")] == [
            ("other-model", False)
        ]


async def test_an_llm_that_hangs_for_good_is_covered_and_the_error_is_spoken(
    tmp_path: Path,
) -> None:
    patient = Deadlines(llm_first_token_ms=3000, recovery_ms=600)
    async with desk(tmp_path, patient, llm=TWO_LLMS) as (behind, other, run):
        behind.openai.faults += [Fault("hang")] * 5
        other.faults += [Fault("hang")] * 5
        await talked(run, behind, "I am Ada, on Monday")
        assert said(run) == [GREETING, ONE_MOMENT, "Sorry."]
        (passed,) = [fact for fact in run.facts(WaitPassed) if fact.wait == COVER]
        assert passed.limit_ms <= COVER_MS
        assert [fact.code for fact in run.facts(FaultMet)] == ["deadline"]
        lost = [*used(run, "openai"), *used(run, "anthropic")]
        assert all(usage.wasted for usage in lost)
        assert len(lost) == len(behind.openai.requests) + len(other.requests)


async def test_what_was_said_before_an_answer_broke_off_was_heard_and_is_paid_for(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, Deadlines(), llm=TWO_LLMS) as (behind, other, run):
        behind.openai.plan.append(saying("Thank you, Ada. And now to something that never comes"))
        behind.openai.faults.append(Fault("cut", after=6))
        await talked(run, behind, "I am Ada, on Monday")
        heard = said(run)
        assert heard[0] == GREETING
        assert heard[1].startswith("Thank you, Ada.")
        assert heard[-1] == "Sorry."
        (broken,) = used(run, "openai")
        assert (broken.estimated, broken.wasted) == (True, False)
        assert broken.amount_out > 0
        assert other.requests == []


@pytest.mark.parametrize("kind", ["cut", "stall"])
async def test_another_voice_speaks_when_the_first_dies_before_it_said_a_word(
    tmp_path: Path, kind: Any
) -> None:
    short = Deadlines(tts_first_audio_ms=400, recovery_ms=1500)
    async with desk(tmp_path, short, llm=TWO_LLMS, tts=TWO_VOICES) as (behind, _, run):
        voices = behind.elevenlabs
        made = len(voices.queries)
        voices.faults += [Fault(kind)] * 2
        behind.openai.plan += [saying("Thank you, Ada."), Answer(tools=LEAVE)]
        await talked(run, behind, "I am Ada, on Monday", "okay goodbye")
        assert said(run) == [GREETING, "Thank you, Ada.", "Goodbye."]
        assert [query["model_id"] for query in voices.queries[made:]] == [
            "first-voice",
            "first-voice",
            "second-voice",
        ]
        assert run.facts(FaultMet) == []
        assert voices.violations == []
