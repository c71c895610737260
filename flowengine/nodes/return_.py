"""`return`: ends a sub-flow with an outcome that its caller's edges can take."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Cel, VariableName
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import evaluated


class Return(Node):
    """End this sub-flow."""

    needs_line: ClassVar[bool] = False
    may_end: ClassVar[bool] = True
    family: ClassVar[Family] = "end"

    kind: Literal["return"] = Field(description="Ends a sub-flow.")
    as_: str = Field(
        "done", alias="as", description="The outcome of the `flow` node that called.", min_length=1
    )
    with_: dict[VariableName, Cel] = Field(
        default_factory=dict,
        alias="with",
        description="Values that its `save` and edges read, beside the outputs.",
    )

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return ()

    def returns(self, flow: FlowFacts) -> OutcomeSpec:
        return OutcomeSpec(self.as_, dict.fromkeys(self.with_, "any"), needs_edge=True)

    async def run(self, stage: Stage) -> Outcome:
        return Outcome(self.as_, evaluated(stage, self.with_))
