"""What the LLM is told of a tool's inputs, and what it gives, held against the same declarations.

Pure. One JSON Schema for every vendor. It has the words that all of them take (`type`, `enum`,
`items`, `properties`, `minimum` …); what some refuse or misread (patterns, lengths, formats) stands
in the description. What holds in the end is the variable's own grammar, not the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowengine.events import Json
from flowengine.flow import values
from flowengine.flow.parts import Words
from flowengine.flow.scope import Scope
from flowengine.flow.variables import Variable, number_types

_TYPES: dict[str, dict[str, Json]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "money": {"type": "number"},
    "boolean": {"type": "boolean"},
    "list": {"type": "array", "items": {}},
    "object": {"type": "object"},
}
_FORMS = {
    "date": "as YYYY-MM-DD",
    "time": "as HH:MM, 24 hours",
    "datetime": "as YYYY-MM-DDTHH:MM",
    "digits": "digits only",
    "phone": "in E.164, such as +14155550100",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """Arguments in the form of their types; `faults` names what is wrong with each that is."""

    arguments: Mapping[str, Json]
    faults: tuple[str, ...] = ()


def object_schema(inputs: Mapping[str, Variable], *, partial: bool = False) -> dict[str, Json]:
    """The JSON Schema of an object with these fields; `partial`: none of them is required."""
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {name: _schema(variable) for name, variable in inputs.items()},
    }
    if not partial:
        schema["required"] = [name for name, item in inputs.items() if not item.optional]
    schema["additionalProperties"] = False
    return schema


def judged(
    inputs: Mapping[str, Variable], given: Mapping[str, Json], judge: values.Judge, scope: Scope
) -> Judged:
    """Hold arguments against a tool's inputs. A null for an optional one leaves it out.

    The faults hold names and rules, nothing of what was given.
    """
    taken: dict[str, Json] = {}
    faults = []
    for name, variable in inputs.items():
        value = given.get(name)
        if value is None:
            if not variable.optional:
                faults.append(f"{name}: is missing")
            continue
        verdict = values.accept(variable, value, judge, scope)
        if isinstance(verdict, values.Rejected):
            faults.append(f"{name}: {_reason(variable, verdict)}")
        else:
            taken[name] = verdict.value
    unknown = [name for name in given if name not in inputs]
    if unknown:
        known = ", ".join(inputs) or "none"
        faults.append(f"{len(unknown)} unknown; the arguments are: {known}")
    return Judged(taken, tuple(faults))


def _schema(variable: Variable) -> dict[str, Json]:
    schema = dict(_TYPES.get(variable.type, {"type": "string"}))
    if variable.enum:
        schema["enum"] = list(variable.enum)
    if variable.of is not None:
        schema["items"] = _schema(variable.of)
    if variable.fields is not None:
        schema.update(object_schema(variable.fields))
    if variable.type in number_types:
        bounds = {"minimum": variable.min, "maximum": variable.max}
        schema.update({key: _plain(bound) for key, bound in bounds.items() if bound is not None})
    notes = [variable.description, _FORMS.get(variable.type, ""), *_bounds(variable)]
    described = ", ".join(note for note in notes if note)
    if described:
        schema["description"] = described
    return schema


def _bounds(variable: Variable) -> list[str]:
    """Constraints that stand in words, because schemas have none for them that all vendors take."""
    found = []
    if variable.type not in number_types:
        found += [f"not before {variable.min}"] if variable.min is not None else []
        found += [f"not after {variable.max}"] if variable.max is not None else []
    if variable.length is not None:
        found.append(f"length {_length(variable)}")
    if variable.pattern is not None:
        found.append(f"matches {variable.pattern}")
    return found


def _plain(bound: Json) -> Json:
    """A bound as its author wrote it: a whole number has no point."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _length(variable: Variable) -> str:
    if isinstance(variable.length, tuple):
        return f"{variable.length[0]} to {variable.length[1]}"
    return str(variable.length)


def _reason(variable: Variable, verdict: values.Rejected) -> str:
    match verdict.reason:
        case "type":
            form = _FORMS.get(variable.type, "")
            return f"is no {variable.type}" + (f"; write it {form}" if form else "")
        case "enum":
            return f"is none of {', '.join(str(item) for item in variable.enum or ())}"
        case "min":
            return f"is below {_plain(variable.min)}"
        case "max":
            return f"is above {_plain(variable.max)}"
        case "length":
            return f"is not of length {_length(variable)}"
        case "pattern":
            return f"does not match {variable.pattern}"
        case _:
            own = " ".join(part.text for part in verdict.invalid if isinstance(part, Words))
            return f"is not valid. {own}".strip()
