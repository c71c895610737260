"""OpenAI's voice over loopback against the fake, and the fake against OpenAI's SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import openai
import pytest

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import Clause, SpeechChunk, TtsRequest, Voice
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.openai_speech import OpenAiTts
from flowengine.providers.supervision import SupervisedTts, TtsChoice
from flowengine.testing.providers.openai_audio import PIECE_BYTES, FakeOpenAiAudio
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import spoken_ms, tag_of
from tests.providers.running import clauses, kept, run

pytestmark = pytest.mark.unit

TEXTS = ["Good morning.", " How can I help you today?", " I am listening."]
MODELS = ["gpt-4o-mini-tts", "tts-1"]
SHORT = Deadlines(tts_first_audio_ms=400, tts_between_audio_ms=400, recovery_ms=1500)


def voice_of(model: str, **options: Json) -> TtsRequest:
    return TtsRequest(model, "alloy", "en-US", options)


def tts_at(url: str, key: str = KEY) -> OpenAiTts:
    return kept(OpenAiTts(key, url))


async def spoken(voice: Voice, texts: list[str]) -> list[SpeechChunk]:
    async with aclosing(voice.speak(clauses(texts))) as chunks:
        return [chunk async for chunk in chunks]


async def collect(voice: Voice, source: AsyncIterator[Clause], heard: list[SpeechChunk]) -> None:
    """Like `spoken`, but what came before an error is known too."""
    async with aclosing(voice.speak(source)) as chunks:
        async for chunk in chunks:
            heard.append(chunk)


def check(chunks: list[SpeechChunk], texts: list[str], said: list[str]) -> None:
    """Every clause in order with its one last chunk, its own audio and its own length."""
    numbers = [chunk.clause for chunk in chunks]
    assert numbers == sorted(numbers)
    assert [chunk.clause for chunk in chunks if chunk.last] == list(range(len(texts)))
    for number, text in enumerate(texts):
        audio = b"".join(chunk.audio for chunk in chunks if chunk.clause == number)
        assert abs(len(audio) / 8 - spoken_ms(text)) <= 2
        tag = tag_of(audio)
        assert tag is not None
        assert said[tag] == text


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("plain", [False, True])
def test_clauses_are_spoken_in_order(model: str, plain: bool) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            vendor.always_plain = plain
            voice = await tts_at(vendor.url).open(voice_of(model, speed=1.0))
            check(await spoken(voice, TEXTS), TEXTS, vendor.said)
            check(await spoken(voice, TEXTS[:1]), TEXTS[:1], vendor.said)
            assert sorted(vendor.said) == sorted([*TEXTS, TEXTS[0]])
            assert vendor.violations == []

    run(call())


def test_what_is_billed_is_told() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            tts = tts_at(vendor.url)
            characters = sum(map(len, TEXTS))
            voice = await tts.open(voice_of("tts-1"))
            await spoken(voice, TEXTS)
            assert await voice.close() == Usage("openai", "tts-1", "characters", characters)
            voice = await tts.open(voice_of("gpt-4o-mini-tts", instructions="Be calm."))
            await spoken(voice, TEXTS)
            tokens_out = sum(spoken_ms(text) // 50 for text in TEXTS)
            assert await voice.close() == Usage(
                "openai",
                "gpt-4o-mini-tts",
                "tokens",
                amount_in=sum(len(text) // 4 + 1 for text in TEXTS),
                amount_out=tokens_out,
                audio_out=tokens_out,
            )
            assert vendor.requests[-1]["instructions"] == "Be calm."
            vendor.tells_usage = False
            voice = await tts.open(voice_of("gpt-4o-mini-tts"))
            await spoken(voice, TEXTS)
            usage = await voice.close()
            assert usage is not None
            assert (usage.unit, usage.amount_in, usage.estimated) == (
                "characters",
                characters,
                True,
            )

    run(call())


def test_the_next_clause_is_asked_for_while_one_is_spoken_and_no_more() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            vendor.gate = asyncio.Event()
            voice = await tts_at(vendor.url).open(voice_of("tts-1"))
            async with aclosing(voice.speak(clauses(TEXTS))) as chunks:
                first = await anext(chunks)
                await vendor.until(lambda: len(vendor.said) == 2)
                assert (first.clause, first.last) == (0, False)
                vendor.gate.set()
                rest = [chunk async for chunk in chunks]
            check([first, *rest], TEXTS, vendor.said)
            assert vendor.most_streams == 2

    run(call())


@pytest.mark.parametrize("model", MODELS)
def test_a_clause_is_spoken_before_the_next_one_is_known(model: str) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            heard = asyncio.Event()

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, "One moment.")
                await heard.wait()
                yield Clause(1, "  ")
                yield Clause(2, "Here it is.")

            voice = await tts_at(vendor.url).open(voice_of(model))
            ended = []
            async with aclosing(voice.speak(thinking())) as chunks:
                async for chunk in chunks:
                    if chunk.last:
                        ended.append(chunk.clause)
                        heard.set()
            assert ended == [0, 1, 2]
            assert vendor.said == ["One moment.", "Here it is."]

    run(call())


def test_closing_cancels_all_requests_at_the_vendor() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            vendor.gate = asyncio.Event()
            voice = await tts_at(vendor.url).open(voice_of("gpt-4o-mini-tts"))
            async with aclosing(voice.speak(clauses(TEXTS))) as chunks:
                await anext(chunks)
                await vendor.until(lambda: len(vendor.said) == 2)
            await vendor.until(lambda: vendor.aborted == 2)
            vendor.gate = None
            check(await spoken(voice, TEXTS[:1]), TEXTS[:1], vendor.said)
            usage = await voice.close()
            assert usage is not None
            assert usage.unit == "tokens"
            assert usage.estimated
            assert usage.amount_in > len(TEXTS[0]) // 4 + 1

    run(call())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=1), "dropped"),
        (Fault("refuse", status=401), "auth"),
        (Fault("refuse", status=404), "bad_request"),
        (Fault("refuse", status=429), "rate_limit"),
        (Fault("refuse", status=503), "overloaded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_are_typed_and_come_in_their_place(model: str, fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            vendor.faults += [None, fault]

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, TEXTS[0])
                await vendor.until(lambda: len(vendor.said) == 1)
                yield Clause(1, TEXTS[1])

            voice = await tts_at(vendor.url).open(voice_of(model))
            chunks: list[SpeechChunk] = []
            with pytest.raises(ProviderError) as caught:
                await collect(voice, thinking(), chunks)
            assert (caught.value.code, caught.value.where) == (code, "openai")
            check([chunk for chunk in chunks if chunk.clause == 0], TEXTS[:1], vendor.said)
            await voice.close()

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault("error", after=1), "unavailable"), (Fault("garbage", after=1), "protocol")],
)
def test_an_error_inside_the_events_is_typed(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            vendor.faults.append(fault)
            voice = await tts_at(vendor.url).open(voice_of("gpt-4o-mini-tts"))
            with pytest.raises(ProviderError) as caught:
                await spoken(voice, TEXTS)
            assert caught.value.code == code

    run(call())


@pytest.mark.parametrize(
    "options", [{"pitch": 2}, {"speed": 9}, {"speed": True}, {"instructions": 3}]
)
def test_wrong_options_are_refused_before_anything_is_asked(options: dict[str, Json]) -> None:
    async def call() -> None:
        with pytest.raises(ProviderError) as caught:
            await tts_at("http://127.0.0.1:1/v1").open(voice_of("tts-1", **options))
        assert caught.value.code == "bad_request"

    run(call())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "fault",
    [Fault("hang"), Fault("stall"), Fault("cut"), Fault("refuse", status=500)],
    ids=lambda fault: fault.kind,
)
def test_under_supervision_a_fault_before_the_first_audio_is_not_noticed(
    model: str, fault: Fault
) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            vendor.faults.append(fault)
            tts = SupervisedTts([TtsChoice(tts_at(vendor.url))], SHORT)
            await tts.warm()
            voice = await tts.open(voice_of(model))
            chunks = await spoken(voice, TEXTS)
            assert [chunk.clause for chunk in chunks if chunk.last] == [0, 1, 2]
            assert tts.counts["openai.recovered"] == 1
            await voice.close()

    run(call())


def test_audio_is_not_held_back() -> None:
    """All of a clause but the resampler's 1.6 ms is out before its last piece comes."""

    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            vendor.gate = asyncio.Event()
            voice = await tts_at(vendor.url).open(voice_of("tts-1"))
            text = "x" * 20
            sent_ms = spoken_ms(text) * 48 // PIECE_BYTES * PIECE_BYTES / 48
            heard = 0
            async with aclosing(voice.speak(clauses([text]))) as chunks:
                async for chunk in chunks:
                    heard += len(chunk.audio)
                    if heard / 8 >= sent_ms - 2:
                        break
            assert vendor.open_streams == 1

    run(call())


def test_openais_sdk_understands_the_fake() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            client = openai.AsyncOpenAI(api_key=KEY, base_url=vendor.url, max_retries=0)
            speech = client.audio.speech.with_streaming_response
            async with speech.create(
                model="tts-1", voice="alloy", input="Hello.", response_format="pcm"
            ) as response:
                pcm = b"".join([piece async for piece in response.iter_bytes()])
            assert abs(len(pcm) / 48 - spoken_ms("Hello.")) <= 1
            assert vendor.violations == []
            client.api_key = "wrong"
            with pytest.raises(openai.AuthenticationError):
                await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
            await client.close()

    run(call())
