"""The tree of a CEL expression, read from its serialized form.

The CEL library gives no syntax tree; its serialized expressions are the public protocol buffers
`cel.expr.ParsedExpr` and `cel.expr.CheckedExpr` (field numbers from cel-spec's `syntax.proto` and
`checked.proto`), of which this reads what the flow language asks about: names, literals, calls and
where they stand in the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Wire = dict[int, list[int | bytes]]


@dataclass(frozen=True, slots=True)
class Ident:
    """A name, dotted when it was declared so."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; `kind` is `int`, `string` or `other`."""

    kind: str
    value: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Select:
    """A field of a value."""

    operand: Term
    field: str
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator (`_>_`); the receiver of a method is its first argument."""

    function: str
    arguments: tuple[Term, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Group:
    """A list, map or comprehension; `bound` are the names that it binds itself."""

    items: tuple[Term, ...]
    bound: frozenset[str]
    at: int
    is_list: bool = False


Term = Ident | Literal | Select | Call | Group


def read(serialized: bytes) -> Term:
    """The tree of a serialized expression, parsed only or checked."""
    envelope = _fields(serialized)
    checked = b"CheckedExpr" in _bytes(envelope, 1)
    body = _fields(_bytes(envelope, 2))
    positions: dict[int, int] = {}
    source = _fields(_bytes(body, 5 if checked else 3))
    for entry in source.get(4, []):
        pair = _fields(entry if isinstance(entry, bytes) else b"")
        positions[_int(pair, 1)] = _int(pair, 2)
    return _term(_bytes(body, 4 if checked else 2), positions)


def walk(term: Term) -> Iterator[Term]:
    """The term and everything in it, outermost first."""
    yield term
    for child in children(term):
        yield from walk(child)


def children(term: Term) -> tuple[Term, ...]:
    """The terms directly inside a term."""
    if isinstance(term, Call):
        return term.arguments
    if isinstance(term, Group):
        return term.items
    return (term.operand,) if isinstance(term, Select) else ()


def free_names(term: Term, bound: frozenset[str] = frozenset()) -> Iterator[Ident]:
    """The names that the expression reads, without those that a comprehension binds."""
    if isinstance(term, Ident):
        if term.name not in bound:
            yield term
        return
    if isinstance(term, Group):
        bound |= term.bound
    for child in children(term):
        yield from free_names(child, bound)


def _term(data: bytes, positions: dict[int, int]) -> Term:
    fields = _fields(data)
    at = positions.get(_int(fields, 2), 0)
    if 3 in fields:
        return _literal(_fields(_bytes(fields, 3)), at)
    if 4 in fields:
        return Ident(_text(_fields(_bytes(fields, 4)), 1), at)
    if 5 in fields:
        select = _fields(_bytes(fields, 5))
        return Select(_term(_bytes(select, 1), positions), _text(select, 2), at)
    if 6 in fields:
        call = _fields(_bytes(fields, 6))
        inside = [*call.get(1, []), *call.get(3, [])]
        return Call(_text(call, 2), _terms(inside, positions), at)
    if 7 in fields:
        listed = _fields(_bytes(fields, 7))
        return Group(_terms(listed.get(1, []), positions), frozenset(), at, is_list=True)
    if 8 in fields:
        entries = [_fields(entry) for entry in _fields(_bytes(fields, 8)).get(2, []) if entry]
        parts = [part for entry in entries for key in (3, 4) for part in entry.get(key, [])]
        return Group(_terms(parts, positions), frozenset(), at)
    return _comprehension(_fields(_bytes(fields, 9)), at, positions)


def _comprehension(fields: Wire, at: int, positions: dict[int, int]) -> Group:
    bound = frozenset(_text(fields, key) for key in (1, 3, 8) if key in fields)
    parts = [part for key in (2, 4, 5, 6, 7) for part in fields.get(key, [])]
    return Group(_terms(parts, positions), bound, at)


def _terms(parts: list[int | bytes], positions: dict[int, int]) -> tuple[Term, ...]:
    return tuple(_term(part, positions) for part in parts if isinstance(part, bytes))


def _literal(fields: Wire, at: int) -> Literal:
    if 6 in fields:
        return Literal("string", _text(fields, 6), at)
    return Literal("int" if 3 in fields else "other", None, at)


def _fields(data: int | bytes) -> Wire:
    """The fields of one protocol-buffer message: numbers to their values, in order."""
    fields: Wire = {}
    if isinstance(data, int):
        return fields
    index = 0
    while index < len(data):
        key, index = _varint(data, index)
        number, shape = key >> 3, key & 7
        value: int | bytes
        if shape == 0:
            value, index = _varint(data, index)
        else:
            length = {1: 8, 5: 4}.get(shape, -1)
            if length < 0:
                length, index = _varint(data, index)
            value, index = data[index : index + length], index + length
        fields.setdefault(number, []).append(value)
    return fields


def _varint(data: bytes, index: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[index]
        index += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index
        shift += 7


def _bytes(fields: Wire, number: int) -> bytes:
    value = fields.get(number, [b""])[-1]
    return value if isinstance(value, bytes) else b""


def _text(fields: Wire, number: int) -> str:
    return _bytes(fields, number).decode()


def _int(fields: Wire, number: int) -> int:
    value = fields.get(number, [0])[-1]
    return value if isinstance(value, int) else 0
