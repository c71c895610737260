"""Recorded streams of OpenAI and Anthropic over loopback: we read what the vendors' SDKs read.

They are no part of the repository: `FLOWENGINE_RECORDINGS` names their folder, or they lie in
`shared/recordings` beside it. Where they are absent the tests say so.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from jiter import from_json
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from flowengine.ports import LlmEnd, LlmEvent, LlmToolUse
from flowengine.providers.anthropic import AnthropicLlm
from flowengine.providers.anthropic_messages import MessageReader
from flowengine.providers.chat import ChatReader
from flowengine.providers.openai import OpenAiLlm
from flowengine.testing.providers.serving import KEY, FakeVendor
from tests.providers.running import events_of, kept, read_in_pieces, run, text_of, tools_of

pytestmark = pytest.mark.unit

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "recordings"
PLACE = Path(os.environ.get("FLOWENGINE_RECORDINGS") or BESIDE)
SPLITS = 20


def recorded(vendor: str) -> list[Path]:
    paths = sorted((PLACE / vendor).glob("*.sse"))
    if not paths:
        pytest.skip(f"no recorded streams of {vendor}: {PLACE} does not hold them")
    return paths


class Recorded(FakeVendor):
    """Answers everything with one recorded body, in pieces of random length."""

    def __init__(self, body: bytes, dice: random.Random) -> None:
        paths = ("/chat/completions", "/v1/messages")
        super().__init__([Route(path, self._replay, methods=["POST"]) for path in paths])
        self._body = body
        self._dice = dice

    async def _replay(self, request: Request) -> Response:
        return StreamingResponse(self._pieces(), media_type="text/event-stream")

    def _pieces(self) -> Iterator[bytes]:
        place = 0
        while place < len(self._body):
            size = self._dice.randint(1, 400)
            yield self._body[place : place + size]
            place += size


def cuts(dice: random.Random, body: bytes) -> list[int]:
    return [dice.randrange(len(body)) for _ in range(40)]


async def openai_snapshot(url: str) -> Any:
    client = openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0)
    manager = client.chat.completions.stream(model="x", messages=[{"role": "user", "content": "x"}])
    async with client, manager as stream:
        # The SDK's helper refuses answers that were cut or held back; what it read is there.
        with suppress(openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
            async for _ in stream:
                pass
        return stream.current_completion_snapshot


def check_openai(events: list[LlmEvent], expected: Any, name: str) -> None:
    choice = next(choice for choice in expected.choices if choice.index == 0)
    calls = choice.message.tool_calls or ()
    assert text_of(events) == (choice.message.content or ""), name
    assert tools_of(events) == [(call.function.name, call.function.arguments) for call in calls], (
        name
    )
    ids = [event.id for event in events if isinstance(event, LlmToolUse)]
    assert ids == [call.id for call in calls], name
    end = events[-1]
    assert isinstance(end, LlmEnd)
    assert end.reason == choice.finish_reason, name
    assert (end.usage is None) == (expected.usage is None), name
    if end.usage is not None:
        used = (expected.usage.prompt_tokens, expected.usage.completion_tokens)
        assert (end.usage.amount_in, end.usage.amount_out) == used, name


def check_anthropic(events: list[LlmEvent], expected: Any, name: str) -> None:
    texts = [block.text for block in expected.content if block.type == "text"]
    calls = [block for block in expected.content if block.type == "tool_use"]
    assert text_of(events) == "".join(texts), name
    assert [
        (event.id, event.name, from_json(event.arguments.encode(), partial_mode=True))
        for event in events
        if isinstance(event, LlmToolUse)
    ] == [(call.id, call.name, call.input) for call in calls], name
    end = events[-1]
    assert isinstance(end, LlmEnd)
    assert end.reason == expected.stop_reason, name
    assert end.usage is not None, name
    used = expected.usage
    read, written = used.cache_read_input_tokens or 0, used.cache_creation_input_tokens or 0
    assert end.usage.amount_in == used.input_tokens + read + written, name
    assert end.usage.amount_out == used.output_tokens, name
    assert end.usage.cached_in == read, name


async def anthropic_snapshot(url: str) -> Any:
    client = anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0)
    manager = client.messages.stream(
        model="x", max_tokens=9, messages=[{"role": "user", "content": "x"}]
    )
    async with client, manager as stream:
        return await stream.get_final_message()


def test_recorded_streams_of_openai() -> None:
    async def call() -> None:
        dice = random.Random(7)
        for path in recorded("openai"):
            body = path.read_bytes()
            async with Recorded(body, dice) as vendor:
                expected = await openai_snapshot(vendor.url)
                over_wire = await events_of(kept(OpenAiLlm(KEY, vendor.url)))
            check_openai(over_wire, expected, path.name)
            for _ in range(SPLITS):
                reader = ChatReader("openai", "x")
                check_openai(read_in_pieces(body, cuts(dice, body), reader), expected, path.name)

    run(call())


def test_recorded_streams_of_anthropic() -> None:
    async def call() -> None:
        dice = random.Random(7)
        for path in recorded("anthropic"):
            body = path.read_bytes()
            async with Recorded(body, dice) as vendor:
                expected = await anthropic_snapshot(vendor.url)
                over_wire = await events_of(kept(AnthropicLlm(KEY, vendor.url)))
            check_anthropic(over_wire, expected, path.name)
            for _ in range(SPLITS):
                reader = MessageReader("anthropic", "x")
                check_anthropic(read_in_pieces(body, cuts(dice, body), reader), expected, path.name)

    run(call())
