"""The voice that a flow asks for: by language, with its pronunciation, and its key in the cache."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from flowengine.events import Usage
from flowengine.flow.defaults import TtsUse
from flowengine.media.pronunciation import Pronunciation, Respelt
from flowengine.ports import Clause, SpeechChunk, TtsRequest, UsedSeveral, Voice
from flowengine.runtime.prompts import Speaker
from flowengine.runtime.services import Vendors


def voice_request(use: TtsUse, language: str) -> TtsRequest:
    """How a voice is asked for; a voice by language is chosen here."""
    voice = use.voice or ""
    if isinstance(voice, dict):
        voice = of_language(voice, language) or next(iter(voice.values()), "")
    return TtsRequest(use.model or "", voice, language, use.settings)


def speaker_of(use: TtsUse, language: str) -> Speaker:
    """Under what a prompt of this voice is cached."""
    asked = voice_request(use, language)
    spelling = _spelling(use, language)
    settings = {**asked.options, "pronunciation": spelling} if spelling else asked.options
    return Speaker(use.provider or "", asked.model, asked.voice, language, settings)


async def open_voice(vendors: Vendors, use: TtsUse, language: str) -> Voice:
    """The flow's voice for one call. Raises ProviderError, ConfigError."""
    voice = await vendors.tts(use).open(voice_request(use, language))
    spelling = _spelling(use, language)
    return _Pronouncing(voice, Pronunciation(spelling)) if spelling else voice


def of_language(choices: dict[str, str], language: str) -> str:
    """What stands for a language: under its own name, else under another region's; "" for none."""
    base = language.partition("-")[0]
    same_base = (item for key, item in choices.items() if key.partition("-")[0] == base)
    return choices.get(language) or next(same_base, "")


def _spelling(use: TtsUse, language: str) -> dict[str, str]:
    """How words are spelt for this voice, sorted, so that it makes a key."""
    found = {}
    for word, spoken in sorted((use.pronunciation or {}).items()):
        respelt = spoken if isinstance(spoken, str) else of_language(spoken, language)
        if respelt:
            found[word] = respelt
    return found


class _Pronouncing:
    """A voice that is given respelt clauses; what it tells of words is about the written ones."""

    def __init__(self, voice: Voice, pronunciation: Pronunciation) -> None:
        self._voice = voice
        self._pronunciation = pronunciation

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        respelt: dict[int, Respelt] = {}

        async def spelt() -> AsyncIterator[Clause]:
            async for clause in clauses:
                respelt[clause.number] = self._pronunciation.respelt(clause.text)
                yield Clause(clause.number, respelt[clause.number].text)

        async with aclosing(self._voice.speak(spelt())) as chunks:
            async for chunk in chunks:
                yield replace(chunk, words=respelt[chunk.clause].written(chunk.words))

    async def close(self) -> Usage | None:
        return await self._voice.close()

    @property
    def more_usage(self) -> Sequence[Usage]:
        """What was used at other providers."""
        return self._voice.more_usage if isinstance(self._voice, UsedSeveral) else ()
