"""A POST that is sent twice acts once: `Idempotency-Key`, on every POST that acts.

The key is taken in a transaction of its own before the route runs, and the answer is kept for a
day; the same request again gets the same answer. What a worker left behind in the middle is not
repeated: nobody knows whether it acted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from flowengine.api.access import holder
from flowengine.api.gate import LONG_BODIES
from flowengine.api.problems import Refused
from flowengine.api.service import Service
from flowengine.store.keys import Holder
from flowengine.store.tables import IdempotentReply

KEPT = timedelta(days=1)
LONGEST_KEY = 200

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ActingRoute(APIRoute):
    """A route whose POSTs honour `Idempotency-Key`."""

    def get_route_handler(self) -> Handler:
        run = super().get_route_handler()

        async def once(request: Request) -> Response:
            key = request.headers.get("idempotency-key")
            # A list that is streamed is never whole in memory; sent again, it adds nothing twice.
            is_streamed = request.url.path.endswith(LONG_BODIES)
            if key is None or request.method != "POST" or is_streamed:
                return await run(request)
            if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
                raise Refused(
                    400,
                    "bad_idempotency_key",
                    f"An idempotency key has 1 to {LONGEST_KEY} printable characters.",
                )
            service: Service = request.app.state.service
            asked = await holder(request, service)
            hashed = await _hash(request)
            kept = await _take(service, asked, key, hashed)
            if kept is not None:
                return kept
            return await _answered(service, asked, key, run, request)

        return once


async def _answered(
    service: Service, asked: Holder, key: str, run: Handler, request: Request
) -> Response:
    """Run the route; keep what it answered, and let the key go when it did nothing."""
    try:
        response = await run(request)
    except BaseException:
        # Refused or failed before it acted: routes act in one transaction, at their end.
        await _release(service, asked, key)
        raise
    async with service.database.writing(asked.project_id) as session:
        row = await session.get(IdempotentReply, (asked.project_id, key))
        if row is not None:
            row.status = response.status_code
            row.headers = {
                name: value
                for name, value in response.headers.items()
                if name in ("content-type", "etag", "location")
            }
            # Encrypted: it may hold a new key.
            row.body = service.cipher.encrypt(bytes(response.body).decode())
    return response


async def _hash(request: Request) -> str:
    said = orjson.dumps([request.method, request.url.path, request.url.query])
    return hashlib.sha256(said + await request.body()).hexdigest()


async def _take(service: Service, asked: Holder, key: str, hashed: str) -> Response | None:
    """Take the key, None; or what was answered when it was taken before."""
    now = service.now()
    try:
        async with service.database.writing(asked.project_id) as session:
            await session.execute(
                delete(IdempotentReply).where(IdempotentReply.created_at < now - KEPT)
            )
            session.add(
                IdempotentReply(
                    project_id=asked.project_id,
                    key=key,
                    request_hash=hashed,
                    status=0,
                    headers={},
                    body="",
                    created_at=now,
                )
            )
    except IntegrityError:
        return await _kept(service, asked, key, hashed)
    return None


async def _kept(service: Service, asked: Holder, key: str, hashed: str) -> Response:
    async with service.database.reading(asked.project_id) as session:
        row = await session.get(IdempotentReply, (asked.project_id, key))
    if row is None or row.status == 0:
        raise Refused(
            409,
            "request_in_progress",
            "A request with this idempotency key is running, or was cut off in the middle.",
            fix="Wait and repeat it; after a minute, look whether it was done, then use a new key.",
            headers={"retry-after": "1"},
        )
    if row.request_hash != hashed:
        raise Refused(
            422,
            "idempotency_key_reused",
            "This idempotency key belongs to another request.",
            fix="Use a new key for a new request.",
        )
    headers = {name: str(value) for name, value in row.headers.items()}
    return Response(
        service.cipher.decrypt(row.body),
        row.status,
        headers={**headers, "idempotency-replayed": "true"},
    )


async def _release(service: Service, asked: Holder, key: str) -> None:
    async with service.database.writing(asked.project_id) as session:
        row = await session.get(IdempotentReply, (asked.project_id, key))
        if row is not None:
            await session.delete(row)
