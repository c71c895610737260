"""Where the parts of a JSON document stand in its source: from JSON path to line and column.

Reports use it so that an editor can jump to a finding. The source has been parsed before, so only
valid JSON comes here; a path that is not there (a missing key) is found at its nearest parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecoder

from flowengine.flow.paths import at_index, at_key, root

_blank = re.compile(r"[ \t\r\n]*")
_string = JSONDecoder(strict=False)
_scalar = re.compile(r"[^\s,\]}]+")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a source; lines and columns count from 1."""

    line: int
    column: int


def positions(source: str) -> dict[str, Position]:
    """The position of every value of a valid JSON document, by JSON path.

    The value of an object's key is found where the key begins.
    """
    starts = dict(_values(source))
    lines = [0, *(match.end() for match in re.finditer("\n", source))]
    placed: dict[str, Position] = {}
    line = 0
    for path, offset in sorted(starts.items(), key=lambda item: item[1]):
        while line + 1 < len(lines) and lines[line + 1] <= offset:
            line += 1
        placed[path] = Position(line + 1, offset - lines[line] + 1)
    return placed


def position_of(placed: dict[str, Position], path: str) -> Position:
    """The position of a path, or of the nearest parent that is there."""
    while path not in placed and path != root:
        shorter = re.sub(r"(\.[A-Za-z_][A-Za-z0-9_-]*|\[\d+\]|\['(?:[^'\\]|\\.)*'\])$", "", path)
        path = shorter if shorter != path else root
    return placed.get(path, Position(1, 1))


def _values(source: str) -> Iterator[tuple[str, int]]:
    """Path and offset of every value, read once from left to right without recursion."""
    at = _after_blank(source, 0)
    yield root, at
    # Open containers: path, and the index in a list or -1 in an object.
    stack: list[tuple[str, int]] = []
    path = root
    while True:
        opening = source[at : at + 1]
        if opening in ("{", "["):
            stack.append((path, 0 if opening == "[" else -1))
            at = _after_blank(source, at + 1)
        elif opening == '"':
            at = _after_blank(source, _string.raw_decode(source, at)[1])
        else:
            match = _scalar.match(source, at)
            at = _after_blank(source, match.end() if match else at + 1)
        while stack and source[at : at + 1] in ("]", "}"):
            stack.pop()
            at = _after_blank(source, at + 1)
        if not stack or at >= len(source):
            return
        if source[at] == ",":
            at = _after_blank(source, at + 1)
        parent, index = stack[-1]
        if index >= 0:
            path = at_index(parent, index)
            stack[-1] = (parent, index + 1)
            yield path, at
        else:
            key, end = _string.raw_decode(source, at)
            path = at_key(parent, key)
            yield path, at
            at = _after_blank(source, _after_blank(source, end) + 1)


def _after_blank(source: str, at: int) -> int:
    match = _blank.match(source, at)
    return match.end() if match else at
