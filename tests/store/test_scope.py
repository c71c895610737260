"""A session sees and writes the rows of its own project and no other's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import StatementError
from sqlalchemy.orm.exc import StaleDataError

from flowengine.store.database import Database
from flowengine.store.schema import prepare
from flowengine.store.scope import OtherProject
from flowengine.store.tables import Flow, Number, Project
from tests.databases import KINDS, fresh_database

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def a_flow(project_id: str, flow_id: str = "clinic") -> Flow:
    return Flow(
        project_id=project_id,
        id=flow_id,
        name=f"of {project_id}",
        draft={"b": 1, "a": 2},
        created_at=NOON,
        updated_at=NOON,
    )


@asynccontextmanager
async def two_projects(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    prepare(database)
    async with database.writing(None) as session:
        for name in ("ours", "theirs"):
            session.add(Project(id=name, name=name, settings={}, created_at=NOON))
        await session.flush()
        for name in ("ours", "theirs"):
            session.add(a_flow(name))
    yield database
    await database.close()


Play = Callable[[Database], Awaitable[None]]


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest) -> Callable[[Play], None]:
    async def whole(url: str, play: Play) -> None:
        async with two_projects(url) as database:
            await play(database)

    def started(play: Play) -> None:
        with fresh_database(request.param) as url:
            asyncio.run(whole(url, play))

    return started


def test_a_session_reads_its_own_project(run: Callable[[Play], None]) -> None:
    async def play(database: Database) -> None:
        async with database.reading("ours") as session:
            assert [row.name for row in await session.scalars(select(Flow))] == ["of ours"]
            assert await session.scalar(select(func.count()).select_from(Flow)) == 1
            assert await session.scalar(select(Flow.name).where(Flow.id == "clinic")) == "of ours"
            assert await session.get(Flow, ("theirs", "clinic")) is None
            mine = await session.get(Flow, ("ours", "clinic"))
            assert mine is not None
            assert list(mine.draft) == ["b", "a"]
            assert mine.created_at == NOON
        async with database.reading(None) as session:
            assert await session.scalar(select(func.count()).select_from(Flow)) == 2

    run(play)


def test_a_session_changes_its_own_project(run: Callable[[Play], None]) -> None:
    async def play(database: Database) -> None:
        async with database.writing("ours") as session:
            await session.execute(update(Flow).values(name="changed"))
        async with database.writing("ours") as session:
            await session.execute(delete(Flow))
        async with database.reading(None) as session:
            assert [row.name for row in await session.scalars(select(Flow))] == ["of theirs"]

    run(play)


def test_a_row_of_another_project_is_never_written(run: Callable[[Play], None]) -> None:
    async def play(database: Database) -> None:
        with pytest.raises(OtherProject):
            async with database.writing("ours") as session:
                session.add(a_flow("theirs", "planted"))
        async with database.reading(None) as session:
            theirs = await session.get(Flow, ("theirs", "clinic"))
            assert theirs is not None
        theirs.name = "stolen"
        with pytest.raises(OtherProject):
            async with database.writing("ours") as session:
                session.add(theirs)

    run(play)


def test_an_older_version_is_not_written_over(run: Callable[[Play], None]) -> None:
    async def play(database: Database) -> None:
        async with database.reading("ours") as session:
            first = await session.get(Flow, ("ours", "clinic"))
        assert first is not None
        async with database.writing("ours") as session:
            second = await session.get(Flow, ("ours", "clinic"))
            assert second is not None
            second.name = "newer"
        assert second.version == 2
        first.name = "older"
        with pytest.raises(StaleDataError):
            async with database.writing("ours") as session:
                session.add(first)

    run(play)


def test_a_time_without_a_zone_is_refused(run: Callable[[Play], None]) -> None:
    async def play(database: Database) -> None:
        with pytest.raises(StatementError, match="zone"):
            async with database.writing("ours") as session:
                session.add(
                    Number(
                        e164="+4930123456",
                        project_id="ours",
                        carrier="twilio",
                        label="",
                        routes={},
                        created_at=datetime(2026, 11, 26, 12),  # noqa: DTZ001 - what is refused
                        updated_at=NOON,
                    )
                )

    run(play)
