"""OpenAI's live transcription: its events, its session over loopback, its fake and OpenAI's SDK."""

from __future__ import annotations

import base64
from typing import Any, get_args

import openai
import orjson
import pytest
from openai.types.realtime import RealtimeServerEvent, SessionUpdateEvent
from pydantic import TypeAdapter

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    HearingFailed,
    InterimHeard,
    Json,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.ports import SttEvent, SttHints, SttRequest, SttSession
from flowengine.providers import openai_live_transcription
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.openai_live_items import Commit, LiveEars
from flowengine.providers.openai_live_transcription import session_update
from flowengine.providers.openai_transcription import OpenAiStt
from flowengine.providers.supervision import SttChoice, SupervisedStt
from flowengine.testing.providers.openai_realtime_transcription import FakeOpenAiLive
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import Ears, kept, run

pytestmark = pytest.mark.unit

QUICK = Deadlines(replay_speed=20.0)
STARTED, STOPPED = SpeechStarted("stt"), SpeechStopped("stt")
LIVE = SttRequest("gpt-live-transcribe", "en-US", 300)
TURNS = SttRequest("gpt-4o-transcribe", "en-US", 300, options={"live": True})
each = pytest.mark.parametrize("request_", [LIVE, TURNS], ids=["own gate", "server_vad"])
_SERVER: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def stt_at(url: str, key: str = KEY) -> OpenAiStt:
    return kept(OpenAiStt(key, url))


def transcription(what: str, item: str, **more: Json) -> dict[str, Json]:
    kind = f"conversation.item.input_audio_transcription.{what}"
    return {"type": kind, "item_id": item, "content_index": 0, **more}


def completed(item: str, text: str) -> dict[str, Json]:
    usage = {"type": "tokens", "input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    return transcription("completed", item, transcript=text, usage=usage)


def buffer(what: str, item: str, **more: Json) -> dict[str, Json]:
    return {"type": f"input_audio_buffer.{what}", "item_id": item, **more}


def ears_of(heard: list[SttEvent]) -> LiveEars:
    return LiveEars(heard.append, "openai", "some-model")


def read(*messages: dict[str, Json]) -> list[SttEvent]:
    heard: list[SttEvent] = []
    ears = ears_of(heard)
    for message in messages:
        assert ears.read(orjson.dumps(message)) is None
    return heard


def test_words_are_told_in_the_order_of_their_items() -> None:
    """The transcript of the second comes first; the order is that of the commits."""
    heard = read(
        buffer("committed", "a", previous_item_id=None),
        transcription("delta", "b", delta="Second"),
        buffer("committed", "b", previous_item_id="a"),
        completed("b", "Second one."),
        transcription("delta", "a", delta="First"),
        completed("a", "First one."),
        transcription("delta", "a", delta="late"),
    )
    assert heard == [
        InterimHeard("First"),
        SegmentHeard("First one.", endpoint=True),
        SegmentHeard("Second one.", endpoint=True),
    ]


def test_an_item_without_a_commit_seen_and_one_out_of_place() -> None:
    heard = read(
        transcription("delta", "b", delta="B"),
        buffer("committed", "b", previous_item_id="a"),
        buffer("committed", "a", previous_item_id=None),
        completed("b", "B."),
        completed("a", ""),
        completed("c", "C."),
    )
    assert heard == [
        InterimHeard("B"),
        EndpointReached(),
        SegmentHeard("B.", endpoint=True),
        SegmentHeard("C.", endpoint=True),
    ]


def test_an_empty_end_keeps_the_words_before_it() -> None:
    heard = read(transcription("delta", "a", delta="Hi "), completed("a", ""))
    assert heard == [InterimHeard("Hi"), SegmentHeard("Hi", endpoint=True)]


def test_a_commit_of_nothing_ends_a_turn_without_words() -> None:
    heard: list[SttEvent] = []
    ears = ears_of(heard)
    ears.committed(Commit("commit_1", endpoint=True, end_ms=100))
    error = {"type": "invalid_request_error", "code": None, "event_id": "commit_1"}
    assert ears.read(orjson.dumps({"type": "error", "error": error})) is None
    assert heard == [EndpointReached()]
    assert not ears.owes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "invalid_request_error", "code": "model_not_found"}, "bad_request"),
        ({"type": "server_error", "code": None}, "unavailable"),
        ({"type": "tokens", "code": "rate_limit_exceeded"}, "rate_limit"),
        ({"type": "insufficient_quota", "code": "insufficient_quota"}, "quota"),
    ],
)
@pytest.mark.parametrize("kind", ["error", transcription("failed", "a")["type"]])
def test_errors_are_typed(error: dict[str, Json], code: str, kind: str) -> None:
    ears = ears_of([])
    failure = ears.read(orjson.dumps({"type": kind, "item_id": "a", "error": error}))
    assert failure is not None
    assert failure.code == code
    assert failure.where == "openai"


@pytest.mark.parametrize("message", [b"[]", b"{", b'{"type":"error"}', b'{"item_id":"a"}'])
def test_what_cannot_be_read_is_an_error(message: bytes) -> None:
    failure = ears_of([]).read(message)
    assert failure is not None
    assert failure.code == "protocol"


@pytest.mark.parametrize(
    "request_",
    [
        SttRequest(
            "gpt-live-transcribe", "de-DE", 300, ("Müller",), {"noise_reduction": "near_field"}
        ),
        SttRequest("gpt-realtime-whisper", "pl", 300, ("Kraków",), {"delay": "low"}),
        SttRequest("whisper-1", "multi", 700, ("a", "b"), {"live": True, "threshold": 0.4}),
    ],
    ids=lambda request: request.model,
)
def test_what_is_asked_for_is_what_the_sdk_knows(request_: SttRequest) -> None:
    body = orjson.loads(session_update(request_, patient=False))
    event = SessionUpdateEvent.model_validate(body, strict=True)
    assert event.session.type == "transcription"
    asked = body["session"]["audio"]["input"]
    told = event.session.model_dump(exclude_unset=True)["audio"]["input"]
    assert told == asked
    assert asked["format"] == {"type": "audio/pcmu"}
    if request_.model.startswith("whisper"):
        assert asked["turn_detection"]["silence_duration_ms"] == 700
        assert asked["transcription"] == {"model": "whisper-1", "prompt": "a, b"}
        patient = orjson.loads(session_update(request_, patient=True))
        detection = patient["session"]["audio"]["input"]["turn_detection"]
        assert detection["silence_duration_ms"] == 1000
    else:
        assert asked["turn_detection"] is None
        assert "prompt" not in asked["transcription"]


async def opened(vendor: FakeOpenAiLive, request: SttRequest, ears: Ears) -> SttSession:
    return await stt_at(vendor.url).open(request, ears.hear)


def segments(ears: Ears) -> list[str]:
    return [event.text for event in ears.events if isinstance(event, SegmentHeard)]


@each
def test_a_conversation(request_: SttRequest) -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["Hello there.", "", "I want pizza."]) as vendor:
            ears = Ears()
            session = await opened(vendor, request_, ears)
            session.feed(silence(400) + speech(1000) + silence(300))
            final = SegmentHeard("Hello there.", endpoint=True)
            await ears.until(lambda events: final in events and STOPPED in events)
            assert ears.events[0] == STARTED
            assert InterimHeard("Hello") in ears.events
            session.feed(silence(300) + speech(500) + silence(300))
            await ears.until(lambda events: EndpointReached() in events)
            session.feed(silence(300) + speech(1000) + silence(300))
            await ears.until(lambda events: segments(ears) == ["Hello there.", "I want pizza."])
            usage = await session.close()
            assert usage is not None
            assert not usage.estimated
            if request_ is LIVE:
                # Of each utterance: what lies before it, and a pause.
                sent_ms = 3 * (300 + 200) + 1000 + 500 + 1000
                assert abs(usage.amount_in - sent_ms) <= 3 * 120
                assert usage.unit == "audio_ms"
                assert vendor.received == usage.amount_in * 8
            else:
                assert usage.unit == "tokens"
                assert vendor.received == 8 * (1700 + 1100 + 1600)
            assert vendor.connections == 1
            assert vendor.violations == []
            for message in vendor.messages:
                assert isinstance(
                    _SERVER.validate_python(message), get_args(get_args(RealtimeServerEvent)[0])
                )

    run(call())


@each
def test_words_can_be_asked_for_at_once(request_: SttRequest) -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["One two."]) as vendor:
            ears = Ears()
            session = await opened(vendor, request_, ears)
            session.finalize()
            assert ears.events == [EndpointReached()]
            session.feed(speech(700))
            await ears.until(lambda events: STARTED in events)
            session.finalize()
            await ears.until(lambda events: segments(ears) == ["One two."])
            assert vendor.commands.count("input_audio_buffer.commit") == 1
            await session.close()
            assert vendor.violations == []

    run(call())


@each
def test_a_finalize_without_an_answer_ends_the_turn(
    request_: SttRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_live_transcription, "_FINALIZE_S", 0.05)

    async def call() -> None:
        async with FakeOpenAiLive(["One two."]) as vendor:
            vendor.faults.append(Fault("stall", after=3))
            ears = Ears()
            session = await opened(vendor, request_, ears)
            session.feed(speech(260))
            await vendor.until(lambda: len(vendor.messages) == 3)
            await ears.until(lambda events: STARTED in events)
            session.finalize()
            await ears.until(
                lambda events: EndpointReached() in events or segments(ears) == ["One"]
            )
            await session.close()

    run(call())


def test_a_click_is_taken_back() -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["Never."]) as vendor:
            ears = Ears()
            session = await opened(vendor, LIVE, ears)
            session.feed(silence(300) + speech(80))
            session.feed(silence(400))
            assert ears.events == [STARTED, STOPPED, EndpointReached()]
            await vendor.until(lambda: "input_audio_buffer.clear" in vendor.commands)
            assert "input_audio_buffer.commit" not in vendor.commands
            await session.close()

    run(call())


def test_crossing_transcripts_come_in_order() -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["First.", "Second."]) as vendor:
            vendor.crosses = True
            ears = Ears()
            session = await opened(vendor, TURNS, ears)
            session.feed((speech(600) + silence(400)) * 2)
            await ears.until(lambda events: segments(ears) == ["First.", "Second."])
            await session.close()

    run(call())


def test_digits_are_waited_for() -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["One two three."]) as vendor:
            ears = Ears()
            session = await opened(vendor, TURNS, ears)
            session.hint(SttHints(digits=True))
            await vendor.until(lambda: len(vendor.sessions) == 2)
            session.feed(speech(600) + silence(800) + speech(600) + silence(1000))
            await ears.until(lambda events: segments(ears) == ["One two three."])
            session.hint(SttHints())
            await vendor.until(lambda: vendor.sessions[-1] == vendor.sessions[0])
            assert vendor.sessions[1] != vendor.sessions[0]
            assert vendor.violations == []
            await session.close()

    run(call())


@each
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=3), "dropped"),
        (Fault("error", after=3), "unavailable"),
        (Fault("garbage", after=3), "protocol"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_stream_is_told_once(request_: SttRequest, fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["Hello there."]) as vendor:
            vendor.faults.append(fault)
            ears = Ears()
            session = await opened(vendor, request_, ears)
            session.feed(speech(1000) + silence(400))
            await ears.until(lambda events: HearingFailed(code) in events)
            session.feed(speech(1000))
            session.finalize()
            await session.close()
            assert ears.events.count(HearingFailed(code)) == 1

    run(call())


@each
@pytest.mark.parametrize("after", [2, 3], ids=["never a word", "in the middle"])
def test_a_socket_that_lives_and_says_nothing_more_has_stalled(
    request_: SttRequest, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field: events stop, the socket lives, the agent is mute for ever."""
    monkeypatch.setattr(openai_live_transcription, "ANSWER_S", 0.05)
    monkeypatch.setattr(openai_live_transcription, "_LOOK_S", 0.02)

    async def call() -> None:
        async with FakeOpenAiLive(["Hello there."]) as vendor:
            vendor.faults.append(Fault("stall", after=after))
            ears = Ears()
            session = await opened(vendor, request_, ears)
            session.feed(silence(400))
            for _ in range(20):
                session.feed(speech(50))
            session.feed(silence(400))
            await ears.until(lambda events: HearingFailed("stalled") in events)
            await session.close()

    run(call())


def test_noise_that_the_vendor_takes_for_none_breaks_nothing() -> None:
    """Our gate takes it for speech; asked, the vendor shows that it lives."""

    async def call() -> None:
        async with FakeOpenAiLive() as vendor:
            ears = Ears()
            session = await opened(vendor, TURNS, ears)
            quiet_noise = bytes([0xE4, 0x64]) * 4 * 800
            session.feed(silence(400) + quiet_noise + silence(400))
            await vendor.until(lambda: len(vendor.sessions) == 2)
            session.feed(speech(300) + silence(400))
            await ears.until(lambda events: EndpointReached() in events)
            assert not any(isinstance(event, HearingFailed) for event in ears.events)
            await session.close()

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("refuse", status=401), "auth"),
        (Fault("refuse", status=503), "overloaded"),
        (Fault("cut", after=1), "dropped"),
        (Fault("error", after=1), "unavailable"),
        (Fault("garbage", after=1), "protocol"),
    ],
)
def test_a_session_that_is_not_taken_raises(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeOpenAiLive() as vendor:
            vendor.faults.append(fault)
            with pytest.raises(ProviderError) as caught:
                await opened(vendor, LIVE, Ears())
            assert (caught.value.code, caught.value.where) == (code, "openai")

    run(call())


@each
@pytest.mark.parametrize("kind", ["cut", "error", "failed"])
def test_under_supervision_the_words_are_heard_all_the_same(
    request_: SttRequest, kind: str
) -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["Hello there."] * 2) as vendor:
            if kind == "failed":
                vendor.fails = 1
            elif kind == "cut":
                vendor.faults.append(Fault("cut", after=3))
            else:
                vendor.faults.append(Fault("error", after=3))
            stt = SupervisedStt([SttChoice(stt_at(vendor.url))], QUICK)
            ears = Ears()
            hearing = await stt.open(request_, ears.hear)
            hearing.feed(silence(400) + speech(1000) + silence(400))
            await ears.until(lambda events: segments(ears) == ["Hello there."])
            assert vendor.connections == 2
            assert stt.counts["openai.recovered"] == 1
            await hearing.close()
            assert vendor.violations == []

    run(call())


def test_openais_sdk_understands_the_fake() -> None:
    async def call() -> None:
        async with FakeOpenAiLive(["Hello there."]) as vendor:
            client = openai.AsyncOpenAI(api_key=KEY, base_url=vendor.url, max_retries=0)
            kinds: list[str] = []
            audio = base64.b64encode(speech(700) + silence(600)).decode()
            async with client.realtime.connect(extra_query={"intent": "transcription"}) as socket:
                await socket.session.update(
                    session={
                        "type": "transcription",
                        "audio": {
                            "input": {
                                "format": {"type": "audio/pcmu"},
                                "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
                                "turn_detection": {"type": "server_vad"},
                            }
                        },
                    }
                )
                await socket.input_audio_buffer.append(audio=audio)
                async for event in socket:
                    kinds.append(event.type)
                    if event.type == "conversation.item.input_audio_transcription.completed":
                        assert event.transcript == "Hello there."
                        assert event.usage.type == "tokens"
                        break
            assert kinds == [
                "session.created",
                "session.updated",
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                *["conversation.item.input_audio_transcription.delta"] * 2,
                "conversation.item.input_audio_transcription.completed",
            ]
            assert vendor.violations == []
            await client.close()

    run(call())


def test_usage_is_an_estimate_when_the_vendor_told_none() -> None:
    async def call() -> None:
        async with FakeOpenAiLive() as vendor:
            session = await opened(vendor, TURNS, Ears())
            session.feed(silence(1000))
            await vendor.until(lambda: vendor.received == 8000)
            usage = Usage("openai", "gpt-4o-transcribe", "audio_ms", 1000, estimated=True)
            assert await session.close() == usage

    run(call())
