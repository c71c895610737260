"""The flows to which a routing table may lead: what is made ready, and what must be published."""

from __future__ import annotations

from collections.abc import Iterator

from flowengine.runtime.routes import AskTarget, FlowTarget, RouteTable, SplitTarget, Target


def flow_targets(table: RouteTable) -> list[FlowTarget]:
    """Every target of the table that is a flow, in the order of its rules; the last resort last."""
    return [
        target for to in (*(rule.to for rule in table.rules), table.last) for target in _flows(to)
    ]


def _flows(target: Target) -> Iterator[FlowTarget]:
    match target:
        case FlowTarget():
            yield target
        case SplitTarget():
            for side in target.split:
                yield from _flows(side.to)
        case AskTarget():
            yield from _flows(target.default)
        case _:
            return
