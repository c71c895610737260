"""`transfer`: hands the caller over to somebody else."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec
from flowengine.flow.types import Cel, Duration, RetryText, Text, duration_ms, is_by_try, wrong
from flowengine.nodes import stage as asked
from flowengine.nodes.pressing import PressedKeys
from flowengine.nodes.stage import Outcome, Stage
from flowengine.nodes.wording import opens, written


def _shown(value: str) -> str:
    if value not in ("caller", "own") and re.fullmatch(r"\+[1-9][0-9]{5,14}", value) is None:
        message = f"{value!r} is no number to show."
        raise wrong("bad_phone", message, 'Write "caller", "own" or a number as "+33123456789".')
    return value


ShownNumber: TypeAlias = Annotated[str, AfterValidator(_shown)]
_result = {"to": "phone", "seconds": "integer", "reason": "string"}


class Transfer(Node):
    """Call somebody and join him with the caller.

    `done`: the other side left and the caller is still here; without an edge the call ends. A
    mode that the line does not have ends `error` (`not_supported`).
    """

    speaks: ClassVar[bool] = True
    listens: ClassVar[bool] = True
    may_end: ClassVar[bool] = True
    family: ClassVar[Family] = "act"

    kind: Literal["transfer"] = Field(description="Hands the caller over.")
    to: RetryText = Field(
        description="Whom to call: a number, a SIP address or a queue, or several, tried in order."
    )
    mode: Literal["bridge", "warm", "refer", "queue"] = Field(
        "bridge",
        description="bridge: join both; warm: speak with the other side first; "
        "refer: give the call away; queue: wait for the next free person.",
    )
    say: Text | None = Field(None, description="Said to the caller before.")
    show: ShownNumber = Field(
        "caller", description="The number the other side sees: caller, own, or a number."
    )
    ring: Duration = Field("25s", description="How long each of them rings.")
    hold: Text | None = Field(
        None, description='What the caller hears meanwhile: a Text, or "ringback".'
    )
    longest: Duration = Field("4h", description="The longest conversation with the other side.")
    whisper: Text | None = Field(None, description="Said to the other side alone (warm, queue).")
    summary: bool = Field(
        False, description="Whether the other side hears a summary of the call (warm, queue)."
    )
    accept: Annotated[str, Field(pattern=r"^[0-9*#]?$")] = Field(
        "", description="The key by which the other side takes the call (warm, queue)."
    )
    press: PressedKeys | None = Field(None, description="Keys sent after the answer.")
    data: dict[str, Cel] = Field(
        default_factory=dict, description="Values handed over with the call."
    )
    priority: int = Field(0, ge=0, description="The place in the queue: higher is earlier.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        names = ("done", "busy", "no_answer", "declined", "failed")
        return tuple(OutcomeSpec(name, _result) for name in names)

    async def run(self, stage: Stage) -> Outcome:
        said = stage.text(self.say) if opens(stage) else ()
        if said:
            await stage.say(said, interruptible=self.interruptible)
        ended = await stage.transfer(
            asked.Transfer(
                to=self._numbers(stage),
                mode=self.mode,
                ring_ms=duration_ms(self.ring),
                longest_ms=duration_ms(self.longest),
                caller_id=self.show,
                press=stage.string(self.press) if self.press else "",
            )
        )
        if ended.outcome == "not_supported":
            return Outcome("error", {"reason": "not_supported"})
        result = {"to": ended.to, "seconds": ended.seconds, "reason": ended.reason}
        return Outcome(ended.outcome, result)

    def _numbers(self, stage: Stage) -> tuple[str, ...]:
        """Whom to call in order; one whose Text is empty is left out."""
        wanted = self.to if is_by_try(self.to) else [self.to]
        return tuple(number for item in wanted if (number := written(stage, item).strip()))
