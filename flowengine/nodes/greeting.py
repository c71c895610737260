"""`greeting`: opens the call: the answer and machine detection, the notice, the first words."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import FlowFacts, Node, OutcomeSpec
from flowengine.flow.models import FlowModel
from flowengine.flow.types import Duration, Text, duration_ms
from flowengine.nodes.stage import Expect, Outcome, Silence, Stage
from flowengine.nodes.wording import comes_back, opens, say_all


class MachineDetection(FlowModel):
    """What to do about answering machines."""

    detect: bool = Field(True, description="Whether to find out; if not, all count as human.")
    beep: bool = Field(True, description="Whether to wait for the machine's beep.")


class Greeting(Node):
    """Open the call.

    With `first: caller` the caller has `wait` to speak; if he is silent he is greeted with `say`.
    The notice is always said first and nobody can break into it. After a crash the notice is said
    again, the first words are not.
    """

    speaks: ClassVar[bool] = True
    listens: ClassVar[bool] = True

    kind: Literal["greeting"] = Field(description="Opens the call.")
    say: Text | None = Field(None, description="The first words.")
    notice: Text | None = Field(None, description="The notice that the call is recorded.")
    first: Literal["bot", "caller"] = Field("bot", description="Who speaks first.")
    wait: Duration = Field("4s", description="How long the caller has, when he speaks first.")
    machine: MachineDetection = Field(
        MachineDetection.model_validate({}), description="Answering machines, on outbound calls."
    )

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (
            OutcomeSpec("done", needs_edge=True),
            OutcomeSpec("voicemail", when="outbound"),
            OutcomeSpec("unreached", {"reason": "string"}, when="outbound"),
        )

    async def run(self, stage: Stage) -> Outcome:
        if stage.direction == "outbound":
            elsewhere = await self._answered_by_no_human(stage)
            if elsewhere is not None:
                return elsewhere
        if self.notice is not None and not comes_back(stage):
            await say_all(stage, self.notice, interruptible=False, is_notice=True)
        if self.first == "caller":
            heard = await stage.hear(Expect(after_ms=duration_ms(self.wait)))
            if not isinstance(heard, Silence):
                return Outcome("done")
        first_words = stage.text(self.say) if opens(stage) else ()
        if first_words:
            await stage.say(first_words, interruptible=self.interruptible)
        return Outcome("done")

    async def _answered_by_no_human(self, stage: Stage) -> Outcome | None:
        by, reason = stage.answered_by, ""
        if not by:
            answered = await stage.answered(
                detect_machine=self.machine.detect, beep=self.machine.beep
            )
            by, reason = answered.by, answered.reason
        if by == "unreached":
            return Outcome("unreached", {"reason": reason})
        return Outcome("voicemail") if by == "machine" and self.machine.detect else None
