"""Where requests of a flow may go: never into the machine's own or a private network.

A name is resolved once, every address it has is judged, and the connection is made to a judged
address; so a name that resolves differently a moment later gains nothing. TLS still checks the
name. Every connection passes here, those of redirects too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore2
import httpx2

from flowengine.errors import FlowengineError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_V4_COMPATIBLE = ipaddress.IPv6Network("::/96")


class TargetRefused(FlowengineError):
    """A request would go where requests of a flow may not go."""


def is_public(text: str) -> bool:
    """Whether an address is on the public Internet, also by the IPv4 address it may wrap."""
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return all(_is_global(part) for part in (address, *_wrapped(address)))


def _is_global(address: Address) -> bool:
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local or address.scope_id or address in _NAT64_LOCAL:
            return False
        # What wraps an IPv4 address is judged by that one.
        if address.ipv4_mapped or address.sixtofour or address in _NAT64:
            return True
    return address.is_global


def _wrapped(address: Address) -> Iterable[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return
    for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if inner is not None:
            yield inner
    if address in _NAT64 or address in _V4_COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system resolves it; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to judged addresses only."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolve = resolve,
        inner: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, judge, connect to the first address that answers."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._judged(host, port)
                return await self._connect(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("connecting took too long") from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise _refused()

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    async def _judged(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError("the name does not resolve") from error
        if not addresses:
            raise httpcore2.ConnectError("the name does not resolve")
        # One private address among them is enough: which one is used would be luck.
        if not self._allow_private and not all(map(is_public, addresses)):
            raise _refused()
        return addresses

    async def _connect(
        self,
        addresses: list[str],
        port: int,
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = httpcore2.ConnectError("no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, None, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's transport over a guarded backend; it reads no proxy from the environment."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend) -> None:
        super().__init__(trust_env=False)
        # httpx2 hands no network backend through, so its pool is replaced by one that has ours.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=200,
            max_keepalive_connections=50,
            keepalive_expiry=30.0,
            network_backend=backend,
        )


def _refused() -> TargetRefused:
    return TargetRefused(
        "target_refused",
        "The target of a request is in a private network.",
        fix="Use a public address, or allow private targets in the server's settings.",
    )
