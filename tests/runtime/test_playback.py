"""Playback against a line that writes down what it is sent: order, cuts, pauses, marks, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import CarrierError
from flowengine.events import AudioSent, Input, LineClosed, MarkReached, Word
from flowengine.ports import LineEvent
from flowengine.runtime.playback import AHEAD_MS, Playback

pytestmark = pytest.mark.unit

SECOND = 8000


class Line:
    """Takes everything; `log` has it in order: audio as its length, `clear`, marks by name."""

    def __init__(self) -> None:
        self.log: list[int | str] = []
        self.audio = bytearray()
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_lost = False

    async def events(self) -> AsyncIterator[LineEvent]:
        return
        yield

    async def send_audio(self, audio: bytes) -> None:
        await self.gate.wait()
        if self.is_lost:
            raise CarrierError("line_lost", "gone")
        self.log.append(len(audio))
        self.audio += audio

    async def send_mark(self, name: str) -> None:
        self.log.append(f"mark {name}")

    async def clear(self) -> None:
        self.log.append("clear")

    async def close(self) -> None:
        return


class Stand:
    """A playback on a line, its reports, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.line = Line()
        self.reports: list[Input] = []
        self.now_ms = 0
        self.playback = Playback(self.line, self.reports.append, lambda: self.now_ms)

    async def turn(self) -> None:
        """Let the writer do all that it can."""
        for _ in range(300):
            await asyncio.sleep(0)

    @property
    def sent(self) -> list[AudioSent]:
        return [event for event in self.reports if isinstance(event, AudioSent)]


def played(script: Callable[[Stand], Awaitable[None]]) -> Stand:
    async def run() -> Stand:
        stand = Stand()
        writer = asyncio.create_task(stand.playback.run())
        await script(stand)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        return stand

    return asyncio.run(run())


def test_clauses_are_sent_in_order_with_a_mark_behind_each() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 1600, last=True, first_audio_ms=7)
        stand.playback.feed(1, 1, b"b" * 800)
        stand.playback.open(2)
        stand.playback.feed(2, 0, b"c" * 80, last=True)
        await stand.turn()
        assert bytes(stand.line.audio) == b"a" * 1600 + b"b" * 800
        stand.playback.feed(1, 1, b"", last=True)
        await stand.turn()
        stand.playback.mark_came("1")

    stand = played(script)
    assert bytes(stand.line.audio) == b"a" * 1600 + b"b" * 800 + b"c" * 80
    assert stand.line.log == [1600, "mark 1", 800, "mark 2", 80, "mark 3"]
    assert [(e.generation, e.clause, e.from_ms, e.audio_ms, e.last) for e in stand.sent] == [
        (1, 0, 0, 200, True),
        (1, 1, 0, 100, False),
        (1, 1, 100, 0, True),
        (2, 0, 0, 10, True),
    ]
    assert [event.first_audio_ms for event in stand.sent] == [7, None, None, None]
    assert stand.reports[-1] == MarkReached(1, 0)


def test_what_is_held_back_is_sent_at_once_when_it_is_released() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 800, last=True)
        stand.playback.open(2, held=True)
        stand.playback.feed(2, 0, b"b" * 1600, last=True, first_audio_ms=7)
        stand.playback.feed(2, 1, b"c" * 80)
        await stand.turn()
        assert bytes(stand.line.audio) == b"a" * 800
        assert stand.playback.wants(2, 2)
        stand.now_ms = 400
        stand.playback.release(2)
        await stand.turn()
        stand.playback.feed(2, 1, b"d" * 80, last=True)
        stand.playback.release(3)
        await stand.turn()

    stand = played(script)
    assert bytes(stand.line.audio) == b"a" * 800 + b"b" * 1600 + b"c" * 80 + b"d" * 80
    assert [event.first_audio_ms for event in stand.sent] == [None, 7, None, None]


@pytest.mark.parametrize("is_cut", [False, True])
def test_what_is_held_back_can_be_dropped_and_never_sounds(is_cut: bool) -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1, held=True)
        stand.playback.feed(1, 0, b"a" * 800, last=True)
        await stand.turn()
        if is_cut:
            stand.playback.cut(2)
        else:
            stand.playback.drop(1)
        assert not stand.playback.feed(1, 0, b"a" * 800)
        assert not stand.playback.wants(1, 0)
        stand.playback.release(1)
        stand.playback.open(2)
        stand.playback.feed(2, 0, b"b" * 80, last=True)
        await stand.turn()

    assert bytes(played(script).line.audio) == b"b" * 80


def test_no_more_than_ten_seconds_are_sent_ahead_and_marks_correct_the_estimate() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * (4 * SECOND), last=True)
        stand.playback.feed(1, 1, b"b" * (20 * SECOND), last=True)
        await stand.turn()
        assert len(stand.line.audio) <= AHEAD_MS * 8
        assert len(stand.line.audio) >= (AHEAD_MS - 1000) * 8
        # The line is slow: at 6 s it has just played the first four.
        stand.now_ms = 6000
        stand.playback.mark_came("1")
        stand.playback.feed(1, 2, b"", last=True)
        await stand.turn()

    stand = played(script)
    assert len(stand.line.audio) <= 14 * SECOND


def test_a_cut_empties_the_queue_and_clear_leaves_next() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * (3 * SECOND), last=True)
        stand.line.gate.clear()
        await stand.turn()
        stand.playback.cut(2)
        assert not stand.playback.feed(1, 1, b"late", last=True)
        stand.playback.open(2)
        stand.playback.feed(2, 0, b"b" * 160, last=True)
        stand.line.gate.set()
        await stand.turn()
        stand.playback.open(1)
        assert not stand.playback.feed(1, 0, b"older", last=True)

    stand = played(script)
    assert stand.line.log == [1600, "clear", 160, "mark 1"]
    assert bytes(stand.line.audio).endswith(b"b" * 160)


def test_a_mark_that_comes_back_after_a_clear_was_not_played() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 800, last=True)
        await stand.turn()
        stand.playback.cut(2)
        stand.playback.mark_came("1")
        stand.playback.open(2)
        stand.playback.feed(2, 0, b"b" * 800, last=True)
        await stand.turn()
        stand.playback.mark_came("1")
        stand.playback.mark_came("2")
        stand.playback.mark_came("nonsense")

    stand = played(script)
    marks = [event for event in stand.reports if isinstance(event, MarkReached)]
    assert marks == [MarkReached(2, 0)]


def test_a_quiet_line_is_not_cleared() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.cut(5)
        await stand.turn()

    assert played(script).line.log == []


def test_after_a_pause_it_goes_on_from_the_cut_word_without_telling_words_twice() -> None:
    words = (Word(4, 0, 400), Word(9, 500, 900), Word(14, 1000, 1900))

    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, bytes(range(200)) * 80, words, last=True)
        await stand.turn()
        stand.now_ms = 700
        stand.playback.pause()
        await stand.turn()
        stand.playback.feed(1, 1, b"z" * 80, last=True)
        await stand.turn()
        stand.playback.resume(1, 0, 500)
        await stand.turn()

    stand = played(script)
    assert stand.line.log.count("clear") == 1
    whole = bytes(range(200)) * 80
    assert bytes(stand.line.audio) == whole + whole[4000:] + b"z" * 80
    assert [word for event in stand.sent for word in event.words] == list(words)
    assert [(e.from_ms, e.audio_ms) for e in stand.sent] == [
        (0, 1000),
        (1000, 1000),
        (500, 1000),
        (1500, 500),
        (0, 10),
    ]


def test_words_that_the_actor_did_not_take_before_the_pause_are_told_again() -> None:
    words = (Word(4, 0, 400), Word(9, 1100, 1900))

    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 16000, words, last=True)
        await stand.turn()
        untold = stand.sent[1]
        stand.playback.pause([untold])
        stand.playback.resume(1, 0, 0)
        await stand.turn()

    stand = played(script)
    assert [event.words for event in stand.sent] == [words[:1], words[1:], (), words[1:]]


def test_after_a_pause_with_nothing_kept_only_what_is_new_is_sent() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 80, last=True)
        await stand.turn()
        stand.playback.pause()
        stand.playback.feed(1, 1, b"b" * 80, last=True)
        stand.playback.resume(2, 0, 0)
        await stand.turn()

    stand = played(script)
    assert bytes(stand.line.audio) == b"a" * 80 + b"b" * 80


def test_dropping_keeps_what_began_and_takes_nothing_new() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 800)
        await stand.turn()
        stand.playback.feed(1, 1, b"b" * 800, last=True)
        stand.playback.drop(1)
        assert stand.playback.wants(1, 0) and not stand.playback.wants(1, 1)
        assert not stand.playback.feed(1, 1, b"b", last=True)
        stand.playback.feed(1, 0, b"A" * 80, last=True)
        await stand.turn()

    stand = played(script)
    assert bytes(stand.line.audio) == b"a" * 800 + b"A" * 80
    assert stand.sent[-1].last


def test_a_lost_line_is_told_and_nothing_more_is_sent() -> None:
    async def script(stand: Stand) -> None:
        stand.line.is_lost = True
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 80, last=True)
        await stand.turn()

    stand = played(script)
    assert stand.reports[-1] == LineClosed("lost")
    assert stand.line.log == []


def test_audio_that_is_no_whole_number_of_ms_is_filled_up() -> None:
    async def script(stand: Stand) -> None:
        stand.playback.open(1)
        stand.playback.feed(1, 0, b"a" * 13)
        stand.playback.feed(1, 0, b"a" * 8, last=True)
        await stand.turn()

    stand = played(script)
    assert bytes(stand.line.audio) == b"a" * 21 + b"\xff" * 3
    assert sum(event.audio_ms for event in stand.sent) == 3


acts = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(0, 3), st.integers(0, 3000), st.booleans()),
        st.tuples(st.just("cut")),
        st.tuples(st.just("pause")),
        st.tuples(st.just("turn")),
        st.tuples(st.just("time"), st.integers(1, 3000)),
    ),
    max_size=25,
)


@given(acts)
def test_whatever_happens_nothing_older_than_a_cut_is_sent_after_its_clear(
    steps: list[tuple[object, ...]],
) -> None:
    async def script(stand: Stand) -> None:
        generation = 1
        clause = 0
        stand.playback.open(generation)
        for step in steps:
            match step:
                case ("feed", _, int(size), bool(last)):
                    stand.playback.feed(generation, clause, bytes([generation]) * size, last=last)
                    clause += last
                case ("cut",):
                    generation, clause = generation + 1, 0
                    stand.playback.cut(generation)
                    cut_at = len(stand.line.audio)
                    stand.playback.open(generation)
                    await stand.turn()
                    assert stand.line.audio[cut_at:].count(generation - 1) == 0
                case ("pause",):
                    stand.playback.pause()
                    stand.playback.resume(generation, clause, 0)
                case ("time", int(passed)):
                    stand.now_ms += passed
                case _:
                    await stand.turn()
        await stand.turn()

    stand = played(script)
    order = [event.generation for event in stand.sent]
    assert order == sorted(order)
    assert all(event.audio_ms <= 1000 for event in stand.sent)
