"""The coarse status of a call: one table of moves, for our own acts and for a carrier's reports.

A move that the table does not know is refused with a fact for the journal; it never ends a call.
A carrier's reports may come late, twice or out of order: those are refused likewise.
`diagram()` draws the table, so that the documentation cannot differ from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from transitions import Machine, MachineError

from flowengine.events import MoveRefused

Status = Literal[
    "queued",
    "ringing",
    "in_progress",
    "transferring",
    "completed",
    "failed",
    "no_answer",
    "busy",
    "canceled",
]
Trigger = Literal[
    "ring", "answer", "transfer", "come_back", "complete", "fail", "miss", "find_busy", "cancel"
]

STATUSES: tuple[Status, ...] = get_args(Status)
FINAL: frozenset[str] = frozenset({"completed", "failed", "no_answer", "busy", "canceled"})
"""A call of this status is over."""

_OPEN: tuple[Status, ...] = ("queued", "ringing", "in_progress", "transferring")

TABLE: tuple[tuple[Trigger, tuple[Status, ...], Status], ...] = (
    ("ring", ("queued",), "ringing"),
    ("answer", ("queued", "ringing"), "in_progress"),
    ("transfer", ("in_progress",), "transferring"),
    ("come_back", ("transferring",), "in_progress"),
    # From every open status: the report that it was answered may have been lost.
    ("complete", _OPEN, "completed"),
    ("fail", _OPEN, "failed"),
    ("miss", ("queued", "ringing"), "no_answer"),
    ("find_busy", ("queued", "ringing"), "busy"),
    ("cancel", ("queued", "ringing"), "canceled"),
)
"""What may happen: trigger, statuses it may happen in, status it leads to."""

_CARRIER_TRIGGERS: Mapping[str, Trigger | None] = {
    "queued": None,
    "initiated": None,
    "ringing": "ring",
    "in-progress": "answer",
    "completed": "complete",
    "busy": "find_busy",
    "failed": "fail",
    "no-answer": "miss",
    "canceled": "cancel",
}
"""Twilio's names of a call's statuses; None: it tells us nothing that we do not know."""

_MACHINE = Machine(
    model=None,
    states=list(STATUSES),
    initial="queued",
    transitions=[
        {"trigger": trigger, "source": list(sources), "dest": target}
        for trigger, sources, target in TABLE
    ],
    auto_transitions=False,
)
"""One for all calls; a call is only a model, so that none is kept alive by the machine."""


class Lifecycle:
    """The status of one call, new or as the store keeps it."""

    def __init__(self, status: Status = "queued", sequence: int = -1) -> None:
        self.state: str = status
        """Named as `transitions` wants it; written by the machine alone."""
        self._sequence = sequence

    @property
    def status(self) -> str:
        return self.state

    @property
    def is_over(self) -> bool:
        return self.state in FINAL

    @property
    def sequence(self) -> int:
        """Number of the latest report that the carrier made; -1 before the first."""
        return self._sequence

    def move(self, trigger: Trigger) -> MoveRefused | None:
        """Move, or say why not; the status is then what it was."""
        was = self.state
        try:
            _MACHINE.events[trigger].trigger(self)
        except MachineError:
            return MoveRefused(what=trigger, reason=f"not possible while {was}")
        return None

    def reported(self, carrier_status: str, sequence: int) -> MoveRefused | None:
        """Take a carrier's report, in the order of its numbers, or say why it is ignored."""
        what = f"carrier status {carrier_status}"
        if carrier_status not in _CARRIER_TRIGGERS:
            return MoveRefused(what="carrier status", reason="unknown")
        if sequence <= self._sequence:
            repeated = sequence == self._sequence
            return MoveRefused(what=what, reason="repeated" if repeated else "late")
        self._sequence = sequence
        trigger = _CARRIER_TRIGGERS[carrier_status]
        if trigger is None:
            return None
        refused = self.move(trigger)
        return None if refused is None else MoveRefused(what=what, reason=refused.reason)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for trigger, sources, target in TABLE:
        lines += [f"    {source} --> {target}: {trigger}" for source in sources]
    lines += [f"    {status} --> [*]" for status in STATUSES if status in FINAL]
    return "\n".join(lines) + "\n"
