"""Commands on their way to the process that holds a call: a table that all of them read.

A row lives for seconds: whoever laid it out takes the answer with the row, or takes it back. What a
process left behind that died meanwhile goes with the next command that is laid out an hour later.
"""

from __future__ import annotations

from datetime import timedelta

import orjson
from sqlalchemy import delete, insert, select, update

from flowengine.clock import Clock
from flowengine.ids import CallId
from flowengine.ports import PostedCommand
from flowengine.store.database import Database
from flowengine.store.tables import call_command

LEFT = timedelta(hours=1)
MOST = 200
"""Commands that are looked at in one go."""

_ROW = call_command.c


class Commands:
    """`ports.CommandPost` over the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def put(self, posted: PostedCommand) -> None:
        now = self._clock.wall()
        async with self._database.writing(posted.project_id) as session:
            await session.execute(delete(call_command).where(_ROW.created_at < now - LEFT))
            await session.execute(
                insert(call_command).values(
                    id=posted.id,
                    project_id=posted.project_id,
                    call_id=posted.call_id,
                    body=orjson.dumps(posted.body, default=dict).decode(),
                    state="waiting",
                    refused="",
                    created_at=now,
                )
            )

    async def waiting(self) -> list[PostedCommand]:
        query = (
            select(_ROW.id, _ROW.project_id, _ROW.call_id, _ROW.body)
            .where(_ROW.state == "waiting")
            .order_by(_ROW.id)
            .limit(MOST)
        )
        async with self._database.reading(None) as session:
            rows = (await session.execute(query)).all()
        return [
            PostedCommand(id_, project_id, CallId(call_id), orjson.loads(body))
            for id_, project_id, call_id, body in rows
        ]

    async def take(self, command_id: str) -> bool:
        taken = (
            update(call_command)
            .where(_ROW.id == command_id, _ROW.state == "waiting")
            .values(state="taken")
            .returning(_ROW.id)
        )
        async with self._database.writing(None) as session:
            return await session.scalar(taken) is not None

    async def answer(self, command_id: str, refused: str) -> None:
        async with self._database.writing(None) as session:
            await session.execute(
                update(call_command)
                .where(_ROW.id == command_id)
                .values(state="answered", refused=refused)
            )

    async def answered(self, command_id: str) -> str | None:
        query = select(_ROW.refused).where(_ROW.id == command_id, _ROW.state == "answered")
        async with self._database.reading(None) as session:
            refused: str | None = await session.scalar(query)
        if refused is not None:
            async with self._database.writing(None) as session:
                await session.execute(delete(call_command).where(_ROW.id == command_id))
        return refused

    async def withdraw(self, command_id: str) -> bool:
        withdrawn = (
            delete(call_command)
            .where(_ROW.id == command_id, _ROW.state == "waiting")
            .returning(_ROW.id)
        )
        async with self._database.writing(None) as session:
            return await session.scalar(withdrawn) is not None
