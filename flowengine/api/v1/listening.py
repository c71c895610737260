"""Listening to calls while they last: a ticket for browsers, and the WebSocket itself."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import orjson
from fastapi import Query, WebSocket
from pydantic import Field
from starlette.websockets import WebSocketDisconnect

from flowengine.api.access import Reader, holder, missing_scope
from flowengine.api.problems import Refused, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import Service, TheService
from flowengine.api.tickets import Ticket
from flowengine.api.v1.steering import CallPath, running_call
from flowengine.ids import CallId
from flowengine.media.live import FRAME_MS, LiveMix
from flowengine.runtime.call import Call

router = group("calls")

SEND_S = 5.0
"""A listener who takes nothing for so long is gone."""
MOST_LISTENERS = 10
"""Of one call."""

_TRY_AGAIN_LATER = 1013


class ListenTicket(Body):
    """Leave to listen, once."""

    ticket: str = Field(description="Goes into the socket's address: `?ticket=…`.")
    expires_at: datetime
    path: str = Field(description="The socket's path, with the ticket in it.")


@router.post("/calls/{call_id}/listen", status_code=201, responses=refusals(404, 409))
async def make_ticket(service: TheService, by: Reader, call_id: CallPath) -> ListenTicket:
    """Make a ticket with which a browser, which can send no header, may listen once.

    It is good for half a minute.
    """
    await running_call(service, by, call_id)
    ticket = Ticket.made(call_id, by.project_id, service.now())
    text = ticket.sealed(service.cipher)
    path = f"/v1/calls/{call_id}/listen?ticket={text}"
    return ListenTicket(ticket=text, expires_at=ticket.expires_at, path=path)


@router.websocket("/calls/{call_id}/listen")
async def listen(
    socket: WebSocket,
    call_id: CallPath,
    ticket: Annotated[str, Query(max_length=1000)] = "",
) -> None:
    """Hear a call while it lasts: frames of µ-law, caller and bot byte by byte in turn."""
    service: Service = socket.app.state.service
    try:
        call = await _let_in(socket, service, call_id, ticket)
    except Refused as refused:
        await socket.send_denial_response(refused.response())
        return
    await socket.accept()
    with call.heard() as mix:
        try:
            await _stream(socket, call_id, mix)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            return  # the listener is gone; the call goes on


async def _let_in(socket: WebSocket, service: Service, call_id: str, ticket: str) -> Call:
    """The call, which this process holds. Raises Refused."""
    if ticket:
        allowed = service.tickets.used(ticket, service.cipher, service.now())
        if allowed is None or allowed.call_id != call_id:
            raise Refused(
                401,
                "bad_ticket",
                "The ticket is none, too old, was used, or is for another call.",
                fix="POST to this path for a new one.",
            )
        project_id = allowed.project_id
    else:
        found = await holder(socket, service)
        if not found.may("read"):
            raise missing_scope("read")
        project_id = found.project_id
    call = service.engine.supervisor.running_call(CallId(call_id))
    row = service.engine.supervisor.held(CallId(call_id))
    if call is None or row is None or row.project_id != project_id:
        raise Refused(
            409,
            "call_is_elsewhere",
            "This process does not hold such a call: it is over, has no bot on the line, or"
            " another process of this server has it.",
            where=call_id,
            fix="Connect again: a balancer may lead to the other process.",
        )
    if call.listeners >= MOST_LISTENERS:
        raise Refused(409, "too_many_listeners", f"{MOST_LISTENERS} listen to this call already.")
    return call


async def _stream(socket: WebSocket, call_id: str, mix: LiveMix) -> None:
    """Send what is heard until the call is over or the listener too slow."""
    began = {
        "type": "began",
        "call": call_id,
        "encoding": "audio/x-mulaw",
        "rate": 8000,
        "channels": ["caller", "bot"],
        "frame_ms": FRAME_MS,
    }
    await _send(socket, began)
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        is_over = mix.is_over
        for frame in mix.take():
            async with asyncio.timeout(SEND_S):
                await socket.send_bytes(frame)
        if mix.is_overrun:
            await _send(socket, {"type": "ended", "reason": "too_slow"})
            await socket.close(_TRY_AGAIN_LATER, "too slow")
            return
        if is_over:
            await _send(socket, {"type": "ended", "reason": "call_left_the_line"})
            await socket.close()
            return
        due_s = max(due_s + FRAME_MS / 1000, loop.time())
        await asyncio.sleep(due_s - loop.time())


async def _send(socket: WebSocket, message: dict[str, object]) -> None:
    async with asyncio.timeout(SEND_S):
        await socket.send_text(orjson.dumps(message).decode())
