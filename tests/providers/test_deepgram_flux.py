"""Deepgram's Flux: turns that it foresees, takes back and ends, and its failures in the field."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointForeseen,
    EndpointRevoked,
    HearingFailed,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.ports import SttEvent, SttHints, SttRequest
from flowengine.providers import deepgram_flux, listening
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.deepgram import DeepgramStt
from flowengine.providers.deepgram_flux import FluxEars, listen_query, wire_of
from flowengine.providers.supervision import SttChoice, SupervisedStt
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import Ears, run

pytestmark = pytest.mark.unit

FLUX = SttRequest("flux-general-en", "en-US", 300)


def info(event: str, text: str, turn: int = 0, **more: Any) -> dict[str, Any]:
    words = [{"word": word, "confidence": 0.9} for word in text.split()]
    return {
        "type": "TurnInfo",
        "event": event,
        "turn_index": turn,
        "audio_window_start": 0.0,
        "audio_window_end": 1.5,
        "transcript": text,
        "words": words,
        "end_of_turn_confidence": 0.6,
        **more,
    }


def read(*messages: dict[str, Any], patient: bool = False) -> list[SttEvent]:
    """What a reader says to these messages, numbered as the vendor does."""
    heard: list[SttEvent] = []
    ears = FluxEars(heard.append)
    ears.patient = patient
    for number, message in enumerate(messages):
        assert ears.read(orjson.dumps({"sequence_id": number, **message})) is None
    return heard


def test_a_turn_begins_is_foreseen_taken_back_and_ends() -> None:
    assert read(
        {"type": "Connected", "request_id": "r"},
        info("Update", ""),
        info("StartOfTurn", "I"),
        info("Update", "I want"),
        info("EagerEndOfTurn", "I want"),
        info("TurnResumed", "I want"),
        info("Update", "I want pizza"),
        info("EagerEndOfTurn", "I want pizza"),
        info("EndOfTurn", "I want pizza."),
    ) == [
        SpeechStarted("stt"),
        InterimHeard("I", 0.9),
        InterimHeard("I want", 0.9),
        EndpointForeseen("I want", 0.6),
        EndpointRevoked(),
        InterimHeard("I want pizza", 0.9),
        EndpointForeseen("I want pizza", 0.6),
        SpeechStopped("stt"),
        SegmentHeard("I want pizza.", 0.9, endpoint=True),
    ]


def test_a_turn_may_be_opened_by_an_update() -> None:
    """Field: no `StartOfTurn` at all (bolna#758)."""
    heard = read(info("Update", "Hello"), info("EndOfTurn", "Hello"))
    assert heard[0] == SpeechStarted("stt")
    assert heard[-1] == SegmentHeard("Hello", 0.9, endpoint=True)


def test_the_end_of_a_turn_that_is_over_is_ignored() -> None:
    """Field: a stale `EndOfTurn` after a pause (vellum#40224)."""
    heard = read(
        info("StartOfTurn", "One"),
        info("EndOfTurn", "One"),
        info("EndOfTurn", "One"),
        info("StartOfTurn", "Two", 1),
        info("EndOfTurn", "One"),
        info("EndOfTurn", "Two", 1),
    )
    said = [event.text for event in heard if isinstance(event, SegmentHeard)]
    assert said == ["One", "Two"]


def test_a_turn_whose_end_got_lost_ends_when_the_next_begins() -> None:
    heard = read(info("StartOfTurn", "One"), info("StartOfTurn", "Two", 1))
    assert SegmentHeard("One", 0.9, endpoint=True) in heard
    assert heard[-1] == InterimHeard("Two", 0.9)


def test_an_empty_end_keeps_the_words_before_it() -> None:
    assert read(info("Update", "Hi"), info("EndOfTurn", ""))[-1].text == "Hi"  # type: ignore[union-attr]


def test_messages_out_of_order_are_dropped() -> None:
    heard = read(
        info("Update", "One two", sequence_id=5),
        info("Update", "One", sequence_id=4),
        info("EndOfTurn", "One two", sequence_id=6),
    )
    assert [event for event in heard if isinstance(event, InterimHeard)] == [
        InterimHeard("One two", 0.9)
    ]


def test_while_digits_are_expected_a_pause_ends_no_turn() -> None:
    heard = read(info("Update", "four two"), info("EndOfTurn", "four two"), patient=True)
    assert heard[-1] == SegmentHeard("four two", 0.9, endpoint=False)


def test_its_errors_are_told_and_nonsense_is_an_error() -> None:
    ears = FluxEars(lambda event: None)
    told = ears.read(b'{"type":"Error","sequence_id":1,"code":"RATE_LIMIT_EXCEEDED"}')
    assert told is not None and told.code == "rate_limit"
    for message in (b"{", b"[]", b'{"type":"TurnInfo"}', b'{"type":"TurnInfo","event":3}'):
        nonsense = ears.read(message)
        assert nonsense is not None and nonsense.code == "protocol"


_EVENTS = st.sampled_from(["Update", "StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EndOfTurn"])
_INFOS = st.builds(
    info, _EVENTS, st.sampled_from(["", "a", "a b", "a b c"]), st.integers(0, 3)
) | st.just({"type": "Warning", "code": "X", "description": ""})


@given(st.lists(_INFOS, max_size=40))
def test_whatever_comes_what_is_foreseen_is_ended_or_revoked(
    messages: list[dict[str, Any]],
) -> None:
    foreseen = speaking = False
    for event in read(*messages):
        match event:
            case EndpointForeseen(text):
                assert text and speaking
                foreseen = True
            case EndpointRevoked():
                assert foreseen
                foreseen = False
            case InterimHeard(text):
                assert text and not foreseen
            case SpeechStarted():
                assert not speaking
                speaking = True
            case SpeechStopped():
                assert speaking
                speaking = foreseen = False
            case SegmentHeard(text):
                assert text


def test_what_is_asked_for() -> None:
    query = listen_query(SttRequest("flux-general-multi", "nl-NL", 300, ("Zoë", "flow engine")))
    assert query == (
        "model=flux-general-multi&encoding=mulaw&sample_rate=8000&eager_eot_threshold=0.5"
        "&eot_timeout_ms=2500&language_hint=nl&keyterm=Zo%C3%AB&keyterm=flow+engine"
    )
    own = listen_query(SttRequest("flux-general-en", "en", 300, (), {"eot_threshold": 0.8}))
    assert own.endswith("&eot_threshold=0.8")
    with pytest.raises(ProviderError) as caught:
        listen_query(SttRequest("flux-general-en", "en", 300, (), {"endpointing": 10}))
    assert caught.value.code == "bad_request"


def test_a_whole_turn_over_the_wire() -> None:
    async def call() -> None:
        async with FakeDeepgram(["I would like a table.", "For two."]) as vendor:
            vendor.flux.foresees.append("I would like")
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            session.hint(SttHints())
            session.feed(speech(500) + silence(200) + speech(800) + silence(400))
            end = SegmentHeard("I would like a table.", 0.96, endpoint=True)
            await ears.until(lambda events: end in events)
            assert [event.text for event in ears.events if isinstance(event, EndpointForeseen)] == [
                "I would like",
                "I would like a table.",
            ]
            assert EndpointRevoked() in ears.events
            session.feed(speech(700))
            await ears.until(lambda events: isinstance(events[-1], InterimHeard))
            session.finalize()
            await ears.until(lambda events: events[-1] == SegmentHeard("For two.", 0.96, True))
            assert vendor.commands == ["ForceEndTurn"]
            usage = await session.close()
            assert usage is not None
            assert (usage.unit, usage.amount_in) == ("audio_ms", 2600)
            assert vendor.violations == []

    run(call())


def test_to_force_an_end_of_nothing_harms_nothing() -> None:
    """Field: `FORCE_END_TURN_NO_ACTIVE_TURN` (livekit#7389)."""

    async def call() -> None:
        async with FakeDeepgram(["Hello."]) as vendor:
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            session.finalize()
            await vendor.until(lambda: vendor.commands == ["ForceEndTurn"])
            session.feed(speech(500) + silence(400))
            await ears.until(lambda events: SegmentHeard("Hello.", 0.96, True) in events)
            await session.close()

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=2), "dropped"),
        (Fault("error", after=1), "unavailable"),
        (Fault("garbage", after=1), "protocol"),
    ],
)
def test_a_broken_stream_is_told_once(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeDeepgram(["Hello."]) as vendor:
            vendor.faults.append(fault)
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            session.feed(speech(1000) + silence(400))
            await ears.until(lambda events: HearingFailed(code) in events)
            await session.close()
            assert ears.events.count(HearingFailed(code)) == 1

    run(call())


def test_a_socket_that_lives_and_sends_nothing_more_is_replaced() -> None:
    """Field: the agent is mute for ever (bolna#758, pipecat#5735)."""

    async def call() -> None:
        async with FakeDeepgram(["Hello there."]) as vendor:
            vendor.faults.append(Fault("stall", after=3))
            quick = Deadlines(stt_answer_ms=200, stt_answer_again_ms=2000, replay_speed=20.0)
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], quick)
            ears = Ears()
            hearing = await stt.open(FLUX, ears.hear)
            hearing.feed(speech(900))
            await ears.until(lambda events: InterimHeard("Hello there.", 0.96) in events)
            hearing.feed(silence(400))
            await ears.until(lambda events: SegmentHeard("Hello there.", 0.96, True) in events)
            assert vendor.connections == 2
            await hearing.close()

    run(call())


@pytest.mark.parametrize("refuses", [False, True])
def test_while_digits_are_expected_it_must_be_surer_of_an_end(refuses: bool) -> None:
    async def call() -> None:
        async with FakeDeepgram(["four two seven nine.", "Yes."]) as vendor:
            vendor.flux.refuses_configure = refuses
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            for hints in (SttHints(digits=True), SttHints(digits=True)):
                session.hint(hints)
            await vendor.until(lambda: vendor.commands == ["Configure"])
            session.feed(speech(600) + silence(400))
            if not refuses:
                await ears.until(bool)
                assert not any(isinstance(event, SegmentHeard) for event in ears.events)
                session.feed(speech(600) + silence(1000))
            said = SegmentHeard("four two seven nine.", 0.96, endpoint=False)
            await ears.until(lambda events: said in events)
            session.hint(SttHints())
            await vendor.until(lambda: vendor.commands == ["Configure", "Configure"])
            session.feed(speech(600) + silence(400))
            await ears.until(lambda events: SegmentHeard("Yes.", 0.96, True) in events)
            await session.close()
            assert vendor.violations == []

    run(call())


def test_how_sure_it_must_be_is_the_flows_own_again_after_the_digits() -> None:
    wire = wire_of(SttRequest("flux-general-en", "en", 300, (), {"eot_threshold": 0.95}))
    assert wire.patient == wire.impatient
    assert orjson.loads(wire.impatient)["thresholds"] == {"eot_threshold": 0.95}
    wire = wire_of(FLUX)
    assert orjson.loads(wire.patient)["thresholds"] == {"eot_threshold": 0.9}
    assert orjson.loads(wire.impatient)["thresholds"] == {"eot_threshold": 0.7}


def test_a_line_that_stops_sending_still_ends_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flux finds the end in audio; a carrier that suppresses silence sends none."""
    monkeypatch.setattr(listening, "_LOOK_S", 0.05)

    async def call() -> None:
        async with FakeDeepgram(["Hello there."]) as vendor:
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            session.feed(speech(800))
            end = SegmentHeard("Hello there.", 0.96, endpoint=True)
            await ears.until(lambda events: end in events)
            assert session.settled_bytes == len(speech(800))
            usage = await session.close()
            assert usage is not None
            assert 1100 <= usage.amount_in < 4000

    run(call())


def test_an_idle_line_is_kept_open_by_a_little_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_LOOK_S", 0.01)
    monkeypatch.setattr(listening, "_KEEPALIVE_S", 0.02)

    async def call() -> None:
        async with FakeDeepgram(["Hello there."]) as vendor:
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            await vendor.until(lambda: len(vendor.audio[0]) >= 1600)
            assert set(vendor.audio[0]) == {0xFF}
            assert ears.events == []
            monkeypatch.undo()
            session.feed(speech(800) + silence(400))
            await ears.until(lambda events: SegmentHeard("Hello there.", 0.96, True) in events)
            assert session.settled_bytes <= len(speech(1200))
            await session.close()
            assert vendor.commands == ["CloseStream"]

    run(call())


def test_a_mute_socket_is_found_out_though_nobody_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field: it is open and takes audio, and no event comes any more (bolna#758)."""
    monkeypatch.setattr(listening, "_LOOK_S", 0.02)
    monkeypatch.setattr(deepgram_flux, "ANSWERS_MS", 60)

    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.faults.append(Fault("stall", after=1))
            ears = Ears()
            session = await DeepgramStt(KEY, vendor.url).open(FLUX, ears.hear)
            session.feed(silence(1000))
            await ears.until(lambda events: HearingFailed("stalled") in events)
            await session.close()

    run(call())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_deepgrams_sdk_understands_the_fake() -> None:
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment
    from deepgram.listen.v2.types import ListenV2Connected, ListenV2TurnInfo

    async def call() -> None:
        async with FakeDeepgram(["Hello there."]) as vendor:
            ws = vendor.url.replace("http", "ws")
            environment = DeepgramClientEnvironment(
                base=vendor.url, production=ws, agent=ws, agent_rest=vendor.url
            )
            client = AsyncDeepgramClient(api_key=KEY, environment=environment)
            seen: list[Any] = []
            async with client.listen.v2.connect(
                model="flux-general-en",
                encoding="mulaw",
                sample_rate=8000,
                eager_eot_threshold=0.5,
                keyterm=["Müller"],
            ) as socket:
                await socket.send_media(speech(700) + silence(600))
                async for message in socket:
                    seen.append(message)
                    if getattr(message, "event", "") == "EndOfTurn":
                        await socket.send_close_stream()
            assert isinstance(seen[0], ListenV2Connected)
            turns = [message for message in seen if isinstance(message, ListenV2TurnInfo)]
            assert len(turns) == len(seen) - 1
            assert [turn.event for turn in turns if turn.event != "Update"] == [
                "StartOfTurn",
                "EagerEndOfTurn",
                "EndOfTurn",
            ]
            ends = [turn for turn in turns if turn.event == "EndOfTurn"]
            assert [(end.transcript, end.trigger) for end in ends] == [("Hello there.", "model")]
            assert vendor.violations == []

    run(call())
