"""Who changed what, and when: one row with each change, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.events import Json
from flowengine.store.keys import Holder
from flowengine.store.tables import Audit


def note(
    session: AsyncSession,
    holder: Holder,
    now: datetime,
    action: str,
    resource: str,
    detail: Mapping[str, Json] | None = None,
) -> None:
    """Add to the log: `action` such as `flow.published`, `resource` such as `flow/clinic`.

    `detail` holds neither secrets nor what a caller said.
    """
    session.add(
        Audit(
            project_id=holder.project_id,
            at=now,
            key_id=holder.key_id,
            action=action,
            resource=resource,
            detail=dict(detail or {}),
        )
    )
