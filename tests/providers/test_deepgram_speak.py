"""Deepgram's voices over loopback against the fake: Aura, Flux TTS, and what goes wrong there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from flowengine.errors import ProviderError
from flowengine.events import Usage
from flowengine.flow.defaults import TtsUse
from flowengine.ports import Clause, SpeechChunk, TtsRequest, Voice
from flowengine.providers import deepgram_speak
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.deepgram import make_tts
from flowengine.providers.deepgram_speak import DeepgramTts, voice_of
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.supervision import SupervisedTts, TtsChoice
from flowengine.providers.vendors import SupervisedVendors, server_defaults
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import spoken_ms, tag_of
from tests.providers.running import clauses, run

pytestmark = pytest.mark.unit

AURA = TtsRequest("aura-2-thalia-en", "", "en-US")
FLUX = TtsRequest("", "flux-alexis-en", "en-US")
TEXTS = ["Good morning.", " How can I help you today?"]
each = pytest.mark.parametrize("asked", [AURA, FLUX], ids=["aura", "flux"])


def at(vendor: FakeDeepgram) -> DeepgramTts:
    return make_tts(ProviderSettings({"DEEPGRAM_API_KEY": KEY, "DEEPGRAM_BASE_URL": vendor.url}))


async def spoken(voice: Voice, texts: list[str]) -> list[SpeechChunk]:
    async with aclosing(voice.speak(clauses(texts))) as chunks:
        return [chunk async for chunk in chunks]


def check(chunks: list[SpeechChunk], texts: list[str], first_tag: int) -> None:
    """Every clause in order with its one last chunk and the whole of its own audio."""
    numbers = [chunk.clause for chunk in chunks]
    assert numbers == sorted(numbers)
    assert [chunk.clause for chunk in chunks if chunk.last] == list(range(len(texts)))
    for number, text in enumerate(texts):
        audio = b"".join(chunk.audio for chunk in chunks if chunk.clause == number)
        assert len(audio) // 8 == spoken_ms(text)
        assert tag_of(audio) == first_tag + number


@each
def test_two_utterances_over_one_socket(asked: TtsRequest) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await at(vendor).open(asked)
            check(await spoken(voice, TEXTS), TEXTS, 0)
            check(await spoken(voice, ["Bye."]), ["Bye."], 2)
            usage = await voice.close()
            assert vendor.connections == 1
            said = sum(map(len, [*TEXTS, "Bye."]))
            exact = asked is FLUX
            name = asked.model or asked.voice
            assert usage == Usage("deepgram", name, "characters", said, estimated=not exact)
            assert vendor.voices.commands[:4] == ["Speak", "Flush", "Speak", "Flush"]
            assert vendor.violations == []

    run(call())


@each
def test_a_clause_is_spoken_before_the_next_one_is_known(asked: TtsRequest) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await at(vendor).open(asked)
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


@each
def test_a_clause_without_a_word_is_not_sent(asked: TtsRequest) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await at(vendor).open(asked)
            chunks = await spoken(voice, [" ", "…", "Yes."])
            assert [chunk.clause for chunk in chunks if chunk.last] == [0, 1, 2]
            assert vendor.voices.said == ["Yes."]
            await voice.close()

    run(call())


@each
def test_what_a_barge_in_cut_never_comes_back(asked: TtsRequest) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await at(vendor).open(asked)
            for place in range(4):
                vendor.voices.holds_after = 2
                texts = ["A long sentence to break into.", "And another one."]
                async with aclosing(voice.speak(clauses(texts))) as speech:
                    assert tag_of((await anext(speech)).audio) == 2 * place
                vendor.voices.holds_after = 0
                check(await spoken(voice, ["And now this."]), ["And now this."], 2 * place + 1)
            usage = await voice.close()
            assert usage is not None
            assert usage.amount_in == 4 * len("A long sentence to break into.And now this.")
            cancel = "Clear" if asked is AURA else "Interrupt"
            assert vendor.voices.commands.count(cancel) == 4
            assert vendor.connections == 1
            assert vendor.violations == []

    run(call())


def test_an_interruption_before_any_audio_is_ignored_by_flux_and_harms_nothing() -> None:
    """`NO_AUDIO_GENERATED`: the turn is spoken to its end all the same, to nobody."""

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.voices.first_byte_ms = 100
            voice = await at(vendor).open(FLUX)
            speaking = asyncio.create_task(spoken(voice, ["Nobody hears this."]))
            await vendor.until(lambda: "Flush" in vendor.voices.commands)
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            await vendor.until(lambda: "Interrupt" in vendor.voices.commands)
            check(await spoken(voice, ["Now then."]), ["Now then."], 1)
            await voice.close()
            assert vendor.connections == 1
            assert vendor.violations == []

    run(call())


@each
def test_a_cancellation_without_an_answer_costs_the_socket(
    asked: TtsRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepgram_speak, "_CANCEL_S", 0.02)

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.voices.answers_cancel = False
            vendor.voices.holds_after = 1
            voice = await at(vendor).open(asked)
            async with aclosing(voice.speak(clauses(["A long sentence."]))) as speech:
                assert (await anext(speech)).audio
            vendor.voices.holds_after = 0
            check(await spoken(voice, ["Sorry?"]), ["Sorry?"], 1)
            usage = await voice.close()
            assert usage is not None and usage.estimated
            assert usage.amount_in == len("A long sentence.Sorry?")
            assert vendor.connections == 2

    run(call())


def test_more_flushes_than_aura_takes_go_over_another_socket() -> None:
    """Aura takes 20 flushes a minute; short sentences need more."""

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await at(vendor).open(AURA)
            texts = [f"Number {number}." for number in range(40)]
            check(await spoken(voice, texts), texts, 0)
            await voice.close()
            assert vendor.connections == 3
            assert vendor.violations == []

    run(call())


def test_more_text_than_aura_takes_goes_over_another_socket() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await at(vendor).open(AURA)
            texts = [f"{number} " + "word " * 60 for number in range(9)]
            check(await spoken(voice, texts), texts, 0)
            await voice.close()
            assert vendor.connections == 2
            assert vendor.violations == []

    run(call())


def test_a_refused_flush_is_told_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `Warning`, and then neither audio nor `Flushed`: another socket speaks it."""
    monkeypatch.setattr(deepgram_speak, "AURA", replace(deepgram_speak.AURA, flushes=0))

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            tts = SupervisedTts([TtsChoice(at(vendor))])
            voice = await tts.open(AURA)
            texts = [f"Number {number}." for number in range(25)]
            check(await spoken(voice, texts), texts, 0)
            await voice.close()
            assert tts.counts == {"deepgram.overloaded": 1, "deepgram.recovered": 1}

    run(call())


@each
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=3), "dropped"),
        (Fault("garbage", after=3), "protocol"),
        (Fault("error", after=3), "unavailable"),
    ],
)
def test_a_failing_socket_is_told_and_replaced(asked: TtsRequest, fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.faults.append(fault)
            voice = await at(vendor).open(asked)
            with pytest.raises(ProviderError) as caught:
                await spoken(voice, TEXTS)
            assert caught.value.code == code
            chunks = await spoken(voice, ["Sorry."])
            assert b"".join(chunk.audio for chunk in chunks)
            await voice.close()
            assert vendor.connections == 2

    run(call())


@each
def test_a_socket_that_died_between_utterances_is_opened_again(asked: TtsRequest) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await SupervisedTts([TtsChoice(at(vendor))]).open(asked)
            check(await spoken(voice, ["One."]), ["One."], 0)
            await vendor.voices.sockets[0].close(1011, "NET-0004")
            check(await spoken(voice, ["Two."]), ["Two."], 1)
            await voice.close()
            assert vendor.connections == 2

    run(call())


def test_a_socket_that_dies_idle_is_replaced_before_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deepgram_speak, "_FRUITFUL_S", 0.0)

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            voice = await at(vendor).open(AURA)
            await vendor.until(lambda: len(vendor.voices.sockets) == 1)
            await vendor.voices.sockets[0].close(1011, "NET-0004")
            await vendor.until(lambda: vendor.connections == 2)
            check(await spoken(voice, ["Two."]), ["Two."], 0)
            await voice.close()
            assert vendor.connections == 2

    run(call())


@each
@pytest.mark.parametrize(
    ("status", "code"), [(401, "auth"), (400, "bad_request"), (429, "rate_limit")]
)
def test_a_refused_handshake(asked: TtsRequest, status: int, code: str) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.faults.append(Fault("refuse", status=status))
            with pytest.raises(ProviderError) as caught:
                await at(vendor).open(asked)
            assert caught.value.code == code

    run(call())


def test_a_vendor_that_falls_silent_is_left_for_the_other_voice() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor, FakeDeepgram() as other:
            vendor.faults.extend([Fault("stall", after=1)] * 2)
            quick = Deadlines(tts_first_audio_ms=200, recovery_ms=1000)
            choices = [
                TtsChoice(at(vendor)),
                TtsChoice(at(other), "flux-haley-en", "flux-haley-en"),
            ]
            voice = await SupervisedTts(choices, quick).open(AURA)
            check(await spoken(voice, TEXTS), TEXTS, 0)
            await voice.close()
            assert vendor.connections == 2

    run(call())


def test_the_voice_is_the_model() -> None:
    assert voice_of(TtsRequest("", "", "en")) == "aura-2-thalia-en"
    assert voice_of(TtsRequest("aura-2-luna-en", "", "en")) == "aura-2-luna-en"
    assert voice_of(TtsRequest("", "aura-2-luna-en", "en")) == "aura-2-luna-en"
    assert voice_of(TtsRequest("flux-kit-en", "flux-kit-en", "en")) == "flux-kit-en"
    for model, voice in (("aura-2-luna-en", "aura-2-thalia-en"), ("nova-3", ""), ("", "Rachel")):
        with pytest.raises(ProviderError) as caught:
            voice_of(TtsRequest(model, voice, "en"))
        assert caught.value.code == "bad_request"
        assert (model or voice) in str(caught.value)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"voice": "aura-2-luna-en"}, "aura-2-luna-en"),
        ({"model": "aura-2-luna-en"}, "aura-2-luna-en"),
        ({}, "aura-2-thalia-en"),
    ],
)
def test_a_flow_names_it_as_voice_or_model_first_or_as_a_fallback(
    written: dict[str, Any], named: str
) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor, FakeElevenLabs() as first:
            first.faults.append(Fault("refuse", status=401))
            values = {
                "DEEPGRAM_API_KEY": KEY,
                "DEEPGRAM_BASE_URL": vendor.url,
                "ELEVENLABS_API_KEY": KEY,
                "ELEVENLABS_BASE_URL": first.url,
            }
            vendors = SupervisedVendors(ProviderSettings(values), server_defaults(values))
            own = {"provider": "deepgram", "speed": 1.1, **written}
            fallback = {"provider": "elevenlabs", "model": "eleven_v3", "voice": "v"}
            for use in (own, {**fallback, "fallback": [own]}):
                tts = TtsUse.model_validate(use)
                request = TtsRequest(tts.model or "", str(tts.voice or ""), "en", tts.settings)
                voice = await vendors.tts(tts).open(request)
                check(await spoken(voice, ["Yes."]), ["Yes."], len(vendor.voices.said) - 1)
                await voice.close()
            assert [query["model"] for query in vendor.voices.queries] == [named] * 2
            assert {query["speed"] for query in vendor.voices.queries} == {"1.1"}
            assert vendor.violations == []
            await vendors.aclose()

    run(call())


def test_an_option_that_only_the_other_family_has_is_refused() -> None:
    async def call() -> None:
        tts = DeepgramTts(KEY, "ws://127.0.0.1:9")
        with pytest.raises(ProviderError) as caught:
            await tts.open(TtsRequest("aura-2-luna-en", "", "en", {"expressivity": 1}))
        assert (caught.value.code, "expressivity" in str(caught.value)) == ("bad_request", True)

    run(call())


def sdk_at(vendor: FakeDeepgram) -> Any:
    """Deepgram's own client, which speaks to the fake."""
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    ws = vendor.url.replace("http", "ws")
    environment = DeepgramClientEnvironment(
        base=vendor.url, production=ws, agent=ws, agent_rest=vendor.url
    )
    return AsyncDeepgramClient(api_key=KEY, environment=environment)


async def until(socket: Any, seen: list[Any], kind: str) -> Any:
    """Receive up to and including a message of this type."""
    while True:
        seen.append(await socket.recv())
        if getattr(seen[-1], "type", "") == kind:
            return seen[-1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_deepgrams_sdk_understands_the_fake_aura() -> None:
    from deepgram.speak.v1.types import SpeakV1Metadata, SpeakV1Text

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            seen: list[Any] = []
            async with sdk_at(vendor).speak.v1.connect(
                model="aura-2-thalia-en", encoding="mulaw", sample_rate="8000"
            ) as socket:
                await socket.send_text(SpeakV1Text(text="Good morning."))
                await socket.send_flush()
                flushed = await until(socket, seen, "Flushed")
                await socket.send_clear()
                cleared = await until(socket, seen, "Cleared")
                await socket.send_close()
            assert isinstance(seen[0], SpeakV1Metadata)
            assert (flushed.sequence_id, cleared.sequence_id) == (0, 1)
            audio = b"".join(item for item in seen if isinstance(item, bytes))
            assert (tag_of(audio), len(audio) // 8) == (0, spoken_ms("Good morning."))
            assert vendor.violations == []

    run(call())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_deepgrams_sdk_understands_the_fake_flux() -> None:
    from deepgram.speak.v2 import types

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            seen: list[Any] = []
            async with sdk_at(vendor).speak.v2.connect(
                model="flux-alexis-en", encoding="mulaw", sample_rate="8000"
            ) as socket:
                await socket.send_speak(types.SpeakV2Speak(text="How are you?"))
                await socket.send_flush()
                ended = await until(socket, seen, "SpeechMetadata")
                vendor.voices.holds_after = 1
                await socket.send_speak(types.SpeakV2Speak(text="And this is broken off."))
                await socket.send_flush()
                while not isinstance(seen[-1], bytes):
                    seen.append(await socket.recv())
                played = spoken_ms("How are you?And ")
                offset = types.SpeakV2InterruptPlaybackOffset(value=played)
                await socket.send_interrupt(types.SpeakV2Interrupt(playback_offset=offset))
                cut = await until(socket, seen, "SpeechInterrupted")
                await socket.send_close()
                total = await until(socket, seen, "SessionMetadata")
            assert isinstance(seen[0], types.SpeakV2Connected)
            assert isinstance(seen[1], types.SpeakV2SpeechStarted)
            assert isinstance(ended, types.SpeakV2SpeechMetadata)
            assert ended.billable_character_count == len("How are you?")
            assert isinstance(cut, types.SpeakV2SpeechInterrupted)
            assert (cut.text_spoken, cut.text_remaining) == ("And ", "this is broken off.")
            assert isinstance(total, types.SpeakV2SessionMetadata)
            assert vendor.violations == []

    run(call())
