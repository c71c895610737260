"""`hangup`: says its last words to the end, then hangs up."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Text
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import say_all


class Hangup(Node):
    """End the call.

    Nobody can break into the last words. Where the caller is already gone it only gives the call
    its disposition.
    """

    speaks: ClassVar[bool] = True
    needs_line: ClassVar[bool] = False
    may_end: ClassVar[bool] = True
    family: ClassVar[Family] = "end"

    kind: Literal["hangup"] = Field(description="Hangs up.")
    say: Text | None = Field(None, description="The last words.")
    disposition: str = Field("", description="What came of the call, for reports and campaigns.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return ()

    async def run(self, stage: Stage) -> Outcome:
        await say_all(stage, self.say, interruptible=False)
        return Outcome("hung_up", disposition=self.disposition)
