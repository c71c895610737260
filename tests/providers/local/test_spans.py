"""Words are laid over the audio in order, inside it, and end where the text's words end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.events import Word
from flowengine.providers.local.spans import sentences_in, words_in

pytestmark = pytest.mark.unit


def test_words_share_the_time_by_their_letters() -> None:
    words = words_in("ab cdef", first_char=10, begin_ms=100, end_ms=800)
    # Two letters, a gap of one, four letters: seven parts of 100 ms.
    assert words == (Word(12, 100, 300), Word(17, 400, 800))


def test_a_digit_takes_longer_than_a_letter() -> None:
    letter, digit = words_in("a 1", first_char=0, begin_ms=0, end_ms=600)
    assert letter.end_ms - letter.start_ms < digit.end_ms - digit.start_ms


def test_no_words_no_spans() -> None:
    assert words_in("  ", first_char=0, begin_ms=0, end_ms=100) == ()


@given(st.text(alphabet="ab1 ,.", max_size=60), st.integers(0, 500), st.integers(0, 5000))
def test_spans_are_ordered_and_inside(text: str, begin_ms: int, length_ms: int) -> None:
    words = words_in(text, first_char=0, begin_ms=begin_ms, end_ms=begin_ms + length_ms)
    assert [word.end_char for word in words] == [
        at + 1
        for at, char in enumerate(text)
        if not char.isspace() and (at + 1 == len(text) or text[at + 1].isspace())
    ]
    times = [time for word in words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert all(begin_ms <= time <= begin_ms + length_ms for time in times)


def test_sentences_are_found_in_their_text() -> None:
    text = "One. Two more!  Three?"
    assert sentences_in(text, ["One.", "Two more!", "Three?"]) == [
        (0, "One. "),
        (5, "Two more!  "),
        (16, "Three?"),
    ]


def test_a_rewritten_sentence_joins_the_one_before() -> None:
    assert sentences_in("One. Two.", ["One.", "2."]) == [(0, "One. Two.")]
    assert sentences_in("One. Two.", ["1.", "Two."]) == [(0, "One. Two.")]
    assert sentences_in("", []) == []
