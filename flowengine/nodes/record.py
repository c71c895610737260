"""`record`: records the caller after a beep."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Duration, Text, duration_ms
from flowengine.nodes import stage as asked
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import say_all


class Record(Node):
    """Record a message; `error` (`not_supported`) where that cannot be done."""

    speaks: ClassVar[bool] = True
    listens: ClassVar[bool] = True
    family: ClassVar[Family] = "act"

    kind: Literal["record"] = Field(description="Records the caller.")
    say: Text | None = Field(None, description="Said before the beep.")
    beep: bool = Field(True, description="Whether a beep tells the caller to speak.")
    silence: Duration = Field("3s", description="Quiet after which the recording ends.")
    longest: Duration = Field("2m", description="The longest recording.")
    finish: Annotated[str, Field(pattern=r"^[0-9*#]?$")] = Field(
        "#", description='The key that ends the recording; "" for none.'
    )
    transcribe: bool = Field(False, description="Whether it is written down too.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (
            OutcomeSpec("done", {"recording": "recording"}, needs_edge=True),
            OutcomeSpec("no_input"),
        )

    async def run(self, stage: Stage) -> Outcome:
        await say_all(stage, self.say, interruptible=self.interruptible)
        recorded = await stage.record(
            asked.Record(
                beep=self.beep,
                silence_ms=duration_ms(self.silence),
                longest_ms=duration_ms(self.longest),
                finish=self.finish,
                transcribe=self.transcribe,
            )
        )
        if recorded.recording:
            return Outcome("done", {"recording": recorded.recording})
        if recorded.failed == "silence":
            return Outcome("no_input")
        return Outcome("error", {"reason": recorded.failed})
