"""Variables: sensitive ones where others can read them, and those that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flowengine.flow.checks.reads import (
    expression_names,
    input_names,
    readings,
)
from flowengine.flow.checks.subject import Subject, finding, node_path
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_key, root
from flowengine.flow.references import references

_in_url = re.compile(r"\$\.tools(\.[\w-]+|\['.*?'\])\.(url|query)\b")


def sensitive_exposed(subject: Subject) -> Iterator[Finding]:
    """Sensitive values must reach no log, transcript, LLM, recording, URL or webhook."""
    secret = {name for name, variable in subject.flow.variables.items() if variable.sensitive}
    if not secret:
        return
    for name in subject.flow.variables:
        if name in secret and subject.flow.variables[name].output:
            path = at_key(at_key(at_key(root, "variables"), name), "output")
            yield _exposed(
                path, name, "stands in the call's result and its webhooks", 'Drop "output".'
            )
    yield from _in_templates(subject, secret)
    yield from _before_the_llm(subject, secret)
    yield from _through_inputs(subject, secret)


def _exposed(path: str, name: str, how: str, fix: str) -> Finding:
    message = f"The sensitive variable {name!r} {how}."
    return finding("sensitive_exposed", path, message, fix)


def _in_templates(subject: Subject, secret: set[str]) -> Iterator[Finding]:
    for reading in readings(subject.flow):
        found = reading.found
        if found.marker.name != "template":
            continue
        is_tool = found.marker.place == "tool"
        if is_tool and not _in_url.match(found.path):
            continue  # Headers and body of a request are the one place for it.
        where = "is written into a URL" if is_tool else "is written into a Text"
        fix = "Send it in the request's body." if is_tool else "Say what it is for, not its value."
        for name in sorted(reading.values & secret):
            yield _exposed(found.path, name, where, fix)


def _before_the_llm(subject: Subject, secret: set[str]) -> Iterator[Finding]:
    for node_name, node in subject.flow.nodes.items():
        if not node.thinks:
            continue
        path = node_path(node_name)
        for found in references(node, path):
            if found.marker.name != "variable" or found.value not in secret:
                continue
            if found.path.startswith((at_key(path, "save"), at_key(path, "with"))):
                continue
            yield _exposed(
                found.path,
                found.value,
                f"would be heard by the LLM of the {node.kind} node {node_name!r}",
                'Ask for it in a node of its own: {"kind": "collect", "var": "…"}.',
            )


def _through_inputs(subject: Subject, secret: set[str]) -> Iterator[Finding]:
    """A `with` value that the tool writes into its URL."""
    for node_name, node in subject.flow.nodes.items():
        tool = subject.flow.tools.get(str(getattr(node, "tool", "")))
        given = getattr(node, "with_", None)
        if tool is None or not given:
            continue
        in_url = frozenset[str]().union(
            *(
                input_names(found.value)
                for found in references(tool, at_key(at_key(root, "tools"), "x"))
                if found.marker.name == "template" and _in_url.match(found.path)
            )
        )
        for key in sorted(in_url & set(given)):
            for name in sorted(expression_names(str(given[key])).values & secret):
                path = at_key(at_key(node_path(node_name), "with"), key)
                yield _exposed(
                    path, name, "is written into the tool's URL", "Send it in the request's body."
                )


def variables_never_read(subject: Subject) -> Iterator[Finding]:
    """Variables that no expression, Text or result uses: most often a misspelt name."""
    flow = subject.flow
    used = {name for name, variable in flow.variables.items() if variable.output}
    for reading in readings(flow):
        used |= {
            name
            for name in reading.values | reading.asked
            if not reading.found.path.startswith(f"{root}.variables.{name}.")
        }
    for edge in flow.edges:
        used |= set(edge.need)
    for node in flow.nodes.values():
        used.add(str(getattr(node, "of", "")))
        if node.thinks:
            # An LLM is told what is known at the start.
            used |= {name for name, variable in flow.variables.items() if variable.input}
    for name in flow.variables:
        if name not in used:
            yield finding(
                "variable_never_read",
                at_key(at_key(root, "variables"), name),
                f"The variable {name!r} is never read.",
                'Use it, mark it "output", or drop it.',
            )
