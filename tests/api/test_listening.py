"""Listening to a call that rings through a real engine, with a key or with a ticket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import websockets
from fastapi import WebSocket

from flowengine.api.tickets import LIFE, Ticket, Tickets
from flowengine.api.v1 import listening
from flowengine.ids import CallId
from flowengine.media.live import FRAME_BYTES, LiveMix
from flowengine.testing.providers.speech import speech, tag_of
from flowengine.tokens import ValueCipher
from tests.api.service import NOON, Asker, code_of
from tests.api.test_steering import house, id_of
from tests.runtime.house import CALLED, CALLER, Running

pytestmark = [pytest.mark.api, pytest.mark.anyio]

CALLERS_TAG = 7


def socket_url(run: Running, path: str) -> str:
    return run.base_url.replace("http", "ws") + path


def bearer(asker: Asker) -> dict[str, str]:
    return {"authorization": f"Bearer {asker.key}"}


async def refusal(url: str, headers: Mapping[str, str]) -> tuple[int, str]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(url, additional_headers=headers)
    response = caught.value.response
    return response.status_code, orjson.loads(response.body)["code"]


async def test_both_sides_are_heard_until_the_call_is_over(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, ours, theirs):
        async with run.phone.call(CALLER, CALLED) as call:
            await call.connected()
            path = f"/v1/calls/{await id_of(ours)}/listen"
            url = socket_url(run, path)
            assert await refusal(url, bearer(theirs)) == (409, "call_is_elsewhere")
            assert await refusal(url, {}) == (401, "bad_key")
            assert await refusal(f"{url}?ticket=none", {}) == (401, "bad_ticket")
            async with websockets.connect(url, additional_headers=bearer(ours)) as socket:
                began = orjson.loads(await socket.recv())
                assert began["channels"] == ["caller", "bot"]
                listens = asyncio.create_task(everything(socket))
                await call.hears()
                await call.say(speech(600, CALLERS_TAG))
                await call.hears()
                await call.press("1")
                await call.over()
                frames, ended = await listens
        assert ended == {"type": "ended", "reason": "call_left_the_line"}
        assert {len(frame) for frame in frames} == {FRAME_BYTES}
        sound = b"".join(frames)
        caller, bot = sound[0::2], sound[1::2]
        assert CALLERS_TAG in tags(caller)
        assert len(tags(bot)) >= 1
        await run.settled()
        assert run.engine.supervisor.running_call(CallId(path.split("/")[3])) is None
        assert await refusal(url, bearer(ours)) == (409, "call_is_elsewhere")
        ticket = await ours("POST", path.removeprefix("/v1"))
        assert code_of(ticket) == (409, "call_is_over")


async def everything(socket: websockets.ClientConnection) -> tuple[list[bytes], dict[str, Any]]:
    frames: list[bytes] = []
    ended: dict[str, Any] = {}
    async for message in socket:
        if isinstance(message, bytes):
            frames.append(message)
        else:
            ended = orjson.loads(message)
    return frames, ended


def tags(audio: bytes) -> set[int]:
    """Whose speech is in it."""
    step = 8 * 100
    found = (tag_of(audio[at : at + step]) for at in range(0, len(audio), step))
    return {tag for tag in found if tag is not None}


async def test_a_ticket_lets_one_socket_in(tmp_path: Path) -> None:
    async with (
        house(tmp_path) as (run, ours, theirs),
        run.phone.call(CALLER, CALLED) as call,
    ):
        await call.connected()
        path = f"/calls/{await id_of(ours)}/listen"
        assert code_of(await theirs("POST", path)) == (404, "no_such_call")
        made = await ours("POST", path)
        assert made.status_code == 201
        url = socket_url(run, made.json()["path"])
        async with websockets.connect(url) as socket:
            assert orjson.loads(await socket.recv())["type"] == "began"
            (running,) = run.engine.supervisor._calls.values()
            assert running.listeners == 1
            assert await refusal(url, {}) == (401, "bad_ticket")
        while running.listeners:
            await call.pause(20)


async def test_more_than_so_many_do_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_LISTENERS", 0)
    async with (
        house(tmp_path) as (run, ours, _),
        run.phone.call(CALLER, CALLED) as call,
    ):
        await call.connected()
        url = socket_url(run, f"/v1/calls/{await id_of(ours)}/listen")
        assert await refusal(url, bearer(ours)) == (409, "too_many_listeners")


@pytest.mark.parametrize("spoilt", ["kind", "late", "cipher", "text"])
def test_a_ticket_that_is_none(spoilt: str) -> None:
    cipher, tickets = ValueCipher("a test's"), Tickets()
    ticket = Ticket.made("call_1", "default", NOON)
    text, now = ticket.sealed(cipher), NOON
    if spoilt == "kind":
        text = cipher.encrypt('{"secret": 1}')
    elif spoilt == "late":
        now = NOON + LIFE + timedelta(seconds=1)
    elif spoilt == "cipher":
        text = ticket.sealed(ValueCipher("another's"))
    else:
        text = "ü" * 20
    assert tickets.used(text, cipher, now) is None
    assert tickets.used(ticket.sealed(cipher), cipher, NOON) == ticket


class Deaf:
    """A listener's socket that takes words, and of the sound nothing."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.code = 0

    async def send_text(self, text: str) -> None:
        self.told.append(orjson.loads(text))

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.Event().wait()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.code = code


async def test_a_listener_who_is_too_slow_is_told_and_dropped() -> None:
    socket, mix = Deaf(), LiveMix(lambda: 0)
    mix.is_overrun = True
    await listening._stream(cast("WebSocket", socket), "call_1", mix)
    assert [one["type"] for one in socket.told] == ["began", "ended"]
    assert (socket.told[-1]["reason"], socket.code) == ("too_slow", 1013)


async def test_a_listener_who_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "SEND_S", 0.01)
    times = iter((0, *[10_000] * 10))
    mix = LiveMix(lambda: next(times))
    with pytest.raises(TimeoutError):
        await listening._stream(cast("WebSocket", Deaf()), "call_1", mix)
