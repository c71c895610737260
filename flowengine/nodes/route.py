"""`route`: says nothing and waits for nothing; its guarded edges decide."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.nodes.stage import Outcome, Stage


class Route(Node):
    """A fork in the road."""

    needs_line: ClassVar[bool] = False
    family: ClassVar[Family] = "decide"

    kind: Literal["route"] = Field(description="Lets its edges decide.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (OutcomeSpec("done", needs_edge=True),)

    async def run(self, stage: Stage) -> Outcome:
        return Outcome("done")
