"""Deletes what is older than its project keeps it, and the calls of projects that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import structlog
from sqlalchemy import ColumnElement, Table, delete, exists, or_, select

from flowengine.errors import StoreError
from flowengine.ids import DEFAULT_PROJECT
from flowengine.store.database import Database
from flowengine.store.erasing import PORTION, erase, erase_recordings, is_over
from flowengine.store.finishing import keep_missing_transcripts
from flowengine.store.policies import Policy, before
from flowengine.store.recordings import Recordings
from flowengine.store.tables import (
    Project,
    Recording,
    WebhookDelivery,
    call,
    call_checkpoint,
    call_event,
    call_turn,
    live_event,
)

_LIVE_PORTION = 5000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Swept:
    """What was deleted: calls, and of calls that are kept their journals, transcripts and sound."""

    calls: int = 0
    journals: int = 0
    transcripts: int = 0
    recordings: int = 0
    live_events: int = 0
    failed: int = 0
    """Projects of which not all could be deleted; the log says why. The next run goes on."""

    def to_json(self) -> dict[str, int]:
        """For log and console."""
        return asdict(self)


async def sweep(database: Database, recordings: Recordings, now: datetime) -> Swept:
    """Delete what is too old, of all projects. Raises StoreError."""
    swept = Swept()
    async with database.reading(None) as session:
        projects = (await session.scalars(select(Project))).all()
    policies: Mapping[str, Policy] = {one.id: Policy.of(one.settings) for one in projects}
    for project_id, policy in policies.items():
        try:
            await _Sweep(database, recordings, now, project_id, swept).by(policy)
        except StoreError as error:
            swept.failed += 1
            log.error("retention_failed", project=project_id, code=error.code)
    # The first project is there by its name, before its row is.
    gone = await _of_no_project(database, {*policies, DEFAULT_PROJECT})
    for project_id in gone:
        try:
            await _Sweep(database, recordings, now, project_id, swept).all_of_it()
        except StoreError as error:
            swept.failed += 1
            log.error("retention_failed", project=project_id, code=error.code)
    return swept


@dataclass(frozen=True, slots=True)
class _Sweep:
    """What is deleted of one project."""

    database: Database
    recordings: Recordings
    now: datetime
    project_id: str
    swept: Swept

    async def by(self, policy: Policy) -> None:
        await self._live(before(self.now, policy.live))
        await self._journals(policy)
        await self._transcripts(before(self.now, policy.transcripts))
        await self._deliveries(before(self.now, policy.journals))
        await self._sound(before(self.now, policy.recordings))
        await self._calls(before(self.now, policy.calls))

    async def all_of_it(self) -> None:
        await self._live(self.now)
        await self._calls(self.now)

    async def _calls(self, latest: datetime | None) -> None:
        if latest is None:
            return
        while call_ids := await self._older(latest):
            self.swept.recordings += await erase(self.database, self.recordings, call_ids)
            self.swept.calls += len(call_ids)

    async def _journals(self, policy: Policy) -> None:
        latest = before(self.now, policy.journals)
        if latest is None:
            return
        tables = (call_event, call_checkpoint)
        while call_ids := await self._older(latest, _has_some(*tables)):
            async with self.database.writing(None) as session:
                await keep_missing_transcripts(session, call_ids, redacts=policy.redacts)
                for table in tables:
                    await session.execute(delete(table).where(table.c.call_id.in_(call_ids)))
            self.swept.journals += len(call_ids)

    async def _transcripts(self, latest: datetime | None) -> None:
        if latest is None:
            return
        while call_ids := await self._older(latest, _has_some(call_turn)):
            async with self.database.writing(None) as session:
                await session.execute(delete(call_turn).where(call_turn.c.call_id.in_(call_ids)))
            self.swept.transcripts += len(call_ids)

    async def _older(self, latest: datetime, *more: ColumnElement[bool]) -> Sequence[str]:
        """The next calls that are over and began before then."""
        query = select(call.c.id).where(
            call.c.project_id == self.project_id,
            call.c.created_at < latest.isoformat(),
            is_over(self.now),
            *more,
        )
        async with self.database.reading(None) as session:
            return (await session.scalars(query.order_by(call.c.created_at).limit(PORTION))).all()

    async def _sound(self, latest: datetime | None) -> None:
        if latest is not None:
            self.swept.recordings += await erase_recordings(
                self.database,
                self.recordings,
                (Recording.project_id == self.project_id) & (Recording.created_at < latest),
            )

    async def _deliveries(self, latest: datetime | None) -> None:
        """What webhooks were told holds what was said; by itself it is kept for who looks."""
        if latest is not None:
            async with self.database.writing(self.project_id) as session:
                await session.execute(
                    delete(WebhookDelivery).where(WebhookDelivery.created_at < latest)
                )

    async def _live(self, latest: datetime | None) -> None:
        if latest is None:
            return
        oldest = (
            select(live_event.c.number, live_event.c.at)
            .where(live_event.c.project_id == self.project_id)
            .order_by(live_event.c.number)
            .limit(_LIVE_PORTION)
        )
        while True:
            async with self.database.reading(None) as session:
                found = (await session.execute(oldest)).all()
            # Numbers rise with time, but for events of several machines by a moment.
            old = [number for number, at in found if at < latest]
            if not old:
                return
            async with self.database.writing(None) as session:
                await session.execute(
                    delete(live_event).where(
                        live_event.c.project_id == self.project_id,
                        live_event.c.number <= old[-1],
                        live_event.c.at < latest,
                    )
                )
            self.swept.live_events += len(old)


def _has_some(*tables: Table) -> ColumnElement[bool]:
    """The calls of which these tables have something."""
    return or_(*(exists().where(table.c.call_id == call.c.id) for table in tables))


async def _of_no_project(database: Database, known: set[str]) -> list[str]:
    """Projects that are gone and of which something is left."""
    async with database.reading(None) as session:
        found = {
            project_id
            for table in (call, live_event)
            for project_id in await session.scalars(
                select(table.c.project_id).where(table.c.project_id.not_in(known)).distinct()
            )
        }
    return sorted(found)
