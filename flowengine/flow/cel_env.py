"""The names, types and operators that expressions of a flow may use, declared for CEL.

Two environments stand side by side. The *checking* one knows dates, times and datetimes as types
of their own, and compares whole and broken numbers with each other; a wrong comparison is an
error when the flow is saved. The *running* one takes the checked expression and evaluates it with
CEL's own timestamps, which compare natively.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cel_expr_python import cel

from flowengine.flow.functions import Function, functions
from flowengine.flow.types import Visible
from flowengine.flow.variables import Variable, string_types

Type: TypeAlias = cel.Type
own_types = {name: Type.AbstractType(name) for name in ("date", "time", "datetime")}
cel_types = {
    **own_types,
    **dict.fromkeys(string_types, Type.STRING),
    "integer": Type.INT,
    "number": Type.DOUBLE,
    "money": Type.DOUBLE,
    "boolean": Type.BOOL,
    "object": Type.Map(Type.STRING, Type.DYN),
    "list": Type.List(Type.DYN),
    "any": Type.DYN,
    "timestamp": Type.TIMESTAMP,
    "duration": Type.DURATION,
    "bool": Type.BOOL,
}

call_names = {
    "call.id": "string",
    "call.direction": "string",
    "call.from": "string",
    "call.to": "string",
    "call.country": "string",
    "call.attempt": "integer",
    "call.answered_by": "string",
    "call.last_attempt": "string",
}
turn_names = {"turn.text": "string", "turn.confidence": "number", "turn.number": "integer"}
engine_names = {"language": "string", "recording": "boolean"}
"""Set by the engine, and assignable by `set` and `save`."""
always_names = {**call_names, **turn_names, **engine_names, "now": "timestamp"}
text_names = {"visit": "integer", "try": "integer"}

reserved_by_cel = frozenset(
    "true false null in as break const continue else for function if import let loop package "
    "namespace return var void while int uint double bool string bytes list map type null_type "
    "dyn".split()
)
reserved_by_us = frozenset(
    "call turn result now language recording value visit try input secrets known".split()
)
reserved_words = tuple(sorted(reserved_by_cel | reserved_by_us))
"""Names that no variable can have."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names visible in one kind of place: dotted name to declared type and variable.

    `open_maps` are names under which any field may be asked (`secrets`).
    """

    types: Mapping[str, str]
    variables: Mapping[str, Variable]


def visible_names(
    variables: Mapping[str, Variable],
    kind: Visible,
    *,
    value: Variable | None,
    result: Mapping[str, str] | None,
    tool_input: Mapping[str, Variable] | None,
) -> Names:
    """What an expression at a place may name."""
    types = dict(always_names)
    declared = dict(variables)
    if kind == "text":
        types.update(text_names)
    if kind == "valid" and value is not None:
        declared["value"] = value
    if kind in ("result", "flow") and result is not None:
        types["result"] = "any" if not result else "object"
        types.update({f"result.{name}": inner for name, inner in result.items()})
    if kind == "tool":
        types["secrets"] = "secrets"
        declared.update({f"input.{name}": v for name, v in (tool_input or {}).items()})
    flat = dict(_flatten(declared))
    types.update({name: variable.type for name, variable in flat.items()})
    return Names(types, flat)


def _flatten(variables: Mapping[str, Variable]) -> Iterator[tuple[str, Variable]]:
    for name, variable in variables.items():
        yield name, variable
        if variable.fields:
            inner = {f"{name}.{key}": field for key, field in variable.fields.items()}
            yield from _flatten(inner)


def checked_type(name: str, names: Names) -> Type:
    """The type of a name in the checking environment."""
    variable = names.variables.get(name)
    if variable is not None:
        return variable_type(variable)
    if names.types[name] == "secrets":
        return Type.Map(Type.STRING, Type.STRING)
    return cel_types[names.types[name]]


def variable_type(variable: Variable) -> Type:
    """The checked type of a variable's value."""
    if variable.type == "list":
        return Type.List(variable_type(variable.of) if variable.of else Type.DYN)
    return cel_types[variable.type]


def checking(names: Names, *, aloud: bool) -> cel.Env:
    """The environment in which expressions are type-checked."""
    types = {name: checked_type(name, names) for name in names.types}
    types.update({f"known.{name}": Type.BOOL for name in names.types})
    excluded = "".join(f'    - name: "{name}"\n' for name in (*_orders, "_+_", "_-_", *_parts))
    config = cel.NewEnvConfigFromYaml(f"name: flow\nstdlib:\n  exclude_functions:\n{excluded}")
    declared = [
        *_comparisons(),
        *_arithmetic(),
        *_accessors(),
        *_declarations(aloud=aloud, running=False),
    ]
    return cel.NewEnv(config=config, variables=types, functions=declared)


def running(names: Names, *, aloud: bool) -> cel.Env:
    """The environment in which checked expressions are evaluated."""
    types = {name: _running_name(name, names) for name in names.types}
    types.update({f"known.{name}": Type.BOOL for name in names.types})
    environment = cel.NewEnv(variables=types, functions=_declarations(aloud=aloud, running=True))
    # The library makes an environment ready when it first compiles; evaluating what was checked
    # elsewhere does not count, and would then refuse timestamps.
    environment.compile("true")
    return environment


def _running_name(name: str, names: Names) -> Type:
    variable = names.variables.get(name)
    if variable is not None:
        return _running_variable(variable)
    return Type.TIMESTAMP if names.types[name] == "timestamp" else Type.DYN


def _running_variable(variable: Variable) -> Type:
    if variable.type in own_types:
        return Type.TIMESTAMP
    if variable.type == "list" and variable.of is not None:
        return Type.List(_running_variable(variable.of))
    return Type.DYN


_orders = {"_<_": "less", "_<=_": "less_equals", "_>_": "greater", "_>=_": "greater_equals"}


def _comparisons() -> list[cel.FunctionDecl]:
    alike = [Type.BOOL, Type.INT, Type.UINT, Type.DOUBLE, Type.STRING, Type.BYTES]
    alike += [Type.TIMESTAMP, Type.DURATION, *own_types.values()]
    mixed = [(Type.INT, Type.DOUBLE), (own_types["datetime"], Type.TIMESTAMP)]
    pairs = [(one, one) for one in alike] + mixed + [(b, a) for a, b in mixed]
    return [
        _declare(operator, [(Type.BOOL, pair, False) for pair in pairs], stem)
        for operator, stem in _orders.items()
    ]


def _arithmetic() -> list[cel.FunctionDecl]:
    span, stamp = Type.DURATION, Type.TIMESTAMP
    moments = (stamp, own_types["date"], own_types["time"], own_types["datetime"])
    same = [(one, (one, one), False) for one in (Type.INT, Type.UINT, Type.DOUBLE, span)]
    texts = [(one, (one, one), False) for one in (Type.STRING, Type.BYTES, cel_types["list"])]
    shifted = [(moment, (moment, span), False) for moment in moments]
    shifted_back = [(moment, (span, moment), False) for moment in moments]
    between = [(span, (moment, moment), False) for moment in moments]
    mixed = [
        (span, (stamp, own_types["datetime"]), False),
        (span, (own_types["datetime"], stamp), False),
    ]
    return [
        _declare("_+_", [*same, *texts, *shifted, *shifted_back], "plus"),
        _declare("_-_", [*same, *shifted, *between, *mixed], "minus"),
    ]


_date_parts = (
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getMonth",
)
_time_parts = ("getHours", "getMinutes", "getSeconds")
_parts = (*_date_parts, *_time_parts)


def _accessors() -> list[cel.FunctionDecl]:
    """CEL's accessors, which it has for timestamps, for our dates and times too."""
    declared = []
    for name in _parts:
        signatures: list[Signature] = [
            (Type.INT, (Type.TIMESTAMP,), True),
            (Type.INT, (Type.TIMESTAMP, Type.STRING), True),
        ]
        if name in _time_parts:
            signatures += [(Type.INT, (Type.DURATION,), True)]
        own = own_types["date" if name in _date_parts else "time"]
        declared.append(_declare(name, [*signatures, (Type.INT, (own,), True)], name))
    return declared


Shape = tuple[str | bool, ...]
Signature = tuple[Type, tuple[Type, ...], bool]


def _declare(name: str, signatures: list[Signature], stem: str) -> cel.FunctionDecl:
    overloads = [
        cel.Overload(
            f"flow_{stem}_{index}",
            return_type=returned,
            parameters=list(parameters),
            is_member=is_member,
        )
        for index, (returned, parameters, is_member) in enumerate(signatures)
    ]
    return cel.FunctionDecl(name, overloads)


def _declarations(*, aloud: bool, running: bool) -> list[cel.FunctionDecl]:
    by_name: dict[str, list[cel.Overload]] = {}
    shapes: set[Shape] = set()
    for function in functions:
        if function.aloud and not aloud:
            continue
        overloads = by_name.setdefault(function.name, [])
        if running:
            overloads.extend(_running_overload(function, shapes))
        else:
            overloads.append(
                cel.Overload(
                    function.id,
                    return_type=cel_types[function.returns],
                    parameters=[cel_types[name] for name in function.parameters],
                    is_member=function.is_member,
                )
            )
    return [cel.FunctionDecl(name, overloads) for name, overloads in by_name.items()]


def _running_overload(function: Function, shapes: set[Shape]) -> Iterator[cel.Overload]:
    """The overload over CEL's own types, unless one of the same shape is there already.

    Dates, times and instants are all timestamps here; their functions tell them apart.
    """
    shape = (
        function.name,
        function.is_member,
        *(_running_type(name).name() for name in function.parameters),
    )
    if shape in shapes:
        return
    shapes.add(shape)
    yield cel.Overload(
        function.id,
        return_type=_running_type(function.returns),
        parameters=[_running_type(name) for name in function.parameters],
        is_member=function.is_member,
        impl=function.run,
    )


def _running_type(name: str) -> Type:
    return Type.TIMESTAMP if name in own_types else cel_types[name]
