"""Limits of a flow, its inputs, and sub-flows that never come to an end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import networkx

from flowengine.flow.checks.subject import Subject, finding, listed, nearest, node_path
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_key, root
from flowengine.flow.variables import Variable

MOST_NODES = 2000


def too_many_nodes(subject: Subject) -> Iterator[Finding]:
    """More nodes than a flow may have."""
    count = len(subject.flow.nodes)
    if count > MOST_NODES:
        yield finding(
            "too_many_nodes",
            at_key(root, "nodes"),
            f"The flow has {count} nodes; {MOST_NODES} are allowed.",
            "Move parts of it into sub-flows.",
        )


def is_required(variable: Variable) -> bool:
    """Whether an input must be bound: it has no default, not even null."""
    return variable.input and "default" not in variable.model_fields_set


def unbound_inputs(subject: Subject) -> Iterator[Finding]:
    """Required inputs that number, route or campaign do not bind, when it is known what they do."""
    if subject.bound is None:
        return
    for name, variable in subject.flow.variables.items():
        if is_required(variable) and name not in subject.bound:
            yield finding(
                "unbound_input",
                at_key(at_key(root, "variables"), name),
                f"The input {name!r} is required and nothing binds it.",
                'Bind it by number, route or campaign, or give it a "default" (null: unset).',
            )


def _calls(flow: Flow) -> Iterator[tuple[str, str]]:
    """The node and the flow id of every sub-flow that a flow calls."""
    for name, node in flow.nodes.items():
        called = getattr(node, "flow", None)
        if isinstance(called, str):
            yield name, called


def subflows(subject: Subject) -> Iterator[Finding]:
    """Sub-flows that are not there, whose inputs are not bound, or which go round for ever."""
    flows: Mapping[str, Flow] = {**subject.subflows, subject.flow.id: subject.flow}
    calls: networkx.DiGraph[str] = networkx.DiGraph()
    for flow_id, flow in flows.items():
        calls.add_edges_from((flow_id, called) for _, called in _calls(flow))
    for name, called in _calls(subject.flow):
        path = at_key(node_path(name), "flow")
        if called not in flows and not subject.has_subflows:
            continue
        if called not in flows:
            others = [flow_id for flow_id in flows if flow_id != subject.flow.id]
            yield finding(
                "unknown_flow",
                path,
                f"There is no flow {called!r}.",
                nearest(called, others, "Give the flow along with this one."),
            )
            continue
        if networkx.has_path(calls, called, subject.flow.id):
            way = networkx.shortest_path(calls, called, subject.flow.id)
            yield finding(
                "flow_recursion",
                path,
                f"The flow {called!r} comes back to {subject.flow.id!r} by calling "
                f"{listed([*way[1:], called][:1])}: they would call each other for ever.",
                "End the sub-flow with a return, and lead an edge of its outcome back instead.",
                trace=[subject.flow.id, *way],
            )
        yield from _subflow_inputs(subject, name, flows[called])


def _subflow_inputs(subject: Subject, name: str, called: Flow) -> Iterator[Finding]:
    given = getattr(subject.node(name), "with_", None) or {}
    path = at_key(node_path(name), "with")
    inputs = [key for key, variable in called.variables.items() if variable.input]
    for key in inputs:
        if is_required(called.variables[key]) and key not in given:
            yield finding(
                "unbound_input",
                path if given else node_path(name),
                f"The flow {called.id!r} requires the input {key!r}, and nothing binds it.",
                f'Write "with": {{"{key}": "…"}}.',
            )
    for key in given:
        if key not in inputs:
            yield finding(
                "unknown_variable",
                at_key(path, key),
                f"The flow {called.id!r} has no input {key!r}.",
                nearest(key, inputs, "Drop it."),
            )
