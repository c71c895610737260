"""The log of changes: who, what, when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from sqlalchemy import select

from flowengine.api.access import Admin
from flowengine.api.pages import Page, Pages
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import PlainText
from flowengine.events import Json
from flowengine.store.tables import Audit

router = group("audit")


class Change(Body):
    """One change."""

    number: int
    at: datetime
    key_id: str
    action: str
    resource: str
    detail: dict[str, Json]


@router.get("/audit")
async def list_changes(
    service: TheService,
    by: Admin,
    pages: Pages,
    resource: Annotated[PlainText | None, Query(max_length=200, examples=["flow/clinic"])] = None,
    action: Annotated[PlainText | None, Query(max_length=80, examples=["flow.published"])] = None,
) -> Page[Change]:
    """The project's changes, latest first."""
    query = select(Audit).order_by(Audit.number.desc()).limit(pages.limit + 1)
    if pages.after_number is not None:
        query = query.where(Audit.number < pages.after_number)
    if resource is not None:
        query = query.where(Audit.resource == resource)
    if action is not None:
        query = query.where(Audit.action == action)
    async with service.database.reading(by.project_id) as session:
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.number, _shown)


def _shown(row: Audit) -> Change:
    return Change(
        number=row.number,
        at=row.at,
        key_id=row.key_id,
        action=row.action,
        resource=row.resource,
        detail=row.detail,
    )
