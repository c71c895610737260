"""Voices by language, and respelt words on their way to the voice and back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from flowengine.events import Json, Usage, Word
from flowengine.flow.defaults import TtsUse
from flowengine.ids import NodeId
from flowengine.ports import Clause, SpeechChunk, TtsRequest, Voice
from flowengine.runtime.static_texts import StaticText, static_texts
from flowengine.runtime.voices import open_voice, speaker_of, voice_request
from tests.runtime.small_flows import program

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

BY_LANGUAGE: dict[str, Json] = {"voice": {"en-US": "amy", "nl-NL": "saskia"}}


@dataclass
class _Voice:
    said: list[str] = field(default_factory=list)

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        async for clause in clauses:
            self.said.append(clause.text)
            end = len(clause.text)
            yield SpeechChunk(clause.number, b"\x00" * 80, (Word(end, 0, 10),), last=True)

    async def close(self) -> Usage | None:
        return Usage("fake", "m", "characters", sum(map(len, self.said)))


class _Vendors:
    """Only voices are asked for here."""

    def __init__(self) -> None:
        self.voice = _Voice()
        self.asked: list[TtsRequest] = []

    def tts(self, use: TtsUse) -> Any:
        return self

    async def open(self, request: TtsRequest) -> Voice:
        self.asked.append(request)
        return self.voice


@pytest.mark.parametrize(
    ("language", "voice"), [("nl-NL", "saskia"), ("nl-BE", "saskia"), ("en", "amy"), ("fr", "amy")]
)
def test_a_voice_is_chosen_by_language(language: str, voice: str) -> None:
    assert voice_request(TtsUse.model_validate(BY_LANGUAGE), language).voice == voice


async def _spoken(vendors: _Vendors, use: TtsUse, language: str, *texts: str) -> list[SpeechChunk]:
    async def clauses() -> AsyncIterator[Clause]:
        for number, text in enumerate(texts):
            yield Clause(number, text)

    voice = await open_voice(vendors, use, language)  # type: ignore[arg-type]
    chunks = [chunk async for chunk in voice.speak(clauses())]
    await voice.close()
    return chunks


async def test_the_voice_is_given_what_is_spelt_for_its_language() -> None:
    vendors = _Vendors()
    use = TtsUse.model_validate(
        {"pronunciation": {"SQL": {"en-US": "sequel", "nl": "es ku el"}, "Ng": "ing"}}
    )
    chunks = await _spoken(vendors, use, "nl-NL", "Dr Ng knows SQL.", "Ja.")
    assert vendors.voice.said == ["Dr ing knows es ku el.", "Ja."]
    assert [word.end_char for chunk in chunks for word in chunk.words] == [16, 3]


async def test_a_vendor_never_sees_the_table_and_the_cache_does() -> None:
    vendors = _Vendors()
    plain = TtsUse.model_validate({"speed": 1.1})
    spelt = TtsUse.model_validate({"speed": 1.1, "pronunciation": {"SQL": {"en-US": "sequel"}}})
    await _spoken(vendors, spelt, "en-GB", "SQL")
    assert vendors.asked[0].options == {"speed": 1.1}
    assert speaker_of(spelt, "en-GB").key("SQL") != speaker_of(plain, "en-GB").key("SQL")
    assert speaker_of(spelt, "nl-NL").key("SQL") == speaker_of(plain, "nl-NL").key("SQL")


def test_static_texts_are_made_in_the_language_that_says_them() -> None:
    flow = program(
        {
            "flow": "1",
            "id": "greets",
            "start": "hi",
            "defaults": {"language": "en-US"},
            "nodes": {
                "hi": {"kind": "say", "say": {"en-US": "Hello.", "nl-NL": ["Hallo."]}},
                "bye": {
                    "kind": "hangup",
                    "use": {"language": "fr-FR"},
                    "say": [{"if": "open('office')", "text": "Merci."}, {"prompt": "Say bye."}],
                },
            },
            "calendars": {"office": {"timezone": "Europe/Paris", "weekly": {}}},
            "edges": [{"from": "hi", "to": "bye"}],
        }
    )
    found = {(item.text, item.language) for item in static_texts(flow)}
    assert {("Hello.", "en-US"), ("Hallo.", "nl-NL"), ("Merci.", "fr-FR")} <= found
    assert not any("Say bye" in item.text for item in static_texts(flow))
    assert StaticText("Hallo.", NodeId("hi"), "nl-NL") in static_texts(flow)
