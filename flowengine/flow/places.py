"""Every expression and template of a flow with the place where it stands: what it sees and gives.

The compiler and the checks go by the same list, so that what compiles is what is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from flowengine.flow.cel_env import engine_names
from flowengine.flow.document import Surroundings
from flowengine.flow.edge_model import Edge, OnOutcome, OnWhen
from flowengine.flow.expressions import Place
from flowengine.flow.kind import Node, OutcomeSpec, common_outcomes
from flowengine.flow.paths import at_index, at_key, root
from flowengine.flow.references import Found, references
from flowengine.flow.tools import Tool
from flowengine.flow.variables import Variable

text_place = Place("text")
aloud_place = Place("text", aloud=True)


@dataclass(frozen=True, slots=True)
class Site:
    """An expression (`cel`) or a string with `{{ }}` (`template`), where it stands."""

    path: str
    source: str
    form: Literal["cel", "template"]
    place: Place
    wants: str = "any"


def sites(around: Surroundings) -> Iterator[Site]:
    """Every expression and template of a flow, in document order."""
    flow = around.flow
    for name, variable in flow.variables.items():
        yield from _variable_sites(variable, at_key(f"{root}.variables", name))
    for name, tool in flow.tools.items():
        yield from _tool_sites(around, tool, at_key(f"{root}.tools", name))
    for found in references(flow.defaults, f"{root}.defaults"):
        yield from _plain_site(found)
    for name, node in flow.nodes.items():
        yield from _node_sites(around, node, at_key(f"{root}.nodes", name))
    for index, edge in enumerate(flow.edges):
        yield from _edge_sites(around, edge, at_index(f"{root}.edges", index))


def _plain_site(found: Found) -> Iterator[Site]:
    if found.marker.name == "cel":
        place = Place(found.marker.place, result={} if found.marker.place == "result" else None)
        yield Site(found.path, found.value, "cel", place, found.marker.wants)
    elif found.marker.name == "template":
        yield Site(found.path, found.value, "template", aloud_place)


def _variable_sites(variable: Variable, path: str) -> Iterator[Site]:
    if variable.valid is not None:
        place = Place("valid", value=variable)
        yield Site(f"{path}.valid", variable.valid, "cel", place, "bool")
    if variable.of is not None:
        yield from _variable_sites(variable.of, f"{path}.of")
    for name, field in (variable.fields or {}).items():
        yield from _variable_sites(field, at_key(f"{path}.fields", name))
    if variable.invalid is not None:
        for found in references(variable, path):
            if found.path.startswith(f"{path}.invalid"):
                yield from _plain_site(found)


def _tool_sites(around: Surroundings, tool: Tool, path: str) -> Iterator[Site]:
    request = Place("tool", tool_input=tool.input)
    for found in references(tool, path):
        if found.marker.name == "template":
            yield Site(found.path, found.value, "template", request)
    for name, variable in tool.input.items():
        yield from _variable_sites(variable, at_key(f"{path}.input", name))
    yield from _save_sites(around, tool.save, f"{path}.save", Place("result", result=tool.result))


def _node_sites(around: Surroundings, node: Node, path: str) -> Iterator[Site]:
    for found in references(node, path):
        if not found.path.startswith(f"{path}.save."):
            yield from _plain_site(found)
    shape = merged(node.outcomes(around)) if _is_known(around, node) else {}
    yield from _save_sites(around, node.save, f"{path}.save", Place("result", result=shape))


def _save_sites(
    around: Surroundings, save: Mapping[str, str], path: str, place: Place
) -> Iterator[Site]:
    for name, source in save.items():
        yield Site(at_key(path, name), source, "cel", place, target_type(around, name))


def _edge_sites(around: Surroundings, edge: Edge, path: str) -> Iterator[Site]:
    place = edge_place(around, edge)
    if isinstance(edge.on, OnWhen):
        yield Site(f"{path}.on.when", edge.on.when, "cel", place, "bool")
    if edge.if_ is not None:
        yield Site(f"{path}.if", edge.if_, "cel", place, "bool")
    for name, source in edge.set.items():
        wants = target_type(around, name)
        yield Site(at_key(f"{path}.set", name), source, "cel", place, wants)


def edge_place(around: Surroundings, edge: Edge) -> Place:
    """What the expressions of an edge see: `result` too, when an outcome makes it fire."""
    if not isinstance(edge.on, OnOutcome):
        return Place("flow")
    nodes = around.flow.nodes
    names = list(nodes) if edge.is_star else [name for name in edge.sources if name in nodes]
    if not all(_is_known(around, nodes[name]) for name in names):
        return Place("flow", result={})
    specs = [spec for name in names for spec in nodes[name].outcomes(around)]
    if edge.on.is_else or common_outcomes & set(edge.on.outcomes):
        return Place("flow", result=merged(specs))
    return Place("flow", result=merged([s for s in specs if s.name in edge.on.outcomes]))


def _is_known(around: Surroundings, node: Node) -> bool:
    """Whether the node's outcomes are known; those of a sub-flow that is not at hand are not."""
    named = getattr(node, "flow", None)
    return not isinstance(named, str) or around.returns(named) is not None


def merged(specs: list[OutcomeSpec] | tuple[OutcomeSpec, ...]) -> dict[str, str]:
    """The names and types that `result` may have after any of these outcomes."""
    shape: dict[str, str] = {}
    for spec in specs:
        for name, kind in spec.result.items():
            shape[name] = kind if shape.get(name, kind) == kind else "any"
    return shape


def target_type(around: Surroundings, name: str) -> str:
    """The type that an assignment to a name wants; `any` when it is not declared."""
    variable = around.variables.get(name)
    return variable.type if variable is not None else engine_names.get(name, "any")
