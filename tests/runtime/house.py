"""A whole engine on loopback for tests: fake vendors behind it, the simulated phone before it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowengine.api.app import create_app
from flowengine.api.server import serve
from flowengine.api.service import Service
from flowengine.app import Engine
from flowengine.events import Event, NodeEntered
from flowengine.ids import CallId
from flowengine.providers.deadlines import Deadlines
from flowengine.settings import load_settings
from flowengine.testing.phone import Phone
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.serving import KEY

AUTH_TOKEN = "twilio-auth-token-of-a-test"
CALLER, CALLED = "+14155550100", "+14155550199"


@dataclass
class Vendors:
    deepgram: FakeDeepgram
    openai: FakeOpenAi
    elevenlabs: FakeElevenLabs

    def environment(self) -> dict[str, str]:
        return {
            "DEEPGRAM_API_KEY": KEY,
            "DEEPGRAM_BASE_URL": self.deepgram.url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": self.openai.url,
            "ELEVENLABS_API_KEY": KEY,
            "ELEVENLABS_BASE_URL": self.elevenlabs.url,
        }


@asynccontextmanager
async def vendors() -> AsyncIterator[Vendors]:
    async with FakeDeepgram() as deepgram, FakeOpenAi() as openai, FakeElevenLabs() as elevenlabs:
        yield Vendors(deepgram, openai, elevenlabs)


@dataclass
class Running:
    """An engine that answers, and what its calls said of themselves."""

    engine: Engine
    base_url: str
    seen: list[tuple[CallId, Event, int]] = field(default_factory=list)

    @property
    def phone(self) -> Phone:
        return Phone(self.base_url, AUTH_TOKEN)

    def facts(self, kind: type[Any]) -> list[Any]:
        return [event for _, event, _ in self.seen if isinstance(event, kind)]

    async def settled(self) -> None:
        """Wait until no call runs and everything of them is stored."""
        await self.engine.supervisor.drain(10)
        self.engine.supervisor.is_draining = False

    def path(self) -> list[str]:
        return [fact.node for fact in self.facts(NodeEntered)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running(
    folder: Path,
    flow: Mapping[str, Any],
    behind: Vendors,
    *,
    deadlines: Deadlines | None = None,
    prompts: bool = True,
    port: int = 0,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """Serve a flow; `folder` keeps the store, so that a second engine finds what the first left."""
    port = port or free_port()
    path = folder / "flow.json"
    path.write_text(json.dumps(flow))
    base_url = f"http://127.0.0.1:{port}"
    settings = load_settings(
        {
            "FLOWENGINE_DATA": str(folder / "data"),
            "FLOWENGINE_PUBLIC_URL": base_url,
            "FLOWENGINE_SECRET_KEY": "secret of a test",
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            **behind.environment(),
            **(more or {}),
        }
    )
    seen: list[tuple[CallId, Event, int]] = []
    engine = Engine(
        settings,
        path,
        deadlines=deadlines,
        watch=lambda call_id, event, at_ms: seen.append((call_id, event, at_ms)),
    )
    stop = asyncio.Event()
    serving: asyncio.Task[None] | None = None
    try:
        await engine.warm(prompts=prompts)
        await engine.warmed()
        app = create_app(
            engine.carriers, engine.not_ready, engine.vendors.health.told, Service(engine)
        )
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve(app, "127.0.0.1", port, ready=ready.set_result, stop=stop)
        )
        await ready
        yield Running(engine, base_url, seen)
    finally:
        await engine.close(0)
        stop.set()
        if serving is not None:
            await serving
