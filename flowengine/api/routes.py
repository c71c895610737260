"""How a group of routes of the API is made: tagged, idempotent, its refusals documented."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from flowengine.api.idempotency import ActingRoute
from flowengine.api.problems import refusals


def group(tag: str) -> APIRouter:
    """A router whose paths begin with `/v1`."""
    return APIRouter(prefix="/v1", route_class=ActingRoute, tags=[tag], responses=refusals())


class Body(BaseModel):
    """A request's body: a field that is not known is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
