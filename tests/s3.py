"""A server that speaks S3's protocol, on loopback."""

from __future__ import annotations

import functools

import httpx2
import pytest
from moto.server import ThreadedMotoServer


@functools.cache
def s3_server() -> str:
    """Its address; it lasts as long as the process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def empty_s3(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server, with nothing in it; this process may use it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    endpoint = s3_server()
    httpx2.post(f"{endpoint}/moto-api/reset").raise_for_status()
    return endpoint


def make_bucket(endpoint: str, name: str) -> None:
    httpx2.put(f"{endpoint}/{name}").raise_for_status()
