"""Calls with everything that is kept of one, for tests of what deletes it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from flowengine.store.database import Database
from flowengine.store.identities import new_id
from flowengine.store.tables import (
    Project,
    Recording,
    call,
    call_checkpoint,
    call_event,
    call_turn,
    live_event,
)

WAV = b"RIFF of a test"
TICKED = '{"type":"Ticked"}'
PLAIN = {
    "calls": call.c.id,
    "journals": call_event.c.call_id,
    "checkpoints": call_checkpoint.c.call_id,
    "transcripts": call_turn.c.call_id,
    "live": live_event.c.call_id,
}


async def keep_call(
    database: Database,
    folder: Path,
    call_id: str,
    at: datetime,
    *,
    project_id: str = "default",
    **columns: Any,
) -> None:
    """A call that began then, with one of each."""
    row = {
        "id": call_id,
        "carrier": "twilio",
        "carrier_sid": f"CA_{call_id}",
        "direction": "inbound",
        "from_number": "+33600000001",
        "to_number": "+33100000001",
        "flow_id": "clinic",
        "version": "v",
        "flow": "{}",
        "status": "completed",
        "epoch": 1,
        "created_at": at.isoformat(),
        "disposition": "served",
        "project_id": project_id,
    }
    of_call = {"call_id": call_id}
    write_sound(folder, call_id)
    async with database.writing(None) as session:
        await session.execute(insert(call), [{**row, **columns}])
        record = {"seq": 1, "epoch": 1, "at_ms": 0, "family": "fact", "body": TICKED}
        await session.execute(insert(call_event), [{**of_call, **record}])
        await session.execute(insert(call_checkpoint), [{**of_call, "epoch": 1, "body": "{}"}])
        turn = {
            "number": 1,
            "at_ms": 0,
            "role": "bot",
            "text": "Hello",
            "node": "n",
            "detail": "{}",
        }
        await session.execute(insert(call_turn), [{**of_call, **turn}])
        told = {"project_id": project_id, "type": "fault", "at": at, "body": "{}"}
        await session.execute(insert(live_event), [{**of_call, **told}])
        session.add(
            Recording(
                id=new_id("rec", at),
                project_id=project_id,
                call_id=call_id,
                place=f"{call_id}.wav",
                size_bytes=len(WAV),
                length_ms=0,
                created_at=at,
            )
        )


def write_sound(folder: Path, name: str) -> None:
    """A recording's file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.wav").write_bytes(WAV)


def files(folder: Path) -> list[str]:
    """The names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


async def keep_project(database: Database, name: str, at: datetime, **settings: Any) -> None:
    """A project with these settings."""
    async with database.writing(None) as session:
        session.add(Project(id=name, name=name, settings=settings, created_at=at))


async def kept(database: Database, folder: Path) -> dict[str, set[str]]:
    """Of which calls there is something, by what it is."""
    async with database.reading(None) as session:
        found = {name: set(await session.scalars(select(column))) for name, column in PLAIN.items()}
        found["recordings"] = set(await session.scalars(select(Recording.call_id)))
    found["files"] = {name.partition(".")[0] for name in files(folder)}
    return found


def everywhere(*call_ids: str) -> dict[str, set[str]]:
    """As `kept` says it of calls of which there is everything."""
    return {name: set(call_ids) for name in (*PLAIN, "recordings", "files")}
