"""What happens, live: `GET /v1/events` as server-sent events, and the same over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import orjson
from fastapi import Depends, Header, Query, WebSocket
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from flowengine.api.access import Reader, holder
from flowengine.api.problems import Refused, refusals
from flowengine.api.routes import group
from flowengine.api.service import Service, TheService
from flowengine.api.texts import PlainText
from flowengine.runtime.happenings import TYPES
from flowengine.store.feed import LiveEvent

router = group("events")

QUIET_S = 15.0
"""After so long without an event a sign of life is sent, so that proxies keep the stream."""

_MOST = 2**53


class Wanted:
    """Which events, from where on."""

    def __init__(
        self,
        types: Annotated[
            list[PlainText] | None,
            Query(alias="type", max_length=len(TYPES), description="Types of events; all."),
        ] = None,
        call: Annotated[
            PlainText | None, Query(max_length=80, description="Of this call only.")
        ] = None,
        flow: Annotated[
            PlainText | None, Query(max_length=200, description="Of calls with this flow only.")
        ] = None,
        after: Annotated[
            int | None,
            Query(ge=0, le=_MOST, description="Begin after the event of this id; now."),
        ] = None,
        last_event_id: Annotated[
            str | None, Header(description="The same, as browsers send it when they come back.")
        ] = None,
    ) -> None:
        for name in types or ():
            if name not in TYPES:
                raise Refused(
                    422,
                    "unknown_type",
                    f"There are no events of the type {name!r}.",
                    where="type",
                    fix=f"Use {', '.join(TYPES)}.",
                )
        self.types = types or []
        self.call = call or ""
        self.flow = flow or ""
        self.after = after
        if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
            self.after = min(int(last_event_id), _MOST)

    async def events(
        self, service: Service, project_id: str
    ) -> AsyncGenerator[LiveEvent | None, None]:
        """The events; None is a sign of life."""
        feed = service.engine.feed
        after = await feed.newest(project_id) if self.after is None else self.after
        followed = feed.follow(
            project_id,
            after,
            types=self.types,
            call_id=self.call,
            flow_id=self.flow,
            quiet_s=QUIET_S,
        )
        async with aclosing(followed):
            async for event in followed:
                yield event


TheWanted = Annotated[Wanted, Depends(Wanted)]


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "`id`, `event` and `data` (JSON) of each event, for ever.",
        },
        **refusals(),
    },
)
async def stream(service: TheService, by: Reader, wanted: TheWanted) -> StreamingResponse:
    """Follow what happens in the project's calls, from now or from an event on.

    The stream may be left and taken up again with `Last-Event-ID`: no event is lost as long as it
    is kept (see the project's retention).
    """

    async def lines() -> AsyncGenerator[bytes, None]:
        yield b": connected\n\n"
        async with aclosing(wanted.events(service, by.project_id)) as events:
            async for event in events:
                yield b": quiet\n\n" if event is None else _written(event)

    return StreamingResponse(lines(), media_type="text/event-stream")


@router.websocket("/events/socket")
async def follow(socket: WebSocket, wanted: TheWanted) -> None:
    """The same over a WebSocket: one JSON object an event, `{}` as a sign of life."""
    service: Service = socket.app.state.service
    try:
        found = await holder(socket, service)
    except Refused as refused:
        await socket.send_denial_response(refused.response())
        return
    if not found.may("read"):
        await socket.close(1008, "missing_scope")
        return
    await socket.accept()
    try:
        async with aclosing(wanted.events(service, found.project_id)) as events:
            async for event in events:
                body = {} if event is None else event.to_json()
                await socket.send_text(orjson.dumps(body).decode())
    except WebSocketDisconnect:
        return


def _written(event: LiveEvent) -> bytes:
    data = orjson.dumps(event.to_json())
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.number, event.type.encode(), data)
