"""`flowengine retention`, and the same as `serve` does it by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from flowengine import app
from flowengine.cli import build
from flowengine.errors import ConfigError
from flowengine.settings import load_settings
from flowengine.store.database import Database
from flowengine.store.schema import prepare
from tests.store.kept import everywhere, keep_call, keep_project, kept

pytestmark = pytest.mark.unit

LIMIT_S = 30.0
"""Ends a test that would hang."""


async def keep_two(url: str, folder: Path) -> None:
    """A call that is too old for its project, and one that is not."""
    database, now = Database(url), datetime.now(UTC)
    prepare(database)
    await keep_project(database, "default", now, retention={"calls": 30})
    await keep_call(database, folder, "call_old", now - timedelta(days=31))
    await keep_call(database, folder, "call_new", now - timedelta(days=1))
    await database.close()


async def left(url: str, folder: Path) -> dict[str, set[str]]:
    database = Database(url)
    found = await kept(database, folder)
    await database.close()
    return found


def test_the_command_says_what_it_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWENGINE_DATA", str(tmp_path))
    url, folder = load_settings().database(), tmp_path / "recordings"
    asyncio.run(keep_two(url, folder))
    ran = CliRunner().invoke(build(), ["retention"])
    assert ran.exit_code == 0, ran.output
    assert ran.output == (
        "deleted 1 calls; of calls that are kept, 0 journals and 0 transcripts; 1 recordings,"
        " 1 live events\n"
    )
    assert asyncio.run(left(url, folder)) == everywhere("call_new")


def test_without_a_store_there_is_nothing_to_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWENGINE_DATA", str(tmp_path / "nowhere"))
    ran = CliRunner().invoke(build(), ["retention"])
    assert isinstance(ran.exception, ConfigError)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.anyio
async def test_a_server_does_it_daily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "FIRST_CHORES_S", 0.0)
    settings = load_settings({"FLOWENGINE_DATA": str(tmp_path), "FLOWENGINE_SECRET_KEY": "x"})
    url, folder = settings.database(), tmp_path / "recordings"
    await keep_two(url, folder)
    engine = app.Engine(settings)
    swept = asyncio.Event()

    def noted(_logger: object, _method: str, line: structlog.typing.EventDict) -> str:
        if line["event"] == "retention_done":
            swept.set()
        return ""

    structlog.configure(processors=[noted], logger_factory=structlog.ReturnLoggerFactory())
    engine.begin_chores()
    async with asyncio.timeout(LIMIT_S):
        await swept.wait()
    await engine.close(0)
    assert await left(url, folder) == everywhere("call_new")
