"""`collect`: one variable by voice or keypad, or a choice from a list variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictBool, model_validator

from flowengine.events import Json
from flowengine.flow.kind import FlowFacts, Node, OutcomeSpec
from flowengine.flow.parts import Part
from flowengine.flow.types import ResultCel, Text, VariableName, wrong
from flowengine.nodes.confirming import confirmed
from flowengine.nodes.listening import Ladder
from flowengine.nodes.stage import (
    Choice,
    Digits,
    Expect,
    Heard,
    KeyPlan,
    Outcome,
    Rejected,
    Stage,
)
from flowengine.nodes.wording import (
    comes_back,
    joined,
    language_of,
    offers,
    read_back,
    spoken_value,
)

_KEYS = "123456789"
"""The keys of a list's first elements."""


@dataclass(frozen=True, slots=True)
class _Element:
    """An element of a list, and what it is called."""

    value: Json
    name: str


class Collect(Node):
    """Ask for one value until it is valid and, if wished, confirmed.

    A value that is known already is not asked for: the node is `done` at once and says nothing
    (an edge that comes back to ask anew sets it to null). With `of`, the elements of that list are
    offered after `say`, the first nine by key; the variable becomes the chosen element, which is
    also `result.item`. An empty list is `no_match`, silently.
    """

    speaks: ClassVar[bool] = True
    listens: ClassVar[bool] = True

    kind: Literal["collect"] = Field(description="Asks for one value.")
    var: VariableName = Field(description="The variable that is asked for.")
    say: Text | None = Field(None, description="The question.")
    by: tuple[Literal["keys", "voice"], ...] | None = Field(
        None,
        description="How the caller may answer; both, or for a sensitive variable keys alone.",
        min_length=1,
    )
    finish: Annotated[str, Field(pattern=r"^[0-9*#]?$")] = Field(
        "#", description='The key that ends the entry; "" for none.'
    )
    confirm: StrictBool | Text = Field(
        False, description="Whether the value is read back for a yes or no; or the question."
    )
    of: VariableName | None = Field(None, description="A list to choose from.")
    item: ResultCel | None = Field(
        None, description="What an element is called, from `result.item`; without it, as it is."
    )

    @model_validator(mode="after")
    def _item_needs_of(self) -> Self:
        if self.item is not None and self.of is None:
            message = "'item' names the elements of 'of', and there is no 'of'."
            raise wrong("item_without_of", message, "Add 'of', a list variable.", at="item")
        return self

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        return (
            OutcomeSpec("done", {"item": "any"} if self.of else {}, needs_edge=True),
            OutcomeSpec("no_input"),
            OutcomeSpec("no_match"),
        )

    def is_private(self, flow: FlowFacts) -> bool:
        variable = flow.variables.get(self.var)
        return variable is not None and variable.sensitive

    def gathers_keys(self, flow: FlowFacts) -> bool:
        by_key = self.by is None or "keys" in self.by
        return by_key and self.of is None

    async def run(self, stage: Stage) -> Outcome:
        if stage.known(self.var):
            return self._done(stage.value(self.var))
        elements = self._elements(stage)
        if self.of is not None and not elements:
            return Outcome("no_match")
        expect = self._expect(stage, elements)
        ladder = Ladder(stage, self, lambda number: self._question(stage, number, expect))
        expect = replace(expect, after_ms=ladder.after_ms)
        parts = () if comes_back(stage) else ladder.question()
        while True:
            answer = await ladder.ask(parts, expect)
            if isinstance(answer, Outcome):
                return answer
            value = elements[answer.choice].value if self.of else answer.value
            again = await self._take(stage, ladder, expect, answer, value)
            if isinstance(again, Outcome):
                return again
            parts = again

    async def _take(
        self, stage: Stage, ladder: Ladder, expect: Expect, answer: Heard | Digits, value: Json
    ) -> tuple[Part, ...] | Outcome:
        """Have a value confirmed and set it: the node's end, or what is said for the next try.

        It is set when it is confirmed. Only where the author words the question it is set before,
        since his words may read it, and forgotten if it is not confirmed. A no counts as a misfit,
        or a caller could say it for ever.
        """
        is_set_first = not isinstance(self.confirm, bool)
        if is_set_first:
            refused = await self._set(stage, ladder, value)
            if refused is not None:
                return refused
        question = self._read_back(stage, expect, answer, value)
        verdict: bool | Outcome = True
        if question:
            verdict = await confirmed(
                stage, ladder, question, expect, interruptible=self.interruptible
            )
        if verdict is True:
            refused = None if is_set_first else await self._set(stage, ladder, value)
            return self._done(value) if refused is None else refused
        if is_set_first:
            await stage.set(self.var, None)
        if verdict is False:
            return Outcome("no_match") if ladder.passed("no_match") else ladder.question()
        return verdict

    async def _set(
        self, stage: Stage, ladder: Ladder, value: Json
    ) -> tuple[Part, ...] | Outcome | None:
        """Set the variable; if it refuses the value, that is a misfit in its own words."""
        taken = await stage.set(self.var, value)
        return ladder.after("no_match", taken.invalid) if isinstance(taken, Rejected) else None

    def _read_back(
        self, stage: Stage, expect: Expect, answer: Heard | Digits, value: Json
    ) -> tuple[Part, ...]:
        """The question for confirmation; none when the value needs no confirmation."""
        if not isinstance(self.confirm, bool):
            return stage.text(self.confirm)
        if not self.confirm or expect.sensitive:
            return ()
        language = language_of(stage)
        chosen = [choice.words[0] for choice in expect.choices if choice.name == answer.choice]
        shown = chosen[0] if self.of else spoken_value(value, language)
        return read_back(shown, language, voice=expect.voice)

    def _done(self, value: Json) -> Outcome:
        return Outcome("done", {"item": value} if self.of else {})

    def _question(self, stage: Stage, number: int, expect: Expect) -> tuple[Part, ...]:
        question = stage.text(self.say, try_number=number)
        if not expect.choices or self.of is None:
            return question
        named = [(choice.words[0], choice.keys) for choice in expect.choices]
        return joined(question, offers(named, language_of(stage)))

    def _elements(self, stage: Stage) -> dict[str, _Element]:
        """The list's elements by the name of their choice; those without a name are left out."""
        language = language_of(stage)
        found: dict[str, _Element] = {}
        for value in (stage.value(self.of) or ()) if self.of else ():
            called = stage.evaluate(self.item, {"item": value}) if self.item else value
            if called is None or called == "":
                continue
            name = spoken_value(called, language)
            found[name if name not in found else f"{name} {len(found) + 1}"] = _Element(value, name)
        return found

    def _expect(self, stage: Stage, elements: Mapping[str, _Element]) -> Expect:
        """What is listened for: the variable's own grammar, or the elements."""
        expect = stage.expect_variable(self.var)
        by = self.by or (("keys",) if expect.sensitive else ("keys", "voice"))
        keys = expect.keys if "keys" in by else None
        if self.of is None:
            keys = replace(keys, finish=self.finish) if keys else None
            return replace(expect, voice="voice" in by, keys=keys)
        pressed = _KEYS[: len(elements)] if "keys" in by else ""
        choices = tuple(
            Choice(name, pressed[place : place + 1], (element.name,))
            for place, (name, element) in enumerate(elements.items())
            if "voice" in by or place < len(pressed)
        )
        keys = KeyPlan(strings=tuple(pressed)) if pressed else None
        return replace(expect, voice="voice" in by, keys=keys, choices=choices, variable="")
