"""The one expression language: CEL, type-checked against the flow's declared variables.

`Expressions` is built once per version of a flow. It compiles guards, assignments and what stands
between `{{ }}`; a compiled `Expression` evaluates over a `Scope` and never raises. Nothing outside
this file and its `cel_*` neighbours knows which library does it.

Beyond plain CEL: built-ins are dotted names (`call.frm` is an error with a column), `known(x)`
asks whether a value is set, and an integer literal is a number where a number is expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cel_expr_python import cel

from flowengine.errors import FlowError
from flowengine.events import Json
from flowengine.flow import cel_tree
from flowengine.flow.calendar_model import Calendar
from flowengine.flow.cel_env import Names, checking, reserved_words, running, visible_names
from flowengine.flow.cel_faults import fault_of
from flowengine.flow.cel_literals import check_calls, promote
from flowengine.flow.cel_names import bind, mask
from flowengine.flow.cel_values import from_cel
from flowengine.flow.functions import Asking, asking
from flowengine.flow.scope import Scope
from flowengine.flow.types import Visible
from flowengine.flow.variables import Variable

__all__ = [
    "Evaluation",
    "Expression",
    "ExpressionError",
    "Expressions",
    "Known",
    "Place",
    "mask",
    "reserved_words",
]


class ExpressionError(FlowError):
    """An expression does not compile: where in it (`column`, from 1) and the nearest name."""

    def __init__(
        self, code: str, message: str, *, column: int = 1, nearest: str = "", fix: str = ""
    ) -> None:
        self.column = column
        self.nearest = nearest
        super().__init__(code, message, where=f"column {column}", fix=fix)

    @property
    def message(self) -> str:
        """What is wrong, in a sentence."""
        return self.what

    def moved(self, by: int) -> ExpressionError:
        """The same error in a longer string, in which the expression begins `by` later."""
        return ExpressionError(
            self.code, self.what, column=self.column + by, nearest=self.nearest, fix=self.fix
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands, which decides the names that it sees.

    `flow`: guards, `set`, `with`: variables, `call`, `turn`, `language`, `recording`, `now`; also
    `result` when the trigger has one. `text`: these and `visit`, `try`. `tool`: these and
    `input.x`, `secrets.NAME`. `valid`: these and `value`, typed by its variable. `result`: these
    and `result`, with the names and types of the outcome's result (empty: anything).
    `aloud`: reading-aloud functions are there.
    """

    kind: Visible = "flow"
    value: Variable | None = field(default=None, hash=False)
    result: Mapping[str, str] | None = field(default=None, hash=False)
    tool_input: Mapping[str, Variable] | None = field(default=None, hash=False)
    aloud: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of an expression. `error` is empty when it went well; `unset` names what it
    lacked; `reads` are the values read, sensitive ones masked.
    """

    value: Json
    error: str = ""
    unset: tuple[str, ...] = ()
    reads: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_true(self) -> bool:
        """Whether a guard holds: it evaluated, and to true."""
        return not self.error and self.value is True


@dataclass(frozen=True, slots=True)
class Known:
    """What of a flow the functions may name."""

    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nodes: frozenset[str] | None = None
    """None: nodes are not checked."""


@dataclass(frozen=True, slots=True)
class _Environment:
    names: Names
    checking: cel.Env
    running: cel.Env


class Expressions:
    """Compiles the expressions of one version of a flow."""

    def __init__(self, variables: Mapping[str, Variable], known: Known | None = None) -> None:
        self.variables = variables
        self.known = known or Known()
        self._environments: dict[str, _Environment] = {}
        self._compiled: dict[tuple[str, str, str], Expression] = {}

    def compile(self, source: str, *, wants: str = "any", place: Place | None = None) -> Expression:
        """Compile and check; raises ExpressionError.

        `wants`: `any`, `bool`, `said` (whatever can be said) or a type of variable.
        """
        place = place or Place()
        environment, key = self._environment(place)
        cached = self._compiled.get((source, wants, key))
        if cached is None:
            cached = self._compile(source, wants, place, environment)
            self._compiled[(source, wants, key)] = cached
        return cached

    def _compile(
        self, source: str, wants: str, place: Place, environment: _Environment
    ) -> Expression:
        masked, narrowed = _known_calls(source)
        checked = self._checked(masked, source, place, environment)
        kind = checked.return_type().name()
        _check_kind(kind, wants)
        serialized = checked.serialize()
        tree = cel_tree.read(serialized)
        self._check_tree(tree, environment.names)
        idents = {ident.name for ident in cel_tree.free_names(tree)}
        reads = frozenset(name for name in idents if not name.startswith("known."))
        return Expression(
            source=source,
            kind=kind,
            reads=reads & frozenset(environment.names.types),
            narrowed=narrowed,
            asks=frozenset(name for name in idents if name.startswith("known.")),
            calls=_calls(tree),
            secrets=_secrets(tree),
            _program=environment.running.deserialize(serialized),
            _running=environment.running,
            _names=environment.names,
            _known=self.known,
        )

    def _checked(
        self, masked: str, source: str, place: Place, environment: _Environment
    ) -> cel.Expression:
        promoted = masked
        shifts: tuple[int, ...] = ()
        # Each round promotes at least one literal, so there are no more rounds than characters.
        for _ in range(len(source) + 1):
            try:
                return environment.checking.compile(promoted)
            except RuntimeError as error:
                again = promote(promoted, str(error), environment.checking, shifts)
                if again is None:
                    raise self._error(str(error), source, shifts, place, environment) from None
                promoted, shifts = again
        raise ExpressionError("expression_syntax", "The expression cannot be read.")

    def _error(
        self,
        message: str,
        source: str,
        shifts: tuple[int, ...],
        place: Place,
        environment: _Environment,
    ) -> ExpressionError:
        fault = fault_of(message, source, shifts, environment.names, place.kind)
        return ExpressionError(
            fault.code, fault.what, column=fault.column, nearest=fault.nearest, fix=fault.fix
        )

    def _check_tree(self, tree: cel_tree.Term, names: Names) -> None:
        fault = check_calls(
            tree,
            names,
            {
                "calendar": tuple(self.known.calendars),
                "list": tuple(self.known.lists),
                **({} if self.known.nodes is None else {"node": tuple(self.known.nodes)}),
            },
        )
        if fault is not None:
            raise ExpressionError(
                fault.code, fault.what, column=fault.column, nearest=fault.nearest, fix=fault.fix
            )

    def _environment(self, place: Place) -> tuple[_Environment, str]:
        names = visible_names(
            self.variables,
            place.kind,
            value=place.value,
            result=place.result,
            tool_input=place.tool_input,
        )
        extra = {k: v for k, v in names.types.items() if k not in self.variables}
        inner = place.value.written() if place.value else {}
        inputs = {k: v.written() for k, v in (place.tool_input or {}).items()}
        key = repr((place.kind, place.aloud, sorted(extra.items()), inner, inputs))
        if key not in self._environments:
            self._environments[key] = _Environment(
                names, checking(names, aloud=place.aloud), running(names, aloud=place.aloud)
            )
        return self._environments[key], key


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `kind` is its checked type; `reads` the names it reads; `narrowed`
    those it asks `known()` about; `calls` the functions with their literal first argument;
    `secrets` the names of the secrets that it needs.
    """

    source: str
    kind: str
    reads: frozenset[str]
    narrowed: frozenset[str]
    asks: frozenset[str]
    calls: tuple[tuple[str, str], ...]
    secrets: frozenset[str]
    _program: cel.Expression
    _running: cel.Env
    _names: Names
    _known: Known

    def evaluate(self, scope: Scope) -> Evaluation:
        """The value over a scope; never raises: an error comes back as `error`."""
        data, reads, unset, wrong = self._data(scope)
        if wrong:
            return Evaluation(None, f"{wrong} has a value that is not of its type", (), reads)
        token = asking.set(Asking(scope, self._known.calendars, self._known.lists))
        try:
            result = self._program.eval(self._running.Activation(data))
            kind = result.type().name()
            if kind == "ERROR":
                return _failed(str(result.value()), unset, reads)
            value = from_cel(result.plain_value(), self.kind, scope.timezone)
        except (RuntimeError, ValueError, OverflowError, TypeError) as error:
            return _failed(str(error), unset, reads)
        finally:
            asking.reset(token)
        return Evaluation(value, "", (), reads)

    def _data(self, scope: Scope) -> tuple[dict[str, Any], dict[str, Json], tuple[str, ...], str]:
        data: dict[str, Any] = {}
        reads: dict[str, Json] = {}
        unset: list[str] = []
        wrong = ""
        for name in sorted(self.reads - {"secrets"}):
            variable = self._names.variables.get(name)
            found = bind(name, scope)
            if found is None:
                unset.append(name)
                continue
            reads[name] = mask(name, found.value, self._names)
            try:
                data[name] = found.to_cel(variable, self._names.types[name], scope.timezone)
            except (ValueError, TypeError):
                wrong = name
        if self.secrets:
            # Only the secrets that are named leave the vault.
            vault = scope.secrets or {}
            data["secrets"] = {name: vault[name] for name in self.secrets if name in vault}
            unset += [f"secrets.{name}" for name in sorted(self.secrets) if name not in vault]
        for name in self.asks:
            data[name] = bind(name.removeprefix("known."), scope) is not None
            reads.setdefault(f"known({name.removeprefix('known.')})", data[name])
        return data, reads, tuple(unset), wrong


def _failed(message: str, unset: tuple[str, ...], reads: Mapping[str, Json]) -> Evaluation:
    if unset and ("No value with name" in message or unset[-1].startswith("secrets.")):
        return Evaluation(None, f"unset: {', '.join(unset)}", unset, reads)
    first = message.partition("\n")[0]
    # Quoted parts may hold what a caller said.
    plain = re.sub(r"\"[^\"]*\"|'[^']*'", "…", first)
    return Evaluation(None, re.sub(r"^[A-Z_]+: ", "", plain) or "failed", (), reads)


_known_call = re.compile(r"known\(\s*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\s*\)")
_quoted = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


def _known_calls(source: str) -> tuple[str, frozenset[str]]:
    """`known(day)` becomes the name `known.day`, of the same length so that columns hold."""
    narrowed: set[str] = set()
    quoted = [match.span() for match in _quoted.finditer(source)]

    def instead(match: re.Match[str]) -> str:
        start = match.start()
        inside = any(low <= start < high for low, high in quoted)
        before = source[start - 1] if start else ""
        if inside or before.isalnum() or before in ("_", "."):
            return match[0]
        narrowed.add(match[1])
        return f"known.{match[1]}".ljust(len(match[0]))

    return _known_call.sub(instead, source), frozenset(narrowed)


def _secrets(tree: cel_tree.Term) -> frozenset[str]:
    return frozenset(
        term.field
        for term in cel_tree.walk(tree)
        if isinstance(term, cel_tree.Select)
        and term.operand == cel_tree.Ident("secrets", term.operand.at)
    )


def _calls(tree: cel_tree.Term) -> tuple[tuple[str, str], ...]:
    found = []
    for term in cel_tree.walk(tree):
        if isinstance(term, cel_tree.Call) and term.arguments:
            first = term.arguments[0]
            if isinstance(first, cel_tree.Literal) and first.value is not None:
                found.append((term.function, first.value))
    return tuple(found)


_sayable = frozenset(
    "STRING INT UINT DOUBLE BOOL date time datetime TIMESTAMP DURATION DYN".split()
)
_kinds = {
    "bool": {"BOOL"},
    "boolean": {"BOOL"},
    "integer": {"INT"},
    "number": {"DOUBLE", "INT"},
    "money": {"DOUBLE", "INT"},
    "date": {"date"},
    "time": {"time"},
    "datetime": {"datetime", "TIMESTAMP"},
}


def _check_kind(kind: str, wants: str) -> None:
    if wants == "any" or kind == "DYN":
        return
    if wants == "bool":
        good, fix = kind == "BOOL", "Compare it with something, such as x == 'a'."
    elif wants == "said":
        good, fix = kind in _sayable or kind.startswith("LIST"), "Take a part of it."
    else:
        good = kind == "NULL" or _fits(kind, wants)
        fix = f"Write an expression that gives a {wants}."
    if not good:
        wanted = {"bool": "true or false", "said": "something to say"}.get(wants, f"a {wants}")
        raise ExpressionError("expression_type", f"This is {kind}, and must be {wanted}.", fix=fix)


def _fits(kind: str, wants: str) -> bool:
    if wants == "list":
        return kind.startswith("LIST")
    if wants == "object":
        return kind.startswith("MAP")
    return kind in _kinds.get(wants, {"STRING"})


_pattern_environment = cel.NewEnv(variables={"text": cel.Type.STRING, "pattern": cel.Type.STRING})
_pattern_program = _pattern_environment.compile("text.matches(pattern)")


def matches_pattern(pattern: str, text: str) -> bool:
    """Whether the whole text matches a pattern (RE2: linear time whatever the pattern).

    Raises FlowError when the pattern is none.
    """
    data = {"text": text, "pattern": f"^(?:{pattern})$"}
    result = _pattern_program.eval(data=data).value()
    if not isinstance(result, bool):
        raise FlowError("bad_pattern", "The pattern cannot be read.", fix="Write it as RE2 does.")
    return result
