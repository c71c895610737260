"""What follows a transfer that left our line: the next number, the flow again, or the end.

Pure. A step is what a call's row holds as `pending`: `dial` with the numbers in order and `at`,
the place of the one that rings; `resume` with how it went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowengine.events import CallEnded, Input, Json
from flowengine.ports import CallRow, Dial, DialReport
from flowengine.runtime.actor import Actor
from flowengine.runtime.effects import Effect, LeaveLine, Report, SaveCheckpoint

_OUTCOMES: Mapping[str, str] = {
    "completed": "done",
    "answered": "done",
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
}
"""How the carrier's words for a dialled leg read in a flow."""


def dial_of(step: Mapping[str, Json], row: CallRow) -> Dial:
    """The dial of a step's present number."""
    shown = {"caller": row.from_number, "own": row.to_number}
    if row.direction == "outbound":
        shown = {"caller": row.to_number, "own": row.from_number}
    wanted = str(step["caller_id"])
    return Dial(
        to=step["to"][step.get("at", 0)],
        ring_s=step["ring_s"],
        longest_s=step["longest_s"],
        caller_id=shown.get(wanted, wanted),
        press=step.get("press", ""),
    )


def after_dial(step: Mapping[str, Json], report: DialReport) -> dict[str, Json]:
    """The step after a dial: the next number when this one did not answer, else back."""
    if step.get("do") != "dial":
        return dict(step)
    at = step.get("at", 0)
    outcome = _OUTCOMES.get(report.status, "failed")
    if outcome != "done" and at + 1 < len(step["to"]):
        return {**step, "at": at + 1}
    return {
        "do": "resume",
        "outcome": outcome,
        "to": step["to"][at],
        "seconds": report.seconds,
        "reason": "" if outcome == "done" else report.status,
    }


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended without another stream."""

    fact: CallEnded
    steps: tuple[tuple[Input, tuple[Effect, ...]], ...]
    """Its last inputs, each with what followed from it."""


def ends_without_media(actor: Actor, begin: Sequence[Input], now_ms: int) -> Ended | None:
    """Whether the call has nothing more to say: tried on an actor that is thrown away."""
    steps = tuple((event, tuple(actor.receive(event, now_ms))) for event in begin)
    effects = [effect for _, found in steps for effect in found]
    if not actor.is_over or not all(
        isinstance(effect, (Report, SaveCheckpoint, LeaveLine)) for effect in effects
    ):
        return None
    for effect in effects:
        if isinstance(effect, Report) and isinstance(effect.fact, CallEnded):
            return Ended(effect.fact, steps)
    return None
