"""The engines of `flowengine demo`: one a flow, on loopback, with local speech and a set clock."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import uvicorn
from pydantic import SecretStr

from flowengine.api.app import create_app
from flowengine.api.server import serve
from flowengine.app import Engine
from flowengine.cli.demo_callers import DemoCaller
from flowengine.cli.shipped import flow_file
from flowengine.clock import RealClock
from flowengine.events import CallEnded, Event, Fact, Json
from flowengine.ids import CallId
from flowengine.ports import JournalRecord
from flowengine.settings import Settings
from flowengine.testing.calendar_service import application
from flowengine.testing.phone import PhoneCall

_HOUR = 10
_WEEKDAY = 1
"""Tuesday at ten, where the flow is at home: offices are open."""


class SetClock(RealClock):
    """Runs like the real clock, from another time of day."""

    def __init__(self, start: datetime) -> None:
        self._offset = start.astimezone(UTC) - datetime.now(UTC)

    def wall(self) -> datetime:
        return super().wall() + self._offset


@dataclass(slots=True)
class DemoCall:
    """One call of the demo: who calls, where, and what came of it."""

    caller: DemoCaller
    auth_token: str = field(default_factory=lambda: secrets.token_hex(16))
    url: str = ""
    shown_time: str = ""
    document: dict[str, Json] = field(default_factory=dict)
    phone: PhoneCall | None = None
    facts: list[tuple[int, Fact]] = field(default_factory=list)
    journal: list[JournalRecord] = field(default_factory=list)

    @property
    def nodes(self) -> frozenset[str]:
        return frozenset(self.document["nodes"])

    @property
    def ending(self) -> str:
        """How the call ended, in a word."""
        ends = [fact.disposition for _, fact in self.facts if isinstance(fact, CallEnded)]
        return ends[-1] if ends else "handed over" if self.facts else "never answered"

    @property
    def is_complete(self) -> bool:
        """Whether the call went through its flow as the demo has it."""
        return self.ending in ("booked", "served", "completed", "handed over")


@asynccontextmanager
async def serving(
    call: DemoCall, folder: Path, show: Callable[[Event, int], None]
) -> AsyncIterator[None]:
    """Serve the caller's flow until the block ends; its journal is read before that."""
    listening = _free_port()
    calendar_port = _free_port()
    async with _calendar(calendar_port):
        flow = _own_copy(call, folder, f"http://127.0.0.1:{calendar_port}")
        start = _opening_time(call.document)
        call.shown_time = f"{start:%A %H:%M}"
        call.url = f"http://127.0.0.1:{listening}"
        settings = Settings(
            public_url=call.url,
            data=folder,
            twilio_account_sid="AC" + "0" * 32,
            twilio_auth_token=SecretStr(call.auth_token),
        )

        def watch(call_id: CallId, event: Event, at_ms: int) -> None:
            if isinstance(event, Fact):
                call.facts.append((at_ms, event))
                show(event, at_ms)

        engine = Engine(
            settings,
            flow / "flow.json",
            allow_private_tools=True,
            watch=watch,
            clock=SetClock(start),
        )
        await engine.warm()
        await engine.warmed()
        stop, ready = asyncio.Event(), asyncio.Event()
        app = create_app(engine.carriers, engine.not_ready)
        server = asyncio.create_task(
            serve(app, "127.0.0.1", listening, ready=lambda port: ready.set(), stop=stop)
        )
        await ready.wait()
        try:
            yield
            for row in await engine.store.calls(10):
                await engine.store.written(row.id)
                call.journal += await engine.store.journal(row.id)
        finally:
            await engine.close(drain_s=2)
            stop.set()
            await server


def _own_copy(call: DemoCall, folder: Path, calendar_url: str) -> Path:
    """The flow as it is shipped, but for where this demo's calendar service listens."""
    source = flow_file(call.caller.flow).parent
    copy = folder / "flow"
    copy.mkdir(parents=True)
    for path in source.glob("*.json"):
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name, variable in document.get("variables", {}).items():
            if name == "calendar_url":
                variable["default"] = calendar_url
        (copy / path.name).write_text(json.dumps(document), encoding="utf-8")
        if path.name == "flow.json":
            call.document = document
    return copy


def _opening_time(document: dict[str, Any]) -> datetime:
    """The next Tuesday at ten in the flow's time zone."""
    zone = ZoneInfo(document.get("defaults", {}).get("timezone", "UTC"))
    today = datetime.now(zone)
    ahead = (_WEEKDAY - today.weekday()) % 7 or 7
    return (today + timedelta(days=ahead)).replace(hour=_HOUR, minute=0, second=0, microsecond=0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _calendar(port: int) -> AsyncIterator[None]:
    """The clinic's calendar service, beside the engine."""
    config = uvicorn.Config(application(), host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await task
