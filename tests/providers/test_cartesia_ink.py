"""Cartesia's Ink: turns that it finds, words made final by our gate, and its failures."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointForeseen,
    EndpointReached,
    EndpointRevoked,
    HearingFailed,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.ports import SttEvent, SttHints, SttRequest
from flowengine.providers import listening
from flowengine.providers.cartesia import make_stt
from flowengine.providers.cartesia_ink import CartesiaStt, ManualEars, TurnsEars, listen_path
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.supervision import SttChoice, SupervisedStt
from flowengine.testing.providers.cartesia import FakeCartesia
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import Ears, run

pytestmark = pytest.mark.unit

INK = SttRequest("ink-2", "en-US", 300)
WHISPER = SttRequest("ink-whisper", "nl-NL", 300)
each = pytest.mark.parametrize("asked", [INK, WHISPER], ids=["turns", "manual"])


def at(vendor: FakeCartesia) -> CartesiaStt:
    values = {"CARTESIA_API_KEY": KEY, "CARTESIA_BASE_URL": vendor.url}
    return make_stt(ProviderSettings(values))


def turn(kind: str, transcript: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"type": f"turn.{kind}", "request_id": "r"}
    return body if transcript is None else {**body, "transcript": transcript}


def read(*messages: dict[str, Any], patient: bool = False) -> list[SttEvent]:
    """What the reader of turns says to these messages."""
    heard: list[SttEvent] = []
    ears = TurnsEars(heard.append)
    ears.patient = patient
    for message in messages:
        assert ears.read(orjson.dumps(message)) is None
    return heard


def test_a_turn_begins_is_foreseen_taken_back_and_ends() -> None:
    assert read(
        {"type": "connected", "request_id": "r"},
        turn("start"),
        turn("update", " I want"),
        turn("eager_end", " I want"),
        turn("resume"),
        turn("update", " I want pizza"),
        turn("eager_end", " I want pizza"),
        turn("end", " I want pizza."),
    ) == [
        SpeechStarted("stt"),
        InterimHeard("I want"),
        EndpointForeseen("I want"),
        EndpointRevoked(),
        InterimHeard("I want pizza"),
        EndpointForeseen("I want pizza"),
        SpeechStopped("stt"),
        SegmentHeard("I want pizza.", endpoint=True),
    ]


def test_words_that_come_after_the_end_was_foreseen_take_it_back() -> None:
    heard = read(turn("start"), turn("eager_end", "Yes"), turn("update", "Yes but"))
    assert heard[-2:] == [EndpointRevoked(), InterimHeard("Yes but")]


def test_a_turn_whose_start_or_end_got_lost() -> None:
    heard = read(turn("update", "One"), turn("start"), turn("update", "Two"), turn("end", "Two"))
    said = [event for event in heard if isinstance(event, SegmentHeard)]
    assert said == [SegmentHeard("One", endpoint=True), SegmentHeard("Two", endpoint=True)]
    assert heard[0] == SpeechStarted("stt")


def test_an_empty_end_keeps_the_words_before_it() -> None:
    heard = read(turn("start"), turn("update", "Hi"), turn("end", ""))
    assert heard[-1] == SegmentHeard("Hi", endpoint=True)


def test_a_turn_without_words_is_no_segment() -> None:
    heard = read(turn("start"), turn("end", ""))
    assert heard == [SpeechStarted("stt"), SpeechStopped("stt")]


def test_while_digits_are_expected_a_pause_ends_no_turn() -> None:
    heard = read(turn("start"), turn("end", "four two"), patient=True)
    assert heard[-1] == SegmentHeard("four two", endpoint=False)


def test_words_that_were_taken_before_the_turns_end_are_not_told_again() -> None:
    heard: list[SttEvent] = []
    ears = TurnsEars(heard.append)
    ears.read(orjson.dumps(turn("update", "I want")))
    ears.end_turn()
    assert heard[-1] == SegmentHeard("I want", endpoint=True)
    ears.read(orjson.dumps(turn("update", "I want two")))
    ears.read(orjson.dumps(turn("end", "I want two pizzas.")))
    assert heard[-1] == SegmentHeard("two pizzas.", endpoint=True)
    ears.read(orjson.dumps(turn("end", "Bye.")))
    assert heard[-1] == SegmentHeard("Bye.", endpoint=True)


@pytest.mark.parametrize("reader", [TurnsEars, ManualEars])
def test_errors_are_told_and_nonsense_is_one(reader: type[TurnsEars | ManualEars]) -> None:
    ears = reader(lambda event: None)
    message = {"type": "error", "title": "t", "message": "m", "status_code": 429}
    told = ears.read(orjson.dumps({**message, "error_code": "concurrency_limited"}))
    assert told is not None and told.code == "rate_limit"
    for nonsense in (b"{", b"[]", b"{}", b'{"type":"turn.update"}', b'{"type":"transcript"}'):
        error = ears.read(nonsense)
        foreign = b"turn" in nonsense if reader is ManualEars else b"transcript" in nonsense
        assert (error is None) if foreign else (error is not None and error.code == "protocol")


_TURNS = st.one_of(
    st.builds(
        turn, st.sampled_from(["update", "eager_end", "end"]), st.sampled_from(["", "a", "a b"])
    ),
    st.builds(turn, st.sampled_from(["start", "resume"])),
)


@given(st.lists(_TURNS | st.none(), max_size=40))
def test_whatever_comes_what_is_foreseen_is_ended_or_revoked(
    messages: list[dict[str, Any] | None],
) -> None:
    """None: this side ends the turn."""
    foreseen = speaking = False
    heard: list[SttEvent] = []
    ears = TurnsEars(heard.append)
    for message in messages:
        if message is None:
            ears.end_turn()
        else:
            assert ears.read(orjson.dumps(message)) is None
    for event in heard:
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


def transcript(text: str, *, is_final: bool) -> dict[str, Any]:
    return {"type": "transcript", "request_id": "r", "text": text, "is_final": is_final}


def test_words_are_final_when_they_are_asked_for() -> None:
    heard: list[SttEvent] = []
    ears = ManualEars(heard.append)
    for message in (
        transcript(" four", is_final=False),
        transcript(" four two", is_final=True),
        transcript(" one", is_final=False),
        transcript("", is_final=True),
        {"type": "flush_done", "request_id": "r"},
        {"type": "flush_done", "request_id": "r"},
        {"type": "done", "request_id": "r"},
    ):
        assert ears.read(orjson.dumps(message)) is None
    assert heard == [
        SpeechStarted("stt"),
        InterimHeard("four"),
        SegmentHeard("four two"),
        InterimHeard("one"),
        SegmentHeard("one"),
        SpeechStopped("stt"),
        EndpointReached(),
    ]
    assert ears.finalized.is_set()


def test_what_is_asked_for() -> None:
    path = listen_path(SttRequest("ink-2", "en-GB", 300, ("Zoë", "flow engine")))
    assert path == (
        "stt/turns/websocket?model=ink-2&encoding=pcm_mulaw&sample_rate=8000"
        "&turn_end_timeout_ms=2500&keyterm=Zo%C3%AB&keyterm=flow+engine"
    )
    own = listen_path(SttRequest("ink-2", "", 300, (), {"turn_eager_end_threshold": 0.5}))
    assert own.endswith("&turn_eager_end_threshold=0.5")
    options = {"min_volume": 0.2, "max_silence_duration_secs": 0.4}
    assert listen_path(SttRequest("ink-whisper", "nl-NL", 300, (), options)) == (
        "stt/websocket?model=ink-whisper&encoding=pcm_mulaw&sample_rate=8000&language=nl"
        "&min_volume=0.2&max_silence_duration_secs=0.4"
    )
    many = listen_path(SttRequest("ink-2", "en", 300, tuple("word " * 4 for _ in range(100))))
    assert many.count("keyterm=") == 60


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (SttRequest("ink-2", "en", 300, (), {"min_volume": 0.1}), "min_volume"),
        (SttRequest("ink-whisper", "en", 300, (), {"turn_end_threshold": 0.1}), "turn_end"),
        (SttRequest("ink-2", "nl-NL", 300), "ink-whisper"),
    ],
)
def test_what_a_model_does_not_take_is_refused_by_name(asked: SttRequest, named: str) -> None:
    with pytest.raises(ProviderError) as caught:
        listen_path(asked)
    assert caught.value.code == "bad_request"
    assert named in str(caught.value)


def test_whole_turns_over_the_wire() -> None:
    async def call() -> None:
        async with FakeCartesia(["I would like a table.", "For two."]) as vendor:
            vendor.ink.foresees.append("I would like")
            ears = Ears()
            session = await at(vendor).open(INK, ears.hear)
            session.feed(speech(500) + silence(200) + speech(800) + silence(400))
            end = SegmentHeard("I would like a table.", endpoint=True)
            await ears.until(lambda events: end in events)
            foreseen = [event.text for event in ears.events if isinstance(event, EndpointForeseen)]
            assert foreseen == ["I would like", "I would like a table."]
            assert EndpointRevoked() in ears.events
            session.feed(speech(700) + silence(400))
            await ears.until(lambda events: events[-1] == SegmentHeard("For two.", endpoint=True))
            usage = await session.close()
            assert usage == Usage("cartesia", "ink-2", "audio_ms", 3000, estimated=True)
            assert vendor.commands == ["close"]
            assert vendor.violations == []

    run(call())


def test_a_turn_ends_when_it_is_told_to_though_the_vendor_has_no_word_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_FINALIZE_S", 0.05)

    async def call() -> None:
        async with FakeCartesia(["I would like a table."]) as vendor:
            ears = Ears()
            session = await at(vendor).open(INK, ears.hear)
            session.finalize()
            session.feed(speech(480))
            await ears.until(lambda events: InterimHeard("I would") in events)
            session.finalize()
            await ears.until(lambda events: SegmentHeard("I would", endpoint=True) in events)
            session.feed(speech(600) + silence(400))
            rest = SegmentHeard("like a table.", endpoint=True)
            await ears.until(lambda events: rest in events)
            await session.close()
            assert vendor.commands == ["close"]
            assert vendor.violations == []

    run(call())


def test_ink_is_surer_while_digits_are_read_out() -> None:
    async def call() -> None:
        async with FakeCartesia(["four two one", "yes"]) as vendor:
            ears = Ears()
            session = await at(vendor).open(INK, ears.hear)
            session.hint(SttHints(digits=True))
            await vendor.until(lambda: vendor.commands == ["config"])
            session.feed(speech(600) + silence(500) + speech(600))
            session.feed(silence(900))
            digits = SegmentHeard("four two one", endpoint=False)
            await ears.until(lambda events: digits in events)
            session.hint(SttHints())
            await vendor.until(lambda: vendor.commands == ["config"] * 2)
            session.feed(speech(400) + silence(400))
            await ears.until(lambda events: SegmentHeard("yes", endpoint=True) in events)
            await session.close()
            assert vendor.violations == []

    run(call())


def test_our_gate_ends_a_turn_of_a_model_that_finds_none() -> None:
    async def call() -> None:
        async with FakeCartesia(["Een tafel graag.", "Voor twee."]) as vendor:
            ears = Ears()
            session = await at(vendor).open(WHISPER, ears.hear)
            for words in ("Een tafel graag.", "Voor twee."):
                for _ in range(8):
                    session.feed(speech(100))
                for _ in range(6):
                    session.feed(silence(100))
                await ears.until(lambda events: events[-1:] == [EndpointReached()])
                assert ears.events[-3:] == [
                    SegmentHeard(words),
                    SpeechStopped("stt"),
                    EndpointReached(),
                ]
                ears.events.append(SpeechStopped("energy"))
            usage = await session.close()
            assert usage == Usage("cartesia", "ink-whisper", "audio_ms", 2800, estimated=True)
            assert vendor.commands == ["finalize", "finalize", "close"]
            assert vendor.violations == []

    run(call())


def test_words_that_are_not_made_final_in_time_are_taken_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_FINALIZE_S", 0.05)

    async def call() -> None:
        async with FakeCartesia(["Een tafel graag."]) as vendor:
            vendor.ink.ignores_finalize = True
            ears = Ears()
            session = await at(vendor).open(WHISPER, ears.hear)
            session.feed(speech(480))
            await ears.until(lambda events: InterimHeard("Een tafel") in events)
            session.finalize()
            await ears.until(lambda events: events[-1:] == [EndpointReached()])
            assert SegmentHeard("Een tafel") in ears.events
            await session.close()

    run(call())


def test_an_empty_final_keeps_the_words_before_it() -> None:
    async def call() -> None:
        async with FakeCartesia(["Een tafel graag."]) as vendor:
            vendor.ink.loses_final = True
            ears = Ears()
            session = await at(vendor).open(WHISPER, ears.hear)
            session.feed(speech(720))
            session.finalize()
            await ears.until(lambda events: events[-1:] == [EndpointReached()])
            assert SegmentHeard("Een tafel graag.") in ears.events
            await session.close()

    run(call())


@each
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=2), "dropped"),
        (Fault("error", after=2), "unavailable"),
        (Fault("garbage", after=2), "protocol"),
    ],
)
def test_a_broken_stream_is_told_once(asked: SttRequest, fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeCartesia(["Hello to all of you."]) as vendor:
            vendor.faults.append(fault)
            ears = Ears()
            session = await at(vendor).open(asked, ears.hear)
            session.feed(speech(1000) + silence(400))
            await ears.until(lambda events: HearingFailed(code) in events)
            await session.close()
            assert ears.events.count(HearingFailed(code)) == 1

    run(call())


@each
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "auth"),
        (402, "quota"),
        (400, "bad_request"),
        (429, "rate_limit"),
        (500, "unavailable"),
    ],
)
def test_a_refused_handshake(asked: SttRequest, status: int, code: str) -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.faults.append(Fault("refuse", status=status))
            with pytest.raises(ProviderError) as caught:
                await at(vendor).open(asked, lambda event: None)
            assert caught.value.code == code

    run(call())


@each
@pytest.mark.parametrize("close_code", [1000, 1006, 1011])
def test_what_was_said_around_a_break_is_heard(asked: SttRequest, close_code: int) -> None:
    """The stream ends in the middle of a turn: another one hears it from its beginning."""

    async def call() -> None:
        async with FakeCartesia(["I would like a table."]) as vendor:
            quick = Deadlines(replay_speed=20.0)
            stt = SupervisedStt([SttChoice(at(vendor))], quick)
            ears = Ears()
            hearing = await stt.open(asked, ears.hear)
            hearing.feed(silence(400) + speech(480))
            await ears.until(lambda events: InterimHeard("I would") in events)
            if close_code == 1006:
                vendor.cut(vendor.sockets[0].scope)
            else:
                await vendor.sockets[0].close(close_code)
            await vendor.until(lambda: len(vendor.sockets) == 2)
            hearing.feed(speech(400))
            for _ in range(6):
                hearing.feed(silence(100))
            hearing.finalize()
            said = "I would like a table."
            await ears.until(
                lambda events: any(
                    isinstance(event, SegmentHeard) and event.text == said for event in events
                )
            )
            usage = await hearing.close()
            assert usage is not None and usage.amount_in > 1880
            assert stt.counts["cartesia.recovered"] == 1
            assert vendor.violations == []

    run(call())


def test_an_error_that_a_second_try_cannot_help_goes_to_the_fallback() -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor, FakeCartesia(["Hello."]) as other:
            vendor.faults.append(Fault("refuse", status=402))
            stt = SupervisedStt([SttChoice(at(vendor)), SttChoice(at(other), "ink-whisper", {})])
            ears = Ears()
            hearing = await stt.open(INK, ears.hear)
            hearing.feed(speech(500))
            hearing.finalize()
            await ears.until(lambda events: SegmentHeard("Hello.") in events)
            await hearing.close()
            assert (vendor.connections, other.connections) == (1, 1)
            assert stt.counts["cartesia.quota"] == 1

    run(call())


def sdk_at(vendor: FakeCartesia) -> Any:
    """Cartesia's own client, which speaks to the fake."""
    cartesia = pytest.importorskip("cartesia")
    ws = vendor.url.replace("http", "ws")
    return cartesia.AsyncCartesia(api_key=KEY, base_url=vendor.url, websocket_base_url=ws)


def test_cartesias_sdk_understands_the_fake_turns() -> None:
    async def call() -> None:
        async with FakeCartesia(["Hello there."]) as vendor, sdk_at(vendor) as client:
            async with client.stt.auto_finalize.websocket(
                model="ink-2", encoding="pcm_mulaw", sample_rate=8000, turn_end_threshold=0.2
            ) as connection:
                await connection.send({"type": "config", "turn": {"end_threshold": 0.3}})
                await connection.send_raw(speech(700) + silence(500))
                await connection.send({"type": "close"})
                seen = [event async for event in connection]
            kinds = [event.type for event in seen]
            assert kinds == [
                "connected",
                "turn.start",
                "turn.update",
                "turn.update",
                "turn.eager_end",
                "turn.end",
            ]
            assert seen[-1].transcript == "Hello there."
            assert {type(event).__module__.split(".")[0] for event in seen} == {"cartesia"}
            assert vendor.violations == []

    run(call())


def test_cartesias_sdk_understands_the_fakes_final_words() -> None:
    async def call() -> None:
        async with FakeCartesia(["Hello there."]) as vendor, sdk_at(vendor) as client:
            async with client.stt.manual_finalize.websocket(
                model="ink-whisper", encoding="pcm_mulaw", sample_rate=8000, language="en"
            ) as connection:
                await connection.send_raw(speech(700))
                await connection.send("finalize")
                await connection.send("close")
                seen = [event async for event in connection]
            kinds = [event.type for event in seen]
            assert kinds == ["transcript", "transcript", "transcript", "flush_done", "done"]
            assert (seen[2].text, seen[2].is_final, seen[2].language) == (
                "Hello there.",
                True,
                "en",
            )
            assert vendor.violations == []

    run(call())


def test_words_of_a_turn_that_is_over_and_an_end_that_comes_late_are_not_told_again() -> None:
    turns = [turn("start"), turn("update", "One"), turn("end", "One two")]
    late = read(*turns, turn("update", "One"), turn("eager_end", "One two"))
    crossed = read(turns[0], turn("eager_end", "One two"), turn("start"), turn("end", "One two"))
    begun = read(turn("update", "One"), turn("start"), turn("end", "One two"))
    for heard in (late, crossed, begun):
        said = [event.text for event in heard if isinstance(event, SegmentHeard)]
        assert said == ["One two"]
