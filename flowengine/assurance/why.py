"""Why a call went where it went: every choice of an edge, as its decision record has it.

For each: what happened at the node, the edges that were looked at with their guards, the values
these read and the verdict, who decided, and how long it took. Beside them stand faults, and the
passages that a search gave to the LLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from flowengine.events import (
    CallBegan,
    CallEnded,
    EdgeDecided,
    Fact,
    FaultMet,
    NodeEntered,
    PassagesFound,
    from_json,
)
from flowengine.ports import JournalRecord
from flowengine.testing.hops import considered_line, hops_of

Timed = tuple[int, Fact]


def facts_of(journal: Sequence[JournalRecord]) -> tuple[Timed, ...]:
    """The facts of a journal with their times."""
    return tuple(
        (record.at_ms, cast("Fact", from_json(record.body)))
        for record in journal
        if record.family == "fact"
    )


def why(facts: Sequence[Timed]) -> str:
    """The whole way as text for people; choices that took no edge are told too."""
    return "\n".join(line for at_ms, fact in facts for line in _lines(at_ms, fact))


def way(facts: Sequence[Timed]) -> str:
    """The nodes in one line."""
    return " → ".join(hop.node for hop in hops_of(facts))


def _lines(at_ms: int, fact: Fact) -> Iterator[str]:
    time = f"{at_ms / 1000:8.1f} s  "
    match fact:
        case CallBegan():
            yield f"{time}{fact.direction} call {fact.call_id}, flow {fact.flow_id}"
            yield f"{'':12}version {fact.version}"
        case NodeEntered():
            again = f", visit {fact.visit}" if fact.visit > 1 else ""
            yield f"{time}at {fact.node} ({fact.kind}{again}), entered by {fact.by}"
        case EdgeDecided():
            yield from _decision(time, fact)
        case PassagesFound():
            count = len(fact.passages)
            yield f"{time}{fact.tool}: {count} passage{'' if count == 1 else 's'} found"
            for item in fact.passages:
                heading = f", “{item['heading']}”" if item["heading"] else ""
                yield f"{'':12}· {item['file']}{heading}"
        case FaultMet():
            detail = f" ({fact.detail})" if fact.detail else ""
            yield f"{time}fault: {fact.part} {fact.code}{detail}"
        case CallEnded():
            reason = f" ({fact.reason})" if fact.reason else ""
            yield f"{time}ended: {fact.disposition}{reason}"
        case _:
            return


def _decision(time: str, fact: EdgeDecided) -> Iterator[str]:
    what = ", ".join(name if v is True else f"{name} {v}" for name, v in fact.trigger.items())
    if fact.edge is not None:
        outcome = f"{fact.edge} to {fact.to}"
    elif fact.to is not None:
        outcome = f"to {fact.to}"
    else:
        outcome = "the built-in end" if fact.decided_by == "built_in" else "no edge"
    took = f" in {fact.took_ms} ms" if fact.took_ms else ""
    yield f"{time}{fact.node}: {what} → {outcome}, decided by {fact.decided_by}{took}"
    if fact.quote:
        yield f"{'':12}the caller: “{fact.quote}”"
    for item in fact.considered:
        mark = "✓" if item.verdict == "taken" else "·"
        yield f"{'':12}{mark} {considered_line(item)}"
