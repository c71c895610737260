"""What a call is begun with: a flow's declared inputs, checked before anything is dialled.

Sensitive ones are sealed in the call's row, and opened for its actor alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from flowengine.errors import CallError
from flowengine.events import Json
from flowengine.flow import values
from flowengine.flow.program import Program
from flowengine.flow.scope import CallFacts, Scope
from flowengine.flow.variables import Variable
from flowengine.ids import NodeId
from flowengine.tokens import ValueCipher

_SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class WrongInput:
    """One input that the flow does not take, and why. The value itself is not in it."""

    name: str
    code: str
    message: str


def wrong_inputs(
    program: Program, given: Mapping[str, Json], call: CallFacts, now: datetime
) -> list[WrongInput]:
    """Everything that is wrong with a call's inputs, held against the flow's declaration."""
    variables = program.flow.variables
    settings = program.settings(NodeId(program.flow.start))
    scope = Scope(
        values={},
        call=call,
        now=now,
        timezone=settings.timezone or "UTC",
        language=settings.language or "en-US",
    )
    wrong = []
    for name, value in given.items():
        variable = variables.get(name)
        if variable is None or not variable.input:
            message = f"The flow declares no input {name!r}."
            wrong.append(WrongInput(name, "unknown_input", message))
        elif value is not None:
            taken = values.accept(variable, value, program, scope)
            if isinstance(taken, values.Rejected):
                wrong.append(WrongInput(name, f"bad_{taken.reason}", _why(variable, taken.reason)))
    for name, variable in variables.items():
        must_be = variable.input and "default" not in variable.model_fields_set
        if must_be and given.get(name) is None:
            wrong.append(WrongInput(name, "missing_input", "The flow needs this input."))
    return wrong


def sealed_inputs(
    program: Program, given: Mapping[str, Json], cipher: ValueCipher
) -> dict[str, Json]:
    """Inputs as a call's row holds them."""
    return {
        name: {_SEALED: cipher.encrypt(orjson.dumps(value).decode())}
        if _is_sensitive(program, name)
        else value
        for name, value in given.items()
    }


def opened_inputs(
    program: Program, kept: Mapping[str, Json], cipher: ValueCipher | None
) -> dict[str, Json]:
    """Inputs as the actor is given them; one that cannot be read again is left out."""
    found: dict[str, Json] = {}
    for name, value in kept.items():
        is_sealed = isinstance(value, dict) and set(value) == {_SEALED}
        if not (is_sealed and _is_sensitive(program, name)):
            found[name] = value
        elif cipher is not None:
            try:
                found[name] = orjson.loads(cipher.decrypt(value[_SEALED]))
            except CallError:
                continue
    return found


def _is_sensitive(program: Program, name: str) -> bool:
    variable = program.flow.variables.get(name)
    return variable is not None and variable.sensitive


def _why(variable: Variable, reason: str) -> str:
    if reason == "type":
        return f"It is no {variable.type}."
    if reason == "valid":
        return "The variable's own condition does not hold for it."
    return f"It does not fit the variable's `{reason}`."
