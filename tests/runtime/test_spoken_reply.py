"""A reply that the LLM speaks itself: its sound by clauses, the caller's turn as sound, a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.ports import BYTES_PER_MS, Clause, SpeechChunk
from flowengine.runtime.spoken_reply import MS_A_CHARACTER, Shares, SpokenReply
from flowengine.runtime.turn_audio import AROUND_BYTES, TurnAudio, spoken_part
from flowengine.testing.providers.speech import silence, speech

pytestmark = pytest.mark.unit

# --- the sound of a reply, by clauses ---


def sound_of(chunks: list[SpeechChunk]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for chunk in chunks:
        found[chunk.clause] = found.get(chunk.clause, b"") + chunk.audio
    return found


@given(
    texts=st.lists(st.text("abc ", min_size=1, max_size=40), min_size=1, max_size=5),
    sizes=st.lists(st.integers(0, 20_000), max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_all_sound_goes_out_in_order_and_every_clause_ends_once(
    texts: list[str], sizes: list[int], order: Any
) -> None:
    whole = b"".join(bytes([index + 1]) * size for index, size in enumerate(sizes))
    shares, chunks, place = Shares(), list[SpeechChunk](), 0
    texts_left = [Clause(number, text) for number, text in enumerate(texts)]
    sizes_left = list(sizes)
    while texts_left or sizes_left:
        if texts_left and (not sizes_left or order.random() < 0.5):
            chunks += shares.text(texts_left.pop(0))
        else:
            size = sizes_left.pop(0)
            chunks += shares.sound(whole[place : place + size])
            place += size
    for end in order.sample([shares.text_over, shares.sound_over], 2):
        chunks += end()
    assert shares.is_over
    assert b"".join(chunk.audio for chunk in chunks) == whole
    assert [chunk.clause for chunk in chunks] == sorted(chunk.clause for chunk in chunks)
    assert [chunk.clause for chunk in chunks if chunk.last] == list(range(len(texts)))


def test_a_clause_gets_what_it_takes_to_say_it() -> None:
    shares = Shares()
    first, second = Clause(0, "Good morning."), Clause(1, "How can I help?")
    chunks = [*shares.text(first), *shares.text(second), *shares.sound(b"x" * 40_000)]
    chunks += [*shares.text_over(), *shares.sound_over()]
    sound = sound_of(chunks)
    assert len(sound[0]) == len(first.text) * MS_A_CHARACTER * BYTES_PER_MS
    assert len(sound[0]) + len(sound[1]) == 40_000


def test_a_reply_is_spoken_as_it_comes() -> None:
    async def play() -> list[SpeechChunk]:
        reply = SpokenReply()

        async def clauses() -> AsyncIterator[Clause]:
            yield Clause(0, "Yes.")
            await asyncio.sleep(0)
            reply.feed(b"b" * 100)
            yield Clause(1, "Of course.")
            reply.end()
            reply.end()
            reply.feed(b"late")

        reply.feed(b"a" * 100)
        return [chunk async for chunk in reply.speak(clauses())]

    chunks = asyncio.run(play())
    assert b"".join(chunk.audio for chunk in chunks) == b"a" * 100 + b"b" * 100
    assert [chunk.clause for chunk in chunks if chunk.last] == [0, 1]


# --- the caller's turn ---


def test_a_turn_is_what_was_said_since_the_turn_before() -> None:
    turns = TurnAudio()
    one, two = speech(400, 1), speech(600, 2)
    turns.caller(silence(900) + one + silence(900))
    first = turns.of_turn(1)
    assert one in first
    assert len(first) <= len(one) + 2 * AROUND_BYTES + 320
    turns.caller(silence(100) + two)
    again = turns.of_turn(1)
    assert one in again and two in again
    turns.caller(silence(500))
    assert turns.of_turn(2) == b""
    turns.caller(two)
    assert turns.of_turn(2).startswith(silence(300)) and two in turns.of_turn(2)
    assert spoken_part(b"") == b"" == spoken_part(silence(1000))


def test_a_turn_without_end_keeps_its_end() -> None:
    turns = TurnAudio()
    for _ in range(100):
        turns.caller(speech(2000, 3))
    assert len(turns.of_turn(1)) <= 60_000 * BYTES_PER_MS
    assert len(turns._audio) <= 120_000 * BYTES_PER_MS
