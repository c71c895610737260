"""Supervision with faults: LLM and voice against the fakes, with small deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from flowengine.errors import ProviderError
from flowengine.events import Usage
from flowengine.ports import (
    Clause,
    LlmEnd,
    LlmEvent,
    LlmRequest,
    LlmSpent,
    LlmText,
    LlmUsage,
    SpeechChunk,
    TtsRequest,
    Voice,
)
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.supervision import LlmChoice, SupervisedLlm, SupervisedTts, TtsChoice
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.openai import Answer, FakeOpenAi, saying
from flowengine.testing.providers.serving import Fault
from flowengine.testing.providers.speech import tag_of
from tests.providers.running import LLM, TTS, clauses, llm_at, run, tts_at

pytestmark = pytest.mark.unit

SHORT = Deadlines(
    llm_first_token_ms=300,
    llm_between_tokens_ms=300,
    tts_open_ms=300,
    tts_first_audio_ms=400,
    tts_between_audio_ms=400,
    recovery_ms=800,
)


async def text_of(llm: SupervisedLlm) -> str:
    async with aclosing(llm.stream(LLM)) as events:
        return "".join([event.text async for event in events if isinstance(event, LlmText)])


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("hang"), "deadline"),
        (Fault("stall"), "deadline"),
        (Fault("refuse", status=500), "unavailable"),
        (Fault("cut"), "connect"),
        (Fault("garbage"), "protocol"),
        (Fault("error"), "unavailable"),
    ],
)
def test_a_first_failure_is_tried_again_at_once(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeOpenAi(answer=lambda body: saying("Good day.")) as vendor:
            vendor.faults.append(fault)
            llm = SupervisedLlm([LlmChoice(llm_at(vendor.url))], SHORT)
            assert await text_of(llm) == "Good day."
            assert vendor.connections == 2
            assert llm.counts == {f"openai.{code}": 1, "openai.recovered": 1}

    run(call())


@pytest.mark.parametrize(
    ("status", "code"), [(429, "rate_limit"), (401, "auth"), (400, "bad_request")]
)
def test_what_a_second_try_cannot_help_goes_to_the_fallback(status: int, code: str) -> None:
    async def call() -> None:
        async with FakeOpenAi() as first, FakeOpenAi([saying("From the other.")]) as second:
            first.faults.append(Fault("refuse", status=status))
            choices = [
                LlmChoice(llm_at(first.url)),
                LlmChoice(llm_at(second.url), model="other", options={"seed": 1}),
            ]
            llm = SupervisedLlm(choices, SHORT)
            assert await text_of(llm) == "From the other."
            assert first.connections == 1
            assert second.requests[0]["model"] == "other"
            assert second.requests[0]["seed"] == 1
            assert llm.counts[f"openai.{code}"] == 1

    run(call())


def test_nothing_is_repeated_once_something_was_said() -> None:
    async def call() -> None:
        async with FakeOpenAi(answer=lambda body: saying("one two three")) as vendor:
            for fault, code in (
                (Fault("cut", after=3), "dropped"),
                (Fault("stall", after=3), "stalled"),
            ):
                vendor.faults.append(fault)
                llm = SupervisedLlm([LlmChoice(llm_at(vendor.url))], SHORT)
                with pytest.raises(ProviderError) as caught:
                    await text_of(llm)
                assert caught.value.code == code
            assert vendor.connections == 2

    run(call())


def test_when_all_fail_the_last_error_is_raised() -> None:
    async def call() -> None:
        async with FakeOpenAi() as vendor:
            vendor.faults.extend([Fault("hang"), *[Fault("refuse", status=503)] * 3])
            choice = LlmChoice(llm_at(vendor.url))
            llm = SupervisedLlm([choice, choice, choice], SHORT)
            with pytest.raises(ProviderError) as caught:
                await text_of(llm)
            assert caught.value.code == "overloaded"
            assert vendor.connections == 4

    run(call())


def test_after_the_first_failure_the_time_of_recovery_is_the_limit() -> None:
    async def call() -> None:
        async with FakeOpenAi() as vendor:
            vendor.faults.extend([Fault("refuse"), Fault("hang")])
            patient = Deadlines(llm_first_token_ms=600_000, recovery_ms=300)
            llm = SupervisedLlm([LlmChoice(llm_at(vendor.url))], patient)
            with pytest.raises(ProviderError) as caught:
                await text_of(llm)
            assert caught.value.code == "deadline"

    run(call())


class SlowTool:
    """An LLM that writes a long tool call, longer than the first token's limit."""

    name = "slow"

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        for _ in range(4):
            await _pause(0.2)
            yield LlmText("")
        yield LlmEnd("tool_calls", None)


async def _pause(seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        return


def test_signs_of_life_keep_the_deadline_and_are_not_passed_on() -> None:
    async def call() -> None:
        llm = SupervisedLlm([LlmChoice(SlowTool())], SHORT)
        assert [event async for event in llm.stream(LLM)] == [
            LlmUsage(Usage("slow", LLM.model, "tokens", 2, estimated=True)),
            LlmEnd("tool_calls", None),
        ]

    run(call())


class Counts:
    """An LLM that tells what its input was, then fails the first time it is asked."""

    name = "counts"

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.asked = 0

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        self.asked += 1
        yield LlmUsage(Usage("counts", "m", "tokens", self.asked))
        if self.asked == 1:
            if self.silent:
                await asyncio.Event().wait()
            raise ProviderError("dropped", "gone", where="counts", retryable=True)
        yield LlmText("Hello.")
        yield LlmEnd("stop", None)


@pytest.mark.parametrize(("silent", "code"), [(False, "dropped"), (True, "deadline")])
def test_usage_that_is_told_early_is_no_part_of_the_answer(silent: bool, code: str) -> None:
    async def call() -> None:
        llm = SupervisedLlm([LlmChoice(Counts(silent=silent))], SHORT)
        events = [event async for event in llm.stream(LLM)]
        by_us = LlmUsage(Usage("counts", LLM.model, "tokens", 2, estimated=True))
        in_vain = Usage("counts", "m", "tokens", 1, estimated=True, wasted=True)
        assert events == [
            by_us,
            by_us,
            LlmSpent((in_vain,)),
            LlmUsage(Usage("counts", "m", "tokens", 2)),
            LlmText("Hello."),
            LlmEnd("stop", None),
        ]
        assert llm.counts == {f"counts.{code}": 1, "counts.recovered": 1}

    run(call())


def test_closing_aborts_at_the_vendor() -> None:
    async def call() -> None:
        async with FakeOpenAi([Answer(("one", " two"), between_tokens_ms=200)]) as vendor:
            llm = SupervisedLlm([LlmChoice(llm_at(vendor.url))])
            async with aclosing(llm.stream(LLM)) as events:
                assert isinstance(await anext(events), LlmUsage)
                assert await anext(events) == LlmText("one")
            await vendor.until(lambda: vendor.aborted == 1)

    run(call())


async def spoken(voice: Voice, texts: list[str]) -> list[SpeechChunk]:
    async with aclosing(voice.speak(clauses(texts))) as chunks:
        return [chunk async for chunk in chunks]


def lasts(chunks: list[SpeechChunk]) -> list[int]:
    return [chunk.clause for chunk in chunks if chunk.last]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("stall"), "deadline"),
        (Fault("cut"), "dropped"),
        (Fault("garbage"), "protocol"),
    ],
)
def test_a_voice_that_fails_before_it_spoke_is_tried_again(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.faults.append(fault)
            tts = SupervisedTts([TtsChoice(tts_at(vendor.url))], SHORT)
            voice = await tts.open(TTS)
            assert lasts(await spoken(voice, ["Hello.", "Who is it?"])) == [0, 1]
            assert tts.counts == {f"elevenlabs.{code}": 1, "elevenlabs.recovered": 1}
            await voice.close()

    run(call())


def test_another_voice_goes_on_and_stays() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as first, FakeElevenLabs() as second:
            first.faults.extend([Fault("cut"), Fault("cut")])
            choices = [
                TtsChoice(tts_at(first.url)),
                TtsChoice(tts_at(second.url), voice="other"),
            ]
            tts = SupervisedTts(choices, SHORT)
            voice = await tts.open(TTS)
            for text in ("Hello.", "And again."):
                assert lasts(await spoken(voice, [text])) == [0]
            assert [text.strip() for text in second.said] == ["Hello.", "And again."]
            await voice.close()

    run(call())


def test_a_voice_that_fails_inside_a_clause_is_told() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.faults.append(Fault("stall", after=1))
            tts = SupervisedTts([TtsChoice(tts_at(vendor.url))], SHORT)
            voice = await tts.open(TTS)
            with pytest.raises(ProviderError) as caught:
                await spoken(voice, ["A sentence of several pieces."])
            assert caught.value.code == "stalled"
            assert lasts(await spoken(voice, ["Sorry."])) == [0]
            await voice.close()

    run(call())


def test_a_voice_that_fails_between_clauses_goes_on_with_the_next() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.faults.append(Fault("cut", after=1))
            tts = SupervisedTts([TtsChoice(tts_at(vendor.url))], SHORT)
            voice = await tts.open(TTS)
            first_done = asyncio.Event()

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, "Hello.")
                await first_done.wait()
                yield Clause(1, "Who is it?")

            chunks: list[SpeechChunk] = []
            async with aclosing(voice.speak(thinking())) as speaking:
                async for chunk in speaking:
                    chunks.append(chunk)
                    if chunk.last:
                        first_done.set()
            assert lasts(chunks) == [0, 1]
            assert vendor.connections == 2
            assert next(tag_of(chunk.audio) for chunk in chunks if chunk.audio) == 0
            await voice.close()

    run(call())


def test_a_thinking_pause_is_no_stall() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            tts = SupervisedTts([TtsChoice(tts_at(vendor.url))], SHORT)
            voice = await tts.open(TTS)

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, "One moment.")
                await _pause(1.0)
                yield Clause(1, "Here it is.")

            async with aclosing(voice.speak(thinking())) as speaking:
                chunks = [chunk async for chunk in speaking]
            assert lasts(chunks) == [0, 1]
            assert tts.counts == {}
            await voice.close()

    run(call())


def test_a_source_of_clauses_that_fails_is_no_fault_of_the_voice() -> None:
    async def call() -> None:
        async def broken() -> AsyncIterator[Clause]:
            yield Clause(0, "Well.")
            raise LookupError("source")

        async with FakeElevenLabs() as vendor:
            tts = SupervisedTts([TtsChoice(tts_at(vendor.url))], SHORT)
            voice = await tts.open(TTS)
            heard: list[SpeechChunk] = []

            async def listen() -> None:
                async for chunk in voice.speak(broken()):
                    heard.append(chunk)

            with pytest.raises(LookupError, match="source"):
                await listen()
            assert lasts(heard) == [0]
            assert tts.counts == {}
            usage = await voice.close()
            assert usage == Usage(
                "elevenlabs", TTS.model, "characters", len("Well."), estimated=True
            )

    run(call())


class NoTts:
    """A vendor whose handshake never ends."""

    name = "slow"

    async def open(self, request: TtsRequest) -> Voice:
        await asyncio.Event().wait()
        raise AssertionError("never opened")


def test_no_voice_can_be_opened() -> None:
    async def call() -> None:
        tts = SupervisedTts([TtsChoice(NoTts())], SHORT)
        with pytest.raises(ProviderError) as caught:
            await tts.open(TTS)
        assert caught.value.code == "deadline"
        assert tts.counts == {"slow.deadline": 2}

    run(call())
