"""OpenAI's ears by utterance, against the fake, and the fake against OpenAI's SDK."""

from __future__ import annotations

import io
import wave
from typing import Any

import openai
import pytest
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from flowengine.catalog import shipped
from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    HearingFailed,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.media.g711 import ulaw_to_linear
from flowengine.ports import SttRequest
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.openai_transcription import OpenAiStt
from flowengine.providers.registry import Providers
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.supervision import SttChoice, SupervisedStt
from flowengine.testing.providers.openai_audio import FakeOpenAiAudio
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import Ears, kept, run

pytestmark = pytest.mark.unit

SAID = silence(400) + speech(1000) + silence(300)
QUICK = Deadlines(replay_speed=20.0)


def asking(
    model: str, language: str = "en-US", keyterms: tuple[str, ...] = (), **options: Json
) -> SttRequest:
    return SttRequest(model, language, 300, keyterms, options)


def stt_at(url: str, key: str = KEY) -> OpenAiStt:
    return kept(OpenAiStt(key, url))


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "whisper-1", "gpt-transcribe"])
@pytest.mark.parametrize("plain", [False, True])
def test_an_utterance_becomes_words(model: str, plain: bool) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio(["Hello there.", ""]) as vendor:
            vendor.always_plain = plain
            ears = Ears()
            session = await stt_at(vendor.url).open(asking(model), ears.hear)
            session.feed(SAID)
            final = SegmentHeard("Hello there.", endpoint=True)
            await ears.until(lambda events: final in events)
            streams = model != "whisper-1" and not plain
            so_far = [InterimHeard("Hello"), InterimHeard("Hello there.")] if streams else []
            assert ears.events == [SpeechStarted("stt"), SpeechStopped("stt"), *so_far, final]
            session.feed(SAID)
            await ears.until(lambda events: EndpointReached() in events)
            assert vendor.audio[0] == silence(300) + speech(1000) + silence(200)
            assert vendor.connections == 2
            assert vendor.violations == []
            usage = await session.close()
            assert usage is not None
            assert not usage.estimated
            if streams:
                assert (usage.unit, usage.amount_in, usage.audio_in) == ("tokens", 30, 30)
            else:
                assert usage == Usage("openai", model, "audio_ms", 3000)

    run(call())


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (
            asking("whisper-1", "de-DE", ("Müller", "Kraków")),
            {"language": ["de"], "prompt": ["Müller, Kraków"]},
        ),
        (
            asking("gpt-4o-transcribe", "pl", ("Kraków",), prompt="A bakery.", temperature=0),
            {
                "language": ["pl"],
                "prompt": ["A bakery. Expect these words: Kraków."],
                "stream": ["true"],
                "temperature": ["0"],
            },
        ),
        (
            asking("gpt-transcribe", "multi", ("Müller", "Kraków")),
            {"keywords[]": ["Müller", "Kraków"], "stream": ["true"]},
        ),
        (asking("Systran/faster-whisper-small", ""), {}),
        (
            asking("whisper-1", "", ("long word",) * 300),
            {"prompt": [", ".join(["long word"] * 40)]},
        ),
    ],
    ids=["whisper", "4o", "keywords", "local", "bounded"],
)
def test_hints_go_out_as_the_model_takes_them(request_: SttRequest, told: dict[str, Any]) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio(["Ja."]) as vendor:
            ears = Ears()
            session = await stt_at(vendor.url).open(request_, ears.hear)
            session.feed(SAID)
            await ears.until(lambda events: SegmentHeard("Ja.", endpoint=True) in events)
            assert vendor.requests == [{"model": [request_.model], **told}]
            assert vendor.violations == []
            await session.close()

    run(call())


@pytest.mark.parametrize("name", ["groq", "whisper"])
def test_other_hosts_of_whisper(name: str) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio(["Hi."]) as vendor:
            vendor.tells_usage = False
            values = {f"{name}_BASE_URL".upper(): vendor.url, f"{name}_API_KEY".upper(): KEY}
            stt = Providers(ProviderSettings(values)).stt(name)
            assert isinstance(stt, OpenAiStt)
            ears = Ears()
            model = shipped().default_model(name, "stt")
            session = await kept(stt).open(asking(model), ears.hear)
            session.feed(SAID)
            await ears.until(lambda events: SegmentHeard("Hi.", endpoint=True) in events)
            usage = await session.close()
            assert usage == Usage(name, model, "audio_ms", 1500, estimated=True)
            assert vendor.violations == []

    run(call())


def test_a_server_of_ones_own_needs_no_key() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            stt = Providers(ProviderSettings({"WHISPER_BASE_URL": vendor.url})).stt("whisper")
            assert isinstance(stt, OpenAiStt)
            with pytest.raises(ProviderError, match="401"):
                await kept(stt).open(asking("whisper-1"), Ears().hear)

    run(call())


def test_a_host_that_tells_no_usage_is_counted_by_us() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio(["Hi."]) as vendor:
            vendor.tells_usage = False
            ears = Ears()
            session = await stt_at(vendor.url).open(asking("local-whisper"), ears.hear)
            session.feed(speech(800))
            session.finalize()
            await ears.until(lambda events: SegmentHeard("Hi.", endpoint=True) in events)
            usage = Usage("openai", "local-whisper", "audio_ms", 800, estimated=True)
            assert await session.close() == usage

    run(call())


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "whisper-1"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("cut"),
        Fault("garbage"),
        Fault("error"),
        Fault("refuse", status=500),
        Fault("refuse", status=503),
    ],
    ids=lambda fault: f"{fault.kind}{fault.status if fault.kind == 'refuse' else ''}",
)
def test_one_failure_is_not_noticed(model: str, fault: Fault) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio(["Hello.", "Hello."]) as vendor:
            vendor.faults.append(fault)
            ears = Ears()
            session = await stt_at(vendor.url).open(asking(model), ears.hear)
            session.feed(SAID)
            await ears.until(lambda events: SegmentHeard("Hello.", endpoint=True) in events)
            assert not any(isinstance(event, HearingFailed) for event in ears.events)
            assert vendor.connections == 2
            await session.close()

    run(call())


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ([Fault("refuse", status=429)], "rate_limit"),
        ([Fault("refuse", status=401)], "auth"),
        ([Fault("refuse", status=404)], "bad_request"),
        ([Fault("cut", after=1)] * 2, "dropped"),
        ([Fault("garbage")] * 2, "protocol"),
        ([Fault("error")] * 2, "unavailable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_is_told_once(faults: list[Fault], code: str) -> None:
    async def call() -> None:
        async with FakeOpenAiAudio(["Hello there."] * 2) as vendor:
            vendor.faults += faults
            ears = Ears()
            session = await stt_at(vendor.url).open(asking("gpt-4o-transcribe"), ears.hear)
            session.feed(SAID)
            await ears.until(lambda events: HearingFailed(code) in events)
            session.feed(SAID)
            await session.close()
            assert [event for event in ears.events if isinstance(event, HearingFailed)] == [
                HearingFailed(code)
            ]
            assert vendor.connections == len(faults)

    run(call())


def test_what_cannot_work_is_known_at_opening() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio() as vendor:
            cases = [
                (stt_at(vendor.url, "wrong"), asking("whisper-1"), "auth"),
                (stt_at("http://127.0.0.1:9/v1"), asking("whisper-1"), "connect"),
                (stt_at(vendor.url), asking("whisper-1", beam=3), "bad_request"),
                (stt_at(vendor.url), asking("whisper-1", prompt=3), "bad_request"),
            ]
            for stt, request, code in cases:
                with pytest.raises(ProviderError) as caught:
                    await stt.open(request, Ears().hear)
                assert (caught.value.code, caught.value.where) == (code, "openai")

    run(call())


def test_under_supervision_another_hears_again_what_one_could_not() -> None:
    """The host takes every session and fails every request: only a fallback helps."""

    async def call() -> None:
        async with FakeOpenAiAudio() as broken, FakeOpenAiAudio(["Good day."]) as good:
            broken.faults += [Fault("refuse", status=500)] * 9
            choices = [SttChoice(stt_at(broken.url)), SttChoice(stt_at(good.url), "whisper-1")]
            stt = SupervisedStt(choices, QUICK)
            await stt.warm()
            ears = Ears()
            hearing = await stt.open(asking("gpt-4o-transcribe"), ears.hear)
            hearing.feed(SAID)
            await ears.until(lambda events: SegmentHeard("Good day.", endpoint=True) in events)
            assert not any(isinstance(event, HearingFailed) for event in ears.events)
            usage = await hearing.close()
            assert usage is not None
            assert good.violations == broken.violations == []

    run(call())


def test_openais_sdk_understands_the_fake() -> None:
    async def call() -> None:
        async with FakeOpenAiAudio(["Hello there.", "Good bye."]) as vendor:
            client = openai.AsyncOpenAI(api_key=KEY, base_url=vendor.url, max_retries=0)
            content = io.BytesIO()
            with wave.open(content, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(ulaw_to_linear(speech(1000)))
            wav = ("a.wav", content.getvalue(), "audio/wav")
            transcriptions = client.audio.transcriptions
            stream = await transcriptions.create(file=wav, model="gpt-4o-transcribe", stream=True)
            events = [event async for event in stream]
            assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in events[:-1])
            done = events[-1]
            assert isinstance(done, TranscriptionTextDoneEvent)
            assert done.text == "Hello there."
            assert done.usage is not None
            assert done.usage.type == "tokens"
            whole = await transcriptions.create(file=wav, model="whisper-1")
            assert whole.text == "Good bye."
            assert whole.usage is not None
            assert whole.usage.type == "duration"
            assert whole.usage.seconds == 1.0
            assert vendor.violations == []
            await client.close()

    run(call())
