"""Brings recordings from the folder that calls write to into the store of recordings.

A recording is tried until it is confirmed there; then its row says so, then its file goes. So it
is always where its row says. Rows wait in memory; `begin` finds those that an earlier process left,
and files that no row tells of because that process died before it wrote one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.errors import StoreError
from flowengine.store.database import Database
from flowengine.store.recordings import Recordings, RecordingStore, file_name, is_remote
from flowengine.store.tables import Recording

_RETRY_FIRST_S = 1.0
_RETRY_LONGEST_S = 300.0
_CLOSE_S = 20.0
"""How long the end of the process may wait for a store that is slow."""
_PAGE = 500

log = structlog.get_logger(__name__)

Ready = Callable[[Recording], None]
"""Told of a recording that can be fetched where its row says."""


class Uploads:
    """One task that uploads one recording after the other. Made on the event loop.

    Without a remote store a recording is where it shall be at once.
    """

    def __init__(self, database: Database, recordings: Recordings, ready: Ready) -> None:
        self._database = database
        self._recordings = recordings
        self._ready = ready
        self._waiting: list[str] = []
        """Ids of rows, those that were tried least first."""
        self._has_some = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def add(self, row: Recording) -> None:
        """Take a recording that was just written; never blocks."""
        if self._recordings.remote is None:
            self._ready(row)
        else:
            self._wait(row.id)

    async def begin(self) -> None:
        """Take what an earlier process left in this folder. Raises StoreError."""
        if self._recordings.remote is None:
            return
        after = ""
        while True:
            async with self._database.reading(None) as session:
                query = select(Recording).where(Recording.id > after, _is_local())
                rows = (await session.scalars(query.order_by(Recording.id).limit(_PAGE))).all()
            for row in rows:
                # What is not here was recorded by another machine, which uploads it.
                if (self._recordings.local.folder / row.place).is_file():
                    self._wait(row.id)
            if len(rows) < _PAGE:
                return
            after = rows[-1].id

    async def close(self) -> None:
        """Try once more what waits; what is left is found again by `begin`."""
        self._is_closing = True
        self._has_some.set()
        if self._task is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._task
        except TimeoutError:
            log.warning("recordings_not_uploaded")
        self._task = None

    def _wait(self, recording_id: str) -> None:
        if recording_id not in self._waiting:
            self._waiting.append(recording_id)
        self._has_some.set()
        if self._task is None and not self._is_closing:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        retry_s = _RETRY_FIRST_S
        while True:
            await self._has_some.wait()
            self._has_some.clear()
            batch, self._waiting = self._waiting, []
            failed = [one for one in batch if not await self._try(one)]
            self._waiting = failed + self._waiting
            if self._is_closing:
                if self._waiting:
                    log.warning("recordings_not_uploaded", recordings=len(self._waiting))
                return
            if not failed:
                retry_s = _RETRY_FIRST_S
                continue
            await self._pause(retry_s)
            retry_s = min(2 * retry_s, _RETRY_LONGEST_S)
            self._has_some.set()

    async def _pause(self, longest_s: float) -> None:
        """Until it is time to try again, or to close."""
        try:
            async with asyncio.timeout(longest_s):
                while not self._is_closing:
                    await self._has_some.wait()
                    if not self._is_closing:
                        self._has_some.clear()
        except TimeoutError:
            return

    async def _try(self, recording_id: str) -> bool:
        """Whether it is done with; False when it is to be tried again."""
        remote = self._recordings.remote
        try:
            return remote is None or await self._upload(recording_id, remote)
        except StoreError as error:
            if error.code == "no_such_recording":
                log.error("recording_gone", recording=recording_id)
                return True
            log.warning("recording_not_uploaded", recording=recording_id, code=error.code)
            return False

    async def _upload(self, recording_id: str, remote: RecordingStore) -> bool:
        async with self._database.reading(None) as session:
            row = await session.get(Recording, recording_id)
        if row is None or is_remote(row.place):
            return True
        local = self._recordings.local
        await local.size(row.place)
        place = await remote.keep(local.folder / row.place, f"{row.project_id}/{row.place}")
        async with self._database.writing(None) as session:
            kept = await _locked(session, recording_id)
            if kept is not None:
                kept.place = place
        if kept is None:
            # Erased while it was on its way.
            await remote.remove(place)
            await local.remove(file_name(place))
            return True
        await local.remove(file_name(place))
        self._ready(kept)
        return True


async def _locked(session: AsyncSession, recording_id: str) -> Recording | None:
    """The row, which nobody else changes or deletes before the end of the transaction."""
    query = select(Recording).where(Recording.id == recording_id).with_for_update()
    return (await session.scalars(query)).one_or_none()


def _is_local() -> ColumnElement[bool]:
    return Recording.place.not_like("%://%")
