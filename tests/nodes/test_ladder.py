"""The retry ladder under every order of answers, against a model of two counters."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.nodes.stage import Outcome
from tests.nodes.scripted import SILENCE, ScriptedStage, heard, misfit, node, play, retry

pytestmark = pytest.mark.unit

Move = Literal["no_input", "no_match", "fits"]
ANSWERS = {"no_input": SILENCE, "no_match": misfit(), "fits": heard(choice="a")}


def expected(moves: list[Move], at_most: int) -> tuple[str, int]:
    """The outcome that two plain counters give, and how many answers are used."""
    left: dict[Move, int] = {"no_input": at_most, "no_match": at_most}
    for used, move in enumerate(moves, 1):
        if move == "fits":
            return "a", used
        if left[move] == 0:
            return move, used
        left[move] -= 1
    return "a", len(moves) + 1


@given(st.lists(st.sampled_from(["no_input", "no_match", "fits"])), st.integers(0, 3))
def test_ends_like_two_counters(moves: list[Move], at_most: int) -> None:
    outcome, used = expected(moves, at_most)
    answers = [ANSWERS[move] for move in [*moves, "fits"]][:used]
    stage = ScriptedStage(retry=retry(at_most=at_most, no_input="n{try}", no_match="m{try}"))
    played = play(node("menu", say="q{try}", choices={"a": {"key": "1"}}), stage, *answers)
    assert played.outcome.name == outcome
    assert len(played.said) == used
    assert [said.split()[-1] for said in played.said] == [f"q{n + 1}" for n in range(used)]


@pytest.mark.parametrize("own", [{}, {"at_most": None}])
def test_two_retries_when_nobody_says_otherwise(own: dict[str, None]) -> None:
    played = play(node("menu", choices={"a": {}}, retry=own), None, SILENCE, SILENCE, SILENCE)
    assert played.outcome == Outcome("no_input")
