"""`tool`: calls a tool of the flow, and says something while it runs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Cel, Text, ToolName
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import evaluated

_result = {"status": "integer", "body": "any", "error": "string"}


class Tool(Node):
    """Call a tool. `done` is an answer that says so (HTTP 2xx)."""

    speaks: ClassVar[bool] = True
    needs_line: ClassVar[bool] = False
    family: ClassVar[Family] = "act"

    kind: Literal["tool"] = Field(description="Calls a tool.")
    tool: ToolName = Field(description="The tool, by its name in `tools`.")
    with_: dict[str, Cel] = Field(
        default_factory=dict,
        alias="with",
        description="The tool's inputs; what is unset is sent as null.",
    )
    say: Text | None = Field(None, description="Said while the tool runs.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (
            OutcomeSpec("done", _result, needs_edge=True),
            OutcomeSpec("failed", _result),
            OutcomeSpec("timeout", _result),
        )

    async def run(self, stage: Stage) -> Outcome:
        arguments = evaluated(stage, self.with_)
        ended = await stage.call_tool(self.tool, arguments, stage.text(self.say))
        result = {"status": ended.status, "body": ended.body, "error": ended.error}
        return Outcome(ended.outcome, result)
