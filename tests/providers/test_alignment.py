"""Which audio belongs to which clause: properties over random texts, pieces and alignments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.events import Word
from flowengine.ports import BYTES_PER_MS, Clause, SpeechChunk
from flowengine.providers.alignment import Alignment, ClauseAligner

pytestmark = pytest.mark.unit

TEXTS = st.lists(
    st.text(alphabet="ab c.,é1\n", min_size=1, max_size=25).filter(lambda text: text.strip() != ""),
    min_size=1,
    max_size=5,
)
CHAR_MS = 10


def aligned(text: str, start_ms: int = 0) -> Alignment:
    starts = [start_ms + nth * CHAR_MS for nth in range(len(text))]
    return Alignment(list(text), starts, [CHAR_MS] * len(text))


def sound(chars: int, first: int = 0) -> bytes:
    """Ten ms a character; every character has a byte of its own."""
    step = CHAR_MS * BYTES_PER_MS
    return b"".join(bytes([(first + nth) % 256]) * step for nth in range(chars))


def of_clause(chunks: list[SpeechChunk], number: int) -> list[SpeechChunk]:
    return [chunk for chunk in chunks if chunk.clause == number]


def check(chunks: list[SpeechChunk], texts: list[str], audio: bytes) -> None:
    """What `SpeechChunk` promises."""
    assert b"".join(chunk.audio for chunk in chunks) == audio
    numbers = [chunk.clause for chunk in chunks]
    assert numbers == sorted(numbers)
    for number, text in enumerate(texts):
        own = of_clause(chunks, number)
        assert [chunk.last for chunk in own] == [False] * (len(own) - 1) + [True]
        words = [word for chunk in own for word in chunk.words]
        assert all(0 < word.end_char <= len(text) for word in words)
        assert [word.end_char for word in words] == sorted({word.end_char for word in words})


@given(texts=TEXTS, sizes=st.lists(st.integers(1, 9), min_size=1), joined=st.booleans())
def test_aligned_audio_is_cut_at_the_clause(
    texts: list[str], sizes: list[int], joined: bool
) -> None:
    aligner = ClauseAligner()
    chunks: list[SpeechChunk] = []
    for number, text in enumerate(texts):
        chunks += aligner.give(Clause(number, text))
    sent = "".join(f"{text} " for text in texts)
    pieces = [sent] if joined else []
    at = 0
    while at < len(sent) and not joined:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(sent[at : at + size])
        at += size
    done = 0
    for piece in pieces:
        chunks += aligner.take(sound(len(piece), done), aligned(piece))
        done += len(piece)
    assert aligner.is_spoken
    chunks += aligner.settle()
    check(chunks, texts, sound(len(sent)))
    assert not aligner.owes
    place = 0
    for number, text in enumerate(texts):
        own = of_clause(chunks, number)
        words = [word for chunk in own for word in chunk.words]
        assert len(words) == len(text.split())
        solid = place + len(text) - len(text.lstrip())
        first = b"".join(chunk.audio for chunk in own)[:1]
        assert first in (bytes([solid % 256]), bytes([place % 256]))
        place += len(text) + 1


@given(texts=TEXTS, lengths=st.lists(st.integers(0, 4000), max_size=8), early=st.integers(0, 5))
def test_unaligned_audio_is_all_given_out(texts: list[str], lengths: list[int], early: int) -> None:
    aligner = ClauseAligner()
    chunks: list[SpeechChunk] = []
    audio = b""
    waiting = [Clause(number, text) for number, text in enumerate(texts)]
    for clause in waiting[: max(1, early)]:
        chunks += aligner.give(clause)
    rest = waiting[max(1, early) :]
    for length in lengths:
        audio += sound(1)[:1] * length
        chunks += aligner.take(sound(1)[:1] * length, None)
        if rest:
            chunks += aligner.give(rest.pop(0))
    for clause in rest:
        chunks += aligner.give(clause)
    chunks += aligner.settle()
    check(chunks, texts, audio)


def test_words_count_from_the_clause_and_come_with_their_audio() -> None:
    aligner = ClauseAligner()
    chunks = [*aligner.give(Clause(0, "Hi you.")), *aligner.give(Clause(1, "So what?"))]
    text = "Hi you. So what? "
    chunks += aligner.take(sound(len(text)), aligned(text))
    chunks += aligner.settle()
    check(chunks, ["Hi you.", "So what?"], sound(len(text)))
    assert [word for chunk in of_clause(chunks, 0) for word in chunk.words] == [
        Word(2, 0, 20),
        Word(7, 30, 70),
    ]
    assert [word for chunk in of_clause(chunks, 1) for word in chunk.words] == [
        Word(2, 0, 20),
        Word(8, 30, 80),
    ]


def test_alignment_ahead_of_its_audio() -> None:
    aligner = ClauseAligner()
    chunks = [*aligner.give(Clause(0, "ab")), *aligner.give(Clause(1, "cd"))]
    chunks += aligner.take(sound(1), aligned("ab cd "))
    assert all(not chunk.words for chunk in chunks)
    before = aligner.is_spoken
    chunks += aligner.take(sound(5, 1), None)
    assert (before, aligner.is_spoken) == (False, True)
    chunks += aligner.settle()
    check(chunks, ["ab", "cd"], sound(6))
    assert b"".join(chunk.audio for chunk in of_clause(chunks, 0)) == sound(3)


def test_a_clause_without_a_word_is_done_in_its_turn() -> None:
    aligner = ClauseAligner()
    assert aligner.give(Clause(0, " \n")) == [SpeechChunk(0, b"", last=True)]
    chunks = [*aligner.give(Clause(1, "ab")), *aligner.give(Clause(2, "  "))]
    chunks += aligner.take(sound(3), aligned("ab "))
    chunks += aligner.settle()
    assert [chunk.clause for chunk in chunks if chunk.last] == [1, 2]


def test_plausible_length_without_alignment() -> None:
    aligner = ClauseAligner()
    aligner.give(Clause(0, "a" * 100))
    aligner.take(b"\x00" * (1000 * BYTES_PER_MS), None)
    before = aligner.is_plausible
    aligner.take(b"\x00" * (1700 * BYTES_PER_MS), None)
    assert (before, aligner.is_plausible) == (False, True)
    assert not aligner.is_spoken
