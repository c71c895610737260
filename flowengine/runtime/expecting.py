"""What a node expects to hear, and what an answer means: keys and words against the expectation.

Pure. Words go through the variable's own grammar or the matcher over the choices; the score lets
the actor weigh them against the intents of edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowengine.events import Json
from flowengine.flow import spoken
from flowengine.flow.matcher import DEFAULT_THRESHOLD, Matcher
from flowengine.flow.parts import Part
from flowengine.flow.scope import Scope
from flowengine.flow.values import (
    Accepted,
    Rejected,
    today,
    understand_keyed,
    understand_spoken,
)
from flowengine.flow.variables import Variable
from flowengine.nodes.stage import Expect, KeyPlan
from flowengine.runtime.context import Frame

_LONGEST_KEYS = {"phone": 16, "date": 8, "time": 4, "datetime": 12, "boolean": 1, "money": 12}


@dataclass(frozen=True, slots=True)
class Understood:
    """What an answer means; `score` is 1.0 for a value in its own grammar, 0.0 for nothing."""

    score: float
    choice: str = ""
    value: Json = None
    invalid: tuple[Part, ...] = ()


NOTHING = Understood(0.0)


def expect_variable(variable: Variable, name: str, changes: Mapping[str, Json]) -> Expect:
    """What listening for a variable means: its keys, its sensitivity."""
    by = changes.get("by") or (["keys"] if variable.sensitive else ["keys", "voice"])
    keys = _key_plan(variable, str(changes.get("finish") or "#")) if "keys" in by else None
    return Expect(
        voice="voice" in by,
        keys=keys,
        variable=name,
        sensitive=variable.sensitive,
        after_ms=int(changes.get("after_ms") or 7000),
    )


def _key_plan(variable: Variable, finish: str) -> KeyPlan | None:
    if variable.type in ("digits", "string") and variable.length is not None:
        length = variable.length
        least, most = (length, length) if isinstance(length, int) else length
        return KeyPlan(least=max(1, least), most=most, finish=finish)
    if variable.type in ("integer", "number") and isinstance(variable.max, (int, float)):
        return KeyPlan(least=1, most=len(str(int(variable.max))), finish=finish)
    if variable.type in ("digits", "integer", "number"):
        return KeyPlan(least=1, most=32, finish=finish)
    if variable.type in _LONGEST_KEYS:
        return KeyPlan(least=1, most=_LONGEST_KEYS[variable.type], finish=finish)
    return None


def candidates(expect: Expect, frame: Frame) -> tuple[str, ...]:
    """The closed set of phrases that a recogniser may lean on."""
    if expect.choices:
        return tuple(word for choice in expect.choices for word in (*choice.words, choice.name))
    variable = frame.program.flow.variables.get(expect.variable)
    if variable is None:
        return ()
    if variable.type == "boolean":
        return ("yes", "no")
    return tuple(str(item) for item in variable.enum or ())


def is_open(expect: Expect) -> bool:
    """Whether any words count."""
    return not expect.choices and not expect.variable


def understand(expect: Expect, text: str, frame: Frame, scope: Scope) -> Understood:
    """What spoken words mean to the node that listens."""
    if is_open(expect):
        return Understood(1.0)
    if not expect.voice:
        return NOTHING
    if expect.choices:
        matcher = Matcher(
            {
                choice.name: (*choice.words, choice.name.replace("_", " "))
                for choice in expect.choices
            },
            positions=True,
        )
        best = matcher.best(text, DEFAULT_THRESHOLD)
        if best is not None:
            return Understood(best.score, choice=best.name)
        at_that_time = _choice_of_time(expect, text, scope)
        return Understood(1.0, choice=at_that_time) if at_that_time else NOTHING
    variable = frame.program.flow.variables[expect.variable]
    return _taken(understand_spoken(variable, text, frame.program, scope))


def _choice_of_time(expect: Expect, text: str, scope: Scope) -> str:
    """The one choice that is a time of day, said otherwise: "half past two" for "2:30 PM"."""

    def clock(words: str) -> object:
        return spoken.understand("time", words, today=today(scope), language=scope.language)

    said = clock(text)
    same = [choice.name for choice in expect.choices if said and clock(choice.name) == said]
    return same[0] if len(same) == 1 else ""


def understand_keys(expect: Expect, digits: str, frame: Frame, scope: Scope) -> Understood:
    """What an entry by keypad means to the node that listens."""
    if expect.choices:
        for choice in expect.choices:
            if digits in key_strings(choice.keys):
                return Understood(1.0, choice=choice.name)
        return NOTHING
    if not expect.variable:
        return NOTHING
    variable = frame.program.flow.variables[expect.variable]
    return _taken(understand_keyed(variable, digits, frame.program, scope))


def key_strings(keys: str) -> tuple[str, ...]:
    """The keys of a choice: each one of several stands for it."""
    return tuple(keys)


def _taken(taken: Accepted | Rejected | None) -> Understood:
    if isinstance(taken, Accepted):
        return Understood(1.0, value=taken.value)
    if isinstance(taken, Rejected):
        return Understood(0.0, invalid=taken.invalid)
    return NOTHING
