"""What calls ask the store for before they begin: versions, tables of numbers, secrets."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.runtime.dispatch import NumberRoutes
from flowengine.runtime.published import Published
from flowengine.runtime.route_reading import parse_table_document
from flowengine.runtime.route_targets import flow_targets
from flowengine.runtime.routes import FlowTarget
from flowengine.store.database import Database
from flowengine.store.tables import FlowTag, FlowVersion, Number, Secret
from flowengine.tokens import ValueCipher


class StoredFlows:
    """`PublishedSource` and `NumberSource` over the database."""

    def __init__(self, database: Database, cipher: ValueCipher) -> None:
        self._database = database
        self._cipher = cipher

    async def published(
        self, project_id: str, flow_id: str, *, number: int | None = None, tag: str = ""
    ) -> Published | None:
        async with self._database.reading(project_id) as session:
            row = await resolve(session, project_id, flow_id, number=number, tag=tag)
        if row is None:
            return None
        subflows = {name: int(str(pinned)) for name, pinned in row.subflows.items()}
        return Published(project_id, flow_id, row.number, row.hash, row.document, subflows)

    async def routes_of(self, e164: str) -> NumberRoutes | None:
        async with self._database.reading(None) as session:
            row = await session.get(Number, e164)
        if row is None:
            return None
        return NumberRoutes(row.project_id, row.e164, row.version, row.routes)

    async def routed_flows(self) -> list[tuple[str, FlowTarget]]:
        """Every flow that a number's table may lead to, with its project."""
        async with self._database.reading(None) as session:
            rows = (await session.scalars(select(Number))).all()
        found: list[tuple[str, FlowTarget]] = []
        for row in rows:
            table = parse_table_document(row.routes, row.e164).table
            for target in flow_targets(table) if table is not None else ():
                if (row.project_id, target) not in found:
                    found.append((row.project_id, target))
        return found

    async def secrets(self, project_id: str) -> Mapping[str, str]:
        """A project's secrets, for its tools. Raises CallError(`unreadable_value`)."""
        async with self._database.reading(project_id) as session:
            rows = (await session.scalars(select(Secret))).all()
        return {row.name: self._cipher.decrypt(row.ciphertext) for row in rows}


async def resolve(
    session: AsyncSession,
    project_id: str,
    flow_id: str,
    *,
    number: int | None = None,
    tag: str = "",
) -> FlowVersion | None:
    """The version of this number, or that the tag names; the newest one without either."""
    if tag:
        number = await session.scalar(
            select(FlowTag.number).where(FlowTag.flow_id == flow_id, FlowTag.tag == tag)
        )
        if number is None:
            return None
    if number is not None:
        return await session.get(FlowVersion, (project_id, flow_id, number))
    newest = select(FlowVersion).where(FlowVersion.flow_id == flow_id)
    return await session.scalar(newest.order_by(FlowVersion.number.desc()).limit(1))
