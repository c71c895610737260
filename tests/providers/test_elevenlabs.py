"""ElevenLabs' adapter over loopback against the fake, in each of the three ways to speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import elevenlabs.client
import httpx
import pytest

from flowengine.errors import ProviderError
from flowengine.flow.defaults import Defaults
from flowengine.ports import Clause, SpeechChunk, TtsRequest, Voice
from flowengine.providers.elevenlabs import ElevenLabsTts
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.vendors import SupervisedVendors, server_defaults
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import spoken_ms, tag_of
from tests.providers.running import TTS, clauses, run, tts_at

pytestmark = pytest.mark.unit

WAYS = ["multi-stream-input", "stream-input", "stream"]
TEXTS = ["Good morning.", " How can I help you today?"]


async def spoken(voice: Voice, texts: list[str]) -> list[SpeechChunk]:
    async with aclosing(voice.speak(clauses(texts))) as chunks:
        return [chunk async for chunk in chunks]


def check(chunks: list[SpeechChunk], texts: list[str], first_tag: int | None = None) -> None:
    """Every clause in order with its one last chunk, its own audio and about its length."""
    numbers = [chunk.clause for chunk in chunks]
    assert numbers == sorted(numbers)
    assert [chunk.clause for chunk in chunks if chunk.last] == list(range(len(texts)))
    for number, text in enumerate(texts):
        audio = b"".join(chunk.audio for chunk in chunks if chunk.clause == number)
        assert abs(len(audio) // 8 - spoken_ms(text)) <= spoken_ms("xxx")
        if first_tag is not None:
            assert tag_of(audio) == first_tag + number


@pytest.mark.parametrize("way", WAYS)
def test_two_utterances_over_each_way(way: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs(offers=[way]) as vendor:
            tts = tts_at(vendor.url)
            voice = await tts.open(TTS)
            assert tts.way == way
            check(await spoken(voice, TEXTS), TEXTS, 0)
            check(await spoken(voice, ["Bye."]), ["Bye."], 2)
            usage = await voice.close()
            assert usage is not None
            assert usage.amount_in == sum(map(len, [*TEXTS, "Bye."]))
            assert vendor.violations == []
            await tts.aclose()

    run(call())


def test_the_way_is_remembered() -> None:
    async def call() -> None:
        async with FakeElevenLabs(offers=["stream-input"]) as vendor:
            tts = tts_at(vendor.url)
            for expected in (1, 2):
                voice = await tts.open(TTS)
                assert vendor.connections == expected
                await voice.close()

    run(call())


def test_one_socket_and_one_context_an_utterance() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            voice = await tts_at(vendor.url).open(
                TtsRequest("eleven_flash_v2_5", "v", "de-DE", {"speed": 1.1, "seed": 4})
            )
            for _ in range(3):
                chunks = await spoken(voice, ["Guten Tag."])
                words = [word for chunk in chunks for word in chunk.words]
                assert [word.end_char for word in words] == [5, 10]
                assert words[0].start_ms == 0
            await vendor.until(lambda: len(vendor.closed_contexts) == 3)
            await voice.close()
            assert vendor.connections == 1
            assert vendor.most_contexts == 1
            assert vendor.queries[0]["language_code"] == "de"
            assert vendor.queries[0]["output_format"] == "ulaw_8000"
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("answers", [True, False])
def test_a_vendor_without_alignment(way: str, answers: bool) -> None:
    async def call() -> None:
        async with FakeElevenLabs(offers=[way]) as vendor:
            vendor.aligns = False
            vendor.answers_close = answers
            voice = await tts_at(vendor.url).open(TTS)
            check(await spoken(voice, TEXTS), TEXTS)
            await voice.close()
            assert vendor.violations == []

    run(call())


def test_a_clause_is_spoken_before_the_next_one_is_known() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            voice = await tts_at(vendor.url).open(TTS)
            heard = asyncio.Event()

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, "One moment.")
                await heard.wait()
                yield Clause(1, "Here it is.")

            chunks: list[SpeechChunk] = []
            async with aclosing(voice.speak(thinking())) as speaking:
                async for chunk in speaking:
                    chunks.append(chunk)
                    if chunk.last and chunk.clause == 0:
                        heard.set()
            check(chunks, ["One moment.", "Here it is."], 0)
            await voice.close()

    run(call())


@pytest.mark.parametrize("way", WAYS[:2])
def test_interruptions_leave_nothing_open(way: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs(offers=[way]) as vendor:
            voice = await tts_at(vendor.url).open(TTS)
            for _ in range(12):
                async with aclosing(voice.speak(clauses(["A long sentence to break."]))) as speech:
                    assert (await anext(speech)).audio
            check(await spoken(voice, ["And now this."]), ["And now this."], 12)
            await voice.close()
            assert vendor.most_contexts <= 4
            assert vendor.violations == []

    run(call())


def test_unanswered_contexts_do_not_pile_up() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.answers_close = False
            voice = await tts_at(vendor.url).open(TTS)
            for _ in range(9):
                check(await spoken(voice, ["Hm."]), ["Hm."])
            await voice.close()
            assert vendor.most_contexts <= 4
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=1), "dropped"),
        (Fault("garbage", after=1), "protocol"),
        (Fault("error", after=1), "quota"),
    ],
)
def test_a_failing_socket_is_told_and_replaced(way: str, fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs(offers=[way]) as vendor:
            tts = tts_at(vendor.url)
            await (await tts.open(TTS)).close()
            vendor.faults.append(fault)
            voice = await tts.open(TTS)
            with pytest.raises(ProviderError) as caught:
                await spoken(voice, TEXTS)
            assert caught.value.code == code
            check(await spoken(voice, ["Sorry."]), ["Sorry."])
            await voice.close()

    run(call())


@pytest.mark.parametrize(
    ("status", "code"), [(401, "auth"), (429, "rate_limit"), (500, "unavailable")]
)
def test_a_refusal_that_is_no_missing_endpoint(status: int, code: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.faults.append(Fault("refuse", status=status))
            tts = tts_at(vendor.url)
            with pytest.raises(ProviderError) as caught:
                await tts.open(TTS)
            assert caught.value.code == code
            assert tts.way == "multi-stream-input"

    run(call())


def test_what_breaks_in_the_source_of_clauses_is_raised() -> None:
    async def call() -> None:
        async def broken() -> AsyncIterator[Clause]:
            yield Clause(0, "Well.")
            raise LookupError("source")

        async with FakeElevenLabs() as vendor:
            voice = await tts_at(vendor.url).open(TTS)
            with pytest.raises(LookupError, match="source"):
                async for _ in voice.speak(broken()):
                    pass
            await voice.close()

    run(call())


LOCATORS = [{"pronunciation_dictionary_id": "names", "version_id": "7"}]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_flow_says_of_its_voice_reaches_the_wire(way: str) -> None:
    """A cloned voice by its id, with settings of its own and a dictionary of pronunciation."""

    async def call() -> None:
        async with FakeElevenLabs(offers=[way]) as vendor:
            values = {"ELEVENLABS_API_KEY": KEY, "ELEVENLABS_BASE_URL": vendor.url}
            vendors = SupervisedVendors(ProviderSettings(values), server_defaults(values))
            flow = {
                "voice": "Xb7hH8MSUJpSbSDYk0k2",
                "voice_settings": {"stability": 0.4, "speed": 0.9},
                "similarity_boost": 0.8,
                "speed": 1.1,
                "pronunciation_dictionary_locators": LOCATORS,
                "apply_text_normalization": "on",
            }
            use = Defaults.model_validate({"tts": {"provider": "elevenlabs", **flow}}).tts
            assert use is not None
            asked = TtsRequest(use.model or "", str(use.voice), "de-DE", use.settings)
            voice = await vendors.tts(use).open(asked)
            check(await spoken(voice, ["Guten Tag."]), ["Guten Tag."], 0)
            await voice.close()
            await vendors.aclose()
            assert set(vendor.voices) == {"Xb7hH8MSUJpSbSDYk0k2"}
            assert vendor.manners == [
                {
                    "voice_settings": {"stability": 0.4, "similarity_boost": 0.8, "speed": 1.1},
                    "pronunciation_dictionary_locators": LOCATORS,
                }
            ]
            if way != "stream":
                assert vendor.queries[0]["apply_text_normalization"] == "on"
                assert vendor.queries[0]["model_id"] == "eleven_flash_v2_5"
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize(
    "options",
    [
        {"voice_settings": {"loudness": 2}},
        {"voice_settings": 3},
        {"pronunciation_dictionary_locators": {"pronunciation_dictionary_id": "names"}},
        {"pronunciation_dictionary_locators": [{"id": "names"}]},
    ],
)
def test_options_that_the_vendor_would_not_take_are_refused(options: dict[str, Any]) -> None:
    async def call() -> None:
        with pytest.raises(ProviderError) as caught:
            await ElevenLabsTts(KEY).open(TtsRequest("m", "v", "en", options))
        assert caught.value.code == "bad_request"
        assert next(iter(options)) in str(caught.value)

    run(call())


def test_an_unknown_option_is_refused() -> None:
    async def call() -> None:
        with pytest.raises(ProviderError) as caught:
            await ElevenLabsTts(KEY).open(TtsRequest("m", "v", "en", {"loudness": 2}))
        assert caught.value.code == "bad_request"

    run(call())


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code:DeprecationWarning")
def test_the_sdk_understands_the_fake() -> None:
    web = httpx.Client()

    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            client = elevenlabs.client.ElevenLabs(
                api_key=KEY, base_url=vendor.url, httpx_client=web
            )
            sync = client.text_to_speech
            sync._ws_base_url = vendor.url.replace("http", "ws")

            def realtime() -> bytes:
                stream = sync.convert_realtime(
                    "voice-1",
                    text=iter(["Good ", "morning. "]),
                    model_id="eleven_flash_v2_5",
                    output_format="ulaw_8000",
                )
                return b"".join(stream)

            def plain() -> bytes:
                return b"".join(sync.stream("voice-1", text="Bye.", output_format="ulaw_8000"))

            audio = await asyncio.to_thread(realtime)
            assert tag_of(audio) == 0
            assert vendor.said[0].strip() == "Good morning."
            assert tag_of(await asyncio.to_thread(plain)) == 1
            assert vendor.violations == []

    with web:
        run(call())
