"""What is kept of a call once it is over: its transcript, and where its recordings are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import delete

from flowengine.errors import StoreError
from flowengine.media.g711 import ULAW_RATE
from flowengine.media.recording import HEADER_BYTES
from flowengine.ports import CallRow, CallStore
from flowengine.runtime.transcript import transcript_of
from flowengine.store.call_queries import keep_transcript
from flowengine.store.database import Database
from flowengine.store.identities import new_id
from flowengine.store.tables import Recording

log = structlog.get_logger(__name__)


async def finish_call(database: Database, store: CallStore, row: CallRow, recordings: Path) -> None:
    """Keep both; again, when a call that broke went on, in place of what was kept before.

    Never raises: a call whose transcript was not kept has its journal still.
    """
    try:
        await store.written(row.id)
        turns = transcript_of(await store.journal(row.id))
        files = await asyncio.to_thread(_files, recordings, row.id)
        async with database.writing(row.project_id) as session:
            await keep_transcript(session, row.id, turns)
            await session.execute(delete(Recording).where(Recording.call_id == row.id))
            for path, size, length_ms, at in files:
                session.add(
                    Recording(
                        id=new_id("rec", at),
                        project_id=row.project_id,
                        call_id=row.id,
                        place=path.name,
                        size_bytes=size,
                        length_ms=length_ms,
                        created_at=at,
                    )
                )
    except StoreError as error:
        log.error("call_not_finished", call=row.id, code=error.code)


def _files(folder: Path, call_id: str) -> list[tuple[Path, int, int, datetime]]:
    """A call's recordings, one for each of its streams: size in bytes, length in ms, when."""
    found = []
    for path in (folder / f"{call_id}.wav", *sorted(folder.glob(f"{call_id}.*.wav"))):
        if path.is_file():
            told = path.stat()
            at = datetime.fromtimestamp(told.st_mtime, UTC)
            # Two channels of one byte a sample.
            samples = max(0, told.st_size - HEADER_BYTES) // 2
            found.append((path, told.st_size, samples * 1000 // ULAW_RATE, at))
    return found
