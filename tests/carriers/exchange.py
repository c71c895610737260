"""A switchboard for tests and a server around it: real sockets on loopback, no engine behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flowengine.api.app import create_app
from flowengine.api.server import serve
from flowengine.carriers.twilio import TwilioCarrier
from flowengine.errors import CallError
from flowengine.ids import CallId
from flowengine.ports import (
    CallOffer,
    DialReport,
    HangUp,
    Line,
    LineEvent,
    LineStopped,
    NextStep,
    Reconnect,
    StreamTicket,
)
from flowengine.tokens import STREAM_TOKEN_LIFE, StreamTokens, new_nonce

AUTH_TOKEN = "twilio-auth-token-of-a-test"
CALLER, CALLED = "+15550100001", "+15550100002"

Talk = Callable[[Line], Awaitable[None]]


async def listen(line: Line) -> None:
    """Say nothing until the caller has gone."""
    async for event in line.events():
        if isinstance(event, LineStopped):
            return


@dataclass
class Exchange:
    """Admits every call, runs `talk` over its line, and answers `next` from `steps`."""

    talk: Talk = listen
    steps: list[NextStep | Exception] = field(default_factory=list)
    greeting: NextStep | Exception | None = None
    """What `offered` answers instead of admitting the call."""
    token_life: timedelta = STREAM_TOKEN_LIFE
    offers: list[CallOffer] = field(default_factory=list)
    dials: list[DialReport | None] = field(default_factory=list)
    reports: list[tuple[str, str, int]] = field(default_factory=list)
    opened: list[StreamTicket] = field(default_factory=list)
    heard: list[LineEvent] = field(default_factory=list)
    tokens: StreamTokens = field(default_factory=lambda: StreamTokens("secret of a test"))
    _used: set[str] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)

    def ticket(self, call_id: str = "call_1") -> StreamTicket:
        expires_at = datetime.now(UTC) + self.token_life
        token = self.tokens.issue(CallId(call_id), new_nonce(), expires_at)
        return StreamTicket(CallId(call_id), token)

    async def offered(self, offer: CallOffer) -> NextStep:
        self.offers.append(offer)
        self._known.add(offer.carrier_sid)
        if isinstance(self.greeting, Exception):
            raise self.greeting
        return self.greeting or Reconnect(self.ticket(f"call_{len(self.offers)}"))

    async def stream_opened(self, ticket: StreamTicket, line: Line) -> None:
        _, nonce = self.tokens.read(ticket.token, datetime.now(UTC))
        if nonce in self._used:
            raise CallError("bad_token", "The token was used.", where=ticket.call_id)
        self._used.add(nonce)
        self.opened.append(ticket)
        await self.talk(line)

    async def next_step(self, carrier_sid: str, dial: DialReport | None) -> NextStep:
        if carrier_sid not in self._known:
            raise CallError("unknown_call", "No call has this id.")
        self.dials.append(dial)
        step = self.steps.pop(0) if self.steps else HangUp()
        if isinstance(step, Exception):
            raise step
        return step

    async def reported(
        self, carrier_sid: str, status: str, sequence: int, call_id: CallId = CallId("")
    ) -> None:
        if carrier_sid not in self._known:
            raise CallError("unknown_call", "No call has this id.")
        self.reports.append((carrier_sid, status, sequence))


@asynccontextmanager
async def served(exchange: Exchange) -> AsyncIterator[str]:
    """Serve the exchange behind the Twilio carrier; yields the base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}"
    carrier = TwilioCarrier(exchange, public_url=base_url, auth_token=AUTH_TOKEN)
    app = create_app([carrier], list)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(app, "127.0.0.1", port, ready=ready.set_result, stop=stop))
        await ready
        try:
            yield base_url
        finally:
            stop.set()
