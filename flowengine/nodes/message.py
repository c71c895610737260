"""`message`: sends an SMS."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Text
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import written


class Message(Node):
    """Send a text message; `error` (`not_supported`) where the carrier sends none."""

    needs_line: ClassVar[bool] = False
    family: ClassVar[Family] = "act"

    kind: Literal["message"] = Field(description="Sends an SMS.")
    to: Text | None = Field(None, description="The number; without it, the other party.")
    text: Text = Field(description="What is written.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (
            OutcomeSpec("done", needs_edge=True),
            OutcomeSpec("failed", {"reason": "string"}),
        )

    async def run(self, stage: Stage) -> Outcome:
        sent = await stage.send_message(written(stage, self.to), written(stage, self.text))
        if not sent.failed:
            return Outcome("done")
        name = "error" if sent.failed == "not_supported" else "failed"
        return Outcome(name, {"reason": sent.failed})
