"""Edges: triggers that the node can never have, outcomes that nothing takes."""

from __future__ import annotations

from collections.abc import Iterator

from flowengine.flow.checks.subject import (
    Leaving,
    Subject,
    finding,
    listed,
    nearest,
    node_path,
)
from flowengine.flow.edge_model import OnOutcome
from flowengine.flow.findings import Finding
from flowengine.flow.kind import common_outcomes, fallback_outcomes, hangup_outcomes
from flowengine.flow.paths import at_index, at_key

star_outcomes = fallback_outcomes | hangup_outcomes | common_outcomes | {"time_up"}
"""The outcomes that a `*` edge may carry."""


def _outcome_path(leaving: Leaving, outcome: str) -> str:
    """The path of one outcome in an edge's trigger, as it is written."""
    on = leaving.edge.on
    path = at_key(leaving.path, "on")
    if isinstance(on, OnOutcome) and len(on.outcomes) > 1:
        return at_index(path, on.outcomes.index(outcome))
    return path if "on" in leaving.edge.model_fields_set else leaving.path


def star_triggers(subject: Subject) -> Iterator[Finding]:
    """A `*` edge on `done`, a choice or `else`: only a node's own edge may take those."""
    for leaving in subject.stars:
        on = leaving.edge.on
        if not isinstance(on, OnOutcome):
            continue
        for outcome in on.outcomes:
            if outcome not in star_outcomes:
                yield finding(
                    "star_trigger",
                    _outcome_path(leaving, outcome),
                    f"An edge from anywhere cannot carry {outcome!r}.",
                    "Name the node that it leaves, or use an intent, keys, a value, 'error', "
                    "'hung_up', 'time_up' or an outcome that goes wrong, such as 'no_input'.",
                )


def unknown_outcomes(subject: Subject) -> Iterator[Finding]:
    """An edge on an outcome with which its node never ends."""
    for name, leavings in subject.own.items():
        if not subject.knows_outcomes(name):
            continue
        known = subject.outcome_names(name)
        for leaving in leavings:
            on = leaving.edge.on
            if not isinstance(on, OnOutcome) or on.is_else:
                continue
            for outcome in on.outcomes:
                if outcome not in known:
                    yield _unknown_outcome(subject, name, leaving, outcome)


def _unknown_outcome(subject: Subject, name: str, leaving: Leaving, outcome: str) -> Finding:
    kind = subject.node(name).kind
    known = subject.outcome_names(name)
    advice = nearest(outcome, known)
    if not subject.outcomes[name]:
        advice = f"A {kind} node has no outcome but {listed(sorted(known))}; drop the edge."
    elif outcome == "done":
        advice = f"Give the edge a trigger. {nearest('', known)}"
    return finding(
        "unknown_outcome",
        _outcome_path(leaving, outcome),
        f"The {kind} node {name!r} never ends with {outcome!r}.",
        advice,
    )


def unhandled_outcomes(subject: Subject) -> Iterator[Finding]:
    """A `done`, a choice or a return that no edge takes: the call would not know where to go."""
    for name in subject.flow.nodes:
        for spec in subject.outcomes[name]:
            if not spec.needs_edge:
                continue
            takers = list(subject.takers(name, spec.name))
            if any(taker.is_open for taker in takers) or _are_complements(takers):
                continue
            kind = subject.node(name).kind
            written = f'{{"from": "{name}", "on": "{spec.name}", "to": "…"}}'
            if takers:
                message = (
                    f"The {kind} node {name!r} can end with {spec.name!r} while no guard of "
                    "its edges holds."
                )
                fix = f'Add {{"from": "{name}", "on": "else", "to": "…"}} after them.'
            else:
                message = f"The {kind} node {name!r} can end with {spec.name!r}: no edge takes it."
                fix = f'Add {written}, or an edge on "else".'
            yield finding("unhandled_outcome", node_path(name), message, fix)


def _are_complements(takers: list[Leaving]) -> bool:
    """Whether one guard says exactly the opposite of another, and neither can be unknown."""
    guards = {
        "".join(taker.edge.if_.split())
        for taker in takers
        if taker.edge.if_ and not taker.edge.need and taker.edge.cooldown is None
    }
    sure = ("known(", "open(", "caller_in(")
    return any(
        guard.startswith(sure)
        and guard.count("(") == 1
        and guard.endswith(")")
        and f"!{guard}" in guards
        for guard in guards
    )
