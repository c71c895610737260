"""Breakers, the book of health, and Retry-After: who is asked first; nobody is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import ProviderError
from flowengine.events import SegmentHeard
from flowengine.ports import (
    LlmEnd,
    LlmEvent,
    LlmRequest,
    LlmText,
    Stt,
    SttEvent,
    SttRequest,
    SttSession,
    Tts,
    TtsRequest,
    Voice,
)
from flowengine.providers.breaker import (
    ACCOUNT_OPEN_MS,
    FIRST_OPEN_MS,
    LONGEST_OPEN_MS,
    OPENS_AFTER,
    WINDOW_MS,
    Breaker,
)
from flowengine.providers.deepgram import DeepgramStt
from flowengine.providers.faults import fault, of_status, retry_after_ms
from flowengine.providers.health import HealthBook
from flowengine.providers.supervision import (
    Deadlines,
    LlmChoice,
    SttChoice,
    SupervisedLlm,
    SupervisedStt,
    SupervisedTts,
    TtsChoice,
)
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.faults import status
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import silence, speech
from tests.providers.running import LLM, STT, TTS, Ears, clauses, llm_at, run, tts_at
from tests.providers.test_hearing import DEAF

pytestmark = pytest.mark.unit


def gone() -> ProviderError:
    return fault("connect", "is gone", "x")


def broken(now_ms: int = 0) -> Breaker:
    breaker = Breaker()
    for _ in range(OPENS_AFTER):
        breaker.failed(gone(), now_ms)
    return breaker


def test_it_opens_after_failures_in_a_row_and_lets_one_probe_through() -> None:
    breaker = broken()
    assert breaker.state(0) == "open"
    assert not breaker.allows(FIRST_OPEN_MS - 1)
    assert breaker.allows(FIRST_OPEN_MS), "the probe"
    assert not breaker.allows(FIRST_OPEN_MS), "one at a time"
    breaker.succeeded()
    assert breaker.allows(FIRST_OPEN_MS)


def test_a_probe_that_fails_keeps_it_open_twice_as_long() -> None:
    breaker = broken()
    now_ms, open_ms = 0, FIRST_OPEN_MS
    for _ in range(8):
        now_ms += open_ms
        assert breaker.allows(now_ms)
        breaker.failed(gone(), now_ms)
        open_ms = min(2 * open_ms, LONGEST_OPEN_MS)
        assert breaker.state(now_ms + open_ms - 1) == "open"
        assert breaker.state(now_ms + open_ms) == "half_open"


def test_a_success_or_a_long_time_between_forgets_failures() -> None:
    breaker = Breaker()
    for number in range(3 * OPENS_AFTER):
        breaker.failed(gone(), number * (WINDOW_MS + 1))
    assert breaker.state(10**9) == "closed"
    for _ in range(OPENS_AFTER - 1):
        breaker.failed(gone(), 10**9)
    breaker.succeeded()
    breaker.failed(gone(), 10**9)
    assert breaker.state(10**9) == "closed"


@pytest.mark.parametrize(
    ("code", "open_ms"), [("auth", ACCOUNT_OPEN_MS), ("quota", ACCOUNT_OPEN_MS), ("bad_request", 0)]
)
def test_an_account_that_is_refused_opens_at_once_and_a_bad_request_never(
    code: str, open_ms: int
) -> None:
    breaker = Breaker()
    for _ in range(OPENS_AFTER):
        breaker.failed(fault(code, "said no", "x"), 0)
    assert breaker.allows(0) is (open_ms == 0)
    assert breaker.allows(open_ms)


def test_it_stays_away_for_as_long_as_it_was_asked_to() -> None:
    breaker = Breaker()
    breaker.failed(of_status(429, "x", headers={"retry-after": "7"}), 0)
    assert not breaker.allows(6999)
    assert breaker.allows(7000)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["connect", "auth", "bad_request", "rate_limit", "ok", "ask"]),
        st.integers(0, 40_000),
        st.one_of(st.none(), st.integers(0, 10**9)),
    )
)


@given(EVENTS)
def test_whatever_happens_it_closes_again_in_time(
    events: list[tuple[str, int, int | None]],
) -> None:
    breaker, now_ms = Breaker(), 0
    for kind, passed_ms, after_ms in events:
        now_ms += passed_ms
        if kind == "ok":
            breaker.succeeded()
            assert breaker.allows(now_ms)
        elif kind == "ask":
            breaker.allows(now_ms)
        else:
            error = fault(kind, "x", "x")
            error.retry_after_ms = after_ms
            breaker.failed(error, now_ms)
    assert breaker.state(now_ms + LONGEST_OPEN_MS) in ("closed", "half_open")
    # A probe that nobody came back from holds nobody else off for long.
    assert breaker.allows(now_ms + 2 * LONGEST_OPEN_MS)


@pytest.mark.parametrize(
    ("headers", "ms"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2000),
        ({"retry-after": "0.5"}, 500),
        ({"retry-after": "-3"}, 0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 250),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], ms: int | None) -> None:
    assert retry_after_ms(headers) == ms


def test_retry_after_may_be_a_date() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    asked = retry_after_ms({"retry-after": until})
    assert asked is not None and 0 < asked <= 30_000


def test_a_vendor_that_fails_is_asked_after_the_others_by_the_next_call() -> None:
    async def call() -> None:
        async with FakeOpenAi() as first, FakeOpenAi() as second:
            first.faults.extend([Fault("refuse", status=401)] * 9)
            book = HealthBook()
            choices = [
                LlmChoice(_Named("a", llm_at(first.url))),
                LlmChoice(_Named("b", llm_at(second.url))),
            ]
            for _ in range(3):
                llm = SupervisedLlm(choices, Deadlines(), book)
                async with aclosing(llm.stream(LLM)) as events:
                    assert any([isinstance(event, LlmEnd) async for event in events])
            assert (first.connections, second.connections) == (1, 3)
            told = {entry["provider"]: entry for entry in book.told()}
            assert told["a"]["breaker"] == "open" and told["a"]["failures"] == {"auth": 1}
            assert told["a"]["last_failure"].startswith("auth at 20")
            assert told["b"]["succeeded"] == 3 and told["b"]["latency_p95_ms"] is not None

    run(call())


def test_who_has_no_other_is_asked_all_the_same() -> None:
    async def call() -> None:
        book = HealthBook()
        for _ in range(OPENS_AFTER):
            book.of("a", "llm").did_fail(gone())
        assert not book.of("a", "llm").allows()
        assert book.skipped([("a", "m")], "llm") == frozenset()
        assert book.skipped([("a", "m"), ("b", "m")], "llm") == {0}
        llm = SupervisedLlm([LlmChoice(_Says("a"))], Deadlines(), book)
        async with aclosing(llm.stream(LLM)) as events:
            assert [event async for event in events][-1] == LlmEnd("stop", None)
        await asyncio.sleep(0)

    run(call())


def test_a_recogniser_that_opens_and_is_deaf_has_not_done_well() -> None:
    async def call() -> None:
        book = HealthBook()
        async with FakeDeepgram() as deaf, FakeDeepgram() as other:
            deaf.faults.extend([Fault("hang")] * 99)
            for _ in range(OPENS_AFTER + 1):
                choices = [
                    SttChoice(_Heard("a", DeepgramStt(KEY, deaf.url))),
                    SttChoice(_Heard("b", DeepgramStt(KEY, other.url))),
                ]
                other.plan.append("Hello.")
                ears = Ears()
                hearing = await SupervisedStt(choices, DEAF, book).open(STT, ears.hear)
                hearing.feed(speech(700, 1) + silence(500))
                await ears.until(
                    lambda events: any(isinstance(event, SegmentHeard) for event in events)
                )
                await hearing.close()
            assert deaf.connections == OPENS_AFTER, "the next call asked the other first"
            told = {entry["provider"]: entry for entry in book.told()}
            assert (told["a"]["models"], told["a"]["succeeded"]) == ({STT.model: "open"}, 0)
            assert told["b"]["succeeded"] == OPENS_AFTER + 1

    run(call())


def test_a_call_keeps_the_voice_that_spoke_when_a_breaker_closes_again() -> None:
    async def call() -> None:
        book = HealthBook()
        async with FakeElevenLabs() as first, FakeElevenLabs() as second:
            choices = [
                TtsChoice(_Voiced("a", tts_at(first.url))),
                TtsChoice(_Voiced("b", tts_at(second.url))),
            ]
            voice = await SupervisedTts(choices, Deadlines(), book).open(TTS)
            book.of("a", "tts").did_fail(fault("auth", "said no", "a"))
            await _said(voice, "One.")
            book.of("a", "tts").breaker.succeeded()
            await _said(voice, "Two.")
            assert [text.strip() for text in second.said] == ["One.", "Two."]
            assert first.said == []
            await voice.close()

    run(call())


async def _said(voice: Voice, text: str) -> None:
    async with aclosing(voice.speak(clauses([text]))) as chunks:
        assert [chunk async for chunk in chunks][-1].last


class _Heard:
    """A recogniser under another name."""

    def __init__(self, name: str, stt: Stt) -> None:
        self.name = name
        self._stt = stt

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> SttSession:
        return await self._stt.open(request, hear)


class _Voiced:
    """A voice's vendor under another name."""

    def __init__(self, name: str, tts: Tts) -> None:
        self.name = name
        self._tts = tts

    async def open(self, request: TtsRequest) -> Voice:
        return await self._tts.open(request)


class _Named:
    """An LLM under another name."""

    def __init__(self, name: str, llm: object) -> None:
        self.name = name
        self._llm = llm

    def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        return self._llm.stream(request)  # type: ignore[attr-defined, no-any-return]


class _Says:
    def __init__(self, name: str) -> None:
        self.name = name

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        yield LlmText("Yes.")
        yield LlmEnd("stop", None)


def test_a_model_that_is_overloaded_or_unknown_keeps_the_others_of_its_vendor_asked() -> None:
    async def call() -> None:
        book = HealthBook()
        health = book.of("a", "llm")
        for _ in range(OPENS_AFTER):
            health.did_fail(fault("overloaded", "is full", "a"), "big")
        health.did_fail(of_status(404, "a", "model_not_found"), "gone")
        asked = [("a", "big"), ("a", "gone"), ("a", "small"), ("b", "any")]
        assert book.skipped(asked, "llm") == {0, 1}
        assert health.to_json()["models"] == {"big": "open", "gone": "open"}
        assert health.to_json()["breaker"] == "closed"
        health.did_well(100, "big")
        assert health.to_json()["models"] == {"gone": "open"}
        for _ in range(OPENS_AFTER):
            health.did_fail(gone(), "small")
        assert not health.allows("other"), "a host that cannot be reached has no models"

    run(call())


def test_a_vendor_that_stalls_in_every_answer_is_asked_after_the_others() -> None:
    async def call() -> None:
        short = Deadlines(llm_between_tokens_ms=50)
        async with FakeOpenAi() as first, FakeOpenAi() as second:
            first.faults.extend([Fault("stall", after=3)] * 99)
            book = HealthBook()
            choices = [
                LlmChoice(_Named("a", llm_at(first.url))),
                LlmChoice(_Named("b", llm_at(second.url))),
            ]
            for _ in range(OPENS_AFTER):
                with pytest.raises(ProviderError):
                    await _answered(SupervisedLlm(choices, short, book))
            await _answered(SupervisedLlm(choices, short, book))
            assert (first.connections, second.connections) == (OPENS_AFTER, 1)

    run(call())


async def _answered(llm: SupervisedLlm) -> None:
    async with aclosing(llm.stream(LLM)) as events:
        assert [event async for event in events]


def test_who_asks_to_be_left_alone_for_longer_than_there_is_time_is_not_asked_again() -> None:
    async def call() -> None:
        async with FakeOpenAi() as first, FakeOpenAi() as second:
            first.faults.append(status(503, retry_after_s=30))
            choices = [LlmChoice(llm_at(first.url)), LlmChoice(llm_at(second.url))]
            await _answered(SupervisedLlm(choices))
            assert (first.connections, second.connections) == (1, 1)
            first.faults.append(status(503, retry_after_s=0))
            await _answered(SupervisedLlm(choices))
            assert (first.connections, second.connections) == (3, 1)

    run(call())
