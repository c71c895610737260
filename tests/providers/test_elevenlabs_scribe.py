"""ElevenLabs' Scribe over loopback against the fake, and its reader alone."""

from __future__ import annotations

import asyncio
import base64
import functools
from typing import Any

import orjson
import pytest

from flowengine.errors import ProviderError
from flowengine.events import (
    HearingFailed,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.ports import SttEvent, SttHints, SttRequest
from flowengine.providers import listening
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.deafness import Answers
from flowengine.providers.elevenlabs import make_stt
from flowengine.providers.elevenlabs_scribe import ScribeEars, ScribeStt, listen_query
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.supervision import SttChoice, SupervisedStt
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import Ears, run

pytestmark = pytest.mark.unit

SCRIBE = SttRequest("scribe_v2_realtime", "en-US", 400)
QUICK = Deadlines(stt_open_ms=500, recovery_ms=1000, replay_speed=20.0)
PLAIN, TIMED = "committed_transcript", "committed_transcript_with_timestamps"


def at(vendor: FakeElevenLabs) -> ScribeStt:
    values = {"ELEVENLABS_API_KEY": KEY, "ELEVENLABS_BASE_URL": vendor.url}
    return make_stt(ProviderSettings(values))


def heard(text: str) -> SegmentHeard:
    return SegmentHeard(text, 0.0, endpoint=True)


def has(event: SttEvent, events: list[SttEvent]) -> bool:
    return event in events


def read(*messages: tuple[str, str], patient: bool = False) -> list[SttEvent]:
    """What a reader says to these messages, each a kind and a text."""
    said: list[SttEvent] = []
    ears = ScribeEars(said.append)
    ears.patient = patient
    for kind, text in messages:
        assert ears.read(orjson.dumps({"message_type": kind, "text": text})) is None
    return said


def test_a_turn_of_partials_and_a_commit() -> None:
    assert read(
        ("session_started", ""),
        ("partial_transcript", ""),
        ("partial_transcript", "I want"),
        ("partial_transcript", "I want"),
        ("partial_transcript", "I want pizza"),
        (PLAIN, "I want pizza."),
    ) == [
        SpeechStarted("stt"),
        InterimHeard("I want", 0.0),
        InterimHeard("I want pizza", 0.0),
        SpeechStopped("stt"),
        heard("I want pizza."),
    ]


def test_an_empty_commit_keeps_the_words_before_it() -> None:
    assert read(("partial_transcript", "My name"), (PLAIN, ""))[-1] == heard("My name")
    assert read((PLAIN, "")) == []


@pytest.mark.parametrize("kinds", [(PLAIN, TIMED), (TIMED, PLAIN)])
def test_a_commit_that_comes_twice_is_heard_once(kinds: tuple[str, str]) -> None:
    """With timestamps each commit is told twice, in either order."""
    first, second = kinds
    said = read((first, "Yes."), (second, "Yes."), (first, "Yes."), (second, "Yes."))
    assert said == [heard("Yes."), heard("Yes.")]
    late = read((first, "Yes."), ("partial_transcript", "And"), (second, "Yes."), (first, "And."))
    assert [event for event in late if isinstance(event, SegmentHeard)] == [
        heard("Yes."),
        heard("And."),
    ]


def test_while_digits_are_expected_a_commit_ends_no_turn() -> None:
    assert read((PLAIN, "four two"), patient=True) == [SegmentHeard("four two", 0.0, False)]


def test_words_tell_how_sure_it_is() -> None:
    said: list[SttEvent] = []
    words = [{"text": "Yes", "logprob": 0.0}, {"text": " ", "logprob": None}]
    ScribeEars(said.append).read(
        orjson.dumps({"message_type": TIMED, "text": "Yes", "words": words})
    )
    assert said == [SegmentHeard("Yes", 1.0, endpoint=True)]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("auth_error", "auth"),
        ("unaccepted_terms", "auth"),
        ("quota_exceeded", "quota"),
        ("rate_limited", "rate_limit"),
        ("resource_exhausted", "overloaded"),
        ("queue_overflow", "overloaded"),
        ("transcriber_error", "unavailable"),
        ("error", "unavailable"),
        ("input_error", "bad_request"),
        ("invalid_request", "bad_request"),
        ("chunk_size_exceeded", "bad_request"),
        ("session_time_limit_exceeded", "dropped"),
        ("insufficient_audio_activity", "dropped"),
    ],
)
def test_its_errors_are_told(kind: str, code: str) -> None:
    message = orjson.dumps({"message_type": kind, "error": "Something the caller said."})
    error = ScribeEars(lambda event: None).read(message)
    assert error is not None
    assert error.code == code
    assert "caller" not in str(error)


def test_every_error_that_the_sdk_knows_is_known() -> None:
    from elevenlabs.realtime.connection import RealtimeEvents

    others = {
        "open",
        "close",
        "session_started",
        "partial_transcript",
        "final_transcript",
        "final_transcript_with_timestamps",
        PLAIN,
        TIMED,
        "committed_transcript_entities",
        "redacted_transcript",
        "edited_transcript",
        "commit_throttled",
        "unaccepted_terms_error",
    }
    for kind in {event.value for event in RealtimeEvents} - others:
        message = orjson.dumps({"message_type": kind, "error": ""})
        assert ScribeEars(lambda event: None).read(message) is not None, kind


@pytest.mark.parametrize("message", [b"{", b"[]", b'{"message_type":"partial_transcript"}', b"{}"])
def test_nonsense_is_a_protocol_error(message: bytes) -> None:
    error = ScribeEars(lambda event: None).read(message)
    assert error is not None and error.code == "protocol"


def test_what_is_asked_for() -> None:
    terms = ("Zoë", "flow engine", "x" * 21)
    query = listen_query(SttRequest("scribe_v2_realtime", "de-DE", 200, terms))
    assert query == (
        "model_id=scribe_v2_realtime&audio_format=ulaw_8000&commit_strategy=vad"
        "&vad_silence_threshold_secs=0.3&language_code=de&keyterms=Zo%C3%AB&keyterms=flow+engine"
    )
    own = {"vad_threshold": 0.6, "vad_silence_threshold_secs": 1.2, "no_verbatim": True}
    query = listen_query(SttRequest("scribe_v2_realtime", "", 300, (), own))
    assert query.endswith("vad_silence_threshold_secs=1.2&vad_threshold=0.6&no_verbatim=true")
    many = listen_query(SttRequest("scribe_v2_realtime", "", 300, tuple(map(str, range(60)))))
    assert many.count("keyterms=") == 50
    for options in ({"smart_format": True}, {"commit_strategy": "often"}):
        with pytest.raises(ProviderError) as caught:
            listen_query(SttRequest("scribe_v2_realtime", "en", 300, (), options))
        assert caught.value.code == "bad_request"


@pytest.mark.parametrize("strategy", ["vad", "manual"])
def test_whole_turns_over_the_wire(strategy: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs(plan=["I would like a table.", "For two."]) as vendor:
            ears = Ears()
            options = {"commit_strategy": strategy}
            asked = SttRequest("scribe_v2_realtime", "en-US", 400, ("table",), options)
            session = await at(vendor).open(asked, ears.hear)
            for text, long_ms in (("I would like a table.", 800), ("For two.", 500)):
                for _ in range(long_ms // 20):
                    session.feed(speech(20))
                for _ in range(25):
                    session.feed(silence(20))
                await ears.until(functools.partial(has, heard(text)))
            assert InterimHeard("I would", 0.0) in ears.events
            assert ears.events.count(SpeechStarted("stt")) == 2
            usage = await session.close()
            expected = Usage("elevenlabs", asked.model, "audio_ms", 2300, estimated=True)
            assert usage == expected
            assert vendor.scribe.commits == (0 if strategy == "vad" else 2)
            assert ("language_code", "en") in vendor.scribe.queries[0]
            assert vendor.violations == []

    run(call())


def test_a_finalize_commits_now() -> None:
    async def call() -> None:
        async with FakeElevenLabs(plan=["four five six"]) as vendor:
            ears = Ears()
            session = await at(vendor).open(SCRIBE, ears.hear)
            session.hint(SttHints(digits=True))
            session.feed(speech(400))
            session.finalize()
            said = SegmentHeard("four five six", 0.0, endpoint=False)
            await ears.until(lambda events: said in events)
            await session.close()
            assert vendor.scribe.commits == 1
            assert vendor.violations == []

    run(call())


def test_a_commit_of_too_little_audio_is_no_failure() -> None:
    """Field: `commit_throttled`, under 0.3 s since the last one (elevenlabs/packages#378)."""

    async def call() -> None:
        async with FakeElevenLabs(plan=["Hello."]) as vendor:
            ears = Ears()
            session = await at(vendor).open(SCRIBE, ears.hear)
            session.finalize()
            await vendor.until(lambda: vendor.scribe.commits == 1)
            session.feed(speech(500) + silence(500))
            await ears.until(lambda events: heard("Hello.") in events)
            await session.close()

    run(call())


def test_an_unanswered_commit_ends_with_the_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_FINALIZE_S", 0.05)

    async def call() -> None:
        async with FakeElevenLabs(plan=["four five six"]) as vendor:
            vendor.scribe.ignores_commit = True
            ears = Ears()
            session = await at(vendor).open(SCRIBE, ears.hear)
            session.feed(speech(400))
            await ears.until(lambda events: InterimHeard("four", 0.0) in events)
            session.finalize()
            await ears.until(lambda events: heard("four") in events)
            await session.close()

    run(call())


@pytest.mark.parametrize("timed_first", [False, True])
def test_with_timestamps_a_turn_is_heard_once(timed_first: bool) -> None:
    async def call() -> None:
        async with FakeElevenLabs(plan=["One.", "Two."]) as vendor:
            vendor.scribe.timed_first = timed_first
            ears = Ears()
            options = {"include_timestamps": True}
            asked = SttRequest("scribe_v2_realtime", "en", 400, (), options)
            session = await at(vendor).open(asked, ears.hear)
            session.feed(speech(500) + silence(500) + speech(500) + silence(500))
            await ears.until(
                lambda events: sum(isinstance(event, SegmentHeard) for event in events) == 2
            )
            await session.close()
            texts = [event.text for event in ears.events if isinstance(event, SegmentHeard)]
            assert texts == ["One.", "Two."]

    run(call())


def test_a_line_that_stops_sending_still_ends_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field: the vendor closes a socket without audio, and finds no end without quiet."""
    monkeypatch.setattr(listening, "_LOOK_S", 0.05)
    monkeypatch.setattr(listening, "_KEEPALIVE_S", 0.1)

    async def call() -> None:
        async with FakeElevenLabs(plan=["Hello there."]) as vendor:
            ears = Ears()
            session = await at(vendor).open(SCRIBE, ears.hear)
            await vendor.until(lambda: len(vendor.scribe.audio[0]) >= 800)
            session.feed(speech(800))
            await ears.until(lambda events: heard("Hello there.") in events)
            await session.close()
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=1), "dropped"),
        (Fault("error", after=1), "unavailable"),
        (Fault("garbage", after=1), "protocol"),
    ],
)
def test_a_broken_stream_is_told_once(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs(plan=["Hello."]) as vendor:
            vendor.faults.append(fault)
            ears = Ears()
            session = await at(vendor).open(SCRIBE, ears.hear)
            session.feed(speech(800) + silence(500))
            await ears.until(lambda events: HearingFailed(code) in events)
            await session.close()
            assert ears.events.count(HearingFailed(code)) == 1

    run(call())


def test_a_session_that_is_over_is_followed_by_another() -> None:
    """`session_time_limit_exceeded` in the middle of a turn: what was said is heard again."""

    async def call() -> None:
        async with FakeElevenLabs(plan=["Hello there."]) as vendor:
            vendor.scribe.error = "session_time_limit_exceeded"
            vendor.faults.append(Fault("error", after=2))
            stt = SupervisedStt([SttChoice(at(vendor))], QUICK)
            ears = Ears()
            hearing = await stt.open(SCRIBE, ears.hear)
            hearing.feed(speech(800))
            await vendor.until(lambda: vendor.connections == 2)
            hearing.feed(silence(500))
            await ears.until(lambda events: heard("Hello there.") in events)
            assert stt.counts == {"elevenlabs.dropped": 1, "elevenlabs.recovered": 1}
            await hearing.close()

    run(call())


@pytest.mark.parametrize(
    ("status", "code"), [(401, "auth"), (403, "auth"), (429, "rate_limit"), (500, "unavailable")]
)
def test_a_refused_handshake(status: int, code: str) -> None:
    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            vendor.faults.append(Fault("refuse", status=status))
            with pytest.raises(ProviderError) as caught:
                await at(vendor).open(SCRIBE, Ears().hear)
            assert caught.value.code == code

    run(call())


def test_the_sdk_understands_the_fake() -> None:
    from elevenlabs.realtime import AudioFormat, CommitStrategy, RealtimeEvents, ScribeRealtime

    async def call() -> None:
        async with FakeElevenLabs(plan=["Good morning.", "Bye."]) as vendor:
            seen: list[tuple[str, Any]] = []
            changed = asyncio.Event()

            def note(kind: str, body: Any) -> None:
                seen.append((kind, body))
                changed.set()

            async def until(kind: str, times: int = 1) -> None:
                while sum(name == kind for name, _ in seen) < times:
                    changed.clear()
                    await changed.wait()

            client = ScribeRealtime(KEY, vendor.url)
            connection = await client.connect(
                {
                    "model_id": "scribe_v2_realtime",
                    "audio_format": AudioFormat.ULAW_8000,
                    "sample_rate": 8000,
                    "commit_strategy": CommitStrategy.VAD,
                    "vad_silence_threshold_secs": 0.4,
                    "include_timestamps": True,
                    "keyterms": ["Müller"],
                    "language_code": "en",
                }
            )
            for event in RealtimeEvents:
                connection.on(event, lambda body, kind=event.value: note(kind, body))
            audio = speech(700) + silence(500)
            await connection.send({"audio_base_64": base64.b64encode(audio).decode()})
            await until(TIMED)
            await connection.send({"audio_base_64": base64.b64encode(speech(400)).decode()})
            await connection.commit()
            await until(TIMED, 2)
            await connection.commit()
            await until("commit_throttled")
            await connection.close()
            texts = [body["text"] for kind, body in seen if kind == PLAIN]
            assert texts == ["Good morning.", "Bye."]
            assert "partial_transcript" in dict(seen)
            assert vendor.violations == []

    run(call())


def test_its_silence_is_not_taken_for_deafness() -> None:
    """It says nothing of noise; a supervisor that took that for a fault would lose the call."""

    async def call() -> None:
        async with FakeElevenLabs() as vendor:
            session = await at(vendor).open(SCRIBE, Ears().hear)
            assert not isinstance(session, Answers)
            await session.close()

    run(call())


def test_a_commit_of_words_that_were_taken_brings_the_rest_of_them() -> None:
    heard: list[SttEvent] = []
    ears = ScribeEars(heard.append)
    ears.read('{"message_type":"partial_transcript","text":"one two"}')
    ears.end_turn()
    ears.read('{"message_type":"committed_transcript","text":"one two three"}')
    assert [event.text for event in heard if isinstance(event, SegmentHeard)] == [
        "one two",
        "three",
    ]
