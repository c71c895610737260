"""Two things that CEL's checker does not do: promote integer literals, and check literal names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flowengine.flow import cel_tree
from flowengine.flow.cel_env import Names
from flowengine.flow.cel_faults import Fault, position_of
from flowengine.flow.functions import named_by

if TYPE_CHECKING:
    from cel_expr_python import cel

Promoted = tuple[str, tuple[int, ...]]
"""A source, and the offsets in it after which `.0` was put in."""

_mixed = re.compile(r"found no matching overload for '[^']*' applied to '(.*)'")
_through = frozenset({"_+_", "_-_", "_*_", "_/_", "-_", "_?_:_"})


def promote(
    source: str, message: str, environment: cel.Env, shifts: tuple[int, ...]
) -> Promoted | None:
    """The source with the integer literals of a failed call as broken numbers; None if none.

    A call that mixes `double` and `int` is the only one for which this helps.
    """
    mixed = _mixed.search(message)
    if mixed is None or "double" not in mixed[1] or "int" not in mixed[1]:
        return None
    tree = cel_tree.read(environment.compile(source, disable_check=True).serialize())
    at = position_of(message, source)
    call = next(
        (t for t in cel_tree.walk(tree) if isinstance(t, cel_tree.Call) and t.at == at), None
    )
    places = sorted({literal.at for literal in _integers(call)}) if call else []
    if not places:
        return None
    for place in reversed(places):
        digits = re.match(r"-?(0x[0-9a-fA-F]+|\d+)(?![.\d])", source[place:])
        if digits is None or digits[1].startswith("0x"):
            return None
        end = place + digits.end()
        source = f"{source[:end]}.0{source[end:]}"
        shifts = (*(old + 2 if old > end else old for old in shifts), end)
    return source, tuple(sorted(shifts))


def _integers(term: cel_tree.Term) -> Iterator[cel_tree.Literal]:
    for child in cel_tree.children(term):
        if isinstance(child, cel_tree.Literal) and child.kind == "int":
            yield child
        elif (isinstance(child, cel_tree.Group) and child.is_list) or (
            isinstance(child, cel_tree.Call) and child.function in _through
        ):
            yield from _integers(child)


def check_calls(
    tree: cel_tree.Term, names: Names, declared: Mapping[str, tuple[str, ...]]
) -> Fault | None:
    """The first name in quotes that the flow does not have, or field that an object has not."""
    for term in cel_tree.walk(tree):
        fault = None
        if isinstance(term, cel_tree.Call) and term.arguments:
            fault = _unknown(term, declared) or _not_in_enum(term, names)
        elif isinstance(term, cel_tree.Select):
            fault = _no_field(term, names)
        if fault is not None:
            return fault
    return None


def _unknown(call: cel_tree.Call, declared: Mapping[str, tuple[str, ...]]) -> Fault | None:
    first = call.arguments[0]
    if not isinstance(first, cel_tree.Literal) or first.value is None:
        return None
    if call.function in ("date", "time") and len(call.arguments) == 1:
        return _bad_moment(call.function, first)
    what = named_by.get(call.function, "")
    if what not in declared or first.value in declared[what]:
        return None
    near = nearest(first.value, declared[what])
    fix = f"Write '{near}'." if near else f"Declare the {what}, or name one that there is."
    message = f"There is no {what} '{first.value}'."
    return Fault(f"unknown_{what}", message, first.at + 1, near, fix)


def _bad_moment(function: str, literal: cel_tree.Literal) -> Fault | None:
    shape, example = {
        "date": (r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", "date('2026-01-31')"),
        "time": (r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", "time('18:00')"),
    }[function]
    if re.fullmatch(shape, literal.value or ""):
        return None
    message = f"'{literal.value}' is no {function}."
    return Fault(f"bad_{function}", message, literal.at + 1, "", f"Write {example}.")


def _not_in_enum(call: cel_tree.Call, names: Names) -> Fault | None:
    if call.function not in ("_==_", "_!=_") or len(call.arguments) != 2:
        return None
    for ident, literal in (call.arguments, call.arguments[::-1]):
        if not isinstance(ident, cel_tree.Ident) or not isinstance(literal, cel_tree.Literal):
            continue
        variable = names.variables.get(ident.name)
        if variable is None or not variable.enum or literal.value is None:
            continue
        allowed = [str(value) for value in variable.enum]
        if literal.value not in (*allowed, ""):
            near = nearest(literal.value, allowed)
            message = f"'{ident.name}' is never '{literal.value}'; it is one of its enum."
            fix = f"Write one of {', '.join(repr(value) for value in allowed)}."
            return Fault("not_in_enum", message, literal.at + 1, near, fix)
    return None


def _no_field(select: cel_tree.Select, names: Names) -> Fault | None:
    if not isinstance(select.operand, cel_tree.Ident):
        return None
    owner = select.operand.name
    fields = [
        name.removeprefix(f"{owner}.") for name in names.types if name.startswith(f"{owner}.")
    ]
    if not fields or select.field in fields:
        return None
    near = nearest(select.field, fields)
    message = f"'{owner}' has no field '{select.field}'."
    fix = f"It has {', '.join(sorted(fields))}."
    return Fault("unknown_name", message, select.at + 2, near and f"{owner}.{near}", fix)


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """The known name that looks most like `name`; empty when none does."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return found[0] if found else ""
