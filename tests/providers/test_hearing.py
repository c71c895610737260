"""Supervised speech to text: reconnect with replay, fallback, and the end of hope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flowengine.errors import ProviderError
from flowengine.events import EndpointReached, HearingFailed, InterimHeard, SegmentHeard, Usage
from flowengine.ports import SttEvent, SttHints, SttRequest
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.deepgram import DeepgramStt
from flowengine.providers.supervision import SttChoice, SupervisedStt
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.fault_rows import until
from tests.providers.running import STT, Ears, run
from tests.providers.virtual_time import run_virtually

pytestmark = pytest.mark.unit

QUICK = Deadlines(stt_open_ms=500, recovery_ms=1000, replay_speed=20.0)


def heard(text: str) -> SegmentHeard:
    return SegmentHeard(text, 0.98, endpoint=True)


def test_audio_that_was_not_heard_is_heard_by_the_next_session() -> None:
    async def call() -> None:
        async with FakeDeepgram(["First.", "Second."]) as vendor:
            vendor.faults.append(Fault("cut", after=4))
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], QUICK)
            ears = Ears()
            hearing = await stt.open(STT, ears.hear)
            hearing.feed(speech(400, 1) + silence(400))
            await ears.until(lambda events: heard("First.") in events)
            hearing.feed(speech(400, 2))
            await ears.until(lambda events: InterimHeard("Second.", 0.98) in events)
            hearing.feed(silence(400))
            await vendor.until(lambda: vendor.connections == 2)
            hearing.feed(silence(200))
            await ears.until(lambda events: heard("Second.") in events)
            assert ears.events.count(heard("First.")) == 1
            assert speech(400, 2) + silence(200) in bytes(vendor.audio[1])
            assert speech(400, 1) not in bytes(vendor.audio[1])
            assert stt.counts == {"deepgram.dropped": 1, "deepgram.recovered": 1}
            usage = await hearing.close()
            assert usage is not None
            assert usage.estimated
            assert vendor.violations == []

    run(call())


def test_another_recogniser_takes_over_from_one_that_refuses() -> None:
    async def call() -> None:
        async with FakeDeepgram(["Hi."]) as first, FakeDeepgram(["Hi."]) as second:
            first.faults.extend([Fault("cut"), Fault("refuse", status=429)])
            choices = [
                SttChoice(DeepgramStt(KEY, first.url)),
                SttChoice(DeepgramStt(KEY, second.url), model="nova-2"),
            ]
            ears = Ears()
            hearing = await SupervisedStt(choices, QUICK).open(STT, ears.hear)
            hearing.feed(speech(400) + silence(400))
            await ears.until(lambda events: heard("Hi.") in events)
            assert dict(second.queries[0])["model"] == "nova-2"
            assert first.connections == 2
            await hearing.close()

    run(call())


def test_when_nothing_can_be_had_it_is_told_once() -> None:
    async def call() -> None:
        async with FakeDeepgram(["Hi."]) as vendor:
            vendor.faults.append(Fault("cut"))
            vendor.faults.extend([Fault("refuse", status=500)] * 50)
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], QUICK)
            ears = Ears()
            hearing = await stt.open(STT, ears.hear)
            hearing.feed(speech(400))
            await ears.until(lambda events: HearingFailed("unavailable") in events)
            hearing.feed(speech(400))
            hearing.finalize()
            assert len(ears.events) == 1
            assert 2 < vendor.connections < 20
            await hearing.close()

    run(call())


def test_a_server_that_drops_every_session_does_not_buy_time() -> None:
    async def call() -> None:
        async with FakeDeepgram(["Hi."]) as vendor:
            vendor.faults.extend([Fault("cut")] * 100)
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], QUICK)
            ears = Ears()
            hearing = await stt.open(STT, ears.hear)
            hearing.feed(speech(400) + silence(400))
            await ears.until(lambda events: HearingFailed("dropped") in events)
            assert vendor.connections < 20
            await hearing.close()

    run(call())


def test_a_finalize_in_the_gap_reaches_the_next_session() -> None:
    async def call() -> None:
        async with FakeDeepgram(["One two."]) as vendor:
            vendor.faults.append(Fault("cut"))
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], QUICK)
            ears = Ears()
            hearing = await stt.open(STT, ears.hear)
            hearing.feed(speech(400))
            await vendor.until(lambda: vendor.connections == 2)
            hearing.finalize()
            await ears.until(lambda events: heard("One two.") in events)
            assert EndpointReached() not in ears.events
            await hearing.close()

    run(call())


@pytest.mark.parametrize(("status", "code", "tries"), [(401, "auth", 1), (500, "unavailable", 2)])
def test_opening_fails(status: int, code: str, tries: int) -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.faults.extend([Fault("refuse", status=status)] * 5)
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], QUICK)
            with pytest.raises(ProviderError) as caught:
                await stt.open(STT, Ears().hear)
            assert caught.value.code == code
            assert vendor.connections == tries

    run(call())


def test_the_ring_is_bounded() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            bounded = Deadlines(replay_ms=1000, replay_speed=20.0)
            vendor.faults.append(Fault("cut"))
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], bounded)
            hearing = await stt.open(STT, Ears().hear)
            hearing.feed(speech(3000, 1) + speech(1000, 2))
            await vendor.until(lambda: len(vendor.audio) == 2 and len(vendor.audio[1]) >= 8000)
            await hearing.close()
            assert bytes(vendor.audio[1]) == speech(1000, 2)

    run(call())


def test_quiet_before_the_speech_is_not_replayed() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            vendor.faults.append(Fault("cut"))
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], QUICK)
            hearing = await stt.open(STT, Ears().hear)
            hearing.feed(silence(3000) + speech(200))
            await vendor.until(lambda: len(vendor.audio) == 2 and len(vendor.audio[1]) >= 4000)
            await hearing.close()
            assert bytes(vendor.audio[1]) == silence(300) + speech(200)

    run(call())


def test_a_recogniser_that_always_breaks_before_its_words_is_given_up() -> None:
    async def call() -> None:
        async with FakeDeepgram(["Never heard."]) as vendor:
            vendor.faults.extend([Fault("cut", after=1)] * 10)
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], QUICK)
            ears = Ears()
            hearing = await stt.open(STT, ears.hear)
            hearing.feed(speech(1000))
            await ears.until(lambda events: HearingFailed("dropped") in events)
            await hearing.close()
            assert vendor.connections == 3

    run(call())


DEAF = Deadlines(
    stt_open_ms=500,
    recovery_ms=1000,
    replay_speed=20.0,
    stt_answer_ms=400,
    stt_answer_again_ms=300,
)


@pytest.mark.parametrize("fault", [Fault("hang"), Fault("stall", after=1)])
def test_a_deaf_recogniser_is_told_and_not_taken_for_a_silent_caller(fault: Fault) -> None:
    async def call() -> None:
        async with FakeDeepgram(["Never heard."]) as vendor:
            vendor.faults.extend([fault] * 5)
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], DEAF)
            ears = Ears()
            hearing = await stt.open(STT, ears.hear)
            hearing.feed(speech(700) + silence(300))
            await ears.until(lambda events: HearingFailed("stalled") in events)
            assert vendor.connections == 2
            assert stt.counts["deepgram.stalled"] == 2
            await hearing.close()

    run(call())


def test_another_hears_what_was_said_to_a_deaf_recogniser() -> None:
    async def call() -> None:
        async with FakeDeepgram() as first, FakeDeepgram(["Hi there.", "Bye."]) as second:
            first.faults.append(Fault("hang"))
            choices = [
                SttChoice(DeepgramStt(KEY, first.url)),
                SttChoice(DeepgramStt(KEY, second.url)),
            ]
            ears = Ears()
            hearing = await SupervisedStt(choices, DEAF).open(STT, ears.hear)
            hearing.feed(speech(700, 1) + silence(500))
            await ears.until(lambda events: heard("Hi there.") in events)
            hearing.feed(speech(700, 2) + silence(500))
            await ears.until(lambda events: heard("Bye.") in events)
            assert (first.connections, second.connections) == (1, 1)
            assert not any(isinstance(event, HearingFailed) for event in ears.events)
            await hearing.close()

    run(call())


def test_short_noise_and_a_vendor_that_answers_without_words_are_no_deafness() -> None:
    """The watch looks after its time; a second, deaf call beside it shows that this has passed."""

    async def call() -> None:
        async with FakeDeepgram() as vendor, FakeDeepgram() as deaf:
            deaf.faults.extend([Fault("hang")] * 2)
            ears, told = Ears(), Ears()
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], DEAF)
            hearing = await stt.open(STT, ears.hear)
            beside = await SupervisedStt([SttChoice(DeepgramStt(KEY, deaf.url))], DEAF).open(
                STT, told.hear
            )
            hearing.feed(speech(300) + silence(300) + speech(900) + silence(500))
            beside.feed(speech(900) + silence(300))
            await told.until(lambda events: HearingFailed("stalled") in events)
            assert (vendor.connections, stt.counts) == (1, {})
            await hearing.close()
            await beside.close()

    run(call())


def test_replay_waits_for_its_pace() -> None:
    async def call() -> None:
        async with FakeDeepgram() as vendor:
            frozen = Deadlines(replay_speed=0.0001)
            vendor.faults.append(Fault("cut"))
            stt = SupervisedStt([SttChoice(DeepgramStt(KEY, vendor.url))], frozen)
            hearing = await stt.open(STT, Ears().hear)
            hearing.feed(speech(1000))
            await vendor.until(lambda: len(vendor.audio) == 2 and bool(vendor.audio[1]))
            hearing.feed(speech(1000))
            await hearing.close()
            assert len(vendor.audio[1]) == 320

    run(call())


def test_what_was_used_at_each_provider_is_told_apart() -> None:
    class Used:
        def __init__(self, usage: Usage) -> None:
            self.usage = usage

        def feed(self, audio: bytes) -> None:
            return

        def hint(self, hints: SttHints) -> None:
            return

        def finalize(self) -> None:
            return

        async def close(self) -> Usage | None:
            return self.usage

    class Ear:
        def __init__(self, name: str, usage: Usage) -> None:
            self.name = name
            self.usage = usage
            self.hear: list[Callable[[SttEvent], None]] = []

        async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> Used:
            self.hear.append(hear)
            return Used(self.usage)

    async def call() -> None:
        first = Ear("a", Usage("a", "m", "tokens", 40, 7, audio_in=30))
        second = Ear("b", Usage("b", "n", "audio_ms", 900))
        stt = SupervisedStt([SttChoice(first), SttChoice(second)], Deadlines())
        session = await stt.open(STT, lambda event: None)
        first.hear[0](HearingFailed("auth"))
        while not second.hear:
            await asyncio.sleep(0)
        usage = await session.close()
        assert [usage, *session.more_usage] == [first.usage, second.usage]

    run(call())


class Quiet:
    """A recogniser that says nothing of noise; it is asked how much it was fed, and how fast."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opened = 0
        self.messages = 0
        self.replay_speed = 1000.0
        self.fed = 0

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> Quiet:
        self.opened += 1
        return self

    def feed(self, audio: bytes) -> None:
        self.fed += len(audio)

    def hint(self, hints: SttHints) -> None:
        return

    def finalize(self) -> None:
        return

    async def close(self) -> Usage | None:
        return None


def test_noise_moves_a_call_seldom_and_never_ends_it_where_a_vendor_says_nothing_of_noise() -> None:
    async def call() -> None:
        first, second = Quiet("a"), Quiet("b")
        ears, moved = Ears(), []
        stt = SupervisedStt([SttChoice(first), SttChoice(second)], Deadlines())
        hearing = await stt.open(STT, ears.hear)
        due = asyncio.get_running_loop().time()
        for _ in range(14):
            hearing.feed(speech(700) + silence(500))
            due += 5
            await until(due)
            moved.append(first.opened + second.opened - 1)
        assert moved == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3]
        assert ears.events == []
        assert stt.counts["a.suspected"] + stt.counts["b.suspected"] == 3
        await hearing.close()

    run_virtually(call())


def test_what_is_replayed_goes_as_fast_as_the_vendor_takes_it() -> None:
    async def call() -> None:
        first, second = Quiet("a"), Quiet("b")
        stt = SupervisedStt([SttChoice(first), SttChoice(second)], Deadlines())
        hearing = await stt.open(STT, lambda event: None)
        for fed in (speech(700) + silence(500), speech(700) + silence(500)):
            hearing.feed(fed)
        await until(3.05)
        assert second.fed > 2000 * 8, "two seconds of it took no time"
        await hearing.close()

    run_virtually(call())
