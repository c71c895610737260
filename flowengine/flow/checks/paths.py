"""Variables that are read on a path on which nothing has set them.

A data-flow analysis over the moves of the graph: what is surely set when a node is entered is
what is surely set on every way there. `known(x)` and guards narrow it; see `narrowing`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flowengine.flow.checks.limits import is_required
from flowengine.flow.checks.narrowing import set_after, set_if_true
from flowengine.flow.checks.reads import expression_names, template_expressions
from flowengine.flow.checks.subject import Leaving, Subject, edge_path, finding, node_path
from flowengine.flow.edge_model import OnOutcome, OnWhen
from flowengine.flow.findings import Finding
from flowengine.flow.kind import Node
from flowengine.flow.paths import at_index, at_key, root
from flowengine.flow.references import Found, references
from flowengine.flow.types import is_by_try

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """A move with what it surely sets (`adds`) and forgets (`drops`)."""

    source: str
    target: str
    leaving: Leaving
    before: Names
    """Set when the edge's own `set` is computed, beside what was set at the node's entry."""
    adds: Names
    drops: Names


@dataclass(frozen=True)
class Paths:
    """Which variables are surely set at each node's entry."""

    subject: Subject

    @cached_property
    def at_start(self) -> Names:
        """Inputs that must be bound, and variables with a default."""
        return frozenset(
            name
            for name, variable in self.subject.flow.variables.items()
            if is_required(variable) or variable.default is not None
        )

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every move from a reachable node, with its effect."""
        subject = self.subject
        found = []
        for move in subject.moves:
            if move.source in subject.reachable:
                leaving = Leaving(move.edge, subject.flow.edges[move.edge])
                found.append(self._step(move.source, move.target, leaving))
        return tuple(found)

    def _step(self, source: str, target: str, leaving: Leaving) -> Step:
        edge = leaving.edge
        before = frozenset(edge.need) | (set_if_true(edge.if_) if edge.if_ else frozenset())
        if isinstance(edge.on, OnWhen):
            before |= set_if_true(edge.on.when)
        if isinstance(edge.on, OnOutcome):
            before |= self._after_outcomes(source, leaving)
        drops = frozenset(name for name, value in edge.set.items() if value.strip() == "null")
        return Step(source, target, leaving, before, before | (edge.set.keys() - drops), drops)

    def _after_outcomes(self, node: str, leaving: Leaving) -> Names:
        """What is set after every outcome that the edge may take."""
        sets: list[Names] = []
        for outcome in self.subject.outcome_names(node):
            takers = list(self.subject.takers(node, outcome))
            numbers = [taker.number for taker in takers]
            if leaving.number in numbers:
                earlier = takers[: numbers.index(leaving.number)]
                refused = set_after(
                    taker.edge.if_
                    for taker in earlier
                    if not taker.edge.need and taker.edge.cooldown is None
                )
                sets.append(gained(self.subject, node, outcome) | refused)
        return frozenset.intersection(*sets) if sets else frozenset()

    @cached_property
    def onward(self) -> Mapping[str, list[Step]]:
        """The moves by the node that they leave."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.source, []).append(step)
        return found

    @cached_property
    def entries(self) -> Mapping[str, Names]:
        """The surely set variables at the entry of each reachable node."""
        subject = self.subject
        every = frozenset(subject.flow.variables)
        entry = dict.fromkeys(subject.reachable, every)
        if not subject.reachable:
            return entry
        entry[subject.flow.start] = self.at_start
        waiting = deque(entry)
        queued = set(entry)
        while waiting:
            name = waiting.popleft()
            queued.discard(name)
            for step in self.onward.get(name, ()):
                out = ((entry[name] | step.adds) - step.drops) & entry[step.target]
                if out != entry[step.target]:
                    entry[step.target] = out
                    if step.target not in queued:
                        waiting.append(step.target)
                        queued.add(step.target)
        return entry

    def way_without(self, variable: str, node: str) -> list[str]:
        """A shortest way to a node on which the variable is not set when it is entered."""
        start = self.subject.flow.start
        first = (start, variable not in self.at_start)
        came: dict[tuple[str, bool], tuple[str, bool] | None] = {first: None}
        waiting = deque([first])
        while waiting:
            here = waiting.popleft()
            if here == (node, True):
                break
            for step in self.onward.get(here[0], ()):
                unset = variable in step.drops or (here[1] and variable not in step.adds)
                there = (step.target, unset)
                if there not in came:
                    came[there] = here
                    waiting.append(there)
        way: list[str] = []
        at: tuple[str, bool] | None = (node, True)
        while at is not None and at in came:
            way.append(at[0])
            at = came[at]
        return way[::-1]


def gained(subject: Subject, name: str, outcome: str) -> Names:
    """Variables that are surely set when a node has ended with `done`; nothing for others."""
    node = subject.node(name)
    if outcome != "done":
        return frozenset()
    found = set(node.save)
    variable = getattr(node, "var", None)
    if isinstance(variable, str):
        found.add(variable)
    collected = getattr(node, "collect", None)
    if isinstance(collected, tuple):
        found |= set(collected)
    tool = subject.flow.tools.get(str(getattr(node, "tool", "")))
    if tool is not None:
        found |= set(tool.save)
    return frozenset(found)


def unset_reads(subject: Subject) -> Iterator[Finding]:
    """A Text, prompt, tool's request or `set` that reads what is not set on some way there."""
    paths = Paths(subject)
    reported: set[tuple[str, str]] = set()
    for name, path, variable, at_exit in _needed(paths):
        if (path, variable) in reported:
            continue
        reported.add((path, variable))
        way = paths.way_without(variable, name)
        where = "when this edge is taken" if at_exit else f"when {name!r} is entered"
        yield finding(
            "unset_read",
            path,
            f"{variable!r} is read here, and on some way nothing has set it {where}.",
            f"Collect it before, give it a default, or ask `known({variable})` first.",
            trace=way,
        )


def _needed(paths: Paths) -> Iterator[tuple[str, str, str, bool]]:
    """Node, JSON path and name of every read of a variable that is not surely set."""
    subject = paths.subject
    declared = frozenset(subject.flow.variables)
    for name, node in subject.flow.nodes.items():
        if name not in paths.entries:
            continue
        known = paths.entries[name]
        for path, names in _node_reads(subject, name, node):
            for variable in sorted((names & declared) - known):
                yield name, path, variable, False
    for step in paths.steps:
        known = paths.entries[step.source] | step.before
        for key, value in step.leaving.edge.set.items():
            read = expression_names(value)
            for variable in sorted((read.values & declared) - read.asked - known):
                path = at_key(at_key(edge_path(step.leaving.number), "set"), key)
                yield step.source, path, variable, True


def _node_reads(subject: Subject, name: str, node: Node) -> Iterator[tuple[str, Names]]:
    """The reads of a node's own Texts, and of the requests of its tool."""
    for found in references(node, node_path(name)):
        if found.marker.name == "text":
            yield from _text_reads(found.value, found.path, frozenset())
        elif found.marker.name == "template" and not _is_inside_text(found, node, name):
            yield from _template_reads(found.path, found.value, frozenset())
    tool_name = getattr(node, "tool", None)
    tool = subject.flow.tools.get(tool_name) if isinstance(tool_name, str) else None
    if isinstance(tool_name, str) and tool is not None:
        path = at_key(at_key(root, "tools"), tool_name)
        for found in references(tool, path):
            if found.marker.name == "template":
                yield from _template_reads(found.path, found.value, frozenset())


def _is_inside_text(found: Found, node: Node, name: str) -> bool:
    """Whether a template is a part of a Text, which is read as a whole."""
    texts = (one.path for one in references(node, node_path(name)) if one.marker.name == "text")
    return any(
        found.path == path or found.path.startswith((f"{path}.", f"{path}[")) for path in texts
    )


def _template_reads(path: str, source: Any, narrowed: Names) -> Iterator[tuple[str, Names]]:
    for part in template_expressions(source) if isinstance(source, str) else ():
        names = expression_names(part)
        yield path, names.values - names.asked - narrowed


def _text_reads(text: Any, path: str, narrowed: Names) -> Iterator[tuple[str, Names]]:
    """The reads of a Text; an item's guard, and the failed ones before it, narrow what it reads."""
    if isinstance(text, str):
        yield from _template_reads(path, text, narrowed)
    elif isinstance(text, list):
        by_try = is_by_try(text)
        refused: list[str] = []
        for index, item in enumerate(text):
            here = at_index(path, index)
            known = narrowed | set_after(refused)
            if not by_try and isinstance(item, dict) and "if" in item:
                guard = str(item["if"])
                refused.append(guard)
                yield from _text_reads(
                    item["text"], at_key(here, "text"), known | set_if_true(guard)
                )
            else:
                yield from _text_reads(item, here, known)
    elif isinstance(text, dict) and "audio" not in text:
        for key, item in text.items():
            yield from _text_reads(item, at_key(path, key), narrowed)
