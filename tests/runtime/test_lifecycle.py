"""The status of a call: the moves there are, the ones that are refused, a carrier's reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.events import MoveRefused
from flowengine.runtime.lifecycle import FINAL, STATUSES, TABLE, Lifecycle, Status, Trigger, diagram

pytestmark = pytest.mark.unit

TRIGGERS: list[Trigger] = sorted({trigger for trigger, _, _ in TABLE})
CARRIER = [
    "queued",
    "initiated",
    "ringing",
    "in-progress",
    "completed",
    "busy",
    "failed",
    "no-answer",
    "canceled",
]


@pytest.mark.parametrize(
    ("moves", "status"),
    [
        ([], "queued"),
        (["ring"], "ringing"),
        (["ring", "answer"], "in_progress"),
        (["answer", "transfer"], "transferring"),
        (["answer", "transfer", "come_back"], "in_progress"),
        (["answer", "complete"], "completed"),
        (["answer", "transfer", "complete"], "completed"),
        (["ring", "find_busy"], "busy"),
        (["ring", "miss"], "no_answer"),
        (["ring", "cancel"], "canceled"),
        (["answer", "fail"], "failed"),
    ],
)
def test_a_call_goes_the_way_of_the_table(moves: list[Trigger], status: str) -> None:
    call = Lifecycle()
    assert [call.move(move) for move in moves] == [None] * len(moves)
    assert call.status == status
    assert call.is_over == (status in FINAL)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_is_not_in_the_table_is_refused(status: Status, trigger: Trigger) -> None:
    call = Lifecycle(status)
    target = {(source, name): target for name, sources, target in TABLE for source in sources}.get(
        (status, trigger)
    )
    refused = call.move(trigger)
    if target is None:
        assert refused == MoveRefused(trigger, f"not possible while {status}")
        assert call.status == status
    else:
        assert refused is None
        assert call.status == target


@pytest.mark.parametrize("status", sorted(FINAL))
def test_an_ended_call_stays_ended(status: Status) -> None:
    call = Lifecycle(status)
    assert all(call.move(trigger) is not None for trigger in TRIGGERS)
    assert call.status == status


def test_reports_move_a_call() -> None:
    call = Lifecycle()
    reports = ["queued", "initiated", "ringing", "in-progress", "completed"]
    assert [call.reported(name, number) for number, name in enumerate(reports)] == [None] * 5
    assert call.status == "completed"
    assert call.sequence == 4


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ("busy", "busy"),
        ("failed", "failed"),
        ("no-answer", "no_answer"),
        ("canceled", "canceled"),
        ("completed", "completed"),
    ],
)
def test_every_end_that_a_carrier_reports_is_known(report: str, status: str) -> None:
    call = Lifecycle("ringing")
    assert call.reported(report, 3) is None
    assert call.status == status


def test_late_and_repeated_reports_are_ignored_with_a_record() -> None:
    call = Lifecycle()
    assert call.reported("in-progress", 2) is None
    assert call.reported("ringing", 1) == MoveRefused("carrier status ringing", "late")
    assert call.reported("in-progress", 2) == MoveRefused("carrier status in-progress", "repeated")
    assert call.status == "in_progress"
    assert call.reported("in-progress", 5) == MoveRefused(
        "carrier status in-progress", "not possible while in_progress"
    )
    assert call.sequence == 5


def test_an_unknown_report_is_ignored_without_repeating_it() -> None:
    call = Lifecycle("ringing")
    refused = call.reported("+33600000001", 7)
    assert refused == MoveRefused("carrier status", "unknown")
    assert (call.status, call.sequence) == ("ringing", -1)


@given(st.permutations(list(enumerate(["initiated", "ringing", "in-progress", "completed"]))))
def test_the_last_report_counts_in_whatever_order_they_come(
    reports: list[tuple[int, str]],
) -> None:
    call = Lifecycle()
    for number, name in reports:
        call.reported(name, number)
    assert call.status == "completed"


@given(st.lists(st.tuples(st.sampled_from(CARRIER), st.integers(0, 8)), max_size=20))
def test_reports_never_move_backwards(reports: list[tuple[str, int]]) -> None:
    call = Lifecycle()
    order = {"queued": 0, "ringing": 1, "in_progress": 2, "transferring": 2}
    for name, number in reports:
        was, sequence = call.status, call.sequence
        refused = call.reported(name, number)
        assert call.sequence == max(sequence, number)
        if refused is not None:
            assert call.status == was
        assert was not in FINAL or call.status == was
        assert order.get(call.status, 3) >= order.get(was, 3)


def test_calls_do_not_share_a_status() -> None:
    one, other = Lifecycle(), Lifecycle()
    one.move("answer")
    assert (one.status, other.status) == ("in_progress", "queued")


def test_the_diagram_draws_each_move_once() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> queued"]
    moves = [f"    {a} --> {b}: {name}" for name, sources, b in TABLE for a in sources]
    ends = [f"    {status} --> [*]" for status in STATUSES if status in FINAL]
    assert sorted(lines[2:]) == sorted(moves + ends)
    assert "    transferring --> in_progress: come_back" in lines
