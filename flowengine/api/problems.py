"""What the API answers when it refuses: `application/problem+json` (RFC 9457), a code that stays.

Every error of the engine has a code, a sentence, a place and advice; here it gets a status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException

from flowengine.errors import (
    CarrierError,
    FlowengineError,
    ProviderError,
    StoreError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_S = 2
"""When to try again what failed for the moment."""

log = structlog.get_logger(__name__)


class Wrong(BaseModel):
    """One thing that is wrong with a request."""

    path: str = Field(description="Where: a JSON Pointer, or the name of a parameter.")
    message: str
    code: str = ""
    fix: str = ""


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:flowengine:problem:no_such_flow",
                    "title": "Not Found",
                    "status": 404,
                    "code": "no_such_flow",
                    "detail": "This project has no flow 'clinic'.",
                    "where": "",
                    "fix": "GET /v1/flows lists those that there are.",
                    "errors": [],
                }
            ]
        }
    )

    type: str = Field(description="`urn:flowengine:problem:` and the code.")
    title: str
    status: int
    code: str = Field(description="Stable: programs may rely on it.")
    detail: str
    where: str = ""
    fix: str = ""
    errors: list[Wrong] = []


class Refused(Exception):
    """A request is refused; raised by handlers, answered as a `Problem`."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        where: str = "",
        fix: str = "",
        errors: Sequence[Wrong] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.problem = Problem(
            type=f"urn:flowengine:problem:{code}",
            title=HTTPStatus(status).phrase,
            status=status,
            code=code,
            detail=detail,
            where=where,
            fix=fix,
            errors=list(errors),
        )
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        return JSONResponse(
            self.problem.model_dump(),
            self.problem.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def not_found(kind: str, name: str, fix: str = "") -> Refused:
    """Refuse a thing that is not there, or that belongs to another project: both look the same."""
    return Refused(404, f"no_such_{kind}", f"This project has no {kind} {name!r}.", fix=fix)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of answers that are problems, beside those that every route has."""
    every = (400, 401, 403, 413, 422, 429, 500, 503)
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*every, *statuses})
    }


def install(app: FastAPI) -> None:
    """Answer every failure of a route as a problem."""

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> Response:
        return error.response()

    @app.exception_handler(FlowengineError)
    async def ours(_request: Request, error: FlowengineError) -> Response:
        return of_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        return Refused(
            422,
            "invalid_request",
            "The request does not have the form that is asked for.",
            fix="See `errors`; the form is in /v1/openapi.json.",
            errors=[
                Wrong(path=_pointer(found["loc"]), message=found["msg"], code=found["type"])
                for found in error.errors()
            ],
        ).response()

    @app.exception_handler(StaleDataError)
    async def stale(_request: Request, _error: StaleDataError) -> Response:
        return changed_meanwhile().response()

    @app.exception_handler(IntegrityError)
    async def conflicting(_request: Request, _error: IntegrityError) -> Response:
        return Refused(
            409,
            "conflict",
            "What the request refers to changed at the same time, or is there already.",
            fix="Read it again, and repeat the request if it still applies.",
        ).response()

    @app.exception_handler(HTTPException)
    async def of_framework(_request: Request, error: HTTPException) -> Response:
        code = {404: "no_such_path", 405: "method_not_allowed", 413: "body_too_long"}.get(
            error.status_code, HTTPStatus(error.status_code).name.lower()
        )
        return Refused(
            error.status_code, code, str(error.detail), headers=dict(error.headers or {})
        ).response()

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        # No traceback and no message: they may hold what a caller said.
        log.error("request_failed", path=request.url.path, error=type(error).__name__)
        return Refused(500, "internal", "The request failed by a fault of ours.").response()


def changed_meanwhile() -> Refused:
    """Refuse a change of a version that is not the latest."""
    return Refused(
        412,
        "changed_meanwhile",
        "Somebody changed it after the version that you have.",
        fix="Read it again and bring your change onto the newest version.",
    )


def of_error(error: FlowengineError) -> Refused:
    """An error of the engine as a refusal."""
    status = _status(error)
    headers = {"retry-after": str(RETRY_S)} if status == 503 else {}
    return Refused(
        status, error.code, error.what, where=error.where, fix=error.fix, headers=headers
    )


def _status(error: FlowengineError) -> int:
    if error.code.startswith("no_such_"):
        return 404
    if error.code.endswith("_exists"):
        return 409
    if isinstance(error, StoreError):
        return 503 if error.retryable else 500
    if isinstance(error, ProviderError | CarrierError):
        return 502
    return 422


def _pointer(place: Sequence[int | str]) -> str:
    """`("body", "name")` as `/name`; parameters by their own name."""
    parts = (str(part).encode(errors="replace").decode() for part in place)
    first, *rest = (part.replace("~", "~0").replace("/", "~1") for part in parts)
    return "".join(f"/{part}" for part in rest) if first == "body" else ".".join(rest) or first
