"""The line over a scripted socket: order, chunks, loss, and one log line per kind of nonsense."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from flowengine.carriers import twilio_line
from flowengine.carriers.twilio_line import CHUNK_BYTES, Refusals, TwilioLine
from flowengine.carriers.twilio_wire import Started
from flowengine.errors import CarrierError
from flowengine.ports import LineAudio, LineDigit, LineEvent, LineStopped

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SID = "MZ1"
STOP = json.dumps({"event": "stop", "streamSid": SID})


class ScriptedSocket:
    """Gives out the messages it was made with, then None; keeps what was sent."""

    def __init__(
        self, messages: Sequence[str | bytes | None] = (), *, breaks: bool = False
    ) -> None:
        self.headers: Mapping[str, str] = {}
        self.url = "ws://test/"
        self.sent: list[str] = []
        self.closes: list[int] = []
        self.can_send = asyncio.Event()
        self.can_send.set()
        self._messages = list(messages)
        self._breaks = breaks

    async def accept(self) -> None:
        raise AssertionError("the stream is open already")

    async def receive(self) -> str | bytes | None:
        if self._messages:
            return self._messages.pop(0)
        if self._breaks:
            raise CarrierError("line_lost", "gone")
        return None

    async def send(self, text: str) -> None:
        await self.can_send.wait()
        self.sent.append(text)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closes.append(code)


def line_on(socket: ScriptedSocket) -> TwilioLine:
    return TwilioLine(socket, Started(SID, "CA1", "t", ""), Refusals())


async def all_of(line: TwilioLine) -> list[LineEvent]:
    return [event async for event in line.events()]


def audio_message(audio: bytes) -> str:
    payload = base64.b64encode(audio).decode()
    return json.dumps({"event": "media", "streamSid": SID, "media": {"payload": payload}})


def digit_message(digit: str) -> str:
    return json.dumps({"event": "dtmf", "streamSid": SID, "dtmf": {"digit": digit}})


def played(socket: ScriptedSocket) -> bytes:
    bodies = [json.loads(text) for text in socket.sent]
    return b"".join(base64.b64decode(b["media"]["payload"]) for b in bodies if "media" in b)


async def test_events_come_in_order_and_end_with_the_hang_up() -> None:
    socket = ScriptedSocket([audio_message(b"ab"), digit_message("1"), STOP, audio_message(b"c")])
    assert await all_of(line_on(socket)) == [
        LineAudio(b"ab"),
        LineDigit("1"),
        LineStopped("hung_up"),
    ]


@pytest.mark.parametrize("breaks", [True, False])
async def test_a_socket_that_ends_without_stop_is_a_lost_line(breaks: bool) -> None:
    socket = ScriptedSocket([audio_message(b"ab")], breaks=breaks)
    line = line_on(socket)
    assert await all_of(line) == [LineAudio(b"ab"), LineStopped("lost")]
    with pytest.raises(CarrierError, match="line_lost"):
        await line.send_audio(b"x")
    assert socket.sent == []


async def test_after_our_own_close_the_events_just_end() -> None:
    socket = ScriptedSocket()
    line = line_on(socket)
    await line.close()
    await line.close()
    assert socket.closes == [1000]
    assert await all_of(line) == []
    with pytest.raises(CarrierError, match="line_lost"):
        await line.send_mark("m")


async def test_nonsense_is_logged_once_per_kind_and_the_call_goes_on() -> None:
    nonsense: list[str | bytes] = [b"\x00", "{", "[]", '{"event":"x"}'] * 50
    socket = ScriptedSocket([*nonsense, digit_message("1"), STOP])
    refusals = Refusals()
    refusals.belong_to("call_7")
    line = TwilioLine(socket, Started(SID, "CA1", "t", ""), refusals)
    with capture_logs() as logs:
        events = await all_of(line)
    assert events == [LineDigit("1"), LineStopped("hung_up")]
    assert [log["kind"] for log in logs] == [
        "binary_message",
        "bad_json",
        "no_object",
        "unknown_event",
    ]
    assert {log["call"] for log in logs} == {"call_7"}


async def test_long_audio_is_sent_in_pieces_that_hold_up_no_clear() -> None:
    socket = ScriptedSocket()
    audio = bytes(range(256)) * 40
    await line_on(socket).send_audio(audio)
    assert played(socket) == audio
    assert len(socket.sent) == -(-len(audio) // CHUNK_BYTES)


async def test_no_audio_sends_nothing() -> None:
    socket = ScriptedSocket()
    await line_on(socket).send_audio(b"")
    assert socket.sent == []


async def test_a_clear_in_the_middle_of_long_audio_drops_its_rest() -> None:
    socket = ScriptedSocket()
    line = line_on(socket)
    socket.can_send.clear()
    sending = asyncio.create_task(line.send_audio(bytes(CHUNK_BYTES * 5)))
    await asyncio.sleep(0)
    clearing = asyncio.create_task(line.clear())
    await asyncio.sleep(0)
    socket.can_send.set()
    await asyncio.gather(sending, clearing)
    assert [json.loads(text)["event"] for text in socket.sent] == ["media", "clear"]


async def test_a_peer_that_takes_nothing_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twilio_line, "SEND_LIMIT_S", 0.0)
    socket = ScriptedSocket()
    socket.can_send.clear()
    line = line_on(socket)
    with pytest.raises(CarrierError, match="line_lost"):
        await line.send_audio(b"x")
    socket.can_send.set()
    with pytest.raises(CarrierError, match="line_lost"):
        await line.send_audio(b"x")
    assert socket.sent == []
