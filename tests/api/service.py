"""The REST API of a whole engine over a fresh database, asked without a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from fastapi import FastAPI

from flowengine.api.app import create_app
from flowengine.api.service import Service
from flowengine.app import Engine
from flowengine.clock import Clock, RealClock
from flowengine.settings import load_settings
from flowengine.store.keys import first_key, issue
from flowengine.store.tables import Project

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks the API with one key."""

    http: httpx2.AsyncClient
    key: str

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        match: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Ask, and hold the answer against what every answer of the API is."""
        sent = {**({"if-match": match} if match else {}), **(headers or {})}
        if self.key:
            sent["authorization"] = f"Bearer {self.key}"
        answer = await self.http.request(method, f"/v1{path}", json=body, headers=sent)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert problem["type"] == f"urn:flowengine:problem:{problem['code']}"
        return answer


@dataclass(frozen=True, slots=True)
class Api:
    """An API with two projects: `default`, whose admin runs the server, and `other`."""

    app: FastAPI
    service: Service
    http: httpx2.AsyncClient
    ask: Asker
    """With the operator's key."""
    other: Asker
    """With an admin key of the other project."""

    async def with_scopes(self, *scopes: str, project: str = "default") -> Asker:
        """Somebody who asks with a key of these scopes."""
        row, key = issue(project, "test", list(scopes), self.service.now())
        async with self.service.database.writing(None) as session:
            session.add(row)
        return Asker(self.http, key)


@asynccontextmanager
async def an_api(
    url: str, folder: Path, *, clock: Clock | None = None, **settings: str
) -> AsyncIterator[Api]:
    """Serve the API over the prepared database of this URL."""
    clock = clock or RealClock()
    environ = {
        "FLOWENGINE_DATA": str(folder / "data"),
        "FLOWENGINE_DATABASE_URL": url,
        "FLOWENGINE_SECRET_KEY": "a test's",
        **settings,
    }
    engine = Engine(load_settings(environ), clock=clock)
    service = Service(engine)
    app = create_app([], engine.not_ready, engine.vendors.health.told, service)
    async with engine.database.writing(None) as session:
        key = await first_key(session, clock.wall())
        session.add(Project(id="other", name="Other", settings={}, created_at=clock.wall()))
        await session.flush()
        row, other = issue("other", "first", ["admin"], clock.wall())
        session.add(row)
    assert key is not None
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as http:
        yield Api(app, service, http, Asker(http, key), Asker(http, other))
    await engine.close(0)


@asynccontextmanager
async def api_of(engine: Engine, base_url: str) -> AsyncIterator[tuple[Asker, Asker]]:
    """Who ask the API of an engine that is served: the operator, and another project's admin."""
    async with engine.database.writing(None) as session:
        key = await first_key(session, engine.clock.wall())
        made = Project(id="other", name="Other", settings={}, created_at=engine.clock.wall())
        session.add(made)
        await session.flush()
        row, other = issue("other", "first", ["admin"], engine.clock.wall())
        session.add(row)
    assert key is not None
    async with httpx2.AsyncClient(base_url=base_url, timeout=30) as http:
        yield Asker(http, key), Asker(http, other)


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, json.loads(answer.text)["code"]
