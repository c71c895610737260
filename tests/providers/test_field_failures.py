"""What vendors did to other people's calls, each with where it was reported, as it is met here.

The rest of that list stands where the vendor's adapter is tested: the readers' share of Deepgram's
in `test_deepgram` and `test_deepgram_flux`, what OpenAI-compatible hosts do (an error in the stream
without `[DONE]`, content as a list, comments as a sign of life) in `test_chat_hosts`, `test_openai`
and, as it was recorded, `test_recordings`.
"""

from __future__ import annotations

from contextlib import aclosing

import orjson
import pytest

from flowengine.events import (
    EndpointReached,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.ports import SpeechChunk, SttEvent, SttRequest, Voice
from flowengine.providers import listening
from flowengine.providers.deepgram import DeepgramStt
from flowengine.providers.deepgram_flux import FluxEars
from flowengine.providers.deepgram_nova import DeepgramEars, ears_of, listen_query
from flowengine.providers.supervision import SupervisedTts, TtsChoice
from flowengine.runtime.turns import Floor, HearingEvent, TurnOver, Turns
from flowengine.runtime.waits import Waits
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import STT, TTS, Ears, clauses, run, tts_at

pytestmark = pytest.mark.unit

FLUX = SttRequest("flux-general-en", "en-US", 300)
QUIET = Floor(speaking=False, interruptible=True, left_ms=0, closed_question=False)


# --- ElevenLabs ---


async def spoken(voice: Voice, texts: list[str]) -> list[SpeechChunk]:
    async with aclosing(voice.speak(clauses(texts))) as chunks:
        return [chunk async for chunk in chunks]


def is_whole(chunks: list[SpeechChunk], texts: list[str]) -> bool:
    """Every clause was ended and has audio."""
    ended = [chunk.clause for chunk in chunks if chunk.last] == list(range(len(texts)))
    return ended and {chunk.clause for chunk in chunks if chunk.audio} == set(range(len(texts)))


def test_rapid_barge_ins_whose_closing_lags_leave_no_more_than_five_contexts() -> None:
    """`max_active_conversations`, close 1008 (livekit/agents-js#1985)."""

    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.answers_close = False
            voice = await tts_at(vendor.url).open(TTS)
            for _ in range(12):
                async with aclosing(voice.speak(clauses(["A long sentence to break."]))) as speech:
                    assert (await anext(speech)).audio
            assert is_whole(await spoken(voice, ["And now this."]), ["And now this."])
            await voice.close()
            assert vendor.most_contexts <= 4
            assert vendor.violations == []

    run(call())


def test_a_socket_that_was_closed_for_its_contexts_is_replaced_and_the_text_spoken() -> None:
    """The vendor's count may differ from ours: its 1008 is that socket's, not the account's."""

    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.answers_close = False
            vendor.most_contexts_open = 1
            tts = SupervisedTts([TtsChoice(tts_at(vendor.url))])
            voice = await tts.open(TTS)
            for text in ("First.", "Second.", "Third."):
                assert is_whole(await spoken(voice, [text]), [text])
            await voice.close()
            assert tts.counts == {"elevenlabs.dropped": 2, "elevenlabs.recovered": 2}

    run(call())


def test_a_flush_never_goes_to_a_context_that_the_vendor_ended() -> None:
    """It would make a phantom that never ends (pipecat#4126)."""

    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.ends_contexts = True
            voice = await tts_at(vendor.url).open(TTS)
            for _ in range(3):
                texts = ["Good morning.", " How are you?", " Bye."]
                assert is_whole(await spoken(voice, texts), texts)
            await voice.close()
            assert vendor.phantoms == []
            assert vendor.violations == []

    run(call())


def test_a_reply_of_many_clauses_is_not_cut_by_the_end_of_its_first_flush() -> None:
    """Two senders racing: the first flush ended the context, the rest was dropped (bolna#746)."""

    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.ends_contexts = True
            vendor.first_byte_ms = 5
            voice = await tts_at(vendor.url).open(TTS)
            texts = [f" This is sentence {number}." for number in range(6)]
            assert is_whole(await spoken(voice, texts), texts)
            await voice.close()
            assert [text.strip() for text in vendor.said] == [text.strip() for text in texts]

    run(call())


@pytest.mark.parametrize("way", ["multi-stream-input", "stream-input"])
@pytest.mark.parametrize("aligns", [True, False])
def test_an_utterance_ends_though_a_flush_is_never_answered_by_is_final(
    way: str, aligns: bool
) -> None:
    """The agent was "still speaking" for ever (bolna#790, bolna#733)."""

    async def call() -> None:
        async with FakeElevenLabs(offers=[way]) as vendor:
            vendor.answers_close = False
            vendor.aligns = aligns
            voice = await tts_at(vendor.url).open(TTS)
            assert is_whole(await spoken(voice, ["Hello."]), ["Hello."])
            await voice.close()

    run(call())


# --- Deepgram nova ---


def results(text: str, end_ms: int, *, final: bool) -> bytes:
    body: dict[str, Json] = {
        "type": "Results",
        "start": 0.0,
        "duration": end_ms / 1000,
        "is_final": final,
        "speech_final": False,
        "from_finalize": False,
        "channel": {"alternatives": [{"transcript": text, "confidence": 0.5, "words": []}]},
    }
    return orjson.dumps(body)


def texts_of(events: list[SttEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, SegmentHeard)]


def test_noise_keeps_speech_final_away_and_utterance_end_ends_the_turn() -> None:
    """`speech_final` never comes (livekit#931, deepgram-js-sdk#343)."""

    async def call() -> None:
        async with FakeDeepgram(["I need a table."]) as vendor:
            vendor.forgets_speech_final = True
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            session.feed(speech(900) + silence(1200))
            await ears.until(lambda events: EndpointReached() in events)
            assert texts_of(ears.events) == ["I need a table."]
            await session.close()

    run(call())


@pytest.mark.parametrize("final", [True, False])
def test_noise_keeps_both_ends_away_and_our_own_idle_time_ends_the_turn(final: bool) -> None:
    """Neither `speech_final` nor `UtteranceEnd`, results go on (openclaw#123487)."""
    heard: list[SttEvent] = []
    ears = DeepgramEars(heard.append, idle_ms=3000)
    ears.read(b'{"type":"SpeechStarted","channel":[0,1],"timestamp":0.1}')
    ears.read(results("I need a table", 1000, final=final))
    # An interim that is told again and again is no new word.
    again = "" if final else "I need a table"
    for end_ms in (2000, 3000, 3900):
        ears.read(results(again, end_ms, final=False))
    assert ears.is_hearing
    ears.read(results(again, 4000, final=False))
    assert not ears.is_hearing
    assert texts_of(heard) == ["I need a table"]
    ends = [
        event
        for event in heard
        if event == EndpointReached() or (isinstance(event, SegmentHeard) and event.endpoint)
    ]
    assert len(ends) == 1
    ears.read(results("", 9000, final=True))
    assert len(texts_of(heard)) == 1


def test_the_longest_gap_between_words_is_no_shorter_than_the_flows_endpointing() -> None:
    """`utterance_end_ms` counts word gaps: a hesitation ended the turn (bolna#952)."""
    for endpointing_ms, expected in ((300, 1000), (1000, 1700), (2500, 3200)):
        query = listen_query(SttRequest("nova-3", "en", endpointing_ms))
        assert f"utterance_end_ms={expected}&" in query
        assert f"endpointing={endpointing_ms}&" in query
    own = SttRequest("nova-3", "en", 300, (), {"utterance_end_ms": 2000})
    assert "&endpointing=300&utterance_end_ms=2000&" in listen_query(own)
    heard: list[SttEvent] = []
    ears = ears_of(own, heard.append)
    ears.read(results("well", 500, final=True))
    ears.read(results("", 3900, final=False))
    assert EndpointReached() not in heard


def test_a_turn_of_interims_alone_is_ended_by_utterance_end_with_its_words() -> None:
    """It was never finalised (bolna#955)."""
    heard: list[SttEvent] = []
    ears = DeepgramEars(heard.append)
    ears.read(results("my name is", 900, final=False))
    ears.read(b'{"type":"UtteranceEnd","channel":[0,1],"last_word_end":0.9}')
    assert heard[-1] == SegmentHeard("my name is", 0.5, endpoint=True)


def test_a_turn_of_interims_alone_is_ended_by_the_engine_when_the_vendor_says_nothing() -> None:
    """The same, and the results stop too: turn taking does not wait for ever."""
    heard: list[SttEvent] = []
    DeepgramEars(heard.append).read(results("my name is", 900, final=False))
    waits = Waits()
    turns = Turns(waits)
    events: list[HearingEvent] = [SpeechStarted("energy")]
    events += [event for event in heard if isinstance(event, HearingEvent)]
    for event in [*events, SpeechStopped("energy")]:
        assert turns.receive(event, 1000, QUIET) == []
    over = turns.wait_passed("stt_final", 4000)
    assert over == [TurnOver("my name is", 0.0, "silence", 3000)]


def test_speech_that_starts_again_in_the_middle_of_a_turn_starts_no_other() -> None:
    """`SpeechStarted` re-fires (bolna#955, pipecat#455)."""

    async def call() -> None:
        async with FakeDeepgram(["I need a table."]) as vendor:
            vendor.repeats_speech_started = True
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            session.feed(speech(400) + silence(100) + speech(400) + silence(400))
            await ears.until(lambda events: bool(texts_of(events)))
            await session.close()
            assert ears.events.count(SpeechStarted("stt")) == 1

    run(call())


def test_an_empty_final_after_interims_loses_no_words() -> None:
    """The words that the interims had are gone (pipecat#455)."""

    async def call() -> None:
        async with FakeDeepgram(["I need a table."]) as vendor:
            vendor.loses_final = True
            vendor.hears_out_ms = 100
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            session.feed(speech(900) + silence(400))
            await ears.until(lambda events: bool(texts_of(events)))
            await session.close()
            assert texts_of(ears.events) == ["I need a table."]

    run(call())


def test_a_finalize_without_an_answer_lets_nobody_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little audio: the answer is not guaranteed (vellum#37537)."""
    monkeypatch.setattr(listening, "_FINALIZE_S", 0.05)

    async def call() -> None:
        async with FakeDeepgram(["Yes."]) as vendor:
            vendor.ignores_finalize = True
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            session.feed(speech(320))
            await ears.until(bool)
            session.finalize()
            await ears.until(lambda events: texts_of(events) == ["Yes."])
            await session.close()

    run(call())


# --- Deepgram Flux ---


def test_a_turn_without_start_of_turn_is_heard() -> None:
    """A turn opened by `Update`; the agent was mute for ever (bolna#758)."""

    async def call() -> None:
        async with FakeDeepgram(["Hello there."]) as vendor:
            vendor.flux.forgets_start = True
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            session.feed(speech(800) + silence(400))
            await ears.until(lambda events: texts_of(events) == ["Hello there."])
            assert ears.events[0] == SpeechStarted("stt")
            await session.close()

    run(call())


def test_an_end_that_comes_once_more_ends_nothing() -> None:
    """A stale `EndOfTurn` after a pause, told by its `turn_index` (vellum#40224)."""

    async def call() -> None:
        async with FakeDeepgram(["One.", "Two."]) as vendor:
            vendor.flux.repeats_end = True
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            for _ in range(2):
                session.feed(speech(500) + silence(400))
            await ears.until(lambda events: "Two." in texts_of(events))
            await session.close()
            assert texts_of(ears.events) == ["One.", "Two."]

    run(call())


def test_an_end_that_got_lost_loses_no_words() -> None:
    """No `EndOfTurn`: the next turn just begins (pipecat#5735)."""

    async def call() -> None:
        async with FakeDeepgram(["One.", "Two."]) as vendor:
            vendor.flux.forgets_end = True
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            session.feed(speech(500) + silence(400) + speech(500))
            await ears.until(lambda events: texts_of(events) == ["One."])
            await session.close()

    run(call())


def test_a_forced_end_of_no_turn_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`FORCE_END_TURN_NO_ACTIVE_TURN` (livekit#7389): a warning, and nobody waits for words."""
    monkeypatch.setattr(listening, "_FINALIZE_S", 60.0)

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, Ears().hear)
            session.finalize()
            await vendor.until(lambda: vendor.commands == ["ForceEndTurn"])
            waiting = session._finalizing
            assert waiting is not None
            await waiting
            await session.close()

    run(call())


def test_words_that_were_told_before_they_were_final_are_not_told_again() -> None:
    """`UtteranceEnd`, or our own patience, came before the final result."""
    heard: list[SttEvent] = []
    ears = DeepgramEars(heard.append)
    ears.read(results("my name is", 900, final=False))
    ears.read(b'{"type":"UtteranceEnd","channel":[0,1],"last_word_end":0.9}')
    ears.read(results("my name is Ada", 1200, final=True))
    ears.read(results("my name is", 900, final=False))
    ears.end_turn()
    assert texts_of(heard) == ["my name is", "Ada"]
    assert ears.settled_ms == 1200


def test_flux_ends_a_turn_whose_words_were_taken_with_the_rest_of_them() -> None:
    heard: list[SttEvent] = []
    ears = FluxEars(heard.append)
    ears.read(turn_info("Update", "one two"))
    ears.end_turn()
    ears.read(turn_info("EndOfTurn", "one two three"))
    assert texts_of(heard) == ["one two", "three"]


def turn_info(event: str, text: str) -> bytes:
    body: dict[str, Json] = {
        "type": "TurnInfo",
        "event": event,
        "turn_index": 0,
        "transcript": text,
        "audio_window_end": 1.0,
        "end_of_turn_confidence": 0.9,
        "words": [],
    }
    return orjson.dumps(body)
