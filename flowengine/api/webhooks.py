"""A carrier's webhook as a web endpoint: bounded in size and time, forms read as they were sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from urllib.parse import parse_qsl

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from flowengine.ports import HttpReply, HttpRequest, Webhook

LONGEST_BODY = 65_536
"""Bytes; carriers' forms have about 1,000."""

BODY_LIMIT_S = 10.0
"""How long a sender may take over its body."""

MOST_READ_OUT = 4 * 1024 * 1024
"""Bytes of a refused body that are read and thrown away: a sender that is still writing when the
connection closes sees a broken connection instead of the refusal."""

READ_OUT_S = 1.0
"""How long that may take."""

_MOST_FIELDS = 500

log = structlog.get_logger(__name__)


class WebhookEndpoint:
    """One POST route; an ASGI application, so that nothing of a framework lies in between."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if int(_digits(request.headers.get("content-length", "0"))) > MOST_READ_OUT:
            return _refusal(request, 413, "The request body is too large.")
        try:
            async with asyncio.timeout(BODY_LIMIT_S):
                body = await _body(request)
        except TimeoutError:
            return _refusal(request, 408, "The request body did not come in time.")
        if body is None:
            return _refusal(request, 413, "The request body is too large.")
        try:
            form = _form(request.headers.get("content-type", ""), body)
        except ValueError:
            return _refusal(request, 400, "The request's form cannot be read.")
        reply = await self._webhook(_ours(request, body, form))
        return _theirs(reply)


def _digits(text: str) -> str:
    return text if text.isascii() and text.isdigit() else "0"


async def _body(request: Request) -> bytes | None:
    """The whole body; None when it is too long, which is then read out within bounds."""
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > LONGEST_BODY:
                await _read_out(chunks)
                return None
    return bytes(body)


async def _read_out(chunks: AsyncGenerator[bytes, None]) -> None:
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(READ_OUT_S):
            async for chunk in chunks:
                size += len(chunk)
                if size > MOST_READ_OUT:
                    return


def _form(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """A URL-encoded form in order, blank values and repeated names kept; else nothing."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return []
    text = body.decode("utf-8")
    return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)


def _ours(request: Request, body: bytes, form: list[tuple[str, str]]) -> HttpRequest:
    return HttpRequest(
        method=request.method,
        url=str(request.url),
        headers=dict(request.headers),
        form=form,
        query=request.query_params.multi_items(),
        body=body,
    )


def _theirs(reply: HttpReply) -> Response:
    if reply.status == 204:
        return Response(status_code=204)
    return Response(reply.body, reply.status, media_type=reply.content_type)


def _refusal(request: Request, status: int, text: str) -> Response:
    """Refuse and close: what is left of the body would be taken for the next request."""
    log.warning("webhook refused", path=request.url.path, status=status, reason=text)
    return PlainTextResponse(text, status, headers={"connection": "close"})
