"""The example flows as tests ring them: a line each, which keeps the edges that its calls took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FunctionType
from typing import Any

from flowengine.events import EdgeDecided, FaultMet, Json, MoveRefused, ToolCalled
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.program import Program
from flowengine.runtime.flow_files import FlowFiles
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import SimulatedCall, simulate

FLOWS = Path(__file__).parents[2] / "flows"

TUESDAY = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
"""Noon in New York, 10 a.m. in Phoenix: every one of the example companies is at work."""
TUESDAY_NIGHT = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
"""10 p.m. in New York: all are closed."""


class Line:
    """One of the flows, with its sub-flows, read as the server reads it."""

    def __init__(self, name: str) -> None:
        self.folder = FLOWS / name
        loaded = FlowFiles().load(self.folder / "flow.json")
        self.program: Program = loaded.program
        self.warnings: tuple[Finding, ...] = loaded.warnings
        self.flows: dict[str, Flow] = {"flow": self.program.flow}
        self.flows |= {name: inner.flow for name, inner in self.program.subflows.items()}
        self._taken: set[tuple[str, str]] = set()

    def ring(
        self, *script: Step, wall: datetime = TUESDAY, faults: int = 0, **world: Any
    ) -> SimulatedCall:
        """Ring once. However the call goes, the engine refuses nothing and meets no other fault."""
        call = simulate(self.program, script, wall=wall, **world)
        for decision in call.facts_of(EdgeDecided):
            if decision.edge is not None:
                self._taken.add(self._owner(decision))
        refused = [fact for fact in call.facts_of(MoveRefused) if not _is_nothing_to_save(fact)]
        assert not refused, refused
        assert len(call.facts_of(FaultMet)) == faults, call.facts_of(FaultMet)
        return call

    def _owner(self, decision: EdgeDecided) -> tuple[str, str]:
        """The flow that an edge belongs to: ids repeat among flows, edges do not."""
        owners = [
            stem
            for stem, flow in self.flows.items()
            for edge in flow.edges
            if edge.id == decision.edge
            and (edge.is_star or decision.node in edge.sources)
            and decision.node in flow.nodes
            and decision.to in (edge.to, "@back")
        ]
        assert len(owners) == 1, (decision.edge, decision.node, owners)
        return owners[0], str(decision.edge)

    def never_taken(self, tests: Mapping[str, Any]) -> list[str]:
        """The edges that no call of these tests takes; each test is run once more for it."""
        for name, test in tests.items():
            is_call = isinstance(test, FunctionType) and not test.__code__.co_argcount
            if name.startswith("test_") and is_call and "never_taken" not in test.__code__.co_names:
                test()
        return [
            f"{stem}: {edge.id} {json.dumps(edge.written())}"
            for stem, flow in self.flows.items()
            for edge in flow.edges
            if (stem, edge.id) not in self._taken
        ]


def _is_nothing_to_save(fact: MoveRefused) -> bool:
    """A sub-flow returned without the output that its node would save."""
    return fact.what == "save" and "Key not found" in fact.reason


def tools_called(call: SimulatedCall) -> list[tuple[str, Mapping[str, Json]]]:
    """The tools of a call with their arguments, in order."""
    return [(fact.tool, fact.arguments) for fact in call.facts_of(ToolCalled)]


def way(call: SimulatedCall) -> tuple[str, ...]:
    """The nodes entered, without the return of the line after a transfer."""
    return tuple(hop.node for hop in call.path if hop.by != "resume")
