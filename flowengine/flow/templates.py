"""Strings with `{{ }}`: split into static fragments and expressions, and rendered.

Static fragments are the same in every call, so their audio is cached; what stands between the
braces is evaluated. In a Text, dates and times are read aloud and `pause('1s')` is silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flowengine.errors import FlowError
from flowengine.events import Json
from flowengine.flow import aloud
from flowengine.flow.expressions import Expression, ExpressionError, Expressions, Place
from flowengine.flow.functions import pause_close, pause_open
from flowengine.flow.parts import Part, Pause, Words
from flowengine.flow.scope import Scope


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a template as written: words, or an expression; `column` counts from 1."""

    text: str
    is_expression: bool
    column: int


def split(source: str) -> tuple[Fragment, ...]:
    """The pieces of a template; raises ExpressionError when a `{{` is not closed."""
    return tuple(_pieces(source))


def _pieces(source: str) -> Iterator[Fragment]:
    at = 0
    while (start := source.find("{{", at)) >= 0:
        if start > at:
            yield Fragment(source[at:start], is_expression=False, column=at + 1)
        end = _end_of(source, start + 2)
        inside = source[start + 2 : end]
        lead = len(inside) - len(inside.lstrip())
        if not inside.strip():
            raise ExpressionError(
                "expression_syntax",
                "There is nothing between {{ and }}.",
                column=start + 1,
                fix="Write an expression, such as {{ name }}.",
            )
        yield Fragment(inside.strip(), is_expression=True, column=start + 3 + lead)
        at = end + 2
    if at < len(source):
        yield Fragment(source[at:], is_expression=False, column=at + 1)


def _end_of(source: str, start: int) -> int:
    """Where the `}}` of an expression stands: outside quotes and the braces of a map."""
    depth = 0
    quote = ""
    at = start
    while at < len(source):
        char = source[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        elif source.startswith("}}", at):
            return at
        at += 1
    raise ExpressionError(
        "unclosed_template",
        "A {{ is not closed." + (" A quote inside it is not closed either." if quote else ""),
        column=start - 1,
        fix="Write }} after the expression.",
    )


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template: static strings and expressions, in order."""

    source: str
    pieces: tuple[str | Expression, ...]

    @property
    def is_static(self) -> bool:
        """Whether it is the same in every call."""
        return all(isinstance(piece, str) for piece in self.pieces)

    @property
    def reads(self) -> frozenset[str]:
        """The names that it reads."""
        found = [piece.reads for piece in self.pieces if isinstance(piece, Expression)]
        return frozenset().union(*found)

    def parts(self, scope: Scope) -> tuple[Part, ...]:
        """The template for the ear; raises FlowError when a value is unset."""
        parts: list[Part] = []
        for piece in self.pieces:
            if isinstance(piece, str):
                parts.append(Words(piece, static=True))
                continue
            parts.extend(_spoken(said(piece, _value(piece, scope), scope)))
        return tuple(parts)

    def string(self, scope: Scope) -> str:
        """The template for the eye or a machine; raises FlowError when a value is unset."""
        pieces = [
            piece if isinstance(piece, str) else written(_value(piece, scope))
            for piece in self.pieces
        ]
        return _marked_pause.sub(" ", "".join(pieces))

    def value(self, scope: Scope) -> Json:
        """As JSON: a template that is one expression keeps its type; unset is null then."""
        if len(self.pieces) == 1 and isinstance(self.pieces[0], Expression):
            result = self.pieces[0].evaluate(scope)
            if result.unset and not any(name.startswith("secrets.") for name in result.unset):
                return None
            return _value(self.pieces[0], scope) if result.error else result.value
        return self.string(scope)


def compile_template(expressions: Expressions, source: str, place: Place) -> Template:
    """Compile what stands between the braces; raises ExpressionError with the string's column."""
    pieces: list[str | Expression] = []
    wants = "any" if place.kind == "tool" else "said"
    for fragment in split(source):
        if not fragment.is_expression:
            pieces.append(fragment.text)
            continue
        try:
            pieces.append(expressions.compile(fragment.text, wants=wants, place=place))
        except ExpressionError as error:
            raise error.moved(fragment.column - 1) from None
    return Template(source, tuple(pieces))


def said(expression: Expression, value: Json, scope: Scope) -> str:
    """A value as it is spoken: dates and times are read aloud."""
    if isinstance(value, str):
        if expression.kind == "date":
            return aloud.date(value, scope.language)
        if expression.kind == "time":
            return aloud.time(value, scope.language)
        if expression.kind in ("datetime", "TIMESTAMP"):
            return f"{aloud.date(value, scope.language)}, {aloud.time(value, scope.language)}"
    return written(value)


def written(value: Json) -> str:
    """A value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(written(item) for item in value)
    return "" if value is None else str(value)


_marked_pause = re.compile(f"{pause_open}(\\d+){pause_close}")


def _spoken(text: str) -> Iterator[Part]:
    at = 0
    for match in _marked_pause.finditer(text):
        if match.start() > at:
            yield Words(text[at : match.start()], static=False)
        yield Pause(int(match[1]))
        at = match.end()
    if at < len(text):
        yield Words(text[at:], static=False)


def _value(expression: Expression, scope: Scope) -> Json:
    result = expression.evaluate(scope)
    if not result.error:
        return result.value
    if result.unset:
        raise FlowError(
            "unset_value",
            f"A text needs {', '.join(result.unset)}, which has no value yet.",
            where=expression.source,
            fix="Set it before, or guard the text with known().",
        )
    raise FlowError(
        "not_rendered",
        f"A text cannot be rendered: {result.error}.",
        where=expression.source,
        fix="Correct the expression.",
    )
