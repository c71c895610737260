"""What a node does in a call: one file per kind, with its settings, outcomes and behaviour.

Reading order: `stage` (what a node may do), `say` (the smallest kind), `listening` (silence,
misfits and tries, for the kinds that listen), `menu`, `collect`, `dialog`, then the rest. A kind is
added by adding its file here, or in another package under the entry points `flowengine.nodes`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Literal, get_origin

from flowengine.errors import ConfigError
from flowengine.flow.kind import Node, kind_name

entry_point_group = "flowengine.nodes"


def load_kinds() -> dict[str, type[Node]]:
    """Every kind of node by its name: those of this package, then those of installed packages.

    Raises ConfigError when two classes claim a name, or when an entry point gives no kind.
    """
    kinds: dict[str, type[Node]] = {}
    for node, where in [*_built_in(), *_installed()]:
        name = kind_name(node)
        known = kinds.setdefault(name, node)
        if known is not node:
            raise ConfigError(
                "node_kind_clash",
                f"The node kind {name!r} is defined twice.",
                where=f"{known.__module__} and {where}",
                fix="Rename one of them, or uninstall one of the packages.",
            )
    return kinds


def _built_in() -> Iterator[tuple[type[Node], str]]:
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        yield from _kinds_of(importlib.import_module(f"{__name__}.{module.name}"))


def _installed() -> Iterator[tuple[type[Node], str]]:
    for point in sorted(entry_points(group=entry_point_group), key=lambda point: point.name):
        where = f"entry point {point.name} = {point.value}"
        loaded = point.load()
        found = list(_kinds_of(loaded)) if isinstance(loaded, ModuleType) else [(loaded, where)]
        good = [node for node, _ in found if _is_kind(node)]
        if not good:
            raise ConfigError(
                "bad_node_kind",
                "An installed package offers a node kind that is none.",
                where=where,
                fix='Point it at a Node class with kind: Literal["…"] and run(), or its module.',
            )
        yield from ((node, where) for node in good)


def _kinds_of(module: ModuleType) -> Iterator[tuple[type[Node], str]]:
    for value in vars(module).values():
        if _is_kind(value) and value.__module__ == module.__name__:
            yield value, module.__name__


def _is_kind(value: Any) -> bool:
    """Whether it is a concrete kind: a Node class that names its kind and can run."""
    if not (isinstance(value, type) and issubclass(value, Node)):
        return False
    names_itself = get_origin(value.model_fields["kind"].annotation) is Literal
    return names_itself and callable(getattr(value, "run", None))
