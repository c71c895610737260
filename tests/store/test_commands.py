"""Commands on their way: taken once, answered once, taken back, and gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from flowengine.clock import ManualClock
from flowengine.commands import OperatorTransferred
from flowengine.events import from_json, to_json
from flowengine.ids import CallId
from flowengine.ports import PostedCommand
from flowengine.store.commands import Commands
from flowengine.store.database import Database
from flowengine.store.tables import call_command
from tests.databases import KINDS, prepared_database

pytestmark = [pytest.mark.unit, pytest.mark.anyio, pytest.mark.parametrize("kind", KINDS)]

COMMAND = OperatorTransferred("cmd_1", ("+331",), "Bonjour é", back="desk")


def posted(name: str = "cmd_1") -> PostedCommand:
    return PostedCommand(name, "default", CallId("call_1"), to_json(COMMAND))


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[tuple[Commands, Database, ManualClock]]:
    with prepared_database(kind) as url:
        database, clock = Database(url), ManualClock(datetime(2026, 11, 26, tzinfo=UTC))
        yield Commands(database, clock), database, clock
        await database.close()


async def rows(database: Database) -> int:
    async with database.reading(None) as session:
        return int(await session.scalar(select(func.count()).select_from(call_command)) or 0)


async def test_a_command_is_taken_by_one_and_answered_once(kind: str) -> None:
    async with opened(kind) as (commands, database, _):
        await commands.put(posted("cmd_1"))
        await commands.put(posted("cmd_2"))
        waiting = await commands.waiting()
        assert [one.id for one in waiting] == ["cmd_1", "cmd_2"]
        assert from_json(waiting[0].body) == COMMAND
        took = await asyncio.gather(*(commands.take("cmd_1") for _ in range(4)))
        assert sorted(took) == [False, False, False, True]
        assert await commands.answered("cmd_1") is None
        assert not await commands.withdraw("cmd_1"), "somebody acts on it"
        await commands.answer("cmd_1", "unknown_node")
        assert await commands.answered("cmd_1") == "unknown_node"
        assert await commands.answered("cmd_1") is None
        assert [one.id for one in await commands.waiting()] == ["cmd_2"]
        assert await rows(database) == 1


async def test_what_was_taken_back_is_not_taken(kind: str) -> None:
    async with opened(kind) as (commands, database, _):
        await commands.put(posted())
        assert await commands.withdraw("cmd_1")
        assert not await commands.take("cmd_1")
        assert await rows(database) == 0


async def test_what_was_left_behind_goes_in_time(kind: str) -> None:
    async with opened(kind) as (commands, database, clock):
        await commands.put(posted())
        await commands.take("cmd_1")
        clock.advance_to(3_601_000)
        await commands.put(posted("cmd_2"))
        assert await rows(database) == 1
