"""`extract`: the LLM fills variables from what was said so far; the caller hears nothing."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Text, VariableName
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import written


class Extract(Node):
    """Fill variables from the conversation.

    It is `done` when the LLM answered, even if some variables stay unset: `known(x)` asks.
    """

    thinks: ClassVar[bool] = True
    needs_line: ClassVar[bool] = False
    family: ClassVar[Family] = "act"

    kind: Literal["extract"] = Field(description="Fills variables from the conversation.")
    values: tuple[VariableName, ...] = Field(description="The variables to fill.", min_length=1)
    prompt: Text | None = Field(None, description="What the LLM should mind.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (
            OutcomeSpec("done", needs_edge=True),
            OutcomeSpec("failed", {"reason": "string"}),
        )

    async def run(self, stage: Stage) -> Outcome:
        extracted = await stage.extract(self.values, written(stage, self.prompt))
        if extracted.failed:
            return Outcome("failed", {"reason": extracted.failed})
        return Outcome("done")
