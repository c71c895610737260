"""Find the value of a name in a scope: variables, `call`, `turn`, `now`, `result` and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowengine.events import Json
from flowengine.flow.cel_env import Names
from flowengine.flow.cel_values import to_cel, variable_to_cel
from flowengine.flow.scope import Scope
from flowengine.flow.variables import Variable


@dataclass(frozen=True, slots=True)
class Bound:
    """A value that is there."""

    value: Any

    def to_cel(self, variable: Variable | None, kind: str, timezone: str) -> Any:
        """The value as CEL's; raises ValueError when it is not of its declared type."""
        if variable is not None:
            return variable_to_cel(variable, self.value, timezone)
        if kind == "timestamp":
            # Instants have no microseconds: dates are known by theirs.
            return self.value.replace(microsecond=0)
        return to_cel(self.value, kind, timezone)


def bind(name: str, scope: Scope) -> Bound | None:
    """The value of a dotted name; None when it is not set."""
    head, _, rest = name.partition(".")
    if head == "call":
        return Bound(getattr(scope.call, "from_" if rest == "from" else rest))
    if head == "turn":
        return None if scope.turn is None else Bound(getattr(scope.turn, rest))
    engine = _engine_value(name, scope)
    if engine is not None:
        return engine
    root: Mapping[str, Json] | None = scope.values
    if head in ("result", "input", "secrets"):
        root = _root(head, scope)
        if not rest:
            return None if root is None else Bound(root)
        head, _, rest = rest.partition(".")
    return _inside(root, head, rest)


def _engine_value(name: str, scope: Scope) -> Bound | None:
    if name == "now":
        return Bound(scope.now)
    if name == "language":
        return Bound(scope.language)
    if name == "recording":
        return Bound(scope.recording)
    if name == "visit":
        return Bound(scope.visit)
    return Bound(scope.try_number) if name == "try" else None


def _root(head: str, scope: Scope) -> Any:
    if head == "result":
        return scope.result
    return scope.tool_input if head == "input" else scope.secrets


def _inside(root: Any, head: str, rest: str) -> Bound | None:
    value: Any = root
    for key in (head, *(rest.split(".") if rest else ())):
        if not isinstance(value, Mapping) or value.get(key) is None:
            return None
        value = value[key]
    return Bound(value)


def mask(name: str, value: Any, names: Names) -> Json:
    """A value as records may hold it: sensitive ones and secrets only by their length."""
    parts = name.split(".")
    prefixes = [".".join(parts[: end + 1]) for end in range(len(parts))]
    variables = [names.variables[prefix] for prefix in prefixes if prefix in names.variables]
    if parts[0] == "secrets" or any(variable.sensitive for variable in variables):
        return masked(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value if isinstance(value, (str, int, float, bool, list, dict)) else str(value)


def masked(value: Json) -> Json:
    """What a record holds instead of a sensitive value."""
    return {"sensitive": True, "length": len(value) if isinstance(value, (str, list)) else 1}
