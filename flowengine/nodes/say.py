"""`say`: speaks, and may press keys for another voice menu at the far end."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Text
from flowengine.nodes.pressing import PressedKeys
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import comes_back, say_all


class Say(Node):
    """Say something.

    After a crash it is said again (nobody knows what was heard); after `@back` it is not.
    """

    speaks: ClassVar[bool] = True

    kind: Literal["say"] = Field(description="Says something, or presses keys.")
    say: Text | None = Field(None, description="What is said.")
    press: PressedKeys | None = Field(
        None, description="Keys sent to the far end afterwards, for another voice menu."
    )

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (OutcomeSpec("done", needs_edge=True),)

    async def run(self, stage: Stage) -> Outcome:
        if not comes_back(stage):
            await say_all(stage, self.say, interruptible=self.interruptible)
        if self.press:
            await stage.send_digits(stage.string(self.press))
        return Outcome("done")
