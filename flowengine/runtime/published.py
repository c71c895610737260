"""Flows that were published, ready to run: read from the store, compiled once, kept.

A version never changes, and the versions of its sub-flows were pinned when it was published; so
what was compiled once stays good.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from flowengine.errors import FlowError
from flowengine.events import Json
from flowengine.flow.document import Flow
from flowengine.flow.language import Language
from flowengine.flow.program import Program
from flowengine.ports import CallRow
from flowengine.runtime.flow_files import compiled, refuse

MOST_KEPT = 200
"""Versions that stay compiled; a flow of 40 nodes takes some 2 MB."""


@dataclass(frozen=True, slots=True)
class Published:
    """A version of a flow of a project, as it was published."""

    project_id: str
    flow_id: str
    number: int
    hash: str
    document: Mapping[str, Json]
    subflows: Mapping[str, int] = field(default_factory=dict)
    """Versions of the flows that it calls, and of those that they call, by id."""


class PublishedSource(Protocol):
    """Where published flows are kept."""

    async def published(
        self, project_id: str, flow_id: str, *, number: int | None = None, tag: str = ""
    ) -> Published | None:
        """The version of this number, or that the tag names; the newest one without either.

        Raises StoreError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A published version that calls can run."""

    version: Published
    program: Program


class PublishedFlows:
    """Compiles published versions; `accept` raises for a program that this server cannot run."""

    def __init__(
        self,
        source: PublishedSource,
        accept: Callable[[Program], None],
        language: Language,
    ) -> None:
        self._source = source
        self._accept = accept
        self._language = language
        self._kept: OrderedDict[tuple[str, str, int, str], Ready] = OrderedDict()

    async def find(
        self, project_id: str, flow_id: str, *, number: int | None = None, tag: str = ""
    ) -> Published | None:
        """The version as it is stored; None when there is none. Raises StoreError."""
        return await self._source.published(project_id, flow_id, number=number, tag=tag)

    async def get(
        self, project_id: str, flow_id: str, *, number: int | None = None, tag: str = ""
    ) -> Ready:
        """The version, compiled. Raises FlowError when there is none, StoreError."""
        version = await self._source.published(project_id, flow_id, number=number, tag=tag)
        if version is None:
            which = f"version {number}" if number is not None else f"tag {tag!r}" if tag else ""
            raise FlowError(
                "no_such_version",
                f"No {which or 'version'} of the flow {flow_id!r} was published.",
                where=flow_id,
                fix="Publish the flow, or name a version or tag that there is.",
            )
        key = (project_id, flow_id, version.number, version.hash)
        known = self._kept.get(key)
        if known is None:
            inner = [
                await self._source.published(project_id, name, number=pinned)
                for name, pinned in version.subflows.items()
            ]
            # Compiling takes up to some 100 ms: not while others' audio waits.
            program = await asyncio.to_thread(
                self._compile, version, [one for one in inner if one is not None]
            )
            known = self._kept[key] = Ready(version, program)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return known

    async def program_of(self, row: CallRow) -> Program:
        """The version that a call is pinned to. Raises FlowError, StoreError."""
        if row.flow_version is not None:
            with suppress(FlowError):
                ready = await self.get(row.project_id, row.flow_id, number=row.flow_version)
                if ready.program.version == row.version:
                    return ready.program
        # Never published, or deleted since: the call's own copy.
        own = Published(row.project_id, row.flow_id, 0, row.version, row.flow)
        return await asyncio.to_thread(self._compile, own, [])

    def _compile(self, version: Published, inner: list[Published]) -> Program:
        flow = self._read(version)
        program = compiled(self._language, flow, {one.flow_id: self._read(one) for one in inner})
        self._accept(program)
        return program

    def _read(self, version: Published) -> Flow:
        parsed = self._language.parse_document(dict(version.document), version.flow_id)
        refuse(version.flow_id, parsed.findings)
        if parsed.flow is None:
            raise FlowError("no_flow", "The version holds no flow.", where=version.flow_id)
        return parsed.flow


FORWARD = "forward"
"""The id of the flow that a call runs which a route forwards."""


def forwarding(to: str) -> dict[str, Json]:
    """The flow of a call that a route sends on to a number: ring it; say so when nobody answers."""
    return {
        "flow": "1",
        "id": FORWARD,
        "name": "Forwarded by a route",
        "start": "forward",
        "nodes": {
            "forward": {"kind": "transfer", "to": to},
            "sorry": {
                "kind": "hangup",
                "say": "Sorry, nobody can take your call right now. Please try again later.",
                "disposition": "not_reached",
            },
        },
        "edges": [
            {"from": "forward", "on": outcome, "to": "sorry"}
            for outcome in ("busy", "no_answer", "declined", "failed")
        ],
    }
