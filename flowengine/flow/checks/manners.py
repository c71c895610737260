"""What callers suffer from: apologies instead of a way on, no person, silence after silence."""

from __future__ import annotations

from collections.abc import Iterator

from flowengine.flow.checks.subject import Subject, edge_path, finding, listed, node_path
from flowengine.flow.edge_model import OnOutcome
from flowengine.flow.findings import Finding
from flowengine.flow.kind import fallback_outcomes
from flowengine.flow.paths import at_key, root


def apologies(subject: Subject) -> Iterator[Finding]:
    """Outcomes that go wrong and have no edge: the caller hears an apology and the call ends.

    A flow with a return is a sub-flow, in which the `*` edges of the flow around it hold too.
    """
    if any(node.returns(subject.around) for node in subject.flow.nodes.values()):
        return
    rescuers = {
        leaving.edge.to
        for leaving in subject.stars
        if isinstance(leaving.edge.on, OnOutcome) and "error" in leaving.edge.on.outcomes
    }
    without_error: list[str] = []
    for name, node in subject.flow.nodes.items():
        if name not in subject.reachable or not subject.outcomes[name]:
            continue
        if _is_taken(subject, name, "error"):
            continue
        lost = [
            spec.name
            for spec in subject.outcomes[name]
            if spec.name in fallback_outcomes and not _is_taken(subject, name, spec.name)
        ]
        if lost:
            yield finding(
                "apology",
                node_path(name),
                f"{listed(lost)} of the {node.kind} node {name!r} ends in the built-in apology.",
                f'Add an edge on {listed(lost)}, on "else" or on "error".',
            )
        elif name not in rescuers:
            without_error.append(name)
    if without_error:
        yield finding(
            "apology",
            at_key(root, "edges"),
            f"An error in {listed(without_error)} ends in the built-in apology.",
            'Add {"from": "*", "on": "error", "to": "…"}.',
        )


def _is_taken(subject: Subject, node: str, outcome: str) -> bool:
    return any(taker.is_open for taker in subject.takers(node, outcome))


def no_person(subject: Subject) -> Iterator[Finding]:
    """No transfer can be reached; a flow with a return leaves that to the flow around it."""
    kinds = {subject.node(name).kind for name in subject.reachable}
    if subject.reachable and not kinds & {"transfer", "return"}:
        yield finding(
            "no_person",
            at_key(root, "nodes"),
            "The caller cannot get to a person: no transfer can be reached.",
            'Add a transfer and lead {"from": "*", "on": {"intent": "The caller asks for a '
            'person"}, "to": "…"} to it.',
        )


def silent_entries(subject: Subject) -> Iterator[Finding]:
    """After silence or words that did not fit, the next node must speak: the last one does not."""
    for number, edge in enumerate(subject.flow.edges):
        on = edge.on
        if not isinstance(on, OnOutcome) or edge.to not in subject.flow.nodes:
            continue
        heard_nothing = {"no_input", "no_match"} & set(on.outcomes)
        silent = _first_listener(subject, edge.to)
        if heard_nothing and silent:
            yield finding(
                "silent_entry",
                at_key(edge_path(number), "to"),
                f"After {listed(sorted(heard_nothing))} nothing was said, and {silent!r} opens "
                "with silence too.",
                f'Give {silent!r} a "say".',
            )


def _first_listener(subject: Subject, name: str) -> str:
    """The node that listens without having said anything, from this one on; "" when one speaks."""
    seen: set[str] = set()
    while name in subject.flow.nodes and name not in seen:
        seen.add(name)
        node = subject.node(name)
        if getattr(node, "say", None):
            return ""
        if isinstance(getattr(node, "flow", None), str) or getattr(node, "beep", False):
            return ""  # Its own first node opens; a beep is no silence.
        if node.listens and "no_input" in subject.outcome_names(name):
            return name
        onward = [taker.edge.to for taker in subject.takers(name, "done") if taker.is_open]
        name = onward[0] if onward else ""
    return ""
