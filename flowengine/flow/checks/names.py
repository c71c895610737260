"""Names that must exist: nodes, variables, lists, tools, calendars and sub-flows.

Names inside expressions are checked by compiling them; here are also those that stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from flowengine.flow.calendars import knows_region
from flowengine.flow.checks.subject import Subject, finding, nearest, node_path
from flowengine.flow.edge_model import back, star
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_key, root
from flowengine.flow.program import expression_findings
from flowengine.flow.references import references

_assignable = ("language", "recording")
"""Built-in names that an edge's `set` may change."""

_what = {
    "node": ("unknown_node", "node"),
    "variable": ("unknown_variable", "variable"),
    "tool": ("unknown_tool", "tool"),
    "list": ("unknown_list", "list"),
    "calendar": ("unknown_calendar", "calendar"),
}


def expressions(subject: Subject) -> Iterator[Finding]:
    """Expressions and templates that do not compile, and names that no variable can have."""
    yield from expression_findings(subject.flow, subject.around.subflows)


def unknown_names(subject: Subject) -> Iterator[Finding]:
    """A name that nothing in the flow bears."""
    flow = subject.flow
    known: Mapping[str, set[str]] = {
        "node": set(flow.nodes),
        "variable": set(flow.variables),
        "tool": set(flow.tools),
        "list": set(flow.lists),
        "calendar": set(flow.calendars),
    }
    for found in references(flow, root):
        name = found.value
        if found.marker.name not in _what or name in known[found.marker.name]:
            continue
        code, what = _what[found.marker.name]
        if what == "node" and (name in (star, back) or not isinstance(name, str)):
            continue
        if what == "variable" and name in _assignable and ".set." in found.path:
            continue
        if _is_declaration(found.path, name):
            continue
        yield finding(
            code,
            _as_written(subject, found.path),
            f"The flow has no {what} {name!r}.",
            nearest(name, known[found.marker.name], f"Declare the {what}, or drop the name."),
        )


_declared = re.compile(
    r"\$\.(variables|layout)\b"
    r"|\$\.tools(\.[\w-]+|\['.*?'\])\.input\b"
    r"|\$\.nodes(\.[\w-]+|\['.*?'\])\.with\b"
)


def _is_declaration(path: str, name: str) -> bool:
    """Keys that name what they declare, or what another flow does: no names of this flow."""
    return path == node_path(name) or _declared.match(path) is not None


_source = re.compile(r"(\$\.edges\[(\d+)\]\.from)\[0\]")


def _as_written(subject: Subject, path: str) -> str:
    """The path of an edge's one source, which is most often written without a list."""
    match = _source.fullmatch(path)
    if match and len(subject.flow.edges[int(match[2])].sources) == 1:
        return match[1]
    return path


def unknown_regions(subject: Subject) -> Iterator[Finding]:
    """A country or region whose public holidays are not known."""
    for name, calendar in subject.flow.calendars.items():
        if calendar.holidays is not None and not knows_region(calendar.holidays):
            yield finding(
                "unknown_region",
                at_key(at_key(at_key(root, "calendars"), name), "holidays"),
                f"No public holidays are known of {calendar.holidays!r}.",
                'Write a country by its ISO code, such as "FR", or a part of it, such as "US-CA".',
            )


def unknown_places(subject: Subject) -> Iterator[Finding]:
    """A position for a node that is not there: harmless, and most often a misspelt name."""
    for name in subject.flow.layout:
        if name not in subject.flow.nodes:
            yield finding(
                "unknown_place",
                at_key(at_key(root, "layout"), name),
                f"'layout' places the node {name!r}, which the flow does not have.",
                nearest(name, subject.flow.nodes, "Drop it."),
            )
