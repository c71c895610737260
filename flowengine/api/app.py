"""The web application: mounts what the carriers declare, and says how the engine is.

Carriers know nothing of the web framework: they declare handlers over our own request, reply and
socket, and here they get their addresses, `POST /<carrier>/<hook>` and `/<carrier>/<socket>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from flowengine import __version__
from flowengine.api import v1
from flowengine.api.service import Service
from flowengine.api.sockets import SocketEndpoint
from flowengine.api.webhooks import WebhookEndpoint
from flowengine.events import Json
from flowengine.ports import Carrier

Health = Callable[[], Sequence[str]]
"""Why new calls cannot be taken now; empty when they can."""


ProvidersHealth = Callable[[], Sequence[Mapping[str, Json]]]
"""How each provider is that was used."""


def create_app(
    carriers: Sequence[Carrier],
    health: Health,
    providers: ProvidersHealth = tuple,
    service: Service | None = None,
) -> FastAPI:
    """Build the application for these carriers; with a service, its REST API too.

    A provider that fails does not make the process unready: whoever has no other is asked all the
    same, and a caller hears the flow's own words for it.
    """
    app = FastAPI(
        title="flowengine",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json" if service is not None else None,
    )
    _mount_health(app, health, providers)
    if service is not None:
        v1.mount(app, service)
    for carrier in carriers:
        for path, webhook in carrier.webhooks().items():
            endpoint = WebhookEndpoint(webhook)
            app.router.routes.append(Route(f"/{carrier.name}/{path}", endpoint, methods=["POST"]))
        for path, handler in carrier.sockets().items():
            app.router.routes.append(
                WebSocketRoute(f"/{carrier.name}/{path}", SocketEndpoint(handler))
            )
    return app


def _mount_health(app: FastAPI, health: Health, providers: ProvidersHealth) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok", "version": __version__}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether new calls can be taken, and why not."""
        reasons = list(health())
        return JSONResponse(
            {"ready": not reasons, "reasons": reasons, "providers": list(providers())},
            status_code=503 if reasons else 200,
        )
