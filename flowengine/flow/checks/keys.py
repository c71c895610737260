"""Keys: which key can mean two things in one node, and which choice has no key at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowengine.flow.checks.subject import Leaving, Subject, finding, node_path
from flowengine.flow.edge_model import OnDigits
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_key
from flowengine.flow.variables import Variable

DIGITS = frozenset("0123456789")


def _choices(node: object) -> Mapping[str, Any]:
    choices = getattr(node, "choices", None)
    return choices if isinstance(choices, Mapping) else {}


def _choice_path(node: str, choice: str) -> str:
    return at_key(at_key(node_path(node), "choices"), choice)


def _key_edges(leavings: tuple[Leaving, ...]) -> Iterator[tuple[Leaving, str]]:
    for leaving in leavings:
        if isinstance(leaving.edge.on, OnDigits):
            yield leaving, leaving.edge.on.digits


def voice_only_menus(subject: Subject) -> Iterator[Finding]:
    """A choice without a key cannot be made where the caller is not understood."""
    for name, node in subject.flow.nodes.items():
        for choice, settings in _choices(node).items():
            if not settings.key:
                yield finding(
                    "voice_only_menu",
                    _choice_path(name, choice),
                    f"The choice {choice!r} of {name!r} works by voice alone.",
                    'Give it a "key".',
                )


def overlapping_keys(subject: Subject) -> Iterator[Finding]:
    """A key that two choices share, or that an edge takes from a choice."""
    for name, node in subject.flow.nodes.items():
        taken: dict[str, str] = {}
        for choice, settings in _choices(node).items():
            for key in settings.key or "":
                if key in taken:
                    yield _overlap(
                        at_key(_choice_path(name, choice), "key"),
                        key,
                        name,
                        f"the choice {taken[key]!r}",
                        f"the choice {choice!r}",
                    )
                taken.setdefault(key, choice)
        own = list(_key_edges(subject.own[name]))
        stars = [pair for pair in _key_edges(subject.stars) if pair[0].edge.to != name]
        for leaving, keys in own + (stars if subject.stars_work(name) else []):
            # A `*` edge comes after the node's own; a choice is the node's own too.
            if keys in taken and not leaving.edge.is_star:
                yield _overlap(
                    at_key(at_key(leaving.path, "on"), "digits"),
                    keys,
                    name,
                    "this edge",
                    f"the choice {taken[keys]!r}",
                )
            elif keys in taken:
                yield _overlap(
                    at_key(_choice_path(name, taken[keys]), "key"),
                    keys,
                    name,
                    f"the choice {taken[keys]!r}",
                    f"the edge from anywhere {leaving.edge.id!r}",
                )


def _overlap(path: str, key: str, node: str, one: str, other: str) -> Finding:
    return finding(
        "overlapping_keys",
        path,
        f"In {node!r} the key {key!r} means {one} and {other}.",
        "Give one of them another key.",
    )


def keys_that_begin_values(subject: Subject) -> Iterator[Finding]:
    """In a keyed collect the first key is tried against edges: it must not begin a value."""
    for name, node in subject.flow.nodes.items():
        if not node.gathers_keys(subject.around):
            continue
        variable = subject.flow.variables.get(str(getattr(node, "var", "")))
        first = first_keys(variable, is_choice=getattr(node, "of", None) is not None)
        for leaving, keys in _key_edges(subject.own[name]):
            if keys[0] in first:
                free = sorted(({"*", "#"} | DIGITS) - first - {getattr(node, "finish", "#")})
                yield finding(
                    "key_begins_value",
                    at_key(at_key(leaving.path, "on"), "digits"),
                    f"The key {keys[0]!r} can begin a value that {name!r} collects, so the edge "
                    "would take it.",
                    f"Use {' or '.join(repr(key) for key in free[:3])}."
                    if free
                    else "Use an intent instead.",
                )


def first_keys(variable: Variable | None, *, is_choice: bool = False) -> frozenset[str]:
    """The keys with which a valid value of a variable can begin on a keypad."""
    if is_choice or variable is None:
        return DIGITS
    if variable.enum:
        return frozenset(str(value)[0] for value in variable.enum if str(value)) & DIGITS
    if variable.type in {"integer", "number", "money"}:
        return _first_of_range(variable)
    if variable.pattern:
        return _first_of_pattern(variable.pattern, variable.length)
    return frozenset("12") if variable.type == "boolean" else DIGITS


def _first_of_range(variable: Variable) -> frozenset[str]:
    """First digits of the whole parts between `min` and `max`; nobody keys leading zeros."""
    low = max(0.0, float(variable.min or 0))
    high = float(variable.max) if variable.max is not None else float("inf")
    found = {"0"} if low < 1 and high >= 0 else set()
    for digit in range(1, 10):
        for length in range(16):
            least, most = digit * 10**length, (digit + 1) * 10**length - 1
            if least <= high and most + 1 > low and (variable.type != "integer" or most >= low):
                found.add(str(digit))
                break
    return frozenset(found)


def _first_of_pattern(pattern: str, length: int | tuple[int, int] | None) -> frozenset[str]:
    """The digits with which some string that fits a pattern begins.

    Tried with strings of one repeated digit after the first; if none fits, nothing is ruled out.
    """
    try:
        whole = re.compile(pattern)
    except re.error:
        return DIGITS
    low, high = (
        (1, 20) if length is None else (length, length) if isinstance(length, int) else length
    )
    found = {
        first
        for first in DIGITS
        for filler in DIGITS
        for count in range(max(1, low), min(high, 20) + 1)
        if whole.fullmatch(first + filler * (count - 1))
    }
    return frozenset(found) or DIGITS
