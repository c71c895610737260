"""What is kept of a call once it is over: its transcript, and where its recordings are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.errors import StoreError
from flowengine.ids import CallId
from flowengine.media.g711 import ULAW_RATE
from flowengine.media.recording import HEADER_BYTES
from flowengine.ports import CallRow, CallStore
from flowengine.runtime.lifecycle import FINAL
from flowengine.runtime.redaction import redacted_turns
from flowengine.runtime.transcript import transcript_of
from flowengine.store.call_queries import journal, keep_transcript, recordings_of
from flowengine.store.database import Database
from flowengine.store.identities import new_id
from flowengine.store.policies import policy_of
from flowengine.store.recordings import Recordings, file_name
from flowengine.store.tables import Recording, call, call_turn

_SETTLED = timedelta(hours=1)
"""A call that ended is finished long before so much time has passed."""
_PAGE = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _File:
    """A call's recording in the folder."""

    name: str
    size_bytes: int
    length_ms: int
    at: datetime


async def finish_call(
    database: Database, store: CallStore, row: CallRow, recordings: Recordings
) -> list[Recording]:
    """Keep both, in place of what was kept before, and return the recordings that are new.

    Never raises: a call whose transcript was not kept has its journal still.
    """
    try:
        await store.written(row.id)
        turns = transcript_of(await store.journal(row.id))
        files = await asyncio.to_thread(_files, recordings, row.id)
        async with database.writing(row.project_id) as session:
            is_there = await session.scalar(select(call.c.id).where(call.c.id == row.id))
            if is_there is not None:
                if (await policy_of(session, row.project_id)).redacts:
                    turns = redacted_turns(turns, row.from_number, row.to_number)
                await keep_transcript(session, row.id, turns)
                return await _keep_recordings(session, row, files)
        # It was erased as soon as it was over.
        await recordings.remove_files(row.id)
    except StoreError as error:
        log.error("call_not_finished", call=row.id, code=error.code)
    return []


async def keep_missing_transcripts(
    session: AsyncSession, call_ids: Sequence[str], *, redacts: bool
) -> None:
    """Keep the transcripts of calls whose process died before it kept them, from their journals."""
    kept = select(call_turn.c.call_id).where(call_turn.c.call_id == call.c.id)
    query = select(call.c.id, call.c.from_number, call.c.to_number)
    missing = query.where(call.c.id.in_(call_ids), ~kept.exists())
    for call_id, *ends in (await session.execute(missing)).all():
        turns = transcript_of(await journal(session, call_id, 0, None))
        if turns:
            turns = redacted_turns(turns, *ends) if redacts else turns
            await keep_transcript(session, call_id, turns)


async def keep_left(
    database: Database, store: CallStore, recordings: Recordings, now: datetime
) -> list[Recording]:
    """Keep the recordings of calls whose process died before it kept them; returns the new ones.

    Raises StoreError.
    """
    left = await asyncio.to_thread(_names_before, recordings.local.folder, now - _SETTLED)
    new: list[Recording] = []
    for start in range(0, len(left), _PAGE):
        names = left[start : start + _PAGE]
        call_ids = sorted({name.partition(".")[0] for name in names})
        async with database.reading(None) as session:
            places = select(Recording.place).where(Recording.call_id.in_(call_ids))
            known = {file_name(place) for place in await session.scalars(places)}
        for call_id in sorted({name.partition(".")[0] for name in names if name not in known}):
            row = await store.call(CallId(call_id))
            if row is None or row.status not in FINAL:
                continue
            files = await asyncio.to_thread(_files, recordings, call_id)
            async with database.writing(row.project_id) as session:
                new += await _keep_recordings(session, row, files)
    return new


async def _keep_recordings(
    session: AsyncSession, row: CallRow, files: Sequence[_File]
) -> list[Recording]:
    known = {file_name(kept.place): kept for kept in await recordings_of(session, row.id)}
    new = []
    for file in files:
        kept = known.get(file.name)
        if kept is not None:
            kept.size_bytes, kept.length_ms = file.size_bytes, file.length_ms
            continue
        kept = Recording(
            id=new_id("rec", file.at),
            project_id=row.project_id,
            call_id=row.id,
            place=file.name,
            size_bytes=file.size_bytes,
            length_ms=file.length_ms,
            created_at=file.at,
        )
        session.add(kept)
        new.append(kept)
    return new


def _files(recordings: Recordings, call_id: str) -> list[_File]:
    """A call's recordings, one for each of its streams."""
    found = []
    for path in recordings.local.of_call(call_id):
        told = path.stat()
        # Two channels of one byte a sample.
        samples = max(0, told.st_size - HEADER_BYTES) // 2
        at = datetime.fromtimestamp(told.st_mtime, UTC)
        found.append(_File(path.name, told.st_size, samples * 1000 // ULAW_RATE, at))
    return found


def _names_before(folder: Path, latest: datetime) -> list[str]:
    """The recordings that nobody has written to since."""
    return sorted(
        path.name
        for path in folder.glob("call_*.wav")
        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < latest
    )
