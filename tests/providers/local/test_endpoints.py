"""Beginnings, pauses and ends of utterances, from probabilities alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.providers.local.endpoints import Change, Endpoints

pytestmark = pytest.mark.unit

LOUD, QUIET = 0.9, 0.0


def _changes(
    probabilities: list[float], endpointing_ms: int = 500, *, is_patient: bool = False
) -> list[tuple[int, Change]]:
    endpoints = Endpoints(window_ms=32)
    found = []
    for number, probability in enumerate(probabilities):
        change = endpoints.feed(probability, endpointing_ms=endpointing_ms, is_patient=is_patient)
        if change is not None:
            found.append((number, change))
    return found


def test_an_utterance_begins_pauses_and_ends() -> None:
    # 200 ms of quiet are 7 windows, 500 ms are 16.
    assert _changes([QUIET] * 3 + [LOUD] * 10 + [QUIET] * 20) == [
        (4, Change.BEGUN),
        (19, Change.PAUSED),
        (28, Change.ENDED),
    ]


def test_speech_in_a_pause_resumes() -> None:
    changes = _changes([LOUD] * 5 + [QUIET] * 10 + [LOUD] * 5 + [QUIET] * 16)
    assert [change for _, change in changes] == [
        Change.BEGUN,
        Change.PAUSED,
        Change.RESUMED,
        Change.PAUSED,
        Change.ENDED,
    ]


def test_one_loud_window_is_no_speech() -> None:
    assert _changes([QUIET, LOUD, QUIET] * 10) == []


def test_an_endpoint_shorter_than_a_pause_ends_without_one() -> None:
    changes = _changes([LOUD] * 5 + [QUIET] * 10, endpointing_ms=100)
    assert [change for _, change in changes] == [Change.BEGUN, Change.ENDED]


def test_a_faint_word_is_speech_only_where_digits_are_expected() -> None:
    faint = [LOUD] * 5 + [QUIET] * 10 + [0.15] * 8 + [QUIET] * 10
    assert _changes(faint)[-1] == (20, Change.ENDED)
    assert _changes(faint, is_patient=True)[-1][1] is Change.PAUSED


def test_a_click_holds_no_word() -> None:
    endpoints = Endpoints(window_ms=32)
    for probability in [LOUD, LOUD, QUIET]:
        endpoints.feed(probability, endpointing_ms=300)
    assert endpoints.speaking
    assert not endpoints.is_speech
    endpoints.feed(LOUD, endpointing_ms=300)
    assert endpoints.is_speech
    endpoints.taken()
    assert not endpoints.is_speech


@given(st.lists(st.floats(0, 1), max_size=300), st.sampled_from([100, 300, 1000]))
def test_changes_come_in_order(probabilities: list[float], endpointing_ms: int) -> None:
    follows = {
        None: {Change.BEGUN},
        Change.BEGUN: {Change.PAUSED, Change.ENDED},
        Change.PAUSED: {Change.RESUMED, Change.ENDED},
        Change.RESUMED: {Change.PAUSED, Change.ENDED},
        Change.ENDED: {Change.BEGUN},
    }
    before: Change | None = None
    for _, change in _changes(probabilities, endpointing_ms):
        assert change in follows[before]
        before = change


@given(st.lists(st.floats(0, 1), max_size=100))
def test_quiet_always_ends_what_began(probabilities: list[float]) -> None:
    changes = [change for _, change in _changes([*probabilities, *[QUIET] * 20])]
    assert changes.count(Change.BEGUN) == changes.count(Change.ENDED)
