"""OpenAI's speech to speech: what is asked, what comes, sessions that are kept, and its faults."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI

from flowengine.catalog import cost_of, shipped
from flowengine.errors import ProviderError
from flowengine.ports import (
    HeardRequest,
    HearsAudio,
    LlmAudio,
    LlmEnd,
    LlmEvent,
    LlmMessage,
    LlmRequest,
    LlmText,
    LlmTool,
    LlmToolUse,
)
from flowengine.providers.openai import OpenAiLlm
from flowengine.providers.openai_realtime import is_realtime
from flowengine.providers.openai_replies import ReplyReader, response_create
from flowengine.testing.providers.faults import Fault, close, cut, garbage, stall, status
from flowengine.testing.providers.openai_realtime import FakeOpenAiRealtime, SpokenAnswer
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import speech, spoken_ms

pytestmark = [pytest.mark.api, pytest.mark.anyio]

MODEL = "gpt-realtime-2.1"
REQUEST = HeardRequest(
    MODEL,
    (
        LlmMessage("system", "Be brief."),
        LlmMessage("assistant", "How can I help?"),
        LlmMessage("user", "A visit"),
    ),
    tools=(LlmTool("book", "Books a visit.", {"type": "object", "properties": {}}),),
    options={"voice": "cedar", "max_output_tokens": 300},
    audio=b"\x01\x02" * 400,
)
LIMIT_S = 20.0
"""Ends a test that would hang; nothing is measured by it."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def made(vendor: FakeOpenAiRealtime) -> AsyncIterator[OpenAiLlm]:
    async with vendor:
        llm = OpenAiLlm(KEY, vendor.url)
        yield llm
        await llm.aclose()
    assert vendor.violations == []


async def answer(llm: OpenAiLlm, request: LlmRequest = REQUEST) -> list[LlmEvent]:
    async with asyncio.timeout(LIMIT_S), aclosing(llm.stream(request)) as events:
        return [event async for event in events]


def of_kind(events: list[LlmEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


async def test_a_reply_is_heard_spoken_and_counted() -> None:
    vendor = FakeOpenAiRealtime([SpokenAnswer("When would you like to come?")])
    async with made(vendor) as llm:
        events = await answer(llm)
    assert events[0] == LlmAudio(b"")
    assert "".join(event.text for event in of_kind(events, LlmText)) == vendor.spoken[0]
    sound = b"".join(event.audio for event in of_kind(events, LlmAudio))
    assert sound == speech(spoken_ms(vendor.spoken[0]), 0)
    end = events[-1]
    assert isinstance(end, LlmEnd)
    assert end.reason == "stop" and end.usage is not None
    usage = end.usage
    assert (usage.amount_in, usage.audio_in, usage.cached_in) == (150, 50, 64)
    assert (usage.amount_out, usage.audio_out) == (18, 12)
    line = cost_of(usage, shipped(), shipped().checked)
    # By hand, in dollars a million: text 36 at 4, cached 64 at 0.4, sound 50 at 32; out 6 at 24,
    # sound 12 at 64.
    assert line.micro_usd == round(36 * 4 + 64 * 0.4 + 50 * 32 + 6 * 24 + 12 * 64)


async def test_the_whole_context_goes_with_each_reply() -> None:
    vendor = FakeOpenAiRealtime()
    async with made(vendor) as llm:
        await answer(llm)
        await answer(llm, replace(REQUEST, audio=b"", may_call=False, options={}))
    first, second = vendor.responses
    assert first["conversation"] == "none"
    assert first["instructions"] == "Be brief."
    assert first["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "cedar"}
    assert first["max_output_tokens"] == 300
    assert [item["role"] for item in first["input"]] == ["assistant", "user"]
    (heard,) = first["input"][1]["content"]
    assert base64.b64decode(heard["audio"]) == REQUEST.audio
    assert first["tools"][0]["name"] == "book" and first["tool_choice"] == "auto"
    assert second["input"][1]["content"] == [{"type": "input_text", "text": "A visit"}]
    assert second["tool_choice"] == "none"


async def test_tools_are_called_and_their_results_told() -> None:
    vendor = FakeOpenAiRealtime([SpokenAnswer(tools=(("book", '{"day": "Monday"}'),))])
    async with made(vendor) as llm:
        (use,) = of_kind(await answer(llm), LlmToolUse)
        assert (use.name, use.arguments) == ("book", '{"day": "Monday"}')
        messages = (
            *REQUEST.messages,
            LlmMessage("assistant", "", tool_uses=(use,)),
            LlmMessage("tool", "booked", tool_use_id=use.id),
        )
        await answer(llm, replace(REQUEST, messages=messages))
    items = vendor.responses[1]["input"]
    assert [item["type"] for item in items] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert items[1]["content"][0]["type"] == "input_audio"
    assert items[3] == {"type": "function_call_output", "call_id": use.id, "output": "booked"}


async def test_what_the_caller_said_before_the_last_reply_is_text() -> None:
    messages = (*REQUEST.messages, LlmMessage("assistant", "Which day?"))
    body = orjson.loads(response_create(replace(REQUEST, messages=messages)))
    kinds = [item["content"][0]["type"] for item in body["response"]["input"]]
    assert kinds == ["output_text", "input_text", "output_text"]


async def test_a_session_serves_one_reply_after_the_other() -> None:
    vendor = FakeOpenAiRealtime()
    async with made(vendor) as llm:
        await answer(llm)
        await answer(llm)
        assert len(vendor.opened) == 1
        await asyncio.gather(answer(llm), answer(llm))
        assert len(vendor.opened) == 2


async def test_a_reply_that_nobody_wants_is_cancelled_and_its_session_kept() -> None:
    vendor = FakeOpenAiRealtime([SpokenAnswer("I will tell you everything.", endless=True)])
    async with made(vendor) as llm, asyncio.timeout(LIMIT_S):
        async with aclosing(llm.stream(REQUEST)) as events:
            async for event in events:
                if isinstance(event, LlmText):
                    break
        await vendor.until(lambda: vendor.cancelled == 1)
        await asyncio.gather(*llm._realtime._settling)
        after = await answer(llm)
    assert len(vendor.opened) == 1
    assert "".join(event.text for event in of_kind(after, LlmText)) == "All right."


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (status(401), "auth"),
        (status(429, retry_after_s=7), "rate_limit"),
        (status(503), "overloaded"),
        (cut(3), "dropped"),
        (close(1011, "", 3), "dropped"),
        (garbage(3), "protocol"),
        (Fault("error", after=3), "unavailable"),
    ],
)
async def test_faults_are_told_by_their_kind(fault: Fault, code: str) -> None:
    vendor = FakeOpenAiRealtime()
    vendor.faults.append(fault)
    async with made(vendor) as llm:
        with pytest.raises(ProviderError) as caught:
            await answer(llm)
        assert caught.value.code == code
        assert of_kind(await answer(llm), LlmEnd)


async def test_a_reply_that_fails_and_one_that_stalls() -> None:
    vendor = FakeOpenAiRealtime([SpokenAnswer("Well", fails="rate_limit_exceeded")])
    async with made(vendor) as llm:
        with pytest.raises(ProviderError) as caught:
            await answer(llm)
        assert caught.value.code == "rate_limit"
    vendor = FakeOpenAiRealtime()
    vendor.faults.append(stall(3))
    async with made(vendor) as llm:
        stream = llm.stream(REQUEST)
        assert await anext(stream) == LlmAudio(b"")
        waiting = asyncio.create_task(anext(stream))
        await vendor.until(lambda: len(vendor.responses) == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stream.aclose()


async def test_openais_sdk_understands_the_fake() -> None:
    vendor = FakeOpenAiRealtime([SpokenAnswer("Good morning.", tools=(("book", "{}"),))])
    kinds: list[str] = []
    async with vendor, asyncio.timeout(LIMIT_S):
        client = AsyncOpenAI(api_key=KEY, base_url=vendor.url)
        async with client.realtime.connect(model=MODEL) as connection:
            audio: Any = {
                "input": {"format": {"type": "audio/pcmu"}, "turn_detection": None},
                "output": {"format": {"type": "audio/pcmu"}},
            }
            await connection.session.update(session={"type": "realtime", "audio": audio})
            body = orjson.loads(response_create(REQUEST))["response"]
            await connection.response.create(response=body)
            text = ""
            async for event in connection:
                kinds.append(event.type)
                if event.type == "response.output_audio_transcript.delta":
                    text += event.delta
                if event.type == "response.output_item.done":
                    assert event.item.type == "function_call" and event.item.name == "book"
                if event.type == "response.done":
                    assert event.response.usage is not None
                    assert event.response.usage.input_tokens == 150
                    break
        await client.close()
    assert text == "Good morning."
    assert kinds[:3] == ["session.created", "session.updated", "response.created"]
    assert vendor.violations == []


def test_models_that_speak_are_known_by_name() -> None:
    llm = OpenAiLlm(KEY)
    assert isinstance(llm, HearsAudio)
    assert llm.hears(MODEL) and llm.hears("gpt-realtime-2.1-mini")
    assert not llm.hears("gpt-6-luna") and not is_realtime("gpt-realtime-whisper")


def test_what_is_left_of_another_reply_is_not_read() -> None:
    reader = ReplyReader("openai", MODEL)
    late = {"type": "response.output_audio_transcript.delta", "response_id": "old", "delta": "x"}
    assert list(reader.read(late)) == []
    list(reader.read({"type": "response.created", "response": {"id": "new"}}))
    assert list(reader.read(late)) == []
    assert list(reader.read({"type": "response.done", "response": {"id": "old"}})) == []
    with pytest.raises(ProviderError, match="protocol"):
        list(reader.read({"type": "response.done", "response": {"id": "new"}}))
