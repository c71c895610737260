"""`menu`: choices that each work by key and by voice; the choice's name is the outcome."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from flowengine.flow.kind import Family, FlowFacts, Node, OutcomeSpec, common_outcomes
from flowengine.flow.models import FlowModel
from flowengine.flow.types import Text, wrong
from flowengine.nodes.listening import Ladder
from flowengine.nodes.stage import Choice, Expect, KeyPlan, Outcome, Stage
from flowengine.nodes.wording import comes_back

_taken_names = common_outcomes | {"no_input", "no_match", "else", "done", "time_up"}


def _choice_name(value: str) -> str:
    if not value or value in _taken_names:
        raise wrong(
            "bad_choice_name",
            f"{value!r} cannot be the name of a choice.",
            'It is the outcome that edges take; name it after what is chosen, such as "order".',
        )
    return value


class MenuChoice(FlowModel):
    """One choice. Its name works by voice too."""

    key: Annotated[str, Field(pattern=r"^[0-9*#]*$")] = Field(
        "", description='The key, or several that mean the same ("0123456789").'
    )
    words: tuple[str, ...] = Field((), description="What callers say for it.")


class Menu(Node):
    """Offer choices and take one."""

    speaks: ClassVar[bool] = True
    listens: ClassVar[bool] = True
    family: ClassVar[Family] = "decide"

    kind: Literal["menu"] = Field(description="Offers choices.")
    say: Text | None = Field(None, description="The question, and which key is what.")
    choices: dict[Annotated[str, AfterValidator(_choice_name)], MenuChoice] = Field(
        description="The choices by name; the name is the outcome.", min_length=1
    )

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (
            *(OutcomeSpec(name, {"choice": "string"}, needs_edge=True) for name in self.choices),
            OutcomeSpec("no_input"),
            OutcomeSpec("no_match"),
        )

    async def run(self, stage: Stage) -> Outcome:
        ladder = Ladder(stage, self, lambda number: stage.text(self.say, try_number=number))
        opening = () if comes_back(stage) else ladder.question()
        answer = await ladder.ask(opening, self._expect(ladder.after_ms))
        if isinstance(answer, Outcome):
            return answer
        return Outcome(answer.choice, {"choice": answer.choice})

    def _expect(self, after_ms: int) -> Expect:
        choices = tuple(
            Choice(name, choice.key, choice.words) for name, choice in self.choices.items()
        )
        keys = tuple(key for choice in choices for key in choice.keys)
        plan = KeyPlan(strings=keys) if keys else None
        return Expect(keys=plan, choices=choices, after_ms=after_ms)
