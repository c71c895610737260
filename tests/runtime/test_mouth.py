"""The speaking pipe: speech that is made ahead, held back, released or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flowengine.events import Input, Usage
from flowengine.flow.defaults import TtsUse
from flowengine.ports import Clause, SpeechChunk
from flowengine.runtime.effects import Piece, Speak
from flowengine.runtime.mouth import Mouth
from flowengine.runtime.playback import Playback
from flowengine.runtime.prompts import CachedSpeech
from flowengine.runtime.services import Services
from tests.runtime.test_playback import Line

pytestmark = pytest.mark.unit

USE = TtsUse.model_validate({"provider": "v"})


class Voice:
    """Ten bytes of audio a character, at once."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.characters = 0

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        async for clause in clauses:
            self.characters += len(clause.text)
            yield SpeechChunk(clause.number, b"a" * 80 * len(clause.text), last=True)

    async def close(self) -> Usage | None:
        return Usage("v", "m", self.unit, amount_in=self.characters)  # type: ignore[arg-type]


class Stand:
    """A mouth before a playback that writes to a line."""

    def __init__(self, unit: str = "characters") -> None:
        voice = Voice(unit)

        async def opened(request: object) -> Voice:
            return voice

        vendors = SimpleNamespace(tts=lambda use: SimpleNamespace(open=opened))
        self.prompts: dict[str, CachedSpeech] = {}
        services = SimpleNamespace(vendors=vendors, prompts=self.prompts, audio={})
        self.reports: list[Input] = []
        self.line = Line()
        self.playback = Playback(self.line, lambda event: None, lambda: 0)
        self.tasks: list[asyncio.Task[None]] = []
        self.mouth = Mouth(
            self.playback, cast("Services", services), self.spawn, self.reports.append, lambda: 0
        )

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work, name=name))
        return self.tasks[-1]

    async def say(self, generation: int, text: str, *, held: bool = False) -> None:
        piece = Piece(0, "words", text)
        self.mouth.speak(Speak(generation, (piece,), not held, USE, "en-US", held))
        await self.turn()

    async def drop(self, generation: int) -> None:
        self.playback.drop(generation)
        self.mouth.drop(generation, wasted=True)
        await self.turn()

    async def turn(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def over(self) -> list[Usage]:
        usages = await self.mouth.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return usages


async def _one_dropped(stand: Stand) -> list[Usage]:
    stand.spawn(stand.playback.run(), "playback")
    await stand.say(1, "in vain", held=True)
    assert not stand.line.audio
    await stand.drop(1)
    await stand.say(2, "Hello")
    assert len(stand.line.audio) == 400, "what was dropped holds nothing up"
    return await stand.over()


def test_characters_that_were_spoken_in_vain_are_told_apart() -> None:
    async def run() -> list[Usage]:
        return await _one_dropped(Stand())

    assert asyncio.run(run()) == [
        Usage("v", "m", "characters", amount_in=5),
        Usage("v", "m", "characters", amount_in=7, estimated=True, wasted=True),
    ]


def test_what_is_not_counted_in_characters_is_told_whole() -> None:
    async def run() -> list[Usage]:
        return await _one_dropped(Stand("tokens"))

    assert asyncio.run(run()) == [Usage("v", "m", "tokens", amount_in=12)]


def test_a_clause_of_which_audio_is_there_sounds_when_it_is_released() -> None:
    async def run() -> tuple[int, list[Usage]]:
        stand = Stand()
        stand.spawn(stand.playback.run(), "playback")
        await stand.say(1, "Hello", held=True)
        stand.playback.release(1)
        await stand.turn()
        return len(stand.line.audio), await stand.over()

    assert asyncio.run(run()) == (400, [Usage("v", "m", "characters", amount_in=5)])
