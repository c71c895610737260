"""Silence, misfits and tries: the retry ladder of the kinds that listen.

Two counters, silence (`no_input`) and misfit (`no_match`); either ends the node when it passes
`at_most`, and that last failure says nothing, for the edge's target speaks. After any other one
the retry's Text for that try is said. A Text of the node's own retry stands alone; a general one
("Sorry, I did not get that."), which cannot hold the question, is followed by the question. So is
a variable's `invalid` text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from flowengine.flow.kind import Node
from flowengine.flow.parts import Part
from flowengine.flow.types import duration_ms, text_of_try
from flowengine.nodes.stage import Answer, Digits, Expect, Heard, Outcome, Silence, Stage
from flowengine.nodes.wording import joined

AFTER = "7s"
AT_MOST = 2
"""When neither node, flow nor server says otherwise."""

Question = Callable[[int], tuple[Part, ...]]
"""What is asked at a try, counted from 1; nothing, where silence is no answer to a question."""

Failure = Literal["no_input", "no_match"]


def no_question(_try_number: int) -> tuple[Part, ...]:
    """For a conversation: after silence only the retry's Text is said."""
    return ()


class Ladder:
    """Counts a node's failures and says what follows each: words, or the node's end."""

    def __init__(self, stage: Stage, node: Node, question: Question) -> None:
        self._stage = stage
        self._node = node
        self._question = question
        self._failures: dict[Failure, int] = {"no_input": 0, "no_match": 0}

    @property
    def after_ms(self) -> int:
        """How long silence may last."""
        return duration_ms(self._stage.retry.after or AFTER)

    def question(self) -> tuple[Part, ...]:
        """The question as asked at the present try."""
        return self._question(1 + sum(self._failures.values()))

    def passed(self, failure: Failure) -> bool:
        """Count a failure; whether the node has to end."""
        self._failures[failure] += 1
        at_most = self._stage.retry.at_most
        return self._failures[failure] > (AT_MOST if at_most is None else at_most)

    def after(self, failure: Failure, invalid: tuple[Part, ...] = ()) -> tuple[Part, ...] | Outcome:
        """Count a failure: what is said now, or how the node ends."""
        if self.passed(failure):
            return Outcome(failure)
        if invalid:
            return joined(invalid, self.question())
        count = self._failures[failure]
        text = text_of_try(getattr(self._stage.retry, failure), count)
        said = self._stage.text(text, try_number=count)
        return said if said and self._is_own(failure) else joined(said, self.question())

    async def ask(self, parts: tuple[Part, ...], expect: Expect) -> Heard | Digits | Outcome:
        """Say parts and listen until something fits; an Outcome when the ladder is climbed."""
        while True:
            answer = await self._stage.ask(parts, expect, interruptible=self._node.interruptible)
            if not isinstance(answer, Silence) and answer.matched:
                return answer
            again = self.after(failure_of(answer), invalid_of(answer))
            if isinstance(again, Outcome):
                return again
            parts = again

    def _is_own(self, failure: Failure) -> bool:
        """Whether the Text was written for this very node."""
        retries = (self._node.retry, self._node.use and self._node.use.retry)
        return any(retry and getattr(retry, failure) is not None for retry in retries)


def failure_of(answer: Answer) -> Failure:
    """Which counter an answer that does not fit counts on."""
    return "no_input" if isinstance(answer, Silence) else "no_match"


def invalid_of(answer: Answer) -> tuple[Part, ...]:
    """What the variable has to say to an answer, if anything."""
    return () if isinstance(answer, Silence) else answer.invalid
