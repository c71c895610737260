"""The voice's chunks, with a scripted engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from flowengine.errors import ProviderError
from flowengine.events import Usage
from flowengine.ports import Clause, SpeechChunk, TtsRequest
from flowengine.providers.local.voice import LocalTts, LocalVoice, Spoken
from flowengine.providers.local.worker import Worker

pytestmark = pytest.mark.unit


class ScriptedEngine:
    """Speaks 10 ms a character, the first and last 10 ms silent."""

    def __init__(self) -> None:
        self.spoken: list[tuple[str, float]] = []

    def sentences(self, text: str) -> list[str]:
        return [part.strip() + "." for part in text.split(".") if part.strip()]

    def speak(self, sentence: str, speed: float) -> Spoken:
        self.spoken.append((sentence, speed))
        if "broken" in sentence:
            raise RuntimeError("no such phoneme")
        length_ms = 10 * len(sentence.strip())
        return Spoken(b"\x55" * (8 * length_ms), 10, length_ms - 10)


async def _clauses(*texts: str) -> AsyncIterator[Clause]:
    for number, text in enumerate(texts):
        yield Clause(number, text)


def _speak(engine: ScriptedEngine, *texts: str) -> tuple[list[SpeechChunk], Usage | None]:
    async def scenario() -> tuple[list[SpeechChunk], Usage | None]:
        voice = LocalVoice(lambda: engine, Worker("test"), 1.5)
        chunks = [chunk async for chunk in voice.speak(_clauses(*texts))]
        return chunks, await voice.close()

    return asyncio.run(scenario())


def test_each_sentence_is_a_chunk_and_the_last_of_a_clause_says_so() -> None:
    engine = ScriptedEngine()
    chunks, usage = _speak(engine, "One two. Three.", "Four.")
    assert [(chunk.clause, chunk.last) for chunk in chunks] == [(0, False), (0, True), (1, True)]
    assert [speed for _, speed in engine.spoken] == [1.5, 1.5, 1.5]
    assert usage == Usage("local", "hibari", "characters", amount_in=20)


def test_words_count_from_the_clause() -> None:
    first, second, *_ = _speak(ScriptedEngine(), "One two. Three.")[0]
    assert [word.end_char for word in first.words] == [3, 8]
    assert [word.end_char for word in second.words] == [15]
    assert first.words[0].start_ms == 10
    assert first.words[-1].end_ms == 70
    assert second.words[0].start_ms == len(first.audio) // 8 + 10


def test_a_clause_without_words_still_ends() -> None:
    assert _speak(ScriptedEngine(), " ", "Yes.")[0][0] == SpeechChunk(0, b"", last=True)


def test_closing_leaves_the_rest_unspoken() -> None:
    engine = ScriptedEngine()

    async def scenario() -> None:
        voice = LocalVoice(lambda: engine, Worker("test"), 1.0)
        speech = voice.speak(_clauses("One. Two. Three."))
        await anext(speech)
        await speech.aclose()

    asyncio.run(scenario())
    assert len(engine.spoken) == 1


def test_a_fault_of_the_engine_is_a_provider_error_without_the_text() -> None:
    with pytest.raises(ProviderError) as caught:
        _speak(ScriptedEngine(), "broken")
    assert caught.value.code == "unavailable"
    assert "broken" not in str(caught.value)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (TtsRequest("", "", "fr-FR"), "English"),
        (TtsRequest("eleven_flash_v2_5", "", "en-US"), "model"),
        (TtsRequest("", "emma", "en-GB"), "heart"),
        (TtsRequest("", "", "en-US", {"style": 1}), "speed"),
        (TtsRequest("", "", "en-US", {"speed": 3}), "2.0"),
        (TtsRequest("", "", "en-US", {"speed": True}), "number"),
    ],
)
def test_what_it_cannot_do_is_refused(request_: TtsRequest, said: str) -> None:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(LocalTts().open(request_))
    assert caught.value.code == "bad_request"
    assert said in caught.value.what
