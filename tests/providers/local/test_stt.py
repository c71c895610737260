"""A session's events, with scripted voice activity and a scripted recogniser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

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
from flowengine.ports import SttEvent, SttHints, SttRequest
from flowengine.providers.local.stt import LocalSession, LocalStt
from flowengine.providers.local.transcript import Transcript
from flowengine.providers.local.worker import Worker

pytestmark = pytest.mark.unit

SPEECH, QUIET = b"S", b"\xff"
WINDOW = 256


class ScriptedActivity:
    """A window is speech when its first byte says so."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, audio: bytes, *, speaking: bool) -> list[tuple[bytes, float]]:
        heard = self._rest + audio
        whole = len(heard) - len(heard) % WINDOW
        self._rest = heard[whole:]
        windows = [heard[at : at + WINDOW] for at in range(0, whole, WINDOW)]
        return [(window, 1.0 if window[:1] == SPEECH else 0.0) for window in windows]


class Bench:
    """One session and what it did."""

    def __init__(self, endpointing_ms: int = 300, *, waiting_limit: int = 8) -> None:
        self.events: list[SttEvent] = []
        self.utterances: list[tuple[int, SttHints]] = []
        self.text = "hello there"
        self.fault: ProviderError | None = None
        self.worker = Worker("test", waiting_limit=waiting_limit)
        self.session = LocalSession(
            endpointing_ms,
            self.events.append,
            listen=self.listen,
            vad=ScriptedActivity(),
            worker=self.worker,
        )

    def listen(self, audio: bytes, hints: SttHints) -> Transcript:
        self.utterances.append((len(audio) // WINDOW, hints))
        if self.fault is not None:
            raise self.fault
        return Transcript(self.text, 0.9, -0.1)

    def feed(self, *stretches: tuple[bytes, int]) -> None:
        """Audio as (kind, windows), in frames of 20 ms."""
        audio = b"".join(kind * (WINDOW * count) for kind, count in stretches)
        for at in range(0, len(audio), 160):
            self.session.feed(audio[at : at + 160])

    async def settle(self) -> None:
        """Until the recogniser has done all it was given."""
        await asyncio.sleep(0)
        await self.worker.run(lambda: None)


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())


def test_an_utterance_gives_start_stop_interim_and_final_words_once() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.feed((QUIET, 20), (SPEECH, 20), (QUIET, 8))
        await bench.settle()
        assert bench.events == [
            SpeechStarted("stt"),
            SpeechStopped("stt"),
            InterimHeard("hello there", 0.9),
        ]
        bench.feed((QUIET, 8))
        assert bench.events[3:] == [SegmentHeard("hello there", 0.9, endpoint=True)]
        # Recognised once, with at least 300 ms from before the first window of speech.
        ((windows, _),) = bench.utterances
        assert 20 + 9 + 7 <= windows <= 20 + 12 + 7

    _run(scenario)


def test_speech_in_a_pause_drops_the_interim_and_all_is_recognised_again() -> None:
    async def scenario() -> None:
        bench = Bench(endpointing_ms=600)
        bench.feed((SPEECH, 10), (QUIET, 10), (SPEECH, 10), (QUIET, 20))
        await bench.settle()
        assert [type(event) for event in bench.events] == [
            SpeechStarted,
            SpeechStopped,
            SpeechStarted,
            SpeechStopped,
            SegmentHeard,
        ]
        assert [windows for windows, _ in bench.utterances] == [17, 37]

    _run(scenario)


def test_digits_wait_a_second_and_are_recognised_at_the_end_only() -> None:
    async def scenario() -> None:
        bench = Bench()
        hints = SttHints(digits=True)
        bench.session.hint(hints)
        bench.feed((SPEECH, 10), (QUIET, 30))
        await bench.settle()
        assert bench.utterances == []
        bench.feed((QUIET, 2))
        await bench.settle()
        assert bench.utterances == [(42, hints)]
        assert bench.events[-1] == SegmentHeard("hello there", 0.9, endpoint=True)

    _run(scenario)


def test_new_hints_in_a_pause_are_the_ones_that_count() -> None:
    async def scenario() -> None:
        bench = Bench(endpointing_ms=600)
        bench.feed((SPEECH, 10), (QUIET, 10))
        await bench.settle()
        yes_no = SttHints(candidates=("yes", "no"))
        bench.session.hint(yes_no)
        bench.text = "yes"
        bench.feed((QUIET, 10))
        await bench.settle()
        assert [hints for _, hints in bench.utterances] == [SttHints(), yes_no]
        assert bench.events[-1] == SegmentHeard("yes", 0.9, endpoint=True)

    _run(scenario)


def test_a_click_is_not_recognised_and_still_ends() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.feed((SPEECH, 2), (QUIET, 12))
        await bench.settle()
        assert bench.utterances == []
        assert bench.events[-1] == EndpointReached()

    _run(scenario)


def test_words_that_were_none_end_the_turn_without_words() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.text = ""
        bench.feed((SPEECH, 10), (QUIET, 12))
        await bench.settle()
        assert bench.events == [SpeechStarted("stt"), SpeechStopped("stt"), EndpointReached()]

    _run(scenario)


def test_finalize_gives_the_words_so_far() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.feed((SPEECH, 10))
        bench.session.finalize()
        bench.session.finalize()
        await bench.settle()
        assert bench.events[1:] == [SegmentHeard("hello there", 0.9, endpoint=True)]
        bench.feed((QUIET, 12))
        await bench.settle()
        assert len(bench.utterances) == 1
        assert bench.events[-1] == EndpointReached()

    _run(scenario)


def test_finalize_in_silence_answers_at_once() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.feed((QUIET, 10))
        bench.session.finalize()
        assert bench.events == [EndpointReached()]

    _run(scenario)


def test_thirty_seconds_of_speech_are_cut_and_hearing_goes_on() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.feed((SPEECH, 1000))
        await bench.settle()
        assert bench.events == [
            SpeechStarted("stt"),
            SegmentHeard("hello there", 0.9, endpoint=False),
        ]
        assert bench.utterances[0][0] * 32 <= 30_032
        bench.feed((QUIET, 12))
        await bench.settle()
        assert bench.events[-1] == SegmentHeard("hello there", 0.9, endpoint=True)

    _run(scenario)


def test_settled_audio_is_what_final_words_cover() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.feed((SPEECH, 10), (QUIET, 8))
        await bench.settle()
        assert bench.session.settled_bytes == 0
        bench.feed((QUIET, 2))
        await bench.settle()
        assert 19 * WINDOW <= bench.session.settled_bytes <= 20 * WINDOW

    _run(scenario)


def test_too_busy_a_recogniser_is_reported_once_for_final_words() -> None:
    async def scenario() -> None:
        bench = Bench(waiting_limit=0)
        gate = threading.Event()
        busy = asyncio.create_task(bench.worker.run(gate.wait, 5))
        await asyncio.sleep(0)
        bench.feed((SPEECH, 10), (QUIET, 7))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bench.events == [SpeechStarted("stt"), SpeechStopped("stt")]
        bench.feed((QUIET, 12))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bench.events[2:] == [HearingFailed("overloaded")]
        gate.set()
        await busy
        bench.feed((SPEECH, 10), (QUIET, 12))
        await bench.settle()
        assert len(bench.events) == 3

    _run(scenario)


def test_a_fault_of_the_recogniser_is_reported() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.fault = ProviderError("unavailable", "broken", where="local")
        bench.feed((SPEECH, 10), (QUIET, 12))
        await bench.settle()
        assert bench.events[-1] == HearingFailed("unavailable")

    _run(scenario)


def test_close_says_what_was_used_and_silences_the_session() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.feed((SPEECH, 10), (QUIET, 12))
        told = len(bench.events)
        usage = await bench.session.close()
        bench.feed((SPEECH, 10))
        bench.session.finalize()
        await bench.settle()
        assert len(bench.events) == told
        assert usage == Usage("local", "moonshine-tiny-en", "audio_ms", amount_in=22 * 32)

    _run(scenario)


@pytest.mark.parametrize(
    "request_",
    [
        SttRequest("", "de-DE", 300),
        SttRequest("nova-3", "en-US", 300),
        SttRequest("", "en-US", 300, options={"smart_format": True}),
    ],
)
def test_what_it_cannot_do_is_refused(request_: SttRequest) -> None:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(LocalStt().open(request_, lambda event: None))
    assert caught.value.code == "bad_request"
