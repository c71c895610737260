"""The reasoning that opens an answer is not spoken, wherever its pieces are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.media.thoughts import ThoughtFilter

pytestmark = pytest.mark.unit


def said(text: str, cuts: list[int]) -> str:
    filtered = ThoughtFilter()
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    spoken = [filtered.push(text[a:b]) for a, b in itertools.pairwise(edges)]
    return "".join([*spoken, filtered.finish()])


CUTS = st.lists(st.integers(0, 200), max_size=12)


@given(CUTS)
@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("<think>\nHe wants a table.\n</think>\n\nFor how many?", "For how many?"),
        ("\n<think></think>Yes.", "Yes."),
        ("Yes.", "Yes."),
        ("  Yes <think> is a tag.", "  Yes <think> is a tag."),
        ("<thin air", "<thin air"),
        ("<th", "<th"),
        ("", ""),
        ("<think>It never ends", ""),
    ],
)
def test_only_the_answer_is_said(written: str, spoken: str, cuts: list[int]) -> None:
    assert said(written, cuts).strip() == spoken.strip()


@given(st.text(alphabet="<think>/ ab.", max_size=40), CUTS)
def test_an_answer_that_opens_with_words_is_said_whole(text: str, cuts: list[int]) -> None:
    assert said("A" + text, cuts) == "A" + text
