"""How these tests run a coroutine, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import openai  # noqa: F401 - warmed, as a server does: no test's deadline pays for the import

from flowengine.ports import Clause, LlmMessage, LlmRequest, SttEvent, SttRequest, TtsRequest
from flowengine.providers.elevenlabs import ElevenLabsTts
from flowengine.providers.openai import OpenAiLlm
from flowengine.testing.providers.serving import KEY

_T = TypeVar("_T")

STT = SttRequest("nova-3", "en", 300)
LLM = LlmRequest("gpt-test", (LlmMessage("user", "Hello?"),))
TTS = TtsRequest("eleven_flash_v2_5", "voice-1", "en-US")


_MADE: list[OpenAiLlm | ElevenLabsTts] = []


def llm_at(url: str) -> OpenAiLlm:
    """An LLM whose connections `run` closes."""
    llm = OpenAiLlm(KEY, url)
    _MADE.append(llm)
    return llm


def tts_at(url: str) -> ElevenLabsTts:
    """A voice's vendor whose connections `run` closes."""
    tts = ElevenLabsTts(KEY, url)
    _MADE.append(tts)
    return tts


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end, for at most fifteen seconds."""

    async def bounded() -> _T:
        try:
            async with asyncio.timeout(15):
                return await work
        finally:
            while _MADE:
                await _MADE.pop().aclose()

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
