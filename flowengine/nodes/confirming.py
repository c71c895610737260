"""Reading a value back: a yes or no by voice, 1 or 2 by key."""

from __future__ import annotations

from dataclasses import replace

from flowengine.flow.parts import Part
from flowengine.flow.spoken import yes_no
from flowengine.nodes.listening import Ladder, failure_of
from flowengine.nodes.stage import Answer, Choice, Expect, Heard, KeyPlan, Outcome, Silence, Stage
from flowengine.nodes.wording import language_of, no_words, yes_words

_PLAN = KeyPlan(strings=("1", "2"))


async def confirmed(
    stage: Stage, ladder: Ladder, question: tuple[Part, ...], like: Expect, *, interruptible: bool
) -> bool | Outcome:
    """Ask whether a value is right; an Outcome when the ladder is climbed meanwhile.

    `like` is how the value itself was listened for: by voice or not, sensitive or not. After
    silence or a misfit the question alone is asked again.
    """
    language = language_of(stage)
    choices = (Choice("yes", "1", yes_words(language)), Choice("no", "2", no_words(language)))
    expect = replace(like, keys=_PLAN, choices=choices, variable="")
    while True:
        answer = await stage.ask(question, expect, interruptible=interruptible)
        verdict = _verdict(answer, language)
        if verdict is not None:
            return verdict
        failure = failure_of(answer)
        if ladder.passed(failure):
            return Outcome(failure)


def _verdict(answer: Answer, language: str) -> bool | None:
    if isinstance(answer, Silence):
        return None
    if answer.matched:
        return answer.choice == "yes"
    return yes_no.parse(answer.text, language) if isinstance(answer, Heard) else None
