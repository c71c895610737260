"""Gemini as ears: an utterance goes whole, its words come as they are written."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from google import genai
from google.genai import types

from flowengine.errors import ProviderError
from flowengine.events import EndpointReached, HearingFailed, InterimHeard, SegmentHeard
from flowengine.ports import SttEvent, SttRequest, SttSession
from flowengine.providers.google_stt import NOTHING, GoogleStt, transcription
from flowengine.providers.utterances import wav
from flowengine.testing.providers.answers import saying
from flowengine.testing.providers.faults import Fault, close, cut, garbage, status
from flowengine.testing.providers.google import FakeGoogle
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import silence, speech

pytestmark = [pytest.mark.api, pytest.mark.anyio]

REQUEST = SttRequest("gemini-3.5-flash-lite", "de-DE", 300, keyterms=("Zaandam",))
LIMIT_S = 20.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Heard:
    """What a session told."""

    def __init__(self) -> None:
        self.events: list[SttEvent] = []
        self.changed = asyncio.Event()

    def __call__(self, event: SttEvent) -> None:
        self.events.append(event)
        self.changed.set()

    async def until(self, kind: type[SttEvent]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not any(isinstance(event, kind) for event in self.events):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def listening(vendor: FakeGoogle, heard: Heard) -> AsyncIterator[SttSession]:
    async with vendor:
        stt = GoogleStt(KEY, vendor.url)
        session = await stt.open(REQUEST, heard)
        yield session
        await session.close()
        await stt.aclose()
    assert vendor.violations == []


async def test_an_utterance_is_written_down_word_by_word_and_counted() -> None:
    heard, vendor = Heard(), FakeGoogle([saying("Ich möchte nach Zaandam.")])
    async with vendor:
        stt = GoogleStt(KEY, vendor.url)
        session = await stt.open(REQUEST, heard)
        session.feed(silence(300) + speech(900) + silence(800))
        await heard.until(SegmentHeard)
        usage = await session.close()
        await stt.aclose()
    interims = [event.text for event in heard.events if isinstance(event, InterimHeard)]
    assert interims[0] == "Ich" and interims[-1] == "Ich möchte nach Zaandam."
    (segment,) = [event for event in heard.events if isinstance(event, SegmentHeard)]
    assert (segment.text, segment.endpoint) == ("Ich möchte nach Zaandam.", True)
    assert usage is not None
    assert (usage.unit, usage.amount_in, usage.amount_out) == ("tokens", 100, 4 + 7)
    assert 25 < usage.audio_in < 60
    rule = vendor.requests[0]["systemInstruction"]["parts"][0]["text"]
    assert "de-DE" in rule and "Zaandam" in rule
    assert vendor.requests[0]["generationConfig"]["temperature"] == 0


async def test_nothing_to_hear_is_no_words() -> None:
    heard, vendor = Heard(), FakeGoogle([saying(NOTHING)])
    async with listening(vendor, heard) as session:
        session.feed(speech(600) + silence(800))
        await heard.until(EndpointReached)
    assert not [event for event in heard.events if isinstance(event, SegmentHeard | InterimHeard)]


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ([status(503)] * 2, "unavailable"),
        ([cut(1)] * 2, "dropped"),
        ([close(after=1)] * 2, "dropped"),
        ([garbage(0)] * 2, "protocol"),
        ([status(401)], "auth"),
    ],
)
async def test_a_fault_is_told_once_by_its_kind(faults: list[Fault], code: str) -> None:
    heard, vendor = Heard(), FakeGoogle([saying("Ja bitte")] * 3)
    vendor.faults.extend(faults)
    async with listening(vendor, heard) as session:
        session.feed(speech(600) + silence(800))
        await heard.until(HearingFailed)
    failed = [event.code for event in heard.events if isinstance(event, HearingFailed)]
    assert failed in ([code], ["overloaded"])


async def test_a_fault_that_passes_costs_no_words() -> None:
    heard, vendor = Heard(), FakeGoogle([saying("Ja bitte")] * 2)
    vendor.faults.append(status(503))
    async with listening(vendor, heard) as session:
        session.feed(speech(600) + silence(800))
        await heard.until(SegmentHeard)


async def test_a_place_that_cannot_be_reached_and_an_option_that_there_is_not() -> None:
    stt = GoogleStt(KEY, "http://127.0.0.1:1")
    with pytest.raises(ProviderError, match="connect"):
        await stt.open(REQUEST, lambda event: None)
    asked = SttRequest("gemini-3.5-flash-lite", "", 300, options={"beam": 3})
    with pytest.raises(ProviderError, match="bad_request"):
        await stt.open(asked, lambda event: None)
    await stt.aclose()


async def test_googles_sdk_understands_the_fake() -> None:
    audio = speech(900)
    async with FakeGoogle([saying("Guten Tag")]) as vendor, httpx2.AsyncClient() as pool:
        options = types.HttpOptions(base_url=vendor.url, httpx_async_client=pool)
        client = genai.Client(api_key=KEY, http_options=options)
        stream = await client.aio.models.generate_content_stream(
            model=REQUEST.model,
            contents=[types.Part.from_bytes(data=wav(audio), mime_type="audio/wav")],
        )
        text, heard = "", 0
        async for chunk in stream:
            text += chunk.text or ""
            assert chunk.usage_metadata is not None
            for part in chunk.usage_metadata.prompt_tokens_details or []:
                if part.modality is types.MediaModality.AUDIO:
                    heard = part.token_count or 0
    assert (text, heard) == ("Guten Tag", 28)
    asked = transcription(REQUEST, audio)["contents"][0]["parts"][0]["inlineData"]
    assert base64.b64decode(asked["data"]) == wav(audio)
