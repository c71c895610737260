"""Wakes those who wait for new rows: at once in this process, soon in the others.

On PostgreSQL by NOTIFY, on a connection of its own and never inside a transaction that writes
(which would make all commits wait for each other); on SQLite others look every half second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, LiteralString

import structlog

from flowengine.store.database import Database

if TYPE_CHECKING:
    import psycopg

LOOK_S = 0.5
CHANNEL: LiteralString = "flowengine_live"
_RETRY_S = 2.0

log = structlog.get_logger(__name__)


class Rung:
    """One who listens."""

    def __init__(self, look_s: float) -> None:
        self._event = asyncio.Event()
        self._look_s = look_s
        self._quiet_s = 0.0

    def ring(self) -> None:
        """There may be new rows."""
        self._event.set()

    async def wait(self, quiet_s: float) -> bool:
        """Wait until there may be new rows; False once nothing rang for `quiet_s` in all."""
        try:
            async with asyncio.timeout(self._look_s):
                await self._event.wait()
        except TimeoutError:
            self._quiet_s += self._look_s
        else:
            self._quiet_s = 0.0
        self._event.clear()
        if self._quiet_s < quiet_s:
            return True
        self._quiet_s = 0.0
        return False


class Bell:
    """Rings for everybody who listens. Made on the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Rung] = set()
        self._hearing: asyncio.Task[None] | None = None
        self._voice: psycopg.AsyncConnection[tuple[object, ...]] | None = None

    @contextmanager
    def listening(self) -> Iterator[Rung]:
        """Listen for as long as the block lasts."""
        rung = Rung(LOOK_S)
        self._listeners.add(rung)
        if self._database.kind == "postgresql" and self._hearing is None:
            self._hearing = asyncio.create_task(self._hear())
        try:
            yield rung
        finally:
            self._listeners.discard(rung)

    async def ring(self) -> None:
        """Wake everybody, other processes too; those look by themselves when it cannot be said."""
        self._ring_here()
        if self._database.kind != "postgresql":
            return
        import psycopg

        try:
            if self._voice is None or self._voice.closed:
                self._voice = await self._connected()
            await self._voice.execute(f"NOTIFY {CHANNEL}")
        except (psycopg.Error, OSError) as error:
            log.warning("not_notified", error=type(error).__name__)
            self._voice = None

    async def close(self) -> None:
        """Let the connections go."""
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
            self._hearing = None
        if self._voice is not None:
            await self._voice.close()
            self._voice = None

    def _ring_here(self) -> None:
        for rung in self._listeners:
            rung.ring()

    async def _hear(self) -> None:
        import psycopg

        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                async with await self._connected() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for _ in connection.notifies():
                        self._ring_here()
            await asyncio.sleep(_RETRY_S)

    async def _connected(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        import psycopg

        url = self._database.url.set(drivername="postgresql")
        return await psycopg.AsyncConnection.connect(
            url.render_as_string(hide_password=False), autocommit=True
        )
