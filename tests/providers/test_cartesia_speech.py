"""Cartesia's voices over loopback against the fake, and the clauses of its contexts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import ProviderError
from flowengine.events import Usage, Word
from flowengine.ports import Clause, SpeechChunk, TtsRequest, Voice
from flowengine.providers import cartesia_speech
from flowengine.providers.cartesia import make_tts
from flowengine.providers.cartesia_contexts import FlushedClauses, Frame, Spoken, read_frame
from flowengine.providers.cartesia_speech import CartesiaTts, generation
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.supervision import SupervisedTts, TtsChoice
from flowengine.testing.providers.cartesia import FakeCartesia
from flowengine.testing.providers.serving import KEY, Fault
from flowengine.testing.providers.speech import spoken_ms, tag_of
from tests.providers.running import clauses, run

pytestmark = pytest.mark.unit

VOICE = "f786b574-daa5-4673-aa0c-cbe3e8534c02"
SONIC = TtsRequest("sonic-3.5", VOICE, "en-US")
TEXTS = ["Good morning.", " How can I help you today?"]


def at(vendor: FakeCartesia, scheme: str = "http") -> CartesiaTts:
    url = vendor.url.replace("http", scheme)
    return make_tts(ProviderSettings({"CARTESIA_API_KEY": KEY, "CARTESIA_BASE_URL": url}))


async def spoken(voice: Voice, texts: list[str]) -> list[SpeechChunk]:
    async with aclosing(voice.speak(clauses(texts))) as chunks:
        return [chunk async for chunk in chunks]


def check(chunks: list[SpeechChunk], texts: list[str], first_tag: int) -> None:
    """Every clause in order with its one last chunk and the whole of its own audio."""
    numbers = [chunk.clause for chunk in chunks]
    assert numbers == sorted(numbers)
    assert [chunk.clause for chunk in chunks if chunk.last] == list(range(len(texts)))
    for number, text in enumerate(texts):
        audio = b"".join(chunk.audio for chunk in chunks if chunk.clause == number)
        assert len(audio) // 8 == spoken_ms(text.strip())
        assert tag_of(audio) == first_tag + number


def words_of(chunks: list[SpeechChunk], clause: int) -> list[Word]:
    return [word for chunk in chunks if chunk.clause == clause for word in chunk.words]


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_two_utterances_over_one_socket(scheme: str) -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            voice = await at(vendor, scheme).open(SONIC)
            check(await spoken(voice, TEXTS), TEXTS, 0)
            check(await spoken(voice, ["Bye."]), ["Bye."], 2)
            await vendor.until(lambda: vendor.finished == ["u1", "u2"])
            usage = await voice.close()
            said = sum(map(len, [*TEXTS, "Bye."]))
            assert usage == Usage("cartesia", "sonic-3.5", "characters", said, estimated=True)
            assert vendor.connections == 1
            assert vendor.said == ["Good morning.", "How can I help you today?", "Bye."]
            assert vendor.violations == []

    run(call())


def test_what_a_context_is_asked_for() -> None:
    options = {"speed": 1.1, "emotion": "calm", "pronunciation_dict_id": "p"}
    assert generation(replace(SONIC, language="de-DE", options=options)) == {
        "model_id": "sonic-3.5",
        "voice": {"mode": "id", "id": VOICE},
        "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
        "add_timestamps": True,
        "use_normalized_timestamps": False,
        "max_buffer_delay_ms": 0,
        "pronunciation_dict_id": "p",
        "language": "de",
        "generation_config": {"emotion": "calm", "speed": 1.1},
    }


def test_the_flows_options_are_seen_on_the_wire() -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            options = {"volume": 0.8, "max_buffer_delay_ms": 200}
            voice = await at(vendor).open(replace(SONIC, language="nl", options=options))
            check(await spoken(voice, TEXTS), TEXTS, 0)
            await voice.close()
            (body,) = vendor.bodies
            assert (body["language"], body["max_buffer_delay_ms"]) == ("nl", 200)
            assert body["generation_config"] == {"volume": 0.8}
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize("from_flush", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_words_lie_where_they_are_spoken(from_flush: bool, late: bool) -> None:
    """Nobody says whether times count from the context or from the flush."""

    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.times_from_flush, vendor.times_late = from_flush, late
            voice = await at(vendor).open(SONIC)
            chunks = await spoken(voice, ["Good morning.", "How are you?", "Well?"])
            assert words_of(chunks, 0) == [Word(4, 0, 260), Word(13, 325, 845)]
            assert words_of(chunks, 1) == [Word(3, 0, 195), Word(7, 260, 455), Word(12, 520, 780)]
            assert words_of(chunks, 2) == [Word(5, 0, 325)]
            await voice.close()

    run(call())


@pytest.mark.parametrize(("first", "numbers"), [(0, True), (1, True), (0, False)])
@pytest.mark.parametrize("times", [True, False])
def test_wherever_flushes_are_numbered_from(first: int, numbers: bool, times: bool) -> None:
    """Field: the vendor's pages begin at 1, its servers at 0."""

    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.first_flush, vendor.numbers_flushes, vendor.times = first, numbers, times
            voice = await at(vendor).open(SONIC)
            texts = ["One.", "Two of them.", "And three of them."]
            check(await spoken(voice, texts), texts, 0)
            await voice.close()
            assert vendor.violations == []

    run(call())


def test_a_clause_is_spoken_before_the_next_one_is_known() -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            voice = await at(vendor).open(SONIC)
            heard = asyncio.Event()

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, "One moment.")
                await heard.wait()
                yield Clause(1, "Here it is.")

            chunks: list[SpeechChunk] = []
            async with aclosing(voice.speak(thinking())) as speaking:
                async for chunk in speaking:
                    chunks.append(chunk)
                    if chunk.last and chunk.clause == 0:
                        heard.set()
            check(chunks, ["One moment.", "Here it is."], 0)
            await voice.close()
            assert len(vendor.bodies) == 1
            assert vendor.violations == []

    run(call())


def test_a_context_that_was_quiet_for_too_long_gets_no_more_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is gone a second after its last audio; text for it is not spoken."""
    monkeypatch.setattr(cartesia_speech, "_CONTEXT_S", 0.0)

    async def call() -> None:
        async with FakeCartesia() as vendor:
            voice = await at(vendor).open(SONIC)
            heard = asyncio.Event()

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, "One moment.")
                await heard.wait()
                yield Clause(1, "Here it is.")

            chunks: list[SpeechChunk] = []
            async with aclosing(voice.speak(thinking())) as speaking:
                async for chunk in speaking:
                    chunks.append(chunk)
                    if chunk.last and chunk.clause == 0:
                        heard.set()
            check(chunks, ["One moment.", "Here it is."], 0)
            assert words_of(chunks, 1)[0].start_ms == 0
            await voice.close()
            assert (len(vendor.bodies), vendor.finished[0]) == (2, "u1")
            assert vendor.violations == []

    run(call())


def test_a_context_that_the_vendor_ended_is_followed_by_another() -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.context_ms = 1
            voice = await SupervisedTts([TtsChoice(at(vendor))]).open(SONIC)
            ended = asyncio.Event()

            async def thinking() -> AsyncIterator[Clause]:
                yield Clause(0, "One moment.")
                await ended.wait()
                yield Clause(1, "Here it is.")

            chunks: list[SpeechChunk] = []
            speaking = voice.speak(thinking())
            async with aclosing(speaking):
                chunks.append(await anext(speaking))
                while not chunks[-1].last:
                    chunks.append(await anext(speaking))
                later = asyncio.create_task(anext(speaking))
                await vendor.until(lambda: vendor.over == ["u1"])
                ended.set()
                chunks.append(await later)
                async for chunk in speaking:
                    chunks.append(chunk)
            check(chunks, ["One moment.", "Here it is."], 0)
            await voice.close()
            assert vendor.violations == []

    run(call())


def test_a_clause_without_a_word_is_not_sent() -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            voice = await at(vendor).open(SONIC)
            chunks = await spoken(voice, [" ", "…", "Yes.", "—", "No.", "!"])
            assert [chunk.clause for chunk in chunks if chunk.last] == list(range(6))
            assert vendor.said == ["Yes.", "No."]
            assert await spoken(voice, ["…"]) == [SpeechChunk(0, b"", last=True)]
            usage = await voice.close()
            assert usage is not None and usage.amount_in == len("Yes.No.")

    run(call())


def test_what_a_barge_in_cut_never_comes_back() -> None:
    """What was begun is spoken to its end all the same, to nobody."""

    async def call() -> None:
        async with FakeCartesia() as vendor:
            voice = await at(vendor).open(SONIC)
            for place in range(4):
                vendor.holds_after = 2
                texts = ["A long sentence to break into.", "And another one."]
                async with aclosing(voice.speak(clauses(texts))) as speech:
                    assert tag_of((await anext(speech)).audio) == 2 * place
                vendor.holds_after = 0
                check(await spoken(voice, ["And now this."]), ["And now this."], 2 * place + 1)
            assert vendor.cancelled == ["u1", "u3", "u5", "u7"]
            await voice.close()
            assert vendor.connections == 1
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("cut", after=2), "dropped"),
        (Fault("garbage", after=2), "protocol"),
        (Fault("error", after=2), "bad_request"),
    ],
)
def test_a_failure_is_told_and_the_next_utterance_is_spoken(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.faults.append(fault)
            voice = await at(vendor).open(SONIC)
            with pytest.raises(ProviderError) as caught:
                await spoken(voice, TEXTS)
            assert caught.value.code == code
            assert "scripted" not in str(caught.value)
            await voice.close()
            voice = await at(vendor).open(SONIC)
            assert b"".join(chunk.audio for chunk in await spoken(voice, ["Sorry."]))
            await voice.close()

    run(call())


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (("voice_not_found", 404), "bad_request"),
        (("model_not_found", 400), "bad_request"),
        (("", 402), "quota"),
        (("quota_exceeded", 402), "quota"),
        (("concurrency_limited", 429), "rate_limit"),
        (("unauthorized", 401), "auth"),
        (("internal_error", 500), "unavailable"),
    ],
)
def test_the_vendors_errors_in_our_words(told: tuple[str, int], code: str) -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.error = told
            vendor.faults.append(Fault("error"))
            voice = await at(vendor).open(SONIC)
            with pytest.raises(ProviderError) as caught:
                await spoken(voice, TEXTS)
            assert (caught.value.code, caught.value.where) == (code, "cartesia")
            assert told[0] in str(caught.value)
            await voice.close()

    run(call())


@pytest.mark.parametrize("close_code", [1000, 1001, 1006, 1011, 1012])
def test_a_socket_that_died_between_utterances_is_opened_again(close_code: int) -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            voice = await SupervisedTts([TtsChoice(at(vendor))]).open(SONIC)
            check(await spoken(voice, ["One."]), ["One."], 0)
            if close_code == 1006:
                vendor.cut(vendor.sockets[0].scope)
            else:
                await vendor.sockets[0].close(close_code)
            check(await spoken(voice, ["Two."]), ["Two."], 1)
            await voice.close()
            assert vendor.connections == 2

    run(call())


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "auth"),
        (402, "quota"),
        (403, "auth"),
        (400, "bad_request"),
        (429, "rate_limit"),
        (503, "overloaded"),
    ],
)
def test_a_refused_handshake(status: int, code: str) -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.faults.append(Fault("refuse", status=status))
            with pytest.raises(ProviderError) as caught:
                await at(vendor).open(SONIC)
            assert caught.value.code == code

    run(call())


@pytest.mark.parametrize("kind", ["hang", "stall"])
def test_a_vendor_that_says_nothing_is_left_for_the_other_voice(kind: Any) -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor, FakeCartesia() as other:
            vendor.faults.extend([Fault(kind)] * 2)
            quick = Deadlines(tts_first_audio_ms=200, recovery_ms=1000)
            choices = [TtsChoice(at(vendor)), TtsChoice(at(other))]
            voice = await SupervisedTts(choices, quick).open(SONIC)
            check(await spoken(voice, TEXTS), TEXTS, 0)
            await voice.close()
            assert vendor.connections == 2

    run(call())


def test_a_context_that_ends_too_soon_is_asked_for_again() -> None:
    """Between two clauses another attempt goes on with the first that was not spoken."""

    async def call() -> None:
        async with FakeCartesia() as vendor:
            vendor.forgets_last = 1
            tts = SupervisedTts([TtsChoice(at(vendor))])
            voice = await tts.open(SONIC)
            chunks = await spoken(voice, TEXTS)
            assert [chunk.clause for chunk in chunks if chunk.last] == [0, 1]
            assert vendor.said == ["Good morning.", "How can I help you today?"]
            assert tts.counts == {"cartesia.dropped": 1, "cartesia.recovered": 1}
            await voice.close()

    run(call())


def test_what_breaks_in_the_source_of_clauses_is_raised() -> None:
    async def call() -> None:
        async def broken() -> AsyncIterator[Clause]:
            yield Clause(0, "Well.")
            raise LookupError("source")

        async with FakeCartesia() as vendor:
            voice = await at(vendor).open(SONIC)
            with pytest.raises(LookupError, match="source"):
                async for _ in voice.speak(broken()):
                    pass
            await voice.close()

    run(call())


@pytest.mark.parametrize(
    "asked", [replace(SONIC, options={"stability": 1}), replace(SONIC, voice="")]
)
def test_what_it_cannot_do_is_refused_before_it_is_asked(asked: TtsRequest) -> None:
    async def call() -> None:
        with pytest.raises(ProviderError) as caught:
            await CartesiaTts(KEY, "ws://127.0.0.1:9").open(asked)
        assert caught.value.code == "bad_request"

    run(call())


@pytest.mark.parametrize(
    "message", [b"{", b"[]", b"{}", b'{"type":"chunk"}', b'{"type":"chunk","data":7}']
)
def test_a_message_that_nobody_can_read(message: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        read_frame(message)
    assert caught.value.code == "protocol"


def test_a_message_that_tells_nothing() -> None:
    assert read_frame(orjson.dumps({"type": "phoneme_timestamps", "context_id": "u1"})) is None


def test_words_that_are_told_otherwise_than_written() -> None:
    """A number that is told as it is read stands for the next word of the text."""
    aligner = FlushedClauses()
    aligner.give(Clause(0, "That is 20 dollars, Zoë."))
    told = ["That", "is", "twenty", "dollars", "Zoë", "Zoë"]
    words = tuple(Spoken(word, nth * 100, nth * 100 + 90) for nth, word in enumerate(told))
    aligner.take(Frame("words", "u1", 0, words=words))
    aligner.take(Frame("audio", "u1", 0, bytes(800)))
    (last,) = aligner.take(Frame("flushed", "u1", 0))
    assert [word.end_char for word in last.words] == [7, 10, 19, 24]


_FRAMES = st.one_of(
    st.builds(
        Frame,
        st.just("audio"),
        st.just("u1"),
        st.none() | st.integers(0, 3),
        st.binary(max_size=900),
    ),
    st.builds(Frame, st.just("flushed"), st.just("u1"), st.none() | st.integers(0, 3)),
    st.builds(
        lambda flush, spoken: Frame("words", "u1", flush, words=tuple(spoken)),
        st.none() | st.integers(0, 3),
        st.lists(
            st.builds(
                Spoken,
                st.sampled_from(["a", "b,", "", "zz"]),
                st.integers(0, 500),
                st.integers(0, 500),
            ),
            max_size=3,
        ),
    ),
)


@given(
    st.lists(st.sampled_from(["a b, zz.", "…", " hm"]), max_size=4), st.lists(_FRAMES, max_size=20)
)
def test_whatever_comes_each_clause_ends_once_and_in_order(
    texts: list[str], frames: list[Frame]
) -> None:
    aligner = FlushedClauses()
    given = [Clause(number, text) for number, text in enumerate(texts)]
    chunks = [chunk for clause in given for chunk in aligner.give(clause)]
    for frame in frames:
        try:
            chunks += aligner.take(frame)
        except ProviderError:
            break  # a clause that is ended had no audio
    numbers = [chunk.clause for chunk in chunks]
    assert numbers == sorted(numbers)
    ends = [chunk.clause for chunk in chunks if chunk.last]
    assert ends == list(range(len(ends)))
    assert aligner.owes == (len(ends) < len(texts))
    for number, text in enumerate(texts):
        words = words_of(chunks, number)
        assert all(word.end_char <= len(text) for word in words)
        assert all(before.end_char < after.end_char for before, after in pairwise(words))


def sdk_at(vendor: FakeCartesia) -> Any:
    """Cartesia's own client, which speaks to the fake."""
    cartesia = pytest.importorskip("cartesia")
    ws = vendor.url.replace("http", "ws")
    return cartesia.AsyncCartesia(api_key=KEY, base_url=vendor.url, websocket_base_url=ws)


def test_cartesias_sdk_understands_the_fake() -> None:
    async def call() -> None:
        async with FakeCartesia() as vendor, sdk_at(vendor) as client:
            async with client.tts.websocket_connect() as connection:
                context = connection.context(
                    model_id="sonic-3.5",
                    voice={"id": VOICE},
                    output_format={
                        "container": "raw",
                        "encoding": "pcm_mulaw",
                        "sample_rate": 8000,
                    },
                    add_timestamps=True,
                    max_buffer_delay_ms=0,
                )
                await context.push("Good morning. ")
                await context.push("", flush=True)
                await context.push("How are you?")
                await context.no_more_inputs()
                seen = [event async for event in context.receive()]
                broken = connection.context(
                    model_id="sonic-3.5",
                    voice={"id": VOICE},
                    output_format={
                        "container": "raw",
                        "encoding": "pcm_mulaw",
                        "sample_rate": 8000,
                    },
                )
                vendor.holds_after = 1
                await broken.push("This is broken off in the middle.")
                async for event in broken.receive():
                    if event.type == "chunk":
                        await broken.cancel()
                        break
                await vendor.until(lambda: len(vendor.cancelled) == 1)
            kinds = [event.type for event in seen]
            assert kinds[-1] == "done"
            assert kinds.count("flush_done") == 1
            audio: dict[int, bytes] = {}
            for event in seen:
                if event.type == "chunk":
                    audio[event.flush_id] = audio.get(event.flush_id, b"") + event.audio
            assert [tag_of(audio[0]), tag_of(audio[1])] == [0, 1]
            told = [event.word_timestamps.words for event in seen if event.type == "timestamps"]
            assert told == [["Good", "morning."], ["How", "are", "you?"]]
            assert vendor.violations == []

    run(call())
