"""The faults of the fake vendors, as a client sees them on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flowengine.testing.providers.faults import (
    Fault,
    close,
    cut,
    dead,
    garbage,
    late,
    stall,
    status,
    swap,
    trickle,
)
from flowengine.testing.providers.serving import FakeVendor, Streamed
from tests.providers.fault_rows import run_on_wires

pytestmark = pytest.mark.unit


class Counting(FakeVendor):
    """Counts to four, in a body or over a socket."""

    def __init__(self) -> None:
        route = Route("/count", self._body, methods=["POST"])
        super().__init__([route, WebSocketRoute("/count", self._socket)])

    def error_for(self, path: str, message: str | bytes) -> str | bytes:
        return b"error"

    async def _body(self, request: Request) -> Response:
        async def count() -> AsyncGenerator[bytes, None]:
            for number in range(4):
                yield str(number).encode()

        return Streamed(count(), media_type="audio/basic")

    async def _socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        for number in range(4):
            await websocket.send_text(str(number))
        await websocket.close()


async def _posted(vendor: Counting) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.post(f"{vendor.url}/count", timeout=5.0)


async def _heard(vendor: Counting) -> tuple[list[str | bytes], int]:
    messages: list[str | bytes] = []
    async with _opened(vendor) as socket:
        try:
            while True:
                messages.append(await socket.recv())
        except ConnectionClosed as closed:
            return messages, closed.rcvd.code if closed.rcvd else 1006


def _opened(vendor: Counting) -> connect:
    return connect(vendor.url.replace("http", "ws") + "/count", proxy=None, close_timeout=0.1)


def _with(fault: Fault, work: Callable[[Counting], Awaitable[None]]) -> None:
    async def call() -> None:
        async with Counting() as vendor:
            vendor.faults.append(fault)
            await work(vendor)

    run_on_wires(call())


@pytest.mark.parametrize(
    ("fault", "body", "messages", "code"),
    [
        (late(500), b"0123", ["0", "1", "2", "3"], 1000),
        (swap(1), b"0213", ["0", "2", "1", "3"], 1000),
        (swap(3), b"0123", ["0", "1", "2", "3"], 1000),
        (trickle(3), b"0123", ["0", "1", "2", "3"], 1000),
        (close(1013, "later", after=2), b"01", ["0", "1"], 1013),
    ],
)
def test_what_still_ends(fault: Fault, body: bytes, messages: list[str | bytes], code: int) -> None:
    async def posted(vendor: Counting) -> None:
        assert (await _posted(vendor)).content == body

    async def heard(vendor: Counting) -> None:
        assert await _heard(vendor) == (messages, code)

    _with(fault, posted)
    _with(fault, heard)


@pytest.mark.parametrize("fault", [cut(2), stall(2), dead(2), Fault("hang")])
def test_what_never_ends_or_breaks(fault: Fault) -> None:
    async def posted(vendor: Counting) -> None:
        with pytest.raises(httpx2.HTTPError):
            await _posted(vendor)

    async def heard(vendor: Counting) -> None:
        async with _opened(vendor) as socket:
            messages = await _until_quiet(socket)
        assert messages == ([] if fault.kind == "hang" else ["0", "1"])

    _with(fault, posted)
    _with(fault, heard)


async def _until_quiet(socket: ClientConnection) -> list[str | bytes]:
    messages: list[str | bytes] = []
    try:
        async with asyncio.timeout(3):
            while True:
                messages.append(await socket.recv())
    except (TimeoutError, ConnectionClosed):
        return messages


def test_a_refusal_says_when_to_ask_again() -> None:
    async def posted(vendor: Counting) -> None:
        answer = await _posted(vendor)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")

    async def heard(vendor: Counting) -> None:
        with pytest.raises(InvalidStatus) as caught:
            async with _opened(vendor):
                pass
        response = caught.value.response
        assert (response.status_code, response.headers["retry-after"]) == (429, "7")

    _with(status(429, retry_after_s=7), posted)
    _with(status(429, retry_after_s=7), heard)


def test_garbage_stands_in_the_place_of_what_it_spoils() -> None:
    async def posted(vendor: Counting) -> None:
        answer = await _posted(vendor)
        assert answer.headers["content-type"] == "text/html" and b"0" not in answer.content[:1]

    async def heard(vendor: Counting) -> None:
        messages, _ = await _heard(vendor)
        assert messages[0] != "0" and messages[1:] == ["1", "2", "3"]

    _with(garbage(), posted)
    _with(garbage(), heard)


def test_a_half_dead_peer_takes_what_it_is_sent_and_answers_no_ping() -> None:
    async def heard(vendor: Counting) -> None:
        async with _opened(vendor) as socket:
            await socket.send("are you there?")
            answer = asyncio.ensure_future(await socket.ping())
            assert await _until_quiet(socket) == []
            assert not answer.done()
            answer.cancel()

    _with(dead(), heard)
