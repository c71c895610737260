"""Edges that can never be taken, and intents that cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator

from flowengine.flow.checks.subject import Leaving, Subject, edge_path, finding
from flowengine.flow.edge_model import Edge, OnDigits, OnIntent, OnOutcome, OnWhen
from flowengine.flow.findings import Finding
from flowengine.flow.kind import common_outcomes
from flowengine.flow.matcher import STOP_WORDS
from flowengine.flow.paths import at_key

ALIKE = 0.8
"""Share of common words from which two intents mean the same."""


def edges_never_taken(subject: Subject) -> Iterator[Finding]:
    """An edge that at every node it leaves stands behind one which takes everything."""
    for number, edge in enumerate(subject.flow.edges):
        if edge.if_ is not None and edge.if_.strip() == "false":
            yield _never(number, "its guard is never true", "Drop the edge, or write a guard.")
            continue
        sources = _sources(subject, edge)
        reasons = [_blocked(subject, name, Leaving(number, edge)) for name in sources]
        if edge.is_star and not isinstance(edge.on, OnOutcome):
            reasons = [_behind(Leaving(number, edge), subject.stars)]
        if reasons and all(reasons):
            reason = next(filter(None, reasons))
            yield _never(number, reason, "Drop it, move it up, or guard the other one.")


def _sources(subject: Subject, edge: Edge) -> list[str]:
    """The nodes that an edge leaves."""
    if edge.is_star:
        return [name for name in subject.flow.nodes if name != edge.to]
    return [name for name in dict.fromkeys(edge.sources) if name in subject.flow.nodes]


def _never(number: int, reason: str, fix: str) -> Finding:
    path = edge_path(number)
    return finding("edge_never_taken", path, f"The edge is never taken: {reason}.", fix)


def _blocked(subject: Subject, name: str, leaving: Leaving) -> str:
    """Why an edge can never be taken at a node; "" when it can."""
    on = leaving.edge.on
    if not isinstance(on, OnOutcome):
        node = subject.node(name)
        if not isinstance(on, OnWhen) and not (node.listens or node.speaks):
            return f"nobody can say or key anything in the {node.kind} node {name!r}"
        return "" if leaving.edge.is_star else _behind(leaving, subject.own[name])
    possible = subject.outcome_names(name)
    if not on.is_else:
        wanted = set(on.outcomes) & possible
        if not wanted or not subject.knows_outcomes(name):
            return ""  # An outcome that the node does not have is an error of its own.
    else:
        wanted = set(possible - common_outcomes)
    for outcome in sorted(wanted):
        if any(taker.number == leaving.number for taker in subject.takers(name, outcome)):
            return ""
    if not wanted:
        return f"{name!r} has no outcome that it could take"
    other = next((taker for taker in subject.takers(name, min(wanted)) if taker.is_open), None)
    if other is None:
        return "other edges take everything before it"
    return f"{edge_path(other.number)} takes everything before it"


def _behind(leaving: Leaving, others: tuple[Leaving, ...]) -> str:
    """Whether an open edge with the same trigger, or one with the same guard, comes first."""
    for other in others:
        if other.number >= leaving.number:
            return ""
        same_guard = other.edge.if_ == leaving.edge.if_ and not other.edge.need
        if not (other.is_open or (same_guard and other.edge.cooldown is None)):
            continue
        if _same_trigger(leaving.edge, other.edge):
            return f"{other.path} waits for the same and comes first"
    return ""


def _same_trigger(one: Edge, other: Edge) -> bool:
    if isinstance(one.on, OnDigits) and isinstance(other.on, OnDigits):
        return one.on.digits == other.on.digits
    if isinstance(one.on, OnWhen) and isinstance(other.on, OnWhen):
        return "".join(one.on.when.split()) == "".join(other.on.when.split())
    return False


def overlapping_intents(subject: Subject) -> Iterator[Finding]:
    """Two intents in force in one node that share their words: the choice would be a guess."""
    reported: set[tuple[int, int]] = set()
    for name in subject.flow.nodes:
        intents = [
            (leaving, leaving.edge.on)
            for leaving in (
                *subject.own[name],
                *(subject.stars if subject.stars_work(name) else ()),
            )
            if isinstance(leaving.edge.on, OnIntent)
            and not (leaving.edge.is_star and leaving.edge.to == name)
        ]
        for place, (late, second) in enumerate(intents):
            for early, first in intents[:place]:
                pair = (early.number, late.number)
                if pair in reported or early.edge.to == late.edge.to:
                    continue
                if early.edge.if_ or late.edge.if_ or not _alike(first, second):
                    continue
                reported.add(pair)
                yield finding(
                    "overlapping_intents",
                    at_key(at_key(late.path, "on"), "intent"),
                    f"In {name!r} this intent can hardly be told from that of {early.path}.",
                    'Say what sets them apart, or give examples and "not".',
                )


def _alike(one: OnIntent, other: OnIntent) -> bool:
    examples = {_bare(example) for example in one.examples}
    if examples & {_bare(example) for example in other.examples}:
        return True
    first, second = _words(one.intent), _words(other.intent)
    return bool(first) and len(first & second) >= ALIKE * len(first | second)


def _bare(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def _words(text: str) -> frozenset[str]:
    words = frozenset(_bare(text).split())
    return (words - STOP_WORDS) or words
