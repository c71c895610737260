"""Totals over calls: how many, how long, how they ended, by day, flow, number and the like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import DateTime, Float, case, cast, extract, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from flowengine.store.tables import call

By = Literal["day", "flow", "version", "number", "direction", "status", "disposition"]

MOST_GROUPS = 1000
_COLUMNS: dict[str, ColumnElement[str]] = {
    "flow": call.c.flow_id,
    "number": case((call.c.direction == "inbound", call.c.to_number), else_=call.c.from_number),
    "direction": call.c.direction,
    "status": call.c.status,
    "disposition": call.c.disposition,
    # Written in UTC and always in the same form.
    "day": func.substr(call.c.created_at, 1, 10),
    "version": func.coalesce(cast(call.c.flow_version, call.c.version.type), call.c.version),
}


@dataclass(frozen=True, slots=True)
class Total:
    """One group of calls; lengths in ms over those that are over."""

    group: tuple[str, ...]
    calls: int
    over: int
    longest_ms: int
    all_ms: int


async def totals(
    session: AsyncSession,
    project_id: str,
    by: list[By],
    since: datetime,
    until: datetime,
) -> list[Total]:
    """Calls that began from `since` until before `until`, in groups, the first ones by name."""
    groups = [_COLUMNS[name] for name in by]
    length = _length_s(session.get_bind().dialect.name)
    query = (
        select(
            *groups,
            func.count(),
            func.count(call.c.ended_at),
            func.coalesce(func.max(length), 0.0),
            func.coalesce(func.sum(length), 0.0),
        )
        .where(
            call.c.project_id == project_id,
            call.c.created_at >= since.isoformat(),
            call.c.created_at < until.isoformat(),
        )
        .group_by(*groups)
        .order_by(*groups)
        .limit(MOST_GROUPS)
    )
    return [_total(tuple(row), len(by)) for row in await session.execute(query)]


def _total(row: tuple[Any, ...], groups: int) -> Total:
    calls, over, longest_s, all_s = row[groups:]
    group = tuple(str(part) for part in row[:groups])
    return Total(group, calls, over, round(longest_s * 1000), round(all_s * 1000))


def _length_s(dialect: str) -> ColumnElement[float]:
    """Seconds from a call's beginning to its end; null while it runs."""
    if dialect == "sqlite":
        days = func.julianday(call.c.ended_at) - func.julianday(call.c.created_at)
        return cast(days * 86_400, Float)
    moment = DateTime(timezone=True)
    length = cast(call.c.ended_at, moment) - cast(call.c.created_at, moment)
    return cast(extract("epoch", length), Float)
