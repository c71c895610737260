"""`flow`: runs another flow as a sub-flow and ends with the outcome that it returns."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Cel, FlowName, VariableName
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import evaluated


class SubFlow(Node):
    """Run another flow; what it may speak and hear is the business of its own nodes."""

    speaks: ClassVar[bool] = True
    listens: ClassVar[bool] = True
    thinks: ClassVar[bool] = True
    needs_line: ClassVar[bool] = False
    family: ClassVar[Family] = "act"

    kind: Literal["flow"] = Field(description="Runs another flow.")
    flow: FlowName = Field(description="The other flow's id.")
    with_: dict[VariableName, Cel] = Field(
        default_factory=dict, alias="with", description="Its inputs; what is unset stays unset."
    )

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        specs = {spec.name: spec for spec in flow.returns(self.flow) or ()}
        own = specs.pop("failed", OutcomeSpec("failed"))
        failed = replace(own, result={**own.result, "reason": "string"})
        return (*specs.values(), failed)

    async def run(self, stage: Stage) -> Outcome:
        ended = await stage.call_flow(self.flow, evaluated(stage, self.with_))
        if ended.failed:
            return Outcome("failed", {"reason": ended.failed})
        return Outcome(ended.outcome, ended.outputs)
