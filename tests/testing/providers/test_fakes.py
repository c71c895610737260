"""The fake vendors: the vendors' own SDKs understand them, and wrong clients are noticed."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import TAGS, is_loud, silence, speech, tag_of
from tests.providers.running import run

pytestmark = pytest.mark.unit

LISTEN = "/v1/listen?encoding=mulaw&sample_rate=8000"
MULTI = "/v1/text-to-speech/v/multi-stream-input?output_format=ulaw_8000"


@given(tag=st.integers(0, TAGS - 1), start_ms=st.integers(0, 400))
def test_a_tag_is_found_anywhere_in_its_audio(tag: int, start_ms: int) -> None:
    audio = speech(500, tag)
    assert tag_of(audio[start_ms * 8 :]) == tag
    assert is_loud(audio[start_ms * 8 : start_ms * 8 + 160])


def test_silence_has_no_tag() -> None:
    assert tag_of(silence(100)) is None
    assert tag_of(speech(40)) is None
    assert not is_loud(silence(20))
    with pytest.raises(ValueError, match="tag"):
        speech(100, TAGS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_deepgrams_sdk_understands_the_fake() -> None:
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment
    from deepgram.listen.v1.types import (
        ListenV1Metadata,
        ListenV1Results,
        ListenV1SpeechStarted,
        ListenV1UtteranceEnd,
    )

    async def call() -> None:
        async with FakeDeepgram(["Hello there."]) as vendor:
            socket_url = vendor.url.replace("http", "ws")
            client = AsyncDeepgramClient(
                api_key=KEY,
                environment=DeepgramClientEnvironment(
                    base=vendor.url, production=socket_url, agent=socket_url, agent_rest=vendor.url
                ),
            )
            seen: list[object] = []
            async with client.listen.v1.connect(
                model="nova-3",
                encoding="mulaw",
                sample_rate=8000,
                interim_results=True,
                endpointing=300,
                utterance_end_ms=1000,
                vad_events=True,
                keyterm=["Müller"],
            ) as socket:
                await socket.send_media(speech(700) + silence(1500))
                await socket.send_keep_alive()
                await socket.send_close_stream()
                async for message in socket:
                    seen.append(message)
            kinds = [type(message) for message in seen]
            assert kinds == [
                ListenV1SpeechStarted,
                ListenV1Results,
                ListenV1Results,
                ListenV1Results,
                ListenV1UtteranceEnd,
                ListenV1Metadata,
            ]
            final = seen[3]
            assert isinstance(final, ListenV1Results)
            assert final.channel.alternatives[0].transcript == "Hello there."
            assert (final.is_final, final.speech_final) == (True, True)
            assert vendor.violations == []

    run(call())


def test_a_wrong_listener_is_noticed() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            base = vendor.url.replace("http", "ws")
            with pytest.raises(InvalidStatus) as refused:
                await connect(base + LISTEN, additional_headers={"Authorization": "Token nobody"})
            assert refused.value.response.status_code == 401
            query = "&utterance_end_ms=500&colour=red&vad_events=True"
            headers = {"Authorization": f"Token {KEY}"}
            async with connect(base + LISTEN + query, additional_headers=headers) as socket:
                await socket.send('{"type":"Stop"}')
                await socket.send("hello")
                await vendor.until(lambda: len(vendor.violations) == 6)
            assert vendor.violations == [
                "unknown query parameter colour",
                "vad_events is no boolean",
                "utterance_end_ms is under 1000",
                "utterance_end_ms needs interim_results",
                "unknown command Stop",
                "a text frame that is no command",
            ]

    run(call())


def test_a_wrong_speaker_is_noticed() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            url = vendor.url.replace("http", "ws") + MULTI
            async with connect(url, additional_headers={"xi-api-key": KEY}) as socket:
                await socket.send('{"text":"Hello","context_id":"a"}')
                await socket.send('{"text":"Hello","context_id":"a","volume":3}')
                await socket.send('{"context_id":"zz","close_context":true}')
                await vendor.until(lambda: len(vendor.violations) == 4)
            assert vendor.violations == [
                "a context begins with something else than a single space",
                "unknown field volume",
                "a text does not end with a space",
                "an unknown context is closed",
            ]

    run(call())


def test_too_many_contexts_close_the_socket() -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            url = vendor.url.replace("http", "ws") + MULTI
            async with connect(url, additional_headers={"xi-api-key": KEY}) as socket:
                for number in range(6):
                    await socket.send(f'{{"text":" ","context_id":"{number}"}}')
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008

    run(call())


def test_a_wrong_chat_is_noticed() -> None:
    async def call() -> None:
        async with FakeOpenAi() as vendor, httpx2.AsyncClient() as client:
            url = f"{vendor.url}/chat/completions"
            assert (await client.post(url, json={"model": "m"})).status_code == 401
            call_of_tool = {"id": "c", "type": "function", "function": {"arguments": "{}"}}
            messages = [
                {"role": "robot", "content": "x"},
                {"role": "assistant", "tool_calls": [call_of_tool]},
                {"role": "user", "content": "x"},
                {"role": "tool", "tool_call_id": "zz", "content": "x"},
            ]
            await client.post(
                url,
                json={"model": "m", "messages": messages, "tools": [{"type": "web"}]},
                headers={"authorization": f"Bearer {KEY}"},
            )
            assert vendor.violations == [
                "a message has an unknown role",
                "tool calls are not answered before the next message",
                "a tool message answers no tool call",
                "a tool is malformed",
            ]

    run(call())


def test_stopping_breaks_what_is_open() -> None:
    async def call() -> None:
        vendor = FakeDeepgram()
        await vendor.start()
        headers = {"Authorization": f"Token {KEY}"}
        url = vendor.url.replace("http", "ws") + LISTEN
        async with connect(url, additional_headers=headers) as socket:
            await vendor.stop()
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", int(vendor.url.rsplit(":", 1)[1]))

    run(call())
