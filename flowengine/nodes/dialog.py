"""`dialog`: a conversation by LLM toward a goal: hear, think, hear, until an end is reached."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flowengine.flow.kind import FlowFacts, Node, OutcomeSpec
from flowengine.flow.models import FlowModel
from flowengine.flow.parts import Part
from flowengine.flow.types import Text, ToolName, VariableName
from flowengine.nodes.listening import Ladder, no_question
from flowengine.nodes.stage import Expect, Outcome, Reply, Stage, Think
from flowengine.nodes.wording import opens, written


class LastTurns(FlowModel):
    """A memory of so many contributions."""

    last: int = Field(ge=1, description="How many contributions, the newest.")


class Dialog(Node):
    """Talk with the caller.

    Who opens: `say`, with the caller free to start at once. Without it the LLM answers the turn
    (or the value) that led in, and goes on by itself where an operator moved the call here; it
    opens where nobody has spoken yet (the call's start, a key); else the node listens. After a
    crash and after `@back` it listens.

    `done`: all of `collect` is valid and, where given, `until` holds, looked at after each reply.
    So when all is known before, a dialog with an opening still hears and answers one turn, and
    one that would only listen is `done` at once.
    """

    speaks: ClassVar[bool] = True
    listens: ClassVar[bool] = True
    thinks: ClassVar[bool] = True

    kind: Literal["dialog"] = Field(description="Talks with the caller by LLM.")
    say: Text | None = Field(None, description="The opening.")
    prompt: Text | None = Field(None, description="What the LLM is to do here.")
    collect: tuple[VariableName, ...] = Field(
        (), description="Variables to ask for; with all of them valid the dialog is done."
    )
    also: tuple[VariableName, ...] = Field(
        (), description="Variables taken when the caller gives them, never asked for."
    )
    until: Text | None = Field(None, description="The goal in words; the LLM says when it holds.")
    tools: tuple[ToolName, ...] = Field((), description="Tools that the LLM may call.")
    memory: Literal["all", "none", "summary"] | LastTurns = Field(
        "all", description='What the LLM remembers: all, none, a summary, or {"last": n}.'
    )
    turns: int = Field(20, ge=1, description="The most turns of the caller that it answers.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        ends = bool(self.collect) or self.until is not None
        return (
            *((OutcomeSpec("done", needs_edge=True),) if ends else ()),
            OutcomeSpec("no_input"),
            OutcomeSpec("max_turns"),
            OutcomeSpec("failed", {"reason": "string"}),
        )

    async def run(self, stage: Stage) -> Outcome:
        opening = stage.text(self.say) if opens(stage) else ()
        answers = opens(stage) and self.say is None and stage.entered_by in _led_in_by_somebody
        if self._needs_nothing(stage) and not opening and not answers:
            return Outcome("done")
        turns = 0
        if answers:
            nobody_spoke = stage.entered_by in ("start", "key")
            turns = 0 if nobody_spoke else 1
            ended = self._end(await stage.think(self._request(stage, opening=nobody_spoke)))
            if ended is not None:
                return ended
        while True:
            silent = await self._hear(stage, opening, is_answered=turns < self.turns)
            if silent is not None:
                return silent
            if turns == self.turns:
                return Outcome("max_turns")
            turns += 1
            opening = ()
            ended = self._end(await stage.think(self.answer(stage)))
            if ended is not None:
                return ended

    def answer(self, stage: Stage) -> Think:
        """The LLM turn that answers what the caller said last."""
        return self._request(stage)

    async def _hear(
        self, stage: Stage, opening: tuple[Part, ...], *, is_answered: bool
    ) -> Outcome | None:
        """Listen for a turn; an Outcome when the caller stays silent. Each turn begins anew."""
        ladder = Ladder(stage, self, no_question)
        expect = Expect(after_ms=ladder.after_ms, is_answered=is_answered)
        answer = await ladder.ask(opening, expect)
        return answer if isinstance(answer, Outcome) else None

    def _end(self, reply: Reply) -> Outcome | None:
        if reply.failed:
            return Outcome("failed", {"reason": reply.failed})
        if self.until is not None:
            return Outcome("done") if reply.done else None
        return Outcome("done") if self.collect and reply.complete else None

    def _needs_nothing(self, stage: Stage) -> bool:
        """Whether all that ends the dialog is known before it begins."""
        known = bool(self.collect) and all(stage.known(name) for name in self.collect)
        return known and self.until is None

    def _request(self, stage: Stage, *, opening: bool = False) -> Think:
        return Think(
            prompt=written(stage, self.prompt),
            collect=self.collect,
            also=self.also,
            until=written(stage, self.until),
            tools=self.tools,
            memory=self.memory.last if isinstance(self.memory, LastTurns) else self.memory,
            opening=opening,
        )


_led_in_by_somebody = ("turn", "value", "start", "key", "operator")
