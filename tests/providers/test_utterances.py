"""Cutting a stream into utterances, and a session that has them recognised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    HearingFailed,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.ports import SttHints, SttRequest
from flowengine.providers import utterances
from flowengine.providers.faults import fault
from flowengine.providers.utterances import (
    Heard,
    Recognise,
    Utterance,
    Utterances,
    UtteranceSession,
)
from flowengine.testing.providers.speech import silence, speech, tag_of
from tests.providers.running import Ears, run

pytestmark = pytest.mark.unit

REQUEST = SttRequest("some-model", "en", 300)
STARTED, STOPPED = SpeechStarted("stt"), SpeechStopped("stt")


def cut(audio: bytes, *, endpointing_ms: int = 300, patient: bool = False) -> list[object]:
    segments = Utterances(endpointing_ms)
    segments.patient = patient
    return list(segments.feed(audio))


def taken(happened: list[object]) -> list[Utterance]:
    return [item for item in happened if isinstance(item, Utterance)]


def test_an_utterance_has_a_beginning_before_it_and_a_short_pause_at_its_end() -> None:
    happened = cut(silence(1000) + speech(600) + silence(500))
    assert happened[:2] == [STARTED, STOPPED]
    (utterance,) = taken(happened)
    assert utterance.endpoint
    assert utterance.end_bytes == 8 * (1000 + 600 + 300)
    assert len(utterance.audio) == 8 * (300 + 600 + 200)
    assert utterance.audio[: 8 * 300] == silence(300)


def test_a_pause_shorter_than_endpointing_ends_nothing() -> None:
    audio = speech(600) + silence(220) + speech(600) + silence(300)
    happened = cut(audio)
    assert [item for item in happened if not isinstance(item, Utterance)] == [
        STARTED,
        STOPPED,
        STARTED,
        STOPPED,
    ]
    assert len(taken(happened)) == 1


def test_what_begins_while_an_utterance_ends_is_in_the_next_one() -> None:
    first, second = taken(cut(speech(600) + silence(260) + speech(600, 5) + silence(300)))
    assert len(first.audio) == 8 * (600 + 200)
    assert len(second.audio) == 8 * (60 + 600 + 200)
    assert tag_of(second.audio[8 * 60 :]) == 5


def test_digits_are_waited_for() -> None:
    audio = speech(600) + silence(800) + speech(600) + silence(1000)
    assert len(taken(cut(audio))) == 2
    assert len(taken(cut(audio, patient=True))) == 1


def test_quiet_and_clicks_are_not_sent() -> None:
    assert taken(cut(silence(5000))) == []
    (click,) = taken(cut(silence(200) + speech(80) + silence(400)))
    assert (click.audio, click.endpoint) == (b"", True)


def test_the_longest_utterance_is_cut_and_hearing_goes_on() -> None:
    syllables = (speech(500) + silence(100)) * 60
    first, second = taken(cut(syllables + silence(300)))
    assert (len(first.audio), first.endpoint) == (8 * utterances.LONGEST_UTTERANCE_MS, False)
    assert second.endpoint
    assert abs(len(second.audio) - 8 * 6100) <= 8 * 400


def test_what_is_said_can_be_asked_for_at_once() -> None:
    segments = Utterances(300)
    assert segments.finalize() is None
    list(segments.feed(silence(400) + speech(500)))
    utterance = segments.finalize()
    assert utterance is not None
    assert len(utterance.audio) == 8 * 800
    assert segments.finalize() is None
    assert taken(list(segments.feed(silence(1000)))) == []
    assert len(taken(list(segments.feed(speech(500) + silence(400))))) == 1


@given(
    parts=st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=12),
    size=st.integers(1, 1000),
)
def test_any_split_is_cut_the_same(parts: list[tuple[bool, int]], size: int) -> None:
    audio = b"".join((speech if loud else silence)(20 * hops) for loud, hops in parts)
    segments = Utterances(300)
    whole = cut(audio)
    pieces = [
        happened
        for at in range(0, len(audio), size)
        for happened in segments.feed(audio[at : at + size])
    ]
    assert [_shape(item) for item in pieces] == [_shape(item) for item in whole]


def _shape(item: object) -> object:
    """An utterance's audio may end up to a frame later when frames come in pieces."""
    return (bool(item.audio), item.endpoint) if isinstance(item, Utterance) else item


def session_of(recognise: Recognise, ears: Ears) -> UtteranceSession:
    return UtteranceSession("some", REQUEST, ears.hear, recognise)


def test_words_are_told_in_order_though_answers_cross() -> None:
    async def call() -> None:
        ears, second = Ears(), asyncio.Event()

        async def recognise(audio: bytes, so_far: Callable[[str], None]) -> Heard:
            tag = tag_of(audio[8 * 300 :]) or 0
            if tag == 1:
                so_far("early")
                await second.wait()
            else:
                so_far("late")
                second.set()
            return Heard(f" word {tag} ", Usage("some", "some-model", "audio_ms", tag))

        session = session_of(recognise, ears)
        session.feed(silence(400) + speech(500, 1) + silence(400) + speech(500, 2) + silence(400))
        await ears.until(lambda events: SegmentHeard("word 2", endpoint=True) in events)
        assert ears.events[4:] == [
            InterimHeard("early"),
            SegmentHeard("word 1", endpoint=True),
            SegmentHeard("word 2", endpoint=True),
        ]
        assert session.settled_bytes == 8 * (400 + 500 + 400 + 500 + 300)
        assert await session.close() == Usage("some", "some-model", "audio_ms", 3)

    run(call())


def test_an_error_that_may_pass_is_asked_again_once() -> None:
    async def call() -> None:
        ears, asked = Ears(), []

        async def recognise(audio: bytes, so_far: Callable[[str], None]) -> Heard:
            asked.append(len(audio))
            if len(asked) != 2:
                raise fault("dropped", "broke", "some")
            return Heard("Yes.")

        session = session_of(recognise, ears)
        session.feed(speech(500) + silence(300))
        await ears.until(lambda events: SegmentHeard("Yes.", endpoint=True) in events)
        session.feed(speech(500) + silence(300))
        await ears.until(lambda events: HearingFailed("dropped") in events)
        assert len(set(asked[:2])) == 1
        assert len(asked) == 4
        session.feed(speech(500) + silence(300))
        session.finalize()
        usage = await session.close()
        assert usage is not None
        assert usage.estimated
        assert ears.events.count(HearingFailed("dropped")) == 1
        assert len(asked) == 4

    run(call())


def test_no_words_and_no_speech() -> None:
    async def call() -> None:
        ears, asked = Ears(), []

        async def recognise(audio: bytes, so_far: Callable[[str], None]) -> Heard:
            asked.append(audio)
            return Heard("  ")

        session = session_of(recognise, ears)
        session.hint(SttHints(digits=True))
        session.finalize()
        assert ears.events == [EndpointReached()]
        session.feed(silence(200) + speech(80) + silence(1000))
        await ears.until(lambda events: events.count(EndpointReached()) == 2)
        assert asked == []
        session.feed(speech(500))
        session.finalize()
        await ears.until(lambda events: events.count(EndpointReached()) == 3)
        assert len(asked) == 1

    run(call())


def test_an_answer_that_does_not_come_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utterances, "ANSWER_S", 0.05)

    async def call() -> None:
        ears = Ears()

        async def recognise(audio: bytes, so_far: Callable[[str], None]) -> Heard:
            await asyncio.Event().wait()
            raise ProviderError("never", "never", where="some")

        session = session_of(recognise, ears)
        session.feed(speech(500) + silence(300))
        await ears.until(lambda events: HearingFailed("deadline") in events)
        await session.close()

    run(call())
