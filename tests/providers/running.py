"""How these tests run a coroutine, and what they share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

# Warmed, as a server does: no test's deadline pays for the import.
import anthropic  # noqa: F401
import openai  # noqa: F401

from flowengine.ports import (
    Clause,
    Llm,
    LlmEvent,
    LlmMessage,
    LlmRequest,
    LlmText,
    LlmToolUse,
    SttEvent,
    SttRequest,
    TtsRequest,
)
from flowengine.providers.connections import AnswerReader
from flowengine.providers.elevenlabs import ElevenLabsTts
from flowengine.providers.openai import OpenAiLlm
from flowengine.providers.registry import Closes
from flowengine.providers.sse import SseReader
from flowengine.testing.providers.serving import KEY

_T = TypeVar("_T")

STT = SttRequest("nova-3", "en", 300)
LLM = LlmRequest("gpt-test", (LlmMessage("user", "Hello?"),))
TTS = TtsRequest("eleven_flash_v2_5", "voice-1", "en-US")


_MADE: list[Closes] = []
_C = TypeVar("_C", bound=Closes)


def kept(made: _C) -> _C:
    """A provider whose connections `run` closes."""
    _MADE.append(made)
    return made


async def close_kept() -> None:
    """Close the connections of what is kept."""
    while _MADE:
        await _MADE.pop().aclose()


def llm_at(url: str) -> OpenAiLlm:
    """An LLM whose connections `run` closes."""
    return kept(OpenAiLlm(KEY, url))


def tts_at(url: str) -> ElevenLabsTts:
    """A voice's vendor whose connections `run` closes."""
    return kept(ElevenLabsTts(KEY, url))


async def events_of(llm: Llm, request: LlmRequest = LLM) -> list[LlmEvent]:
    """A whole answer."""
    async with aclosing(llm.stream(request)) as events:
        return [event async for event in events]


def text_of(events: Iterable[LlmEvent]) -> str:
    """What an answer says."""
    return "".join(event.text for event in events if isinstance(event, LlmText))


def tools_of(events: Iterable[LlmEvent]) -> list[tuple[str, str]]:
    """The tool calls of an answer: name, and arguments as written."""
    return [(event.name, event.arguments) for event in events if isinstance(event, LlmToolUse)]


def read_in_pieces(body: bytes, cuts: Iterable[int], reader: AnswerReader) -> list[LlmEvent]:
    """What a reader makes of a body that comes cut at these places."""
    sse = SseReader()
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    data = [
        event for start, end in itertools.pairwise(edges) for event in sse.read(body[start:end])
    ]
    events = [event for piece in [*data, *sse.end()] for event in reader.read(piece)]
    return [*events, *reader.end()]


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end, for at most fifteen seconds."""

    async def bounded() -> _T:
        try:
            async with asyncio.timeout(15):
                return await work
        finally:
            await close_kept()

    return asyncio.run(bounded())


class Ears:
    """Collects what a recogniser says; `until` waits for it."""

    def __init__(self) -> None:
        self.events: list[SttEvent] = []
        self._changed = asyncio.Event()

    def hear(self, event: SttEvent) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, condition: Callable[[list[SttEvent]], bool]) -> None:
        while not condition(self.events):
            self._changed.clear()
            await self._changed.wait()


async def clauses(texts: Iterable[str]) -> AsyncIterator[Clause]:
    """Clauses that are all there at once."""
    for number, text in enumerate(texts):
        yield Clause(number, text)
