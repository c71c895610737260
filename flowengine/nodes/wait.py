"""`wait`: holds the caller for a time, or until a webhook resumes the call."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Duration, Text, duration_ms
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import comes_back


class Wait(Node):
    """Hold the line.

    Without `resume` it is `done` when the time has passed. With it, it is `done` when a webhook
    resumes the call under that name, and `timeout` when the time has passed.
    """

    speaks: ClassVar[bool] = True
    family: ClassVar[Family] = "act"

    kind: Literal["wait"] = Field(description="Holds the line.")
    say: Text | None = Field(None, description="Said first.")
    hold: Text | None = Field(None, description="Music or announcements, repeated meanwhile.")
    longest: Duration = Field("1m", description="How long it holds.")
    resume: str | None = Field(
        None, description="The name by which a webhook resumes the call.", min_length=1
    )

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        if self.resume is None:
            return (OutcomeSpec("done", needs_edge=True),)
        return (OutcomeSpec("done", {"body": "any"}, needs_edge=True), OutcomeSpec("timeout"))

    async def run(self, stage: Stage) -> Outcome:
        said = () if comes_back(stage) else stage.text(self.say)
        if said:
            await stage.say(said, interruptible=self.interruptible)
        hold = stage.text(self.hold)
        waited = await stage.wait(hold, duration_ms(self.longest), self.resume or "")
        if self.resume is None:
            return Outcome("done")
        return Outcome("done", {"body": waited.body}) if waited.resumed else Outcome("timeout")
