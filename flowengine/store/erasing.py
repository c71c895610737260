"""Deletes calls with everything that was kept of them, and everything of one caller.

Sound goes first: while a row tells of a recording, its file is found and the deletion can be done
again. Rows go in portions, so that the calls that run write theirs in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.errors import CallError
from flowengine.runtime.lifecycle import FINAL
from flowengine.store.audit import note
from flowengine.store.call_queries import erase_calls
from flowengine.store.database import Database
from flowengine.store.keys import Holder
from flowengine.store.recordings import Recordings
from flowengine.store.tables import Contact, Recording, WebhookDelivery, call

PORTION = 100
"""Calls that are deleted in one transaction."""
DEAD_AFTER = timedelta(days=2)
"""No call lasts so long: one that is not over by then was left behind by a process that died."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted of a caller."""

    calls: int
    recordings: int
    contacts: int


def is_over(now: datetime) -> ColumnElement[bool]:
    """The calls that nobody writes to any more."""
    return or_(call.c.status.in_(FINAL), call.c.created_at < (now - DEAD_AFTER).isoformat())


async def erase(database: Database, recordings: Recordings, call_ids: Sequence[str]) -> int:
    """Delete calls, of any project; returns how many recordings they had. Raises StoreError."""
    erased = 0
    for start in range(0, len(call_ids), PORTION):
        portion = call_ids[start : start + PORTION]
        erased += await erase_recordings(database, recordings, Recording.call_id.in_(portion))
        async with database.writing(None) as session:
            late = await erase_calls(session, portion)
        await sweep_up(recordings, portion, late)
        erased += len(late)
    return erased


async def sweep_up(
    recordings: Recordings, call_ids: Sequence[str], places: Sequence[str] = ()
) -> None:
    """Delete the sound that no row tells of any more. Raises StoreError."""
    for place in places:
        await recordings.remove(place)
    for call_id in call_ids:
        await recordings.remove_files(call_id)


async def erase_recordings(
    database: Database, recordings: Recordings, which: ColumnElement[bool]
) -> int:
    """Delete recordings with their files; returns how many. Raises StoreError."""
    erased = 0
    while True:
        async with database.reading(None) as session:
            query = select(Recording).where(which).order_by(Recording.id).limit(PORTION)
            rows = (await session.scalars(query)).all()
        for row in rows:
            await recordings.remove(row.place)
            async with database.writing(None) as session:
                # One that was uploaded meanwhile is elsewhere now: it is found again.
                gone = await session.execute(
                    delete(Recording)
                    .where(Recording.id == row.id, Recording.place == row.place)
                    .returning(Recording.id)
                )
                erased += len(gone.all())
        if not rows:
            return erased


async def erase_caller(
    database: Database, recordings: Recordings, by: Holder, e164: str, hashed: str, now: datetime
) -> Erased:
    """Delete all that a project keeps of a number: its calls and the contacts of campaigns.

    The log of changes gets `hashed` in place of the number. Raises CallError(`call_is_running`):
    a call that runs would write on; StoreError.
    """
    of_caller = and_(
        call.c.project_id == by.project_id,
        or_(
            and_(call.c.direction == "inbound", call.c.from_number == e164),
            and_(call.c.direction == "outbound", call.c.to_number == e164),
        ),
    )
    async with database.reading(by.project_id) as session:
        running = select(call.c.id).where(of_caller, ~is_over(now)).limit(1)
        if await session.scalar(running) is not None:
            raise CallError(
                "call_is_running",
                "A call of this caller is not over.",
                where="e164",
                fix="End it, or wait until it is over, and ask again.",
            )
        call_ids = (await session.scalars(select(call.c.id).where(of_caller))).all()
    heard = await erase(database, recordings, call_ids)
    async with database.writing(by.project_id) as session:
        await _erase_deliveries(session, call_ids)
        gone = await session.execute(
            delete(Contact)
            .where(Contact.project_id == by.project_id, Contact.phone == e164)
            .returning(Contact.id)
        )
        erased = Erased(len(call_ids), heard, len(gone.all()))
        counts = {"calls": erased.calls, "contacts": erased.contacts}
        note(session, by, now, "caller.erased", f"caller/{hashed}", counts)
    return erased


async def _erase_deliveries(session: AsyncSession, call_ids: Sequence[str]) -> None:
    """What webhooks were told of these calls."""
    for start in range(0, len(call_ids), PORTION):
        named = [
            WebhookDelivery.body.contains(f'"{call_id}"', autoescape=True)
            for call_id in call_ids[start : start + PORTION]
        ]
        # The session adds the project.
        await session.execute(delete(WebhookDelivery).where(or_(*named)))
