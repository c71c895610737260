"""What an inbound call runs: the routing table of the number that was called, read from the store.

A number that nobody owns is refused. A table whose decision cannot be carried out (a flow that is
not there, a store that is down) falls back to its own last resort, then to `busy`: a caller is
never let in to silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from flowengine.clock import Clock
from flowengine.errors import FlowengineError, RouteError
from flowengine.events import Json
from flowengine.flow.language import Language
from flowengine.ids import CallId
from flowengine.ports import CallOffer, Refuse
from flowengine.runtime.published import PublishedFlows, forwarding
from flowengine.runtime.route_asking import route
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.route_reading import parse_table_document
from flowengine.runtime.routes import FlowTarget, ForwardTarget, RefuseTarget, RouteTable
from flowengine.runtime.routing import Destination, Router
from flowengine.runtime.supervisor import Begin, Running
from flowengine.runtime.tools import ToolRunner

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NumberRoutes:
    """A number's routing table, as the store has it."""

    project_id: str
    e164: str
    version: int
    routes: Mapping[str, Json]


class NumberSource(Protocol):
    """Where numbers are kept."""

    async def routes_of(self, e164: str) -> NumberRoutes | None:
        """The number's table; None when nobody owns the number. Raises StoreError."""
        ...


class Dispatch:
    """Chooses by the store's numbers and flows."""

    def __init__(
        self,
        numbers: NumberSource,
        flows: PublishedFlows,
        language: Language,
        runner: ToolRunner,
        running: Callable[[], list[Running]],
        clock: Clock,
    ) -> None:
        self._numbers = numbers
        self._flows = flows
        self._language = language
        self._runner = runner
        self._running = running
        self._clock = clock
        self._routers: dict[str, tuple[int, str, Router]] = {}
        """By number: the version of its table, whose it is, and the table made ready."""

    async def choose(self, offer: CallOffer, call_id: CallId) -> Begin | Refuse:
        """What the call runs. Never raises: what fails is refused as busy."""
        try:
            found = await self._numbers.routes_of(offer.to_number)
            if found is None:
                log.warning("unknown_number", call=call_id)
                return Refuse("rejected")
            router = self._router(found)
            facts = RouteFacts(
                caller=offer.from_number,
                called=offer.to_number,
                now=self._clock.wall(),
                call_id=call_id,
                headers=offer.headers,
                load=self._load(offer.to_number),
            )
            decision = await route(router, facts, self._runner)
            log.info("call_routed", call=call_id, rule=decision.rule)
        except FlowengineError as error:
            log.error("call_not_routed", call=call_id, code=error.code)
            return Refuse("busy")
        if isinstance(decision.target, FlowTarget | ForwardTarget | RefuseTarget):
            return await self._begun(found.project_id, decision.target, router.table, call_id)
        raise AssertionError("a decision whose webhook was asked has a target")

    def _router(self, found: NumberRoutes) -> Router:
        known = self._routers.get(found.e164)
        if known is None or known[:2] != (found.version, found.project_id):
            parsed = parse_table_document(dict(found.routes), found.e164)
            if parsed.table is None:
                raise RouteError(
                    "bad_routes",
                    "The number's routing table cannot be read.",
                    where=", ".join(f"{one.path} {one.code}" for one in parsed.findings),
                    fix="Set it anew: PUT /v1/numbers/{number}/routes says what is wrong.",
                )
            router = Router(parsed.table)
            known = self._routers[found.e164] = (found.version, found.project_id, router)
        return known[2]

    def _load(self, to_number: str) -> Load:
        calls = self._running()
        flows: dict[str, int] = {}
        for call in calls:
            flows[call.flow_id] = flows.get(call.flow_id, 0) + 1
        return Load(len(calls), sum(call.to_number == to_number for call in calls), flows)

    async def _begun(
        self, project_id: str, target: Destination, table: RouteTable, call_id: CallId
    ) -> Begin | Refuse:
        try:
            return await self._begin(project_id, target)
        except FlowengineError as error:
            log.error("route_not_taken", call=call_id, code=error.code)
        last = table.last
        if last != target and isinstance(last, FlowTarget | ForwardTarget | RefuseTarget):
            try:
                return await self._begin(project_id, last)
            except FlowengineError as error:
                log.error("last_resort_not_taken", call=call_id, code=error.code)
        return Refuse("busy")

    async def _begin(self, project_id: str, target: Destination) -> Begin | Refuse:
        match target:
            case RefuseTarget(refuse=reason):
                return Refuse(reason)
            case ForwardTarget(forward=to):
                document = forwarding(to)
                parsed = self._language.parse_document(document, "forward")
                if parsed.flow is None:
                    raise AssertionError(parsed.findings)
                return Begin(self._language.compile(parsed.flow, {}), document, project_id)
            case FlowTarget():
                return await self.published(
                    project_id,
                    target.flow,
                    number=target.version,
                    tag=target.tag or "",
                    variables=target.variables,
                )

    async def published(
        self,
        project_id: str,
        flow_id: str,
        *,
        number: int | None = None,
        tag: str = "",
        variables: Mapping[str, Json] | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> Begin:
        """A published version as what a call runs. Raises FlowError, StoreError."""
        ready = await self._flows.get(project_id, flow_id, number=number, tag=tag)
        return Begin(
            ready.program,
            ready.version.document,
            project_id,
            ready.version.number,
            variables or {},
            metadata or {},
        )
