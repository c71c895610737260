"""What a variable accepts: from the LLM, an input or a tool, in words, or by keypad.

One door for every value: it is brought into the form of its type, then held against the
variable's own constraints, the last of which is `valid`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal, Protocol

from flowengine.events import Json
from flowengine.flow import spoken
from flowengine.flow.cel_names import masked
from flowengine.flow.cel_values import clock, local
from flowengine.flow.expressions import matches_pattern
from flowengine.flow.parts import Part
from flowengine.flow.scope import CallFacts, Scope
from flowengine.flow.types import Text
from flowengine.flow.variables import Variable, number_types, string_types, time_types

Reason = Literal["type", "enum", "min", "max", "length", "pattern", "valid"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The value, in the form of its type."""

    value: Json


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why the value is not taken; `invalid` is the variable's own text for it, rendered."""

    reason: Reason
    invalid: tuple[Part, ...] = ()


class Judge(Protocol):
    """What judging a value needs of a program."""

    def is_valid(self, variable: Variable, value: Json, scope: Scope) -> bool:
        """Whether the variable's `valid` holds for a value."""

    def render(self, text: Text, scope: Scope) -> tuple[Part, ...]:
        """A Text for the ear."""


_integers_end = 2**63
"""Expressions know integers of 64 bits."""


class _WrongError(Exception):
    """The value is not taken; only inside this module."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


def accept(variable: Variable, value: Json, judge: Judge, scope: Scope) -> Accepted | Rejected:
    """Judge a JSON value (a note of the LLM, an input, a tool's result)."""
    try:
        taken = _conform(variable, value, judge, scope)
    except _WrongError as wrong:
        return Rejected(wrong.reason, _invalid(variable, judge, scope, wrong.reason))
    return Accepted(taken)


def understand_spoken(
    variable: Variable, text: str, judge: Judge, scope: Scope
) -> Accepted | Rejected | None:
    """What words mean for a variable; None when they mean no value of its type."""
    if variable.type not in spoken.TYPES:
        return None
    heard = spoken.understand(
        variable.type,
        text,
        today=today(scope),
        language=scope.language,
        region=region(scope),
        enum=[str(item) for item in variable.enum] if variable.enum else None,
    )
    return None if heard is None else accept(variable, heard, judge, scope)


def understand_keyed(
    variable: Variable, digits: str, judge: Judge, scope: Scope
) -> Accepted | Rejected | None:
    """What keys mean for a variable; None when they mean no value of its type."""
    if variable.type not in spoken.TYPES:
        return None
    keyed = spoken.keyed(variable.type, digits, today=today(scope), region=region(scope))
    return None if keyed is None else accept(variable, keyed, judge, scope)


def mask(variable: Variable, value: Json) -> Json:
    """A value as log, journal and records may hold it."""
    return masked(value) if variable.sensitive and value is not None else value


def today(scope: Scope) -> date:
    """The date in the flow's time zone."""
    return local(scope.now, scope.timezone).date()


def region(scope: Scope) -> str:
    """The region whose habits hold: of the caller's country, else of the language."""
    part = scope.language.rpartition("-")[2]
    return scope.call.country or (part if len(part) == 2 and part.isupper() else "US")


def _invalid(variable: Variable, judge: Judge, scope: Scope, reason: Reason) -> tuple[Part, ...]:
    if variable.invalid is None or reason != "valid":
        return ()
    return judge.render(variable.invalid, scope)


def _conform(variable: Variable, value: Json, judge: Judge, scope: Scope) -> Json:
    if value is None:
        raise _WrongError("type")
    if variable.type == "list":
        taken = _list(variable, value, judge, scope)
    elif variable.type == "object":
        taken = _object(variable, value, judge, scope)
    else:
        taken = _scalar(variable, value, scope)
    taken = _member(variable, taken)
    _check_bounds(variable, taken)
    _check_length(variable, taken)
    if variable.pattern is not None and not matches_pattern(variable.pattern, str(taken)):
        raise _WrongError("pattern")
    if variable.valid is not None and not judge.is_valid(variable, taken, scope):
        raise _WrongError("valid")
    return taken


def _list(variable: Variable, value: Json, judge: Judge, scope: Scope) -> Json:
    if not isinstance(value, list):
        raise _WrongError("type")
    if variable.of is None:
        return value
    return [_conform(variable.of, item, judge, scope) for item in value]


def _object(variable: Variable, value: Json, judge: Judge, scope: Scope) -> Json:
    if not isinstance(value, dict):
        raise _WrongError("type")
    if variable.fields is None:
        return value
    taken = {}
    for name, field in variable.fields.items():
        if value.get(name) is not None:
            taken[name] = _conform(field, value[name], judge, scope)
        elif not field.optional:
            raise _WrongError("type")
    if set(value) - set(variable.fields):
        raise _WrongError("type")
    return taken


def _scalar(variable: Variable, value: Json, scope: Scope) -> Json:
    """The value in the form of its type: as JSON has it, else as a caller would say it."""
    if isinstance(value, (list, dict)):
        raise _WrongError("type")
    taken = _forms.get(variable.type, _string)(value)
    if taken is None and isinstance(value, str) and variable.type in spoken.TYPES:
        taken = spoken.understand(
            variable.type,
            value,
            today=today(scope),
            language=scope.language,
            region=region(scope),
        )
    if taken is None:
        raise _WrongError("type")
    return taken


def _string(value: Json) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _integer(value: Json) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if abs(value) >= _integers_end or not float(value).is_integer():
        return None
    return int(value)


def _number(value: Json) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        plain = value.strip()
        if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", plain):
            return None
        value = float(plain) if "." in plain else int(plain)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (int, float)) else None


def _boolean(value: Json) -> bool | None:
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False, "yes": True, "no": False}
    return words.get(value.strip().lower()) if isinstance(value, str) else None


def _digits(value: Json) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    plain = re.sub(r"[\s.\-]", "", str(value))
    return plain if plain.isascii() and plain.isdigit() else None


def _phone(value: Json) -> str | None:
    plain = re.sub(r"[\s().\-/]", "", value) if isinstance(value, str) else ""
    return plain if re.fullmatch(r"\+[1-9][0-9]{5,14}", plain) else None


def _email(value: Json) -> str | None:
    plain = value.strip() if isinstance(value, str) else ""
    return plain if re.fullmatch(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+", plain) else None


def _date(value: Json) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d(T.*)?", value.strip()):
        return None
    try:
        return date.fromisoformat(value.strip()[:10]).isoformat()
    except ValueError:
        return None


def _time(value: Json) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"\d\d:\d\d(:\d\d)?", value.strip()):
        return None
    try:
        return clock(time.fromisoformat(value.strip()))
    except ValueError:
        return None


def _datetime(value: Json) -> str | None:
    shape = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?"
    if not isinstance(value, str) or not re.fullmatch(shape, value.strip()):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return f"{moment.date().isoformat()}T{clock(moment.time())}"


_forms: dict[str, Callable[[Json], Json]] = {
    "integer": _integer,
    "number": _number,
    "money": _number,
    "boolean": _boolean,
    "digits": _digits,
    "phone": _phone,
    "email": _email,
    "date": _date,
    "time": _time,
    "datetime": _datetime,
}


def _member(variable: Variable, value: Json) -> Json:
    if not variable.enum:
        return value
    if value in variable.enum:
        return value
    same = [item for item in variable.enum if str(item).casefold() == str(value).casefold()]
    if len(same) != 1:
        raise _WrongError("enum")
    return same[0]


def _check_bounds(variable: Variable, value: Json) -> None:
    if variable.type not in number_types | time_types:
        return
    if variable.min is not None and value < variable.min:
        raise _WrongError("min")
    if variable.max is not None and value > variable.max:
        raise _WrongError("max")


def _check_length(variable: Variable, value: Json) -> None:
    if variable.length is None or variable.type not in string_types | {"list"}:
        return
    length = variable.length
    least, most = (length, length) if isinstance(length, int) else length
    if not least <= len(value) <= most:
        raise _WrongError("length")


def check_pattern(pattern: str) -> None:
    """Raise FlowError when a variable's pattern cannot be read."""
    matches_pattern(pattern, "")


class _NoJudge:
    """Judges nothing: what depends on the moment cannot be checked ahead."""

    def is_valid(self, variable: Variable, value: Json, scope: Scope) -> bool:
        return True

    def render(self, text: Text, scope: Scope) -> tuple[Part, ...]:
        return ()


_nobody = Scope(
    values={},
    call=CallFacts("", "inbound", "", ""),
    now=datetime(2026, 1, 1, tzinfo=UTC),
    timezone="UTC",
    language="en-US",
)


def check_default(variable: Variable) -> Reason | None:
    """Why a variable's `default` is none of its type and bounds; None when it is, or unset.

    It must stand as it is kept: `"2026-01-31"`, not "tomorrow". `valid` is not asked.
    """
    if variable.default is None or (variable.default == "" and variable.type in string_types):
        return None
    taken = accept(variable, variable.default, _NoJudge(), _nobody)
    if isinstance(taken, Rejected):
        return taken.reason
    return None if taken.value == variable.default else "type"
