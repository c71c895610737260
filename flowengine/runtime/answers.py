"""What a node listens for, as the recogniser is told, and what the caller does, as its answer.

Pure part of the actor.
"""

from __future__ import annotations

from flowengine.nodes.stage import Digits, Expect, Heard
from flowengine.runtime.context import Context
from flowengine.runtime.effects import Listen
from flowengine.runtime.expecting import candidates, understand, understand_keys


def listening_for(context: Context, expect: Expect) -> Listen:
    """The settings of hearing and recording while this is expected."""
    closed = () if expect.sensitive else candidates(expect, context.frame)
    variable = context.program.flow.variables.get(expect.variable)
    return Listen(
        context.stt,
        context.spoken_language,
        context.endpointing_ms,
        candidates=closed if expect.voice else (),
        digits=variable is not None and variable.type in ("digits", "phone"),
        sensitive=expect.sensitive,
        recording=context.is_recording and not expect.sensitive,
    )


def spoken(context: Context, expect: Expect, text: str, confidence: float) -> Heard:
    """Words as the answer to what is expected."""
    meant = understand(expect, text, context.frame, context.scope())
    return Heard(
        text,
        confidence,
        matched=meant.score > 0,
        choice=meant.choice,
        value=meant.value,
        invalid=meant.invalid,
    )


def keyed(context: Context, expect: Expect, digits: str) -> Digits:
    """An entry by keypad as the answer to what is expected."""
    meant = understand_keys(expect, digits, context.frame, context.scope())
    return Digits(
        digits,
        matched=meant.score > 0,
        choice=meant.choice,
        value=meant.value,
        invalid=meant.invalid,
    )
