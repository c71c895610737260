"""Flows with drafts and versions: what the API asks of their tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.events import Json
from flowengine.store.tables import Flow, FlowTag, FlowVersion, Number


async def newest_numbers(session: AsyncSession, flow_ids: list[str]) -> dict[str, int]:
    """The newest version of each flow that has one."""
    query = (
        select(FlowVersion.flow_id, func.max(FlowVersion.number))
        .where(FlowVersion.flow_id.in_(flow_ids))
        .group_by(FlowVersion.flow_id)
    )
    return {str(name): int(number) for name, number in await session.execute(query)}


async def publish(
    session: AsyncSession,
    flow: Flow,
    hash_: str,
    subflows: Mapping[str, int],
    message: str,
    author: str,
    now: datetime,
) -> FlowVersion | None:
    """Keep the draft as the next version; None when the newest one is the same."""
    newest = await session.scalar(
        select(FlowVersion)
        .where(FlowVersion.flow_id == flow.id)
        .order_by(FlowVersion.number.desc())
        .limit(1)
    )
    pinned: dict[str, Json] = dict(subflows)
    if newest is not None and (newest.hash, newest.subflows) == (hash_, pinned):
        return None
    row = FlowVersion(
        project_id=flow.project_id,
        flow_id=flow.id,
        number=1 if newest is None else newest.number + 1,
        hash=hash_,
        document=flow.draft,
        subflows=pinned,
        message=message,
        author=author,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return row


async def put_tag(session: AsyncSession, version: FlowVersion, name: str, now: datetime) -> FlowTag:
    """Let a tag name this version."""
    row = await session.get(FlowTag, (version.project_id, version.flow_id, name))
    if row is None:
        row = FlowTag(
            project_id=version.project_id,
            flow_id=version.flow_id,
            tag=name,
            number=version.number,
            updated_at=now,
        )
        session.add(row)
    row.number, row.updated_at = version.number, now
    await session.flush()
    return row


async def numbers_that_name(session: AsyncSession, flow_id: str) -> list[str]:
    """Numbers whose routing tables name a flow."""
    rows = (await session.scalars(select(Number).order_by(Number.e164))).all()
    return [row.e164 for row in rows if _names(row.routes, flow_id)]


def _names(part: Json, flow_id: str) -> bool:
    if isinstance(part, dict):
        return part.get("flow") == flow_id or any(_names(one, flow_id) for one in part.values())
    if isinstance(part, list):
        return any(_names(one, flow_id) for one in part)
    return False
