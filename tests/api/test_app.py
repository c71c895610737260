"""The web application: carriers are mounted as they declare, health has reasons, bodies bounds."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
import pytest
from structlog.testing import capture_logs

from flowengine.api import webhooks
from flowengine.api.app import create_app
from flowengine.api.server import serve
from flowengine.api.webhooks import LONGEST_BODY
from flowengine.errors import CarrierError, ConfigError
from flowengine.ports import HttpReply, HttpRequest, Socket, SocketHandler, Webhook
from flowengine.testing.phone_socket import PhoneSocket

pytestmark = [pytest.mark.api, pytest.mark.anyio]


class AcmeCarrier:
    """A carrier of its own kind: shows that nothing in `api` knows Twilio."""

    name = "acme"

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.messages: list[str | bytes | None] = []
        self.endings: list[str] = []

    def webhooks(self) -> Mapping[str, Webhook]:
        return {"ring": self._ring, "quiet": self._quiet}

    def sockets(self) -> Mapping[str, SocketHandler]:
        return {"media": self._media, "shut": self._shut}

    async def _ring(self, request: HttpRequest) -> HttpReply:
        self.requests.append(request)
        return HttpReply(200, '{"answer": true}', "application/json")

    async def _quiet(self, request: HttpRequest) -> HttpReply:
        return HttpReply(204)

    async def _media(self, socket: Socket) -> None:
        await socket.accept()
        try:
            while (message := await socket.receive()) is not None:
                self.messages.append(message)
                await socket.send(f"{type(message).__name__} from {socket.headers['x-who']}")
        except CarrierError as error:
            self.endings.append(error.code)
        else:
            self.endings.append("closed")
        await socket.close()
        with pytest.raises(CarrierError, match="line_lost"):
            await socket.send("too late")

    async def _shut(self, socket: Socket) -> None:
        await socket.close(1008, "no")
        await socket.close(1008, "no")


PROVIDERS = [{"provider": "openai", "kind": "llm", "breaker": "open"}]
"""How a provider is; it alone does not make the process unready."""


@asynccontextmanager
async def served(carrier: AcmeCarrier, reasons: list[str] | None = None) -> AsyncIterator[str]:
    """Serve on a free port; yields the base URL."""
    app = create_app([carrier], lambda: reasons or [], lambda: PROVIDERS)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(app, "127.0.0.1", 0, ready=ready.set_result, stop=stop))
        try:
            yield f"http://127.0.0.1:{await ready}"
        finally:
            stop.set()


@asynccontextmanager
async def client_of(
    carrier: AcmeCarrier, reasons: list[str] | None = None
) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        served(carrier, reasons) as base_url,
        httpx2.AsyncClient(base_url=base_url) as client,
    ):
        yield client


async def first_status(base_url: str, request: bytes) -> int:
    """Send bytes that are no whole request; the status of what comes back."""
    port = int(base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_health_says_that_it_lives_and_why_it_takes_no_calls() -> None:
    reasons = ["the store is read-only"]
    async with client_of(AcmeCarrier(), reasons) as client:
        alive = await client.get("/healthz")
        assert (alive.status_code, alive.json()["status"]) == (200, "ok")
        full = await client.get("/readyz")
        assert (full.status_code, full.json()) == (
            503,
            {"ready": False, "reasons": reasons, "providers": PROVIDERS},
        )
        reasons.clear()
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {"ready": True, "reasons": [], "providers": PROVIDERS},
        )


async def test_a_form_reaches_the_carrier_as_it_was_sent() -> None:
    carrier = AcmeCarrier()
    async with client_of(carrier) as client:
        reply = await client.post(
            "/acme/ring?tenant=7&tenant=8",
            content="b=1&a=&b=%C3%A9+x",
            headers={
                "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
                "X-Odd": "y",
            },
        )
    assert (reply.status_code, reply.json()) == (200, {"answer": True})
    assert reply.headers["content-type"].startswith("application/json")
    (request,) = carrier.requests
    assert request.form == [("b", "1"), ("a", ""), ("b", "é x")]
    assert request.query == [("tenant", "7"), ("tenant", "8")]
    assert request.url.endswith("/acme/ring?tenant=7&tenant=8")
    assert request.headers["x-odd"] == "y"
    assert (request.method, request.body) == ("POST", b"b=1&a=&b=%C3%A9+x")


async def test_other_bodies_are_handed_on_without_a_form() -> None:
    carrier = AcmeCarrier()
    async with client_of(carrier) as client:
        await client.post("/acme/ring", json={"a": 1})
        reply = await client.post("/acme/quiet")
    assert (reply.status_code, reply.content) == (204, b"")
    assert carrier.requests[0].form == []
    assert json.loads(carrier.requests[0].body) == {"a": 1}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/acme/ring", 405), ("POST", "/acme/other", 404), ("POST", "/other/ring", 404)],
)
async def test_only_what_is_declared_is_there(method: str, path: str, status: int) -> None:
    async with client_of(AcmeCarrier()) as client:
        assert (await client.request(method, path)).status_code == status


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    carrier = AcmeCarrier()
    async with client_of(carrier) as client:
        reply = await client.post("/acme/ring", content=b"a" * (LONGEST_BODY + 1))
    assert reply.status_code == 413
    assert carrier.requests == []


async def test_a_body_that_turns_out_too_large_is_not_read_to_its_end() -> None:
    carrier = AcmeCarrier()
    async with served(carrier) as base_url:
        head = b"POST /acme/ring HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        part = b"%x\r\n%s\r\n" % (LONGEST_BODY + 1, b"a" * (LONGEST_BODY + 1))
        assert await first_status(base_url, head + part) == 413
    assert carrier.requests == []


async def test_who_sends_far_too_much_still_hears_why() -> None:
    """A sender that writes all first and reads then must not meet a broken connection."""
    carrier = AcmeCarrier()
    async with served(carrier) as base_url:
        size = 20 * LONGEST_BODY
        head = b"POST /acme/ring HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.split(":")[2]))
        writer.write(head)
        for _ in range(20):
            writer.write(b"a" * LONGEST_BODY)
            await writer.drain()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"The request body is too large.")
    assert carrier.requests == []


@pytest.mark.parametrize("body", [b"a=\xff\xfe", b"&".join([b"a=1"] * 600)])
async def test_a_form_that_cannot_be_read_is_refused(body: bytes) -> None:
    carrier = AcmeCarrier()
    async with client_of(carrier) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with capture_logs() as logs:
            reply = await client.post("/acme/ring", content=body, headers=headers)
    assert reply.status_code == 400
    assert [(log["path"], log["status"]) for log in logs] == [("/acme/ring", 400)]
    assert carrier.requests == []


async def test_a_body_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "BODY_LIMIT_S", 0.05)
    async with served(AcmeCarrier()) as base_url:
        head = b"POST /acme/ring HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        assert await first_status(base_url, head) == 408


async def test_a_socket_passes_text_and_bytes_and_ends_in_order() -> None:
    carrier = AcmeCarrier()
    heard: list[str | bytes] = []
    async with served(carrier) as base_url:
        url = base_url.replace("http", "ws") + "/acme/media"
        socket = PhoneSocket(url, {"X-Who": "me"}, heard.append)
        await socket.connect()
        socket.send("a")
        socket.send_binary(b"b")
        while len(heard) < 2:
            await asyncio.sleep(0)
        socket.close()
        await socket.closed
    assert carrier.messages == ["a", b"b"]
    assert heard == ["str from me", "bytes from me"]
    assert carrier.endings == ["closed"]


async def test_a_socket_that_breaks_is_a_lost_line() -> None:
    carrier = AcmeCarrier()
    async with served(carrier) as base_url:
        url = base_url.replace("http", "ws") + "/acme/media"
        socket = PhoneSocket(url, {"X-Who": "me"}, lambda message: None)
        await socket.connect()
        socket.abort()
        await socket.closed
    assert carrier.endings == ["line_lost"]


@pytest.mark.parametrize("path", ["/acme/shut", "/acme/unknown"])
async def test_a_socket_can_be_refused(path: str) -> None:
    async with served(AcmeCarrier()) as base_url:
        url = base_url.replace("http", "ws") + path
        with pytest.raises(CarrierError, match="403"):
            await PhoneSocket(url, {}, lambda message: None).connect()


async def test_a_message_over_every_bound_costs_the_connection_only() -> None:
    carrier = AcmeCarrier()
    async with served(carrier) as base_url:
        url = base_url.replace("http", "ws") + "/acme/media"
        socket = PhoneSocket(url, {"X-Who": "me"}, lambda message: None)
        await socket.connect()
        socket.send("x" * (2 << 20))
        assert await socket.closed == 1009
        async with httpx2.AsyncClient(base_url=base_url) as client:
            assert (await client.get("/healthz")).status_code == 200
    assert carrier.messages == []


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot_listen") as caught:
            await serve(create_app([], list), "127.0.0.1", port)
    assert caught.value.where == f"127.0.0.1:{port}"
