"""Declarations of variables: the types that a flow knows and the constraints on a value.

What a value must be is decided in `flowengine.flow.values`; here is only what may be declared.
"""

from __future__ import annotations

import re
from typing import Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from flowengine.events import Json
from flowengine.flow.models import FlowModel
from flowengine.flow.types import Text, ValidCel, VariableName, wrong

VariableType: TypeAlias = Literal[
    "string",
    "text",
    "name",
    "phone",
    "email",
    "address",
    "integer",
    "number",
    "boolean",
    "digits",
    "date",
    "time",
    "datetime",
    "money",
    "recording",
    "list",
    "object",
]
string_types = frozenset(
    {"string", "text", "name", "phone", "email", "address", "digits", "recording"}
)
number_types = frozenset({"integer", "number", "money"})
time_types = frozenset({"date", "time", "datetime"})

_allowed: dict[str, frozenset[str]] = {
    "enum": string_types | number_types,
    "min": number_types | time_types,
    "max": number_types | time_types,
    "length": string_types | {"list"},
    "pattern": string_types,
    "of": frozenset({"list"}),
    "fields": frozenset({"object"}),
}


class Variable(FlowModel):
    """A variable of the flow, an input of a tool, or a part of a list or object."""

    type: VariableType = Field(description="What the value is; also how it is heard and read out.")
    description: str = Field("", description="What the value is for, in words for the LLM.")
    enum: tuple[str | int | float, ...] | None = Field(
        None, description="The only values allowed.", min_length=1
    )
    min: float | str | None = Field(None, description="Smallest value allowed.")
    max: float | str | None = Field(None, description="Largest value allowed.")
    length: int | tuple[int, int] | None = Field(
        None, description="How many characters, digits or items: a number, or [min, max]."
    )
    pattern: str | None = Field(
        None, description="A regular expression (RE2) that the whole value must match."
    )
    valid: ValidCel | None = Field(
        None, description="An expression over `value` that must hold for the value to be taken."
    )
    invalid: Text | None = Field(None, description="What is said when `valid` does not hold.")
    input: bool = Field(
        False, description="Bound by number, route, campaign or API before the call begins."
    )
    output: bool = Field(False, description="Stands in the call's result and in webhooks.")
    default: Json = Field(None, description="The value at the start; null leaves it unset.")
    sensitive: bool = Field(
        False, description="Kept out of log, transcript, LLM, recording and journal."
    )
    of: Variable | None = Field(None, description="What a list's items are.")
    fields: dict[VariableName, Variable] | None = Field(
        None, description="What an object's fields are; without it, anything."
    )
    optional: bool = Field(False, description="May be left out (inputs of tools and fields).")

    @field_validator("length", mode="before")
    @classmethod
    def _length(cls, value: Json) -> Json:
        pair = isinstance(value, (list, tuple)) and len(value) == 2
        numbers = list(value) if pair else [value]
        good = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
        if not good or (pair and numbers[0] > numbers[1]):
            raise wrong("bad_length", "A length is a number or [min, max].", "Write [1, 10].")
        return value

    @field_validator("enum", mode="before")
    @classmethod
    def _enum(cls, value: Json) -> Json:
        if isinstance(value, list):
            for item in value:
                if isinstance(item, bool) or not isinstance(item, (str, int, float)):
                    message = "The values of an enum are strings or numbers."
                    raise wrong("wrong_type", message, "Write each in quotes.")
        return value

    @field_validator("min", "max", mode="before")
    @classmethod
    def _bound(cls, value: Json) -> Json:
        if isinstance(value, bool) or not isinstance(value, (str, int, float, type(None))):
            message = "A bound is a number, or a date or time in quotes."
            raise wrong("wrong_type", message, 'Write 10, or "2026-01-31".')
        return value

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        for key, types in _allowed.items():
            if getattr(self, key) is not None and self.type not in types:
                raise wrong(
                    "constraint_not_for_type",
                    f"{key!r} means nothing for the type {self.type!r}.",
                    f"Remove it, or use one of the types {', '.join(sorted(types))}.",
                    at=key,
                )
        self._check_bounds()
        if self.type == "list" and self.of is None:
            raise wrong("missing_key", "A list needs 'of', what its items are.", "Add it.", at="of")
        if self.invalid is not None and self.valid is None:
            message = "'invalid' is said when 'valid' does not hold, and there is no 'valid'."
            raise wrong("invalid_without_valid", message, "Add 'valid'.", at="invalid")
        return self

    def _check_bounds(self) -> None:
        for key in ("min", "max"):
            bound = getattr(self, key)
            if bound is None:
                continue
            if self.type in number_types and isinstance(bound, str):
                message = f"{key!r} of {self.type!r} is a number."
                raise wrong("wrong_type", message, "Write it without quotes.", at=key)
            if self.type in time_types and not self._is_time(bound):
                message = f"{key!r} of {self.type!r} is no {self.type}."
                raise wrong("wrong_type", message, f"Write {_examples[self.type]}.", at=key)
        low, high = self.min, self.max
        if low is not None and high is not None and low > high:  # type: ignore[operator]
            # Both are numbers or both ISO strings here, which the checker cannot see.
            raise wrong("bad_bounds", "'min' is above 'max'.", "Swap them.", at="min")

    def _is_time(self, bound: float | str) -> bool:
        return isinstance(bound, str) and bool(re.fullmatch(_shapes[self.type], bound))


_date = r"\d{4}-\d\d-\d\d"
_time = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?"
_shapes = {"date": _date, "time": _time, "datetime": f"{_date}T{_time}"}
_examples = {"date": '"2026-01-31"', "time": '"18:00"', "datetime": '"2026-01-31T18:00"'}
