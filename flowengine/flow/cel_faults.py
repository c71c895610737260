"""What a message of the CEL compiler means to an author: a code, a place, and what to write."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from flowengine.flow.cel_env import Names
from flowengine.flow.functions import functions
from flowengine.flow.types import Visible


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an expression is wrong; `column` counts from 1."""

    code: str
    what: str
    column: int
    nearest: str = ""
    fix: str = ""


_first = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_only_there = {
    "secrets": "Secrets exist only in a tool's request.",
    "input": "'input' exists only in a tool's request.",
    "result": "'result' exists only in 'save', and on edges of an outcome.",
    "value": "'value' exists only in a variable's 'valid'.",
    "visit": "'visit' exists only in a Text.",
    "try": "'try' exists only in a Text.",
}
_aloud = sorted({function.name for function in functions if function.aloud})


def position_of(message: str, source: str) -> int:
    """The offset in the source that a compiler's message names."""
    match = _first.search(message)
    if match is None:
        return 0
    lines = source.split("\n")
    before = sum(len(line) + 1 for line in lines[: int(match[1]) - 1])
    return before + int(match[2]) - 1


def fault_of(
    message: str, source: str, shifts: tuple[int, ...], names: Names, place: Visible
) -> Fault:
    """Read a compiler's message. `shifts`: where `.0` was put into the author's source."""
    match = _first.search(message)
    if match is None:
        return Fault("expression_syntax", "The expression cannot be read.", 1)
    promoted = source
    for shift in shifts:
        promoted = f"{promoted[:shift]}.0{promoted[shift:]}"
    at = position_of(message, promoted)
    column = at + 1 - 2 * sum(1 for shift in shifts if shift <= at)
    text = match[3]
    if "undeclared reference to" in text:
        return _undeclared(text, column, names, place)
    if "found no matching overload" in text:
        return _mismatch(text, column)
    if "reserved identifier" in text:
        return Fault("expression_syntax", f"{_quoted(text)} is a reserved word.", column)
    return _syntax(text, source, column)


def _undeclared(text: str, column: int, names: Names, place: Visible) -> Fault:
    found = re.search(r"undeclared reference to '([^']*)'", text)
    name = found[1] if found else ""
    if name.startswith("known."):
        name = name.removeprefix("known.")
        # The place is the last dot; of a plain name that is where its bracket stood.
        column += 0 if "." in name else 1
    if name == "known":
        message = "known() takes the name of a variable."
        return Fault("expression_type", message, column, "", "Write known(day).")
    head = name.partition(".")[0]
    declared = sorted(names.types)
    if head == "input" and place == "tool":
        fix = "Declare it under the tool's 'input'."
        alike = difflib.get_close_matches(name, declared, n=1, cutoff=0.7)
        near = alike[0] if alike else ""
        return Fault("unknown_name", f"{name!r} is not declared.", column, near, fix)
    if head in _only_there and head not in {known.partition(".")[0] for known in declared}:
        return Fault("unknown_name", f"{name!r} is not known here.", column, "", _only_there[head])
    if name in _aloud:
        message = f"{name}() reads aloud, and exists only in a Text."
        return Fault("unknown_name", message, column, "", "Move it into {{ }}.")
    callables = sorted({function.name for function in functions} | {"known"})
    close = difflib.get_close_matches(name, [*declared, *callables], n=1, cutoff=0.6)
    near = close[0] if close else ""
    fix = f"Did you mean {near!r}?" if near else "Declare it under 'variables'."
    return Fault("unknown_name", f"{name!r} is not declared.", column, near, fix)


_operators = {
    "_==_": "==",
    "_!=_": "!=",
    "_<_": "<",
    "_<=_": "<=",
    "_>_": ">",
    "_>=_": ">=",
    "_&&_": "&&",
    "_||_": "||",
    "!_": "!",
    "_+_": "+",
    "_-_": "-",
    "_*_": "*",
    "_/_": "/",
    "@in": "in",
}


def _mismatch(text: str, column: int) -> Fault:
    match = re.search(r"overload for '([^']*)' applied to '(.*?)'", text)
    function, types = (match[1], match[2]) if match else ("", "")
    name = _operators.get(function, f"{function}()")
    message = f"{name} does not work on {types}."
    if "null" in types:
        return Fault("expression_type", message, column, "", "Ask known(x) whether a value is set.")
    if "double" in types and "int" in types:
        return Fault("expression_type", message, column, "", "Write double(x) around the integer.")
    if "date" in types or "time" in types:
        fix = "Compare dates with date('2026-01-31'), times with time('18:00')."
        return Fault("expression_type", message, column, "", fix)
    return Fault("expression_type", message, column, "", "Compare and combine values of one type.")


def _syntax(text: str, source: str, column: int) -> Fault:
    rest = source[max(column - 1, 0) :]
    if re.match(r"=[^=]", rest) or "'= '" in text:
        return Fault("expression_syntax", "'=' does not compare.", column, "==", "Write ==.")
    word = re.match(r"\s*(and|or|not|AND|OR|NOT)\b", rest)
    if word:
        sign = {"and": "&&", "or": "||", "not": "!"}[word[1].lower()]
        return Fault(
            "expression_syntax", f"{word[1]!r} is no operator.", column, sign, f"Write {sign}."
        )
    if re.match(r"[&|]([^&|]|$)", rest):
        sign = rest[0] * 2
        return Fault(
            "expression_syntax", f"{rest[0]!r} is no operator.", column, sign, f"Write {sign}."
        )
    plain = re.sub(r"expecting \{.*", "", text).strip().removeprefix("Syntax error: ").rstrip(" ,")
    return Fault("expression_syntax", f"The expression cannot be read: {plain}.", column)


def _quoted(text: str) -> str:
    return repr(text.rpartition(":")[2].strip())
