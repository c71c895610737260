"""What stands before every route of the API: bodies bounded, rates limited, headers that protect.

Carriers' webhooks and sockets have bounds of their own and are not limited here.
"""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowengine.api.problems import Refused

LONGEST_BODY = 4 * 1024 * 1024
"""Bytes of a request; a flow of 300 nodes has about 0.3 million."""
LONG_BODIES = ("/contacts",)
"""Paths that end so take what is streamed to them, and count it themselves."""

_TOO_LONG = f"The request's body has more than {LONGEST_BODY} bytes."
_PROTECTING = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "strict-transport-security": "max-age=31536000",
}


class Gate:
    """An ASGI application before the API's."""

    def __init__(self, app: ASGIApp, rate: str) -> None:
        """`rate` such as `600/minute`, for each key or, without one, for each address."""
        self._app = app
        self._rate: RateLimitItem = parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        who = _who(scope, headers)
        is_let_in = await self._limiter.hit(self._rate, who)
        window = await self._limiter.get_window_stats(self._rate, who)
        wait_s = max(0, math.ceil(window.reset_time - time.time()))

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                for name, value in _PROTECTING.items():
                    told.setdefault(name, value)
                told["ratelimit-limit"] = str(self._rate.amount)
                told["ratelimit-remaining"] = str(window.remaining)
                told["ratelimit-reset"] = str(wait_s)
            await send(message)

        refused = self._refused(scope, headers, is_let_in=is_let_in, wait_s=wait_s)
        if refused is not None:
            await refused.response()(scope, receive, sent)
            return
        bounded = receive if scope["path"].endswith(LONG_BODIES) else _bounded(receive)
        await self._app(scope, bounded, sent)

    def _refused(
        self, scope: Scope, headers: Headers, *, is_let_in: bool, wait_s: int
    ) -> Refused | None:
        if not is_let_in:
            return Refused(
                429,
                "too_many_requests",
                f"More than {self._rate} were made.",
                fix="Wait as long as Retry-After says.",
                headers={"retry-after": str(max(1, wait_s))},
            )
        length = headers.get("content-length", "0")
        is_long = length.isascii() and length.isdigit() and int(length) > LONGEST_BODY
        if is_long and not scope["path"].endswith(LONG_BODIES):
            return _too_long()
        return None


def _bounded(receive: Receive) -> Receive:
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > LONGEST_BODY:
            # Of the framework's kind: it lets that one through while it reads a body.
            raise HTTPException(413, _TOO_LONG)
        return message

    return bounded


def _too_long() -> Refused:
    return Refused(413, "body_too_long", _TOO_LONG)


def _who(scope: Scope, headers: Headers) -> str:
    """The first part of the key, which is no secret; else the address."""
    key = headers.get("authorization", "").rpartition(" ")[2]
    if key.startswith("fe_"):
        return key[:11]
    client = scope.get("client")
    return client[0] if client else "unknown"
