"""Drafts of flows: everything that is wrong with one, and the versions of the flows that it calls.

The same checks as `flowengine check`. A flow in the store has no folder, so what names a file
beside it is an error there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from flowengine.catalog import Catalog
from flowengine.errors import FlowengineError
from flowengine.events import Json
from flowengine.flow.checks import check
from flowengine.flow.checks.vendors import Offered, vendor_findings
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.language import Language
from flowengine.flow.paths import at_key, root
from flowengine.flow.program import Program
from flowengine.runtime.flow_files import called, compiled
from flowengine.runtime.knowledge import knowledge_tools
from flowengine.runtime.published import Published, PublishedSource
from flowengine.runtime.static_texts import audio_names


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """What was found; `hash` names the version that it would be, "" for one with errors."""

    findings: tuple[Finding, ...]
    hash: str = ""
    subflows: Mapping[str, int] = field(default_factory=dict)
    """The versions that publishing it now would pin."""

    @property
    def errors(self) -> list[Finding]:
        """What keeps it from being published."""
        return [finding for finding in self.findings if finding.severity == "error"]


class DraftChecker:
    """Checks drafts against what this server can run."""

    def __init__(
        self,
        source: PublishedSource,
        accept: Callable[[Program], None],
        language: Language,
        catalog: Catalog,
        providers: Offered,
        today: Callable[[], date],
    ) -> None:
        self._source = source
        self._accept = accept
        self._language = language
        self._catalog = catalog
        self._providers = providers
        self._today = today

    async def check(self, project_id: str, document: Mapping[str, Json]) -> CheckedDraft:
        """Everything that is wrong with a draft of a project. Raises StoreError."""
        parsed = await asyncio.to_thread(self._language.parse_document, dict(document))
        if parsed.flow is None:
            return CheckedDraft(parsed.findings)
        inner = await self._inner(project_id, parsed.flow)
        return await asyncio.to_thread(self._checked, parsed.flow, parsed.findings, inner)

    async def _inner(self, project_id: str, flow: Flow) -> dict[str, tuple[Flow, Published]]:
        """The newest published versions of the flows that a flow calls, all the way down."""
        found: dict[str, tuple[Flow, Published]] = {}
        waiting = list(called(flow))
        while waiting:
            name = waiting.pop()
            if name in found or name == flow.id:
                continue
            version = await self._source.published(project_id, name)
            if version is None:
                continue
            parsed = self._language.parse_document(dict(version.document), name)
            if parsed.flow is not None:
                found[name] = (parsed.flow, version)
                waiting += called(parsed.flow)
        return found

    def _checked(
        self,
        flow: Flow,
        parsed: tuple[Finding, ...],
        inner: Mapping[str, tuple[Flow, Published]],
    ) -> CheckedDraft:
        flows = {name: one for name, (one, _) in inner.items()}
        found = dict.fromkeys(
            [
                *parsed,
                *check(flow, subflows=flows),
                *vendor_findings(flow, self._catalog, self._today(), self._providers),
                *_files(flow),
            ]
        )
        if not any(finding.severity == "error" for finding in found):
            found |= dict.fromkeys(self._unfit(flow, flows))
        pinned = {name: version.number for name, (_, version) in inner.items()}
        done = CheckedDraft(tuple(found), "", pinned)
        if done.errors:
            return done
        return CheckedDraft(done.findings, self._language.version(flow), pinned)

    def _unfit(self, flow: Flow, inner: Mapping[str, Flow]) -> Iterator[Finding]:
        """What only shows when it is compiled for this server."""
        try:
            program = compiled(self._language, flow, inner)
            self._accept(program)
        except FlowengineError as error:
            path = error.where.rpartition(": ")[2] or root
            yield Finding(error.code, "error", path, error.what, error.fix)
            return
        for name in audio_names(program):
            if not name.startswith("@"):
                yield _no_file(root, name)


def _files(flow: Flow) -> Iterator[Finding]:
    for name, _ in knowledge_tools(flow):
        yield _no_file(at_key(at_key(root, "tools"), name), name)


def _no_file(path: str, name: str) -> Finding:
    return Finding(
        "no_file",
        "error",
        path,
        f"{name!r} is in files beside the flow, and a flow of the store has none.",
        "Serve it with `flowengine serve --flow`, or say it in words.",
    )
