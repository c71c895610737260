"""Respelling for a voice: whole words only, and heard words counted in what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.events import Word
from flowengine.media.pronunciation import Pronunciation

pytestmark = pytest.mark.unit

TABLE = Pronunciation(
    {"SQL": "sequel", "siobhan": "shiv awn", "US": "you ess", "Dr. Ng": "doctor ing", "c": "see"}
)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("SQL is here.", "sequel is here."),
        ("MySQL and SQLite stay, SQL-92 does not.", "MySQL and SQLite stay, sequel-92 does not."),
        ("Siobhan, SIOBHAN and siobhan.", "shiv awn, shiv awn and shiv awn."),
        ("It is for us in the US.", "It is for us in the you ess."),
        ("Ask Dr. Ng!", "Ask doctor ing!"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_whole_words_are_respelt(written: str, spoken: str) -> None:
    assert TABLE.respelt(written).text == spoken


def test_words_end_where_they_were_written() -> None:
    respelt = TABLE.respelt("Ask Siobhan now")
    assert respelt.text == "Ask shiv awn now"
    told = (Word(3, 0, 100), Word(8, 100, 200), Word(12, 200, 300), Word(16, 300, 400))
    assert respelt.written(told) == (
        Word(3, 0, 100),
        Word(11, 100, 300),
        Word(15, 300, 400),
    )


def test_a_word_that_was_begun_is_not_heard() -> None:
    respelt = TABLE.respelt("Siobhan")
    assert respelt.written((Word(4, 0, 100),)) == ()


@given(st.lists(st.sampled_from(["SQL", "Siobhan", "a", "word,", "US", "us", "c", "10.5"])))
def test_whatever_is_said_the_words_fit_the_written_text(words: list[str]) -> None:
    written = " ".join(words)
    respelt = TABLE.respelt(written)
    told, at = [], 0
    for nth, word in enumerate(respelt.text.split()):
        at = respelt.text.index(word, at) + len(word)
        told.append(Word(at, nth * 100, nth * 100 + 100))
    ends = [word.end_char for word in respelt.written(tuple(told))]
    assert ends == [len(" ".join(words[: nth + 1])) for nth in range(len(words))]
    assert ends[-1:] in ([len(written)], [])
