"""The OpenAPI document against the server that it describes: odd requests, and another's key."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flowengine.api.app import create_app
from flowengine.api.server import serve
from flowengine.api.service import Service
from flowengine.app import Engine
from flowengine.settings import load_settings
from flowengine.store.keys import first_key, issue
from flowengine.store.tables import Project
from tests.databases import KINDS, prepared_database
from tests.runtime.flows import MENU

pytestmark = [pytest.mark.api, pytest.mark.slow, pytest.mark.timeout(600)]

EXAMPLES = 12
"""Odd requests for each route; more find more: they were 200 when the API was written."""
ENDLESS = ("/v1/events",)


@dataclass(frozen=True, slots=True)
class Served:
    """An API on a socket, with the operator's key and that of another project's admin."""

    base_url: str
    key: str
    other: str


@contextmanager
def served(url: str, folder: Path) -> Iterator[Served]:
    """Serve the API in a thread with a loop of its own."""
    ready: list[Served] = []
    is_ready, stop_here = threading.Event(), threading.Event()

    async def run() -> None:
        environ = {
            "FLOWENGINE_DATABASE_URL": url,
            "FLOWENGINE_DATA": str(folder),
            "FLOWENGINE_SECRET_KEY": "a test's",
            "FLOWENGINE_API_RATE": "1000000/minute",
        }
        engine = Engine(load_settings(environ))
        async with engine.database.writing(None) as session:
            now = engine.clock.wall()
            key = await first_key(session, now)
            session.add(Project(id="other", name="Other", settings={}, created_at=now))
            await session.flush()
            row, other = issue("other", "first", ["admin"], now)
            session.add(row)
        assert key is not None
        stop = asyncio.Event()

        def told(port: int) -> None:
            ready.append(Served(f"http://127.0.0.1:{port}", key, other))
            is_ready.set()

        app = create_app([], engine.not_ready, service=Service(engine))
        serving = asyncio.create_task(serve(app, "127.0.0.1", 0, ready=told, stop=stop))
        await asyncio.to_thread(stop_here.wait)
        stop.set()
        await serving
        await engine.close(0)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert is_ready.wait(30)
        yield ready[0]
    finally:
        stop_here.set()
        thread.join()


@pytest.fixture(scope="module", params=KINDS)
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with (
        prepared_database(request.param) as url,
        served(url, tmp_path_factory.mktemp("api")) as made,
    ):
        yield made


def test_odd_requests_meet_answers_that_are_described(api: Served) -> None:
    schema = schemathesis.openapi.from_url(f"{api.base_url}/v1/openapi.json")
    headers = {"authorization": f"Bearer {api.key}", "if-match": "*"}
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if not operation.path.startswith("/v1/") or operation.path in ENDLESS:
            continue
        tried += 1

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def asked(case: Any) -> None:
            response = case.call(headers=headers)
            case.validate_response(response, checks=checks)

        asked()
    assert tried > 50


def test_no_key_opens_what_is_another_projects(api: Served) -> None:
    """Everything that one project has, asked for by its path with the other's key."""
    with httpx2.Client(base_url=api.base_url, timeout=30) as http:
        paths = _filled(http, api.key)
        document = http.get("/v1/openapi.json").json()
        tried = 0
        for path, methods in document["paths"].items():
            names = re.findall(r"{(\w+)}", path)
            if not names or any(name not in paths for name in names):
                continue
            for method in set(methods) & {"get", "put", "post", "delete"}:
                if (method, path) in _THEIR_OWN:
                    continue
                answer = http.request(
                    method,
                    re.sub(r"{(\w+)}", lambda found: paths[found[1]], path) + "?before=1",
                    json=_BODIES.get(path.rpartition("/")[2]) if method != "get" else None,
                    headers={"authorization": f"Bearer {api.other}", "if-match": "*"},
                )
                assert answer.status_code in (403, 404, 415), (method, path, answer.text)
                tried += 1
        assert tried > 20
        listed = [path for path in document["paths"] if "{" not in path and path not in ENDLESS]
        for path in listed:
            if "get" in document["paths"][path] and path.startswith("/v1/"):
                answer = http.get(path, headers={"authorization": f"Bearer {api.other}"})
                for secret in paths.values():
                    assert secret not in answer.text or secret in ("1", "default"), path


def _filled(http: httpx2.Client, key: str) -> dict[str, str]:
    """One of everything in the first project, by the name of its parameter."""

    def ask(method: str, path: str, body: object = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {key}", "if-match": "*"}
        answer = http.request(method, f"/v1{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    ask("POST", "/flows", {"document": {**MENU, "id": "only-ours"}})
    ask("POST", "/flows/only-ours/publish", {"tags": ["ours-tag"]})
    routes = {"routes": "1", "last": {"flow": "only-ours"}}
    ask("POST", "/numbers", {"e164": "+4930123999", "routes": routes})
    ask("PUT", "/secrets/only_ours", {"value": "hush"})
    campaign = ask("POST", "/campaigns", {"name": "ours", "settings": {"flow": "only-ours"}})
    return {
        "flow_id": "only-ours",
        "number": "1",
        "name": "only_ours",
        "e164": "+4930123999",
        "campaign_id": campaign["id"],
        "endpoint_id": ask("POST", "/webhook-endpoints", {"url": "https://x.example"})["id"],
        "key_id": ask("POST", "/keys", {"name": "ours", "scopes": ["read"]})["id"],
        "project_id": "default",
    }


_THEIR_OWN = {("put", "/v1/secrets/{name}"), ("delete", "/v1/callers/{e164}")}
"""What makes or erases something of the asker's own, whatever others have of the same name."""

_BODIES: dict[str, object] = {
    "{flow_id}": {"document": {**MENU, "id": "only-ours"}},
    "{name}": {"version": 1},
    "{e164}": {"label": "theirs"},
    "{campaign_id}": {"name": "theirs", "settings": {"flow": "only-ours"}},
    "{endpoint_id}": {"url": "https://theirs.example"},
    "{project_id}": {"name": "theirs"},
    "publish": {},
    "rotate": {},
    "routes": {"routes": {"routes": "1", "last": {"refuse": "busy"}}},
    "explain": {},
}
"""Good bodies by the end of a path, so that no request is refused for its form."""
