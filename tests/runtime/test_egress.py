"""Requests of a flow do not reach the machine's own network, however the target is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore2
import pytest

from flowengine.ports import ToolJob, ToolResult
from flowengine.runtime.egress import GuardedBackend, is_public
from flowengine.runtime.tools import HttpToolSpec, ToolRunner
from tests.runtime.web import answer, web

pytestmark = pytest.mark.unit

JOB = ToolJob("k", "t", {})
REFUSED = ToolResult("failed", error="target_refused")
PUBLIC = "93.184.215.14"


class Wire(httpcore2.AsyncNetworkBackend):
    """Takes connections, remembers where to, and answers each with an empty 200."""

    def __init__(self, dead: Iterable[str] = ()) -> None:
        self.connected: list[str] = []
        self._dead = set(dead)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.connected.append(host)
        if host in self._dead:
            raise httpcore2.ConnectError("dead")
        return httpcore2.AsyncMockStream([answer(headers={"Connection": "close"})])


def resolving(*answers: list[str]) -> Callable[[str, int], Awaitable[list[str]]]:
    """A resolver that gives these answers, one after the other."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0)

    return resolve


async def fetched(backend: GuardedBackend, url: str, times: int = 1) -> list[ToolResult]:
    runner = ToolRunner({}, backend=backend)
    results = [await runner.run(JOB, HttpToolSpec("GET", url, retry=False)) for _ in range(times)]
    await runner.close()
    return results


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
def test_each_way_to_write_a_private_target_is_refused(host: str) -> None:
    async def play() -> None:
        async with web(answer()) as server:
            for method in ("GET", "POST"):
                runner = ToolRunner({})
                spec = HttpToolSpec(method, f"http://{host}:{server.port}/")
                assert await runner.run(JOB, spec) == REFUSED
                await runner.close()
            assert server.connections == 0

    asyncio.run(play())


def test_the_same_target_is_reached_when_private_ones_are_allowed() -> None:
    async def play() -> None:
        async with web(answer()) as server:
            backend = GuardedBackend(allow_private=True)
            (result,) = await fetched(backend, f"http://localhost:{server.port}/")
            assert result == ToolResult("done", 200)

    asyncio.run(play())


def test_the_connection_is_made_to_the_address_that_was_judged() -> None:
    wire = Wire()
    resolve = resolving([PUBLIC], ["127.0.0.1"])
    backend = GuardedBackend(allow_private=False, resolve=resolve, inner=wire)
    results = asyncio.run(fetched(backend, "http://rebinds.example/", times=2))
    assert results == [ToolResult("done", 200), REFUSED]
    assert wire.connected == [PUBLIC]


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    wire = Wire()
    backend = GuardedBackend(
        allow_private=False, resolve=resolving([PUBLIC, "10.0.0.1"]), inner=wire
    )
    assert asyncio.run(fetched(backend, "http://mixed.example/")) == [REFUSED]
    assert wire.connected == []


def test_the_next_address_is_tried_when_one_is_dead() -> None:
    wire = Wire(dead=["1.1.1.1"])
    backend = GuardedBackend(
        allow_private=False, resolve=resolving(["1.1.1.1", PUBLIC]), inner=wire
    )
    assert asyncio.run(fetched(backend, "http://two.example/")) == [ToolResult("done", 200)]
    assert wire.connected == ["1.1.1.1", PUBLIC]


@pytest.mark.parametrize("addresses", [[], ["1.1.1.1"]])
def test_nobody_there_is_no_connection(addresses: list[str]) -> None:
    backend = GuardedBackend(
        allow_private=False, resolve=resolving(addresses), inner=Wire(dead=["1.1.1.1"])
    )
    results = asyncio.run(fetched(backend, "http://nobody.example/"))
    assert results == [ToolResult("failed", error="connect")]


def test_a_name_that_takes_too_long_is_a_timeout() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def play() -> None:
        backend = GuardedBackend(allow_private=False, resolve=never, inner=Wire())
        with pytest.raises(httpcore2.ConnectTimeout):
            await backend.connect_tcp("slow.example", 80, timeout=0.01)

    asyncio.run(play())


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "192.168.1.1",
        "172.16.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "fc00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "::",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b:1::1",
        "64:ff9b::a00:1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "2001:db8::1",
        "no address",
    ],
)
def test_private_addresses_are_not(address: str) -> None:
    assert not is_public(address)
