"""Which variables each expression and each template of a flow reads, and where.

Names are found by reading the expression's words, so this works for expressions that do not
compile too (their own error is reported elsewhere): a word is a variable when the flow declares
it and it is no field (`x.name`), no function and no string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from flowengine.flow.document import Flow
from flowengine.flow.expressions import ExpressionError
from flowengine.flow.paths import root
from flowengine.flow.references import Found, references
from flowengine.flow.templates import split

_word = re.compile(
    r"""(?P<string>[rR]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))"""
    r"""|(?P<known>known\s*\(\s*[a-z][a-z0-9_]*\s*\))"""
    r"""|(?P<name>(?<![\w.])[a-z][a-z0-9_]*(?!\w)(?!\s*\())"""
)
_inside = re.compile(r"[a-z][a-z0-9_]*\s*\)$")
_input = re.compile(r"(?<![\w.])input\.([a-z][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Reads:
    """The names of an expression: those whose value it needs, and those it only asks `known`."""

    values: frozenset[str]
    asked: frozenset[str]


@lru_cache(maxsize=8192)
def expression_names(source: str) -> Reads:
    """The words of an expression that can be variables."""
    values: set[str] = set()
    asked: set[str] = set()
    for match in _word.finditer(source):
        if match["known"]:
            inner = _inside.search(match["known"])
            asked.add(inner[0].rstrip(") \t\n") if inner else "")
        elif match["name"]:
            values.add(match["name"])
    return Reads(frozenset(values), frozenset(asked))


@lru_cache(maxsize=8192)
def template_expressions(source: str) -> tuple[str, ...]:
    """The expressions between `{{ }}`; none when the template itself is broken."""
    try:
        pieces = split(source)
    except ExpressionError:
        return ()
    return tuple(piece.text for piece in pieces if piece.is_expression)


def input_names(source: str) -> frozenset[str]:
    """The inputs of a tool that a template of its request reads."""
    return frozenset(name for part in template_expressions(source) for name in _input.findall(part))


@dataclass(frozen=True, slots=True)
class Reading:
    """One expression or template of the flow, and the declared variables in it."""

    found: Found
    values: frozenset[str]
    asked: frozenset[str]


def readings(flow: Flow) -> Iterator[Reading]:
    """Every expression and template of a flow, in document order."""
    yield from readings_of(references(flow, root), flow.variables)


def readings_of(found: Iterator[Found], variables: Mapping[str, object]) -> Iterator[Reading]:
    """The expressions and templates among marked values."""
    declared = frozenset(variables)
    for one in found:
        if one.marker.name not in ("cel", "template") or not isinstance(one.value, str):
            continue
        if one.marker.name == "cel":
            parts: tuple[str, ...] = (one.value,)
        else:
            parts = template_expressions(one.value)
        names = [expression_names(part) for part in parts]
        values = frozenset().union(*(reads.values for reads in names)) & declared
        asked = frozenset().union(*(reads.asked for reads in names)) & declared
        if values or asked:
            yield Reading(one, values, asked)
