"""The way a call took, read from its facts: each node entered, by which edge, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flowengine.events import Considered, EdgeDecided, Fact, Json, NodeEntered

LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Hop:
    """One node entered; `decision` is the record of the choice that led there, if one did."""

    at_ms: int
    node: str
    kind: str
    visit: int
    by: str
    decision: EdgeDecided | None = None

    @property
    def edge(self) -> str:
        """The edge that led here; "" at the start, in a sub-flow's first node, after a resume."""
        return (self.decision.edge or "") if self.decision else ""


def hops_of(facts: Iterable[tuple[int, Fact]]) -> tuple[Hop, ...]:
    """The hops of a call, from its facts with their times."""
    hops: list[Hop] = []
    leading: EdgeDecided | None = None
    for at_ms, fact in facts:
        if isinstance(fact, EdgeDecided) and fact.to is not None:
            leading = fact
        elif isinstance(fact, NodeEntered):
            is_led = fact.by not in ("start", "resume")
            hops.append(
                Hop(at_ms, fact.node, fact.kind, fact.visit, fact.by, leading if is_led else None)
            )
            leading = None
    return tuple(hops)


def told(hop: Hop) -> str:
    """One hop as a line for people."""
    time = f"{hop.at_ms / 1000:7.1f} s"
    again = f" (visit {hop.visit})" if hop.visit > 1 else ""
    decision = hop.decision
    if decision is None:
        return f"{time}  → {hop.node}{again}  by {hop.by}"
    why, by = reason_of(decision), decision.edge or decision.decided_by
    return f"{time}  {decision.node} → {hop.node}{again}  by {by}: {why}"


def reason_of(decision: EdgeDecided) -> str:
    """Why a choice came out as it did, in short."""
    what = ", ".join(
        name if value is True else f"{name} {value}" for name, value in decision.trigger.items()
    )
    taken = next((item for item in decision.considered if item.verdict == "taken"), None)
    parts = [what, f"decided by {decision.decided_by}"]
    if decision.quote:
        parts.append(f"“{decision.quote}”")
    if taken is not None and taken.guard:
        parts.append(f"{taken.guard} {_values(taken)}".strip())
    return "; ".join(part for part in parts if part)


def considered_line(item: Considered) -> str:
    """One edge that was looked at, as a line for people."""
    parts = [item.verdict.replace("_", " ")]
    if item.guard:
        parts.append(f"if {item.guard} {_values(item)}".strip())
    if item.score is not None:
        parts.append(f"score {item.score:.2f}")
    if item.reason:
        parts.append(item.reason)
    return f"{item.edge}: {'; '.join(parts)}"


def _values(item: Considered) -> str:
    if not item.values:
        return ""
    shown = (f"{name} = {_short(value)}" for name, value in item.values.items())
    return "(" + ", ".join(shown) + ")"


def _short(value: Json) -> str:
    """A value that fits on a line: a long list is only counted."""
    text = repr(value)
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{len(value)} items" if isinstance(value, list) else text[:LONGEST_SHOWN] + "…"
