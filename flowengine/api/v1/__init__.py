"""The REST API, version 1: one file for each kind of thing that it serves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi

from flowengine.api import problems
from flowengine.api.gate import Gate
from flowengine.api.problems import Problem
from flowengine.api.service import Service
from flowengine.api.v1 import (
    analytics,
    audit,
    callers,
    calls,
    campaigns,
    events,
    flow_versions,
    flows,
    keys,
    listening,
    numbers,
    placing,
    projects,
    providers,
    secrets,
    steering,
    tools,
    webhooks,
)

ROUTERS = (
    flows.router,
    flow_versions.router,
    numbers.router,
    calls.router,
    placing.router,
    steering.router,
    listening.router,
    callers.router,
    events.router,
    campaigns.router,
    tools.router,
    secrets.router,
    providers.router,
    webhooks.router,
    analytics.router,
    keys.router,
    projects.router,
    audit.router,
)


def mount(app: FastAPI, service: Service) -> None:
    """Serve `/v1/…` with this service."""
    app.state.service = service
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    settings = service.engine.settings
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["authorization", "content-type", "if-match", "idempotency-key"],
            expose_headers=["etag", "location", "retry-after", "idempotency-replayed"],
        )
    app.add_middleware(Gate, rate=settings.api_rate)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # as FastAPI documents it


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The API's description, with the form of its refusals."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary="Phone calls that run as graphs of nodes.",
            routes=app.routes,
        )
        parts = schema.setdefault("components", {}).setdefault("schemas", {})
        made = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts.update(made.pop("$defs", {}))
        parts["Problem"] = made
        app.openapi_schema = schema
    return app.openapi_schema
