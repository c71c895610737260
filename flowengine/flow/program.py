"""A compiled version of a flow: what the engine runs, the simulator walks and the checks ask.

Built once per version by `Language.compile`. Every expression is compiled here, so that a call
only evaluates; a `Program` holds no state of any call and may serve all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from flowengine.errors import FlowError
from flowengine.events import Json
from flowengine.flow import calendars, values
from flowengine.flow.cel_env import reserved_words
from flowengine.flow.defaults import Defaults, merge_use
from flowengine.flow.document import Flow, Surroundings
from flowengine.flow.edge_model import Edge, OnWhen
from flowengine.flow.edges import EdgeBook
from flowengine.flow.expressions import (
    Evaluation,
    Expression,
    ExpressionError,
    Expressions,
    Known,
    Place,
)
from flowengine.flow.findings import Finding
from flowengine.flow.kind import Node
from flowengine.flow.parts import AudioFile, Composed, Part
from flowengine.flow.paths import at_key, root
from flowengine.flow.places import Site, aloud_place, edge_place, sites, text_place
from flowengine.flow.scope import Scope
from flowengine.flow.templates import Template, compile_template
from flowengine.flow.types import Text
from flowengine.flow.variables import Variable
from flowengine.ids import NodeId, VersionHash


class Program:
    """A flow, ready to run. `subflows`: the programs that its `flow` nodes name, by flow id."""

    def __init__(
        self,
        flow: Flow,
        version: VersionHash,
        subflows: Mapping[str, Program] | None = None,
    ) -> None:
        self.flow = flow
        self.version = version
        self.subflows: Mapping[str, Program] = subflows or {}
        self.around = Surroundings(flow, {name: p.flow for name, p in self.subflows.items()})
        self.expressions = expressions_of(flow)
        self._places: dict[str, Place] = {}
        self._templates: dict[tuple[str, str], Template] = {}
        self._plain: dict[str, Expression] = {}
        self._text_guards: dict[str, Expression] = {}
        for finding in compile_sites(self.expressions, self.around):
            raise FlowError(finding.code, finding.message, where=finding.path, fix=finding.fix)
        self._guards = {edge.id: tuple(self._edge_guards(edge)) for edge in flow.edges}
        self._sets = {edge.id: tuple(self._edge_assignments(edge)) for edge in flow.edges}
        self._settings = {
            name: merge_use(flow.defaults, node.use, node.retry)
            for name, node in flow.nodes.items()
        }
        self.edges = EdgeBook(self)

    # --- the document ------------------------------------------------------------------------

    def node(self, node_id: NodeId) -> Node:
        """The node of that name; raises KeyError when there is none."""
        return self.flow.nodes[node_id]

    def settings(self, node_id: NodeId | None = None) -> Defaults:
        """`defaults` with the node's `use` and `retry` merged over them; the flow's without it."""
        return self._settings.get(node_id or NodeId(""), self.flow.defaults)

    # --- expressions -------------------------------------------------------------------------

    def evaluate(self, source: str, scope: Scope) -> Evaluation:
        """Evaluate an expression over a scope, `result` included; never raises for its values.

        Raises ExpressionError when it does not compile, which a checked flow's do.
        """
        return self._expression(source).evaluate(scope)

    def assign(self, source: str, scope: Scope) -> Json:
        """The value of an assignment (`set`, `save`); raises FlowError when it has none."""
        result = self.evaluate(source, scope)
        if result.error:
            raise FlowError(
                "unset_value" if result.unset else "not_evaluated",
                f"An assignment has no value: {result.error}.",
                where=source,
                fix="Guard it with known().",
            )
        return result.value

    def guards(self, edge: Edge) -> tuple[tuple[str, Expression], ...]:
        """The conditions of an edge: its `when`, then its `if`."""
        return self._guards[edge.id]

    def edge_sets(
        self, edge: Edge, scope: Scope
    ) -> tuple[tuple[tuple[str, Json], ...], tuple[str, ...]]:
        """The assignments of an edge, all over the same scope, and what could not be evaluated."""
        sets: list[tuple[str, Json]] = []
        faults: list[str] = []
        for name, expression in self._sets[edge.id]:
            result = expression.evaluate(scope)
            if result.error:
                faults.append(f"{name} not set: {result.error}")
            else:
                sets.append((name, result.value))
        return tuple(sets), tuple(faults)

    # --- text --------------------------------------------------------------------------------

    def render(self, text: Text, scope: Scope) -> tuple[Part, ...]:
        """A Text for the ear. Raises FlowError (`unset_value`) when a value is not set."""
        chosen = self._chosen(text, scope)
        if isinstance(chosen, str):
            return self._template(chosen).parts(scope)
        if "audio" in chosen:
            return (AudioFile(chosen["audio"]),)
        return (Composed(self._template(chosen["prompt"]).string(scope)),)

    def render_text(self, text: Text, scope: Scope) -> str:
        """A Text for the eye or the LLM (a prompt, an SMS): dates stay as written."""
        chosen = self._chosen(text, scope)
        if isinstance(chosen, str):
            return self._template(chosen).string(scope)
        return "" if "audio" in chosen else self._template(chosen["prompt"]).string(scope)

    def render_string(self, template: str, scope: Scope) -> str:
        """A template as a string. Raises FlowError (`unset_value`) when a value is not set."""
        return self._template(template).string(scope)

    def render_json(self, value: Json, scope: Scope) -> Json:
        """JSON with templates: a string that is one `{{ }}` keeps its type, null when unset."""
        if isinstance(value, str):
            return self._template(value).value(scope)
        return _each(value, lambda item: self.render_json(item, scope))

    def render_request(self, tool: str, value: Json, scope: Scope) -> Json:
        """JSON or a string of a tool's request: knows `input` and `secrets` of the scope.

        Raises FlowError (`unset_value`) when a secret or a value inside a longer string is unset.
        """
        if isinstance(value, str):
            place = self._place(tool)
            return self._template(value, place, tool).value(scope)
        return _each(value, lambda item: self.render_request(tool, item, scope))

    # --- values ------------------------------------------------------------------------------

    def accept(
        self, variable: Variable, value: Json, scope: Scope
    ) -> values.Accepted | values.Rejected:
        """Judge a value for a variable: its type, its constraints, its `valid`."""
        return values.accept(variable, value, self, scope)

    def is_valid(self, variable: Variable, value: Json, scope: Scope) -> bool:
        """Whether the variable's `valid` holds for a value."""
        if variable.valid is None:
            return True
        place = Place("valid", value=variable)
        expression = self.expressions.compile(variable.valid, wants="bool", place=place)
        with_value = replace(scope, values={**scope.values, "value": value})
        return expression.evaluate(with_value).is_true

    # --- inside ------------------------------------------------------------------------------

    def _chosen(self, text: Text, scope: Scope) -> str | dict[str, str]:
        """The part of a Text that holds now: a string, a recording or a prompt."""
        while True:
            if isinstance(text, str) or (
                isinstance(text, dict) and ("audio" in text or "prompt" in text)
            ):
                return text
            text = self._of_list(text, scope) if isinstance(text, list) else _spoken(text, scope)

    def _of_list(self, texts: list[Json], scope: Scope) -> Text:
        for item in texts:
            if not (isinstance(item, dict) and "if" in item):
                return item  # type: ignore[no-any-return]
                # The shape was validated with the document; it is JSON to the type checker.
            source: str = item["if"]
            guard = self._text_guards.get(source)
            if guard is None:
                guard = self.expressions.compile(source, wants="bool", place=text_place)
                self._text_guards[source] = guard
            if guard.evaluate(scope).is_true:
                chosen: Text = item["text"]
                return chosen
        return ""

    def _template(self, source: str, place: Place = aloud_place, owner: str = "") -> Template:
        found = self._templates.get((owner, source))
        if found is None:
            found = compile_template(self.expressions, source, place)
            self._templates[(owner, source)] = found
        return found

    def _place(self, tool: str) -> Place:
        if tool not in self._places:
            self._places[tool] = Place("tool", tool_input=self.flow.tools[tool].input)
        return self._places[tool]

    def _expression(self, source: str) -> Expression:
        found = self._plain.get(source)
        if found is None:
            found = self.expressions.compile(source, place=Place("result", result={}))
            self._plain[source] = found
        return found

    def _edge_guards(self, edge: Edge) -> Iterator[tuple[str, Expression]]:
        place = edge_place(self.around, edge)
        for source in (edge.on.when if isinstance(edge.on, OnWhen) else None, edge.if_):
            if source is not None:
                yield source, self.expressions.compile(source, wants="bool", place=place)

    def _edge_assignments(self, edge: Edge) -> Iterator[tuple[str, Expression]]:
        place = edge_place(self.around, edge)
        for name, source in edge.set.items():
            yield name, self.expressions.compile(source, place=place)


def _spoken(by_language: Mapping[str, Text], scope: Scope) -> Text:
    """The Text of the language spoken, else of its base, else the first."""
    if scope.language in by_language:
        return by_language[scope.language]
    base = scope.language.partition("-")[0]
    for language, text in by_language.items():
        if language.partition("-")[0] == base:
            return text
    return next(iter(by_language.values()))


def _each(value: Json, render: Callable[[Json], Json]) -> Json:
    if isinstance(value, Mapping):
        return {key: render(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(item) for item in value]
    return value


def expressions_of(flow: Flow) -> Expressions:
    """The compiler of a flow's expressions. Variables with a reserved name are left out."""
    declared = {
        name: variable for name, variable in flow.variables.items() if name not in reserved_words
    }
    known = Known(flow.calendars, flow.lists, frozenset(flow.nodes))
    return Expressions(declared, known)


def compile_sites(expressions: Expressions, around: Surroundings) -> Iterator[Finding]:
    """Compile everything in a flow; a finding for each thing that does not."""
    for name in around.flow.variables:
        if name in reserved_words:
            yield Finding(
                "reserved_name",
                "error",
                at_key(f"{root}.variables", name),
                f"{name!r} is a reserved word and cannot name a variable.",
                f"Choose another name; reserved are {', '.join(reserved_words)}.",
            )
    for site in sites(around):
        finding = _compile_site(expressions, site)
        if finding is not None:
            yield finding


def _compile_site(expressions: Expressions, site: Site) -> Finding | None:
    try:
        if site.form == "template":
            compile_template(expressions, site.source, site.place)
        else:
            expressions.compile(site.source, wants=site.wants, place=site.place)
    except ExpressionError as error:
        message = f"{error.what} (column {error.column})"
        near = f"Did you mean {error.nearest!r}?" if error.nearest else ""
        fix = error.fix if error.nearest in error.fix else f"{near} {error.fix}".strip()
        return Finding(error.code, "error", site.path, message, fix)
    return None


def expression_findings(
    flow: Flow, subflows: Mapping[str, Flow] | None = None
) -> tuple[Finding, ...]:
    """Every expression, template and variable name of a flow that does not compile."""
    around = Surroundings(flow, subflows or {})
    found = list(compile_sites(expressions_of(flow), around))
    for name, variable in flow.variables.items():
        found.extend(_variable_findings(variable, at_key(f"{root}.variables", name)))
    for name, calendar in flow.calendars.items():
        region = calendar.holidays
        if region is not None and not calendars.knows_region(region):
            path = f"{at_key(f'{root}.calendars', name)}.holidays"
            message = f"The public holidays of {region!r} are not known."
            found.append(Finding("bad_region", "error", path, message, 'Write "FR" or "US-CA".'))
    return tuple(found)


def _variable_findings(variable: Variable, path: str) -> Iterator[Finding]:
    if variable.pattern is not None:
        try:
            values.check_pattern(variable.pattern)
        except FlowError as error:
            yield Finding(error.code, "error", f"{path}.pattern", error.what, error.fix)
    refused = values.check_default(variable)
    if refused is not None:
        message = f"The default is no value of this variable ({refused})."
        fix = f"Write a {variable.type} within its bounds, or null to leave it unset."
        yield Finding("bad_default", "error", f"{path}.default", message, fix)
    if variable.of is not None:
        yield from _variable_findings(variable.of, f"{path}.of")
    for name, field in (variable.fields or {}).items():
        yield from _variable_findings(field, at_key(f"{path}.fields", name))
