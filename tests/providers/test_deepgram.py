"""Deepgram's adapter over a real loopback socket against the fake, and its reader alone."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    HearingFailed,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.ports import SttEvent, SttHints, SttRequest
from flowengine.providers import listening
from flowengine.providers.deepgram import DeepgramStt
from flowengine.providers.deepgram_nova import DeepgramEars, listen_query, wire_of
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import STT, Ears, run

pytestmark = pytest.mark.unit


def results(
    text: str, *, final: bool = True, end: bool = False, asked: bool = False, at: float = 0.0
) -> bytes:
    body: dict[str, Json] = {
        "type": "Results",
        "start": at,
        "duration": 1.0,
        "is_final": final,
        "speech_final": end,
        "from_finalize": asked,
        "channel": {"alternatives": [{"transcript": text, "confidence": 0.5, "words": []}]},
    }
    return orjson.dumps(body)


STARTED = b'{"type":"SpeechStarted","channel":[0,1],"timestamp":0.1}'
UTTERANCE_END = b'{"type":"UtteranceEnd","channel":[0,1],"last_word_end":1.2}'


def read(*messages: bytes, patient: bool = False) -> list[SttEvent]:
    heard: list[SttEvent] = []
    ears = DeepgramEars(heard.append)
    ears.patient = patient
    for message in messages:
        assert ears.read(message) is None
    return heard


def test_what_is_billed_on_top_is_told() -> None:
    asked = SttRequest("nova-3", "en-US", 300, ("Zaandam",), {"redact": ["pci"], "diarize": False})
    assert wire_of(asked).add_ons == ("keyterm", "redact")
    assert wire_of(SttRequest("nova-3", "en-US", 300)).add_ons == ()


def test_a_turn_of_interim_final_and_end() -> None:
    assert read(STARTED, results("hello", final=False), results("hello there", end=True)) == [
        SpeechStarted("stt"),
        InterimHeard("hello", 0.5),
        SpeechStopped("stt"),
        SegmentHeard("hello there", 0.5, endpoint=True),
    ]


def test_speech_started_is_told_once_a_turn() -> None:
    heard = read(STARTED, STARTED, results("one"), STARTED, results("two", end=True), STARTED)
    assert heard.count(SpeechStarted("stt")) == 2
    assert heard[-1] == SpeechStarted("stt")


def test_noise_without_words_lets_speech_start_again() -> None:
    assert read(STARTED, results(""), STARTED) == [
        SpeechStarted("stt"),
        SpeechStopped("stt"),
        SpeechStarted("stt"),
    ]


def test_an_empty_final_keeps_the_words_of_the_interim() -> None:
    heard = read(results("my number is", final=False), results("", end=True))
    assert heard[-1] == SegmentHeard("my number is", 0.5, endpoint=True)


def test_utterance_end_ends_a_turn_without_speech_final() -> None:
    heard = read(STARTED, results("well"), UTTERANCE_END)
    assert heard[-2:] == [SpeechStopped("stt"), EndpointReached()]


def test_utterance_end_makes_a_lone_interim_final() -> None:
    heard = read(results("well", final=False), UTTERANCE_END)
    assert heard[-1] == SegmentHeard("well", 0.5, endpoint=True)


def test_utterance_end_after_speech_final_says_nothing_new() -> None:
    assert read(results("yes", end=True), UTTERANCE_END) == read(results("yes", end=True))


def test_digits_are_ended_by_utterance_end_alone() -> None:
    heard = read(results("one two", end=True), UTTERANCE_END, patient=True)
    assert SegmentHeard("one two", 0.5, endpoint=False) in heard
    assert heard[-1] == EndpointReached()


@pytest.mark.parametrize(
    "message",
    [b"{", b"[]", b'{"type":"Results"}', b'{"type":"Results","channel":{"alternatives":[]}}'],
)
def test_nonsense_is_a_protocol_error(message: bytes) -> None:
    error = DeepgramEars(lambda event: None).read(message)
    assert error is not None
    assert error.code == "protocol"


def test_an_unknown_message_is_skipped() -> None:
    assert read(b'{"type":"ConfigureSuccess"}') == []


def test_the_query_holds_options_and_bounds_key_terms() -> None:
    terms = tuple(f"Müller & Söhne {number}" for number in range(200))
    query = listen_query(SttRequest("nova-3", "de", 300, terms, {"numerals": False}))
    assert "utterance_end_ms=1000" in query
    assert "numerals=false" in query
    assert "keyterm=M%C3%BCller+%26+S%C3%B6hne+0" in query
    assert 10 < query.count("keyterm=") < 100


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ProviderError, match="bad_request"):
        listen_query(SttRequest("nova-3", "en", 300, (), {"diarise": True}))


def test_a_call_over_the_wire() -> None:
    async def call() -> None:
        async with FakeDeepgram(["I need an appointment.", "Tomorrow."]) as vendor:
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            for piece in (speech(900), silence(400), speech(300), silence(400)):
                for at in range(0, len(piece), 160):
                    session.feed(piece[at : at + 160])
            await ears.until(lambda events: SegmentHeard("Tomorrow.", 0.98, True) in events)
            usage = await session.close()
            assert SegmentHeard("I need an appointment.", 0.98, True) in ears.events
            assert InterimHeard("I", 0.98) in ears.events
            assert usage is not None
            assert (usage.amount_in, usage.estimated) == (2000, False)
            assert bytes(vendor.audio[0]) == speech(900) + silence(400) + speech(300) + silence(400)
            assert vendor.commands[-1] == "CloseStream"
            assert vendor.violations == []

    run(call())


def test_audio_goes_out_in_batches() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            session = await DeepgramStt(KEY, vendor.url).open(STT, Ears().hear)
            session.feed(silence(20))
            await asyncio.sleep(0)
            assert session.settled_bytes == 0
            session.feed(silence(20))
            await vendor.until(lambda: bool(vendor.audio) and len(vendor.audio[0]) == 320)
            await session.close()

    run(call())


def test_finalize_brings_the_words_now() -> None:
    async def call() -> None:
        async with FakeDeepgram(["four five six"]) as vendor:
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            session.hint(SttHints(digits=True))
            session.feed(speech(400))
            session.finalize()
            await ears.until(lambda events: SegmentHeard("four five six", 0.98, True) in events)
            await session.close()
            assert vendor.commands == ["Finalize", "CloseStream"]

    run(call())


def test_an_unanswered_finalize_ends_with_the_interim() -> None:
    async def call() -> None:
        async with FakeDeepgram(["four five six"]) as vendor:
            vendor.ignores_finalize = True
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            session.feed(speech(400))
            await ears.until(lambda events: InterimHeard("four", 0.98) in events)
            session.finalize()
            await ears.until(lambda events: SegmentHeard("four", 0.98, True) in events)
            await session.close()

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut"), "dropped"),
        (Fault("garbage"), "protocol"),
        (Fault("error"), "unavailable"),
    ],
)
def test_a_broken_stream_is_told_once(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeDeepgram(["hello"]) as vendor:
            vendor.faults.append(fault)
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)
            session.feed(speech(400) + silence(400))
            await ears.until(lambda events: HearingFailed(code) in events)
            session.feed(speech(400))
            usage = await session.close()
            assert usage is not None
            assert usage.estimated
            assert sum(isinstance(event, HearingFailed) for event in ears.events) == 1

    run(call())


@pytest.mark.parametrize(
    ("status", "code"), [(401, "auth"), (429, "rate_limit"), (500, "unavailable")]
)
def test_a_refused_handshake(status: int, code: str) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.faults.append(Fault("refuse", status=status))
            with pytest.raises(ProviderError) as caught:
                await DeepgramStt(KEY, vendor.url).open(STT, Ears().hear)
            assert caught.value.code == code

    run(call())


def test_nobody_listens() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            url = vendor.url
        with pytest.raises(ProviderError) as caught:
            await DeepgramStt(KEY, url).open(STT, Ears().hear)
        assert caught.value.code == "connect"

    run(call())


def test_a_quiet_line_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_LOOK_S", 0.01)
    monkeypatch.setattr(listening, "_KEEPALIVE_S", 0.02)

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            session = await DeepgramStt(KEY, vendor.url).open(STT, Ears().hear)
            await vendor.until(lambda: vendor.commands[:2] == ["KeepAlive", "KeepAlive"])
            await session.close()
            assert vendor.violations == []

    run(call())


def test_a_vendor_that_takes_no_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_LOOK_S", 0.05)
    monkeypatch.setattr(listening, "SEND_S", 0.1)

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.faults.append(Fault("dead"))
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(STT, ears.hear)

            async def talk() -> None:
                while not ears.events:
                    session.feed(silence(10_000))
                    try:
                        async with asyncio.timeout(0.001):
                            await ears.until(bool)
                    except TimeoutError:
                        continue

            await talk()
            assert ears.events == [HearingFailed("stalled")]
            await session.close()

    run(call())
