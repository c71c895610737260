"""Flows from files, ready to run: read, checked, compiled, with the flows that they call.

A flow with an error is refused with everything that is wrong with it; warnings come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import orjson

from flowengine.catalog import Catalog, shipped
from flowengine.clock import RealClock
from flowengine.errors import FlowError
from flowengine.events import Json
from flowengine.flow.checks import check
from flowengine.flow.checks.vendors import Offered, vendor_findings
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.language import Language
from flowengine.flow.program import Program
from flowengine.nodes import load_kinds
from flowengine.nodes.flow import SubFlow
from flowengine.ports import CallRow
from flowengine.runtime.knowledge import file_findings


@dataclass(frozen=True, slots=True)
class LoadedFlow:
    """A flow that may serve calls."""

    program: Program
    document: Mapping[str, Json]
    path: Path
    folders: tuple[Path, ...]
    """Where its recordings lie."""
    flows: tuple[tuple[Flow, Path], ...]
    """The flow and those that it calls, each with its own folder."""
    warnings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class FlowFiles:
    """Reads flows from files. `others`: files of flows that the first may call, beside its own."""

    language: Language = field(default_factory=lambda: Language(load_kinds()))
    catalog: Catalog = field(default_factory=shipped)
    providers: Offered | None = None
    """Those that can be named; None: not known."""
    today: date = field(default_factory=lambda: RealClock().wall().date())
    _flows: dict[str, tuple[Flow, Path]] = field(default_factory=dict)
    _programs: dict[str, Program] = field(default_factory=dict)

    def load(self, path: Path, others: Sequence[Path] = ()) -> LoadedFlow:
        """Read a flow and those that it calls. Raises FlowError with every finding."""
        main = self._read(path)
        for other in others:
            self._keep(self._read(other), other)
        self._keep(main, path)
        needed = self._with_subflows(main, path.parent)
        inner = {name: self._flows[name][0] for name in needed if name != main.id}
        flows = tuple((self._flows[name][0], self._flows[name][1].parent) for name in needed)
        found: list[Finding] = []
        for flow, folder in flows:
            own = (
                *check(flow, subflows=inner),
                *file_findings(flow, folder),
                *vendor_findings(flow, self.catalog, self.today, self.providers),
            )
            found += own if flow is main else [_of(finding, flow.id) for finding in own]
        refuse(str(path), [finding for finding in found if finding.severity == "error"])
        program = compiled(self.language, main, inner)
        folders = dict.fromkeys([path.parent, *(self._flows[name][1].parent for name in inner)])
        warnings = tuple(finding for finding in found if finding.severity == "warning")
        return LoadedFlow(program, main.document, path, tuple(folders), flows, warnings)

    def program_of(self, row: CallRow, served: LoadedFlow) -> Program:
        """The version that a call is pinned to, from the document that its row holds."""
        if row.version == served.program.version:
            return served.program
        known = self._programs.get(row.version)
        if known is None:
            parsed = self.language.parse_document(dict(row.flow), row.flow_id)
            if parsed.flow is None:
                refuse(row.flow_id, parsed.findings)
                raise FlowError("no_flow", "The call's flow cannot be read.", where=row.id)
            inner = {name: p.flow for name, p in _all_subflows(served.program)}
            known = self._programs[row.version] = compiled(self.language, parsed.flow, inner)
        return known

    def _read(self, path: Path) -> Flow:
        try:
            source = path.read_bytes()
        except OSError as error:
            raise FlowError(
                "no_flow_file",
                f"The flow cannot be read: {error.strerror}.",
                where=str(path),
                fix="Give the path of a flow.json.",
            ) from error
        parsed = self.language.parse(source, path.name)
        refuse(str(path), parsed.findings)
        if parsed.flow is None:
            raise FlowError("no_flow", "The file holds no flow.", where=str(path))
        return parsed.flow

    def _keep(self, flow: Flow, path: Path) -> None:
        self._flows[flow.id] = (flow, path)

    def _with_subflows(self, flow: Flow, folder: Path) -> list[str]:
        """The ids of a flow and of all that it calls; missing ones are left to the checks."""
        found: dict[str, None] = {flow.id: None}
        waiting = [flow]
        while waiting:
            for name in called(waiting.pop()):
                if name not in self._flows:
                    self._look_for(name, folder)
                if name in self._flows and name not in found:
                    found[name] = None
                    waiting.append(self._flows[name][0])
        return list(found)

    def _look_for(self, name: str, folder: Path) -> None:
        path = subflow_file(name, folder)
        if path is not None:
            self._keep(self._read(path), path)


def compiled(language: Language, flow: Flow, inner: Mapping[str, Flow], depth: int = 0) -> Program:
    """Compile a flow over its sub-flows; one that calls itself only so many levels deep."""
    if depth >= _DEEPEST:
        return language.compile(flow, {})
    subflows = {
        name: compiled(language, inner[name], inner, depth + 1)
        for name in dict.fromkeys(called(flow))
        if name in inner
    }
    return language.compile(flow, subflows)


def subflow_file(name: str, folder: Path) -> Path | None:
    """The file of the flow with this id: beside the flow that calls it, or in a sister folder."""
    for path in (*sorted(folder.glob("*.json")), folder.parent / name / "flow.json"):
        try:
            document = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            continue
        if isinstance(document, dict) and document.get("id") == name:
            return path
    return None


_DEEPEST = 4
"""Levels of sub-flows that are compiled."""


def called(flow: Flow) -> Iterator[str]:
    """The ids of the flows that a flow calls."""
    for node in flow.nodes.values():
        if isinstance(node, SubFlow):
            yield node.flow


def _all_subflows(program: Program) -> Iterator[tuple[str, Program]]:
    for name, inner in program.subflows.items():
        yield name, inner
        yield from _all_subflows(inner)


def _of(finding: Finding, flow_id: str) -> Finding:
    return Finding(
        finding.code,
        finding.severity,
        f"{flow_id}: {finding.path}",
        finding.message,
        finding.fix,
        finding.trace,
    )


def refuse(where: str, findings: Sequence[Finding]) -> None:
    """Raise FlowError with every error among the findings, if there is one."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise FlowError(
            "bad_flow",
            f"The flow has {len(errors)} error{'s' if len(errors) != 1 else ''}:\n"
            + "\n".join(shown(finding) for finding in errors),
            where=where,
            fix="Correct them and start again.",
        )


def shown(finding: Finding) -> str:
    """A finding as one or two lines for a terminal."""
    line = f"  {finding.severity} {finding.code} at {finding.path}: {finding.message}"
    return f"{line}\n    {finding.fix}" if finding.fix else line
