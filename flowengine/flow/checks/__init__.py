"""What is wrong with a flow that parses: `check` finds errors and warnings before a caller does.

Reading order: `codes` (the table of findings), `subject` (the flow, its moves), then one module a
subject: `names`, `edges`, `ways` (reachability), `limits` (limits, inputs, sub-flows), `keys`,
`shadows` (edges never taken, intents alike), `reads` and `values` (who reads what, sensitive
values), `paths` with `narrowing` (reads before a value is set), `loops` (that turn without the
caller), `manners` (what callers suffer from). `report` and `positions` write the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from flowengine.flow.checks import (
    edges,
    keys,
    limits,
    loops,
    manners,
    names,
    paths,
    shadows,
    values,
    ways,
)
from flowengine.flow.checks.subject import Subject
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.language import Language

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    limits.too_many_nodes,
    names.expressions,
    names.unknown_names,
    names.unknown_regions,
    names.unknown_places,
    limits.unbound_inputs,
    limits.subflows,
    edges.star_triggers,
    edges.unknown_outcomes,
    edges.unhandled_outcomes,
    ways.unreachable_nodes,
    ways.dead_ends,
    loops.silent_loops,
    paths.unset_reads,
    keys.keys_that_begin_values,
    keys.overlapping_keys,
    keys.voice_only_menus,
    shadows.edges_never_taken,
    shadows.overlapping_intents,
    values.sensitive_exposed,
    values.variables_never_read,
    manners.apologies,
    manners.no_person,
    manners.silent_entries,
)
"""Every check, each on its own."""

_sections = (
    "flow", "id", "name", "start", "variables", "lists", "calendars", "tools", "defaults",
    "nodes", "edges", "layout",
)  # fmt: skip


def check(
    flow: Flow,
    *,
    subflows: Mapping[str, Flow] | None = None,
    bound: frozenset[str] | None = None,
) -> list[Finding]:
    """Everything that is wrong with a flow, ordered by its place in the document.

    `subflows`: the flows that its `flow` nodes call, by id; None: not at hand.
    `bound`: the inputs that number, route or campaign bind; None: not known.
    """
    subject = Subject(flow, subflows or {}, bound, has_subflows=subflows is not None)
    found = {finding: None for run in CHECKS for finding in run(subject)}
    return sorted(_without_echoes(found), key=document_order)


def check_source(
    language: Language,
    source: str | bytes,
    *,
    subflows: Mapping[str, Flow] | None = None,
    bound: frozenset[str] | None = None,
) -> list[Finding]:
    """Everything that is wrong with a document as written; its shape first of all."""
    parsed = language.parse(source)
    if parsed.flow is None:
        return sorted(parsed.findings, key=document_order)
    return [*parsed.findings, *check(parsed.flow, subflows=subflows, bound=bound)]


def _without_echoes(found: Iterable[Finding]) -> Iterator[Finding]:
    """While a name is misspelt somewhere, that a variable is never read is no news."""
    found = list(found)
    misspelt = any(finding.code in ("unknown_name", "unknown_variable") for finding in found)
    for finding in found:
        if not (misspelt and finding.code == "variable_never_read"):
            yield finding


def document_order(finding: Finding) -> tuple[int, list[tuple[int, str]], str, str]:
    """A key that sorts findings by section, then by path (numbers as numbers), errors first."""
    parts = re.findall(r"\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\.([^.\[]+)", finding.path)
    words = [number or quoted or plain for number, quoted, plain in parts]
    section = words[0] if words else ""
    place = _sections.index(section) if section in _sections else -1
    rest = [(int(word), "") if word.isdecimal() else (-1, word) for word in words[1:]]
    return place, rest, finding.severity, finding.code
