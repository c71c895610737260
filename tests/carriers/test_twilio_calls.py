"""Whole calls over loopback sockets: simulated phone, server and carrier, no engine behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from flowengine.carriers import twilio
from flowengine.errors import CallError
from flowengine.ports import (
    Dial,
    DialReport,
    Line,
    LineAudio,
    LineDigit,
    LineMark,
    LineStopped,
    Reconnect,
    Refuse,
)
from flowengine.testing.phone import DialPlan, Phone, PhoneCall, PhoneError
from flowengine.testing.phone_audio import babble
from flowengine.testing.phone_route import sign
from flowengine.testing.phone_socket import PhoneSocket
from tests.carriers.exchange import AUTH_TOKEN, CALLED, CALLER, Exchange, served

pytestmark = [pytest.mark.api, pytest.mark.anyio]

GREETING = babble(200, seed=3)


async def keep_events(exchange: Exchange, line: Line) -> None:
    """Note everything but audio until the caller has gone."""
    async for event in line.events():
        if not isinstance(event, LineAudio):
            exchange.heard.append(event)


async def greet_and_close(line: Line) -> None:
    """Speak, wait until it has been played, and end the media phase."""
    await line.send_audio(GREETING)
    await line.send_mark("greeted")
    async for event in line.events():
        if event == LineMark("greeted"):
            await line.close()


async def finish(call: PhoneCall) -> None:
    await call.over()


async def one_call(
    exchange: Exchange,
    script: Callable[[PhoneCall], Awaitable[None]] = finish,
    dials: tuple[DialPlan, ...] = (),
) -> PhoneCall:
    """Serve, call, follow the script, hang up."""
    async with (
        served(exchange) as base_url,
        Phone(base_url, AUTH_TOKEN).call(CALLER, CALLED, dials=dials) as call,
    ):
        await script(call)
    return call


def verbs(call: PhoneCall) -> list[str]:
    return [verb.name for verb in call.verbs]


async def test_what_the_bot_says_is_played_and_marked_then_the_call_ends() -> None:
    exchange = Exchange(talk=greet_and_close)
    call = await one_call(exchange)
    assert GREETING in bytes(call.played)
    assert [(mark.name, mark.was_played) for mark in call.marks] == [("greeted", True)]
    assert verbs(call) == ["Connect", "Redirect", "Hangup"]
    assert [(status, sequence) for _, status, sequence in exchange.reports] == [("completed", 0)]
    assert call.report().faults == ()


async def test_audio_and_keys_reach_the_bot_and_hanging_up_is_told() -> None:
    exchange = Exchange()
    audio = bytearray()

    async def take(line: Line) -> None:
        async for event in line.events():
            if isinstance(event, LineAudio):
                audio.extend(event.audio)
            else:
                exchange.heard.append(event)

    exchange.talk = take

    async def script(call: PhoneCall) -> None:
        await call.say(GREETING)
        await call.press("1#")

    call = await one_call(exchange, script)
    assert GREETING in bytes(audio)
    assert exchange.heard == [LineDigit("1"), LineDigit("#"), LineStopped("hung_up")]
    assert verbs(call) == ["Connect"]


async def test_a_clear_stops_the_bot_and_gives_its_marks_back() -> None:
    async def stop_when_spoken_to(line: Line) -> None:
        await line.send_audio(babble(5000))
        await line.send_mark("end")
        async for event in line.events():
            if isinstance(event, LineAudio) and event.audio.strip(b"\xff"):
                await line.clear()
                break
        await keep_events(exchange, line)

    exchange = Exchange(talk=stop_when_spoken_to)

    async def script(call: PhoneCall) -> None:
        await call.hears_speech()
        await call.say(babble(300))

    call = await one_call(exchange, script)
    assert [(mark.name, mark.was_played) for mark in call.marks] == [("end", False)]
    assert exchange.heard == [LineMark("end"), LineStopped("hung_up")]
    (barge_in,) = call.report().barge_ins
    assert barge_in.clear_after_ms is not None
    (clear,) = call.clears
    assert clear.dropped_bytes > 0
    heard = bytes(call.played).strip(b"\xff")
    assert babble(5000).startswith(heard[:-160])
    assert 0 < len(heard) <= 40_000 - clear.dropped_bytes
    assert call.report().bot_speech_ms < 5000


async def test_a_transfer_leaves_our_line_and_comes_back() -> None:
    exchange = Exchange(talk=greet_and_close, steps=[Dial("+15550100003", 20, 60, CALLED)])

    async def script(call: PhoneCall) -> None:
        await call.over()

    exchange.steps.append(Reconnect(exchange.ticket("call_1")))
    call = await one_call(exchange, script, (DialPlan("no-answer"),))
    assert exchange.dials == [None, DialReport("no-answer"), None]
    assert verbs(call) == ["Connect", "Redirect", "Dial", "Connect", "Redirect", "Hangup"]
    assert len(exchange.opened) == 2


async def test_who_answers_a_transfer_may_talk_and_leave() -> None:
    exchange = Exchange(talk=greet_and_close, steps=[Dial("+15550100003", 20, 60, CALLED)])
    await one_call(exchange, finish, (DialPlan("completed", talk_s=0.01),))
    assert exchange.dials == [None, DialReport("completed", 0)]


async def test_hanging_up_during_a_transfer_ends_the_call() -> None:
    exchange = Exchange(talk=greet_and_close, steps=[Dial("+15550100003", 20, 60, CALLED)])

    async def script(call: PhoneCall) -> None:
        while "Dial" not in verbs(call):
            await call.pause(20)

    call = await one_call(exchange, script, (DialPlan("completed", talk_s=3600),))
    assert call.ended.is_set()
    assert exchange.dials == [None]


async def test_a_refused_call_ends_at_once() -> None:
    call = await one_call(Exchange(greeting=Refuse("busy")))
    assert verbs(call) == ["Reject"]


async def test_a_wrong_secret_gets_no_answer() -> None:
    exchange = Exchange()
    async with served(exchange) as base_url:
        with pytest.raises(PhoneError, match="no_answer"):
            async with Phone(base_url, "wrong").call(CALLER, CALLED):
                raise AssertionError("the call was answered")
    assert exchange.offers == []


async def test_a_token_that_is_too_old_opens_nothing_and_the_call_goes_to_next() -> None:
    exchange = Exchange(token_life=timedelta(seconds=-1))
    call = await one_call(exchange)
    assert exchange.opened == []
    assert exchange.dials == [None]
    assert call.report().faults == ("31924 the stream was closed with 1008",)


async def test_a_bot_that_breaks_sends_the_call_to_next() -> None:
    async def break_down(line: Line) -> None:
        raise RuntimeError("a fault of the engine")

    exchange = Exchange(talk=break_down)
    call = await one_call(exchange)
    assert verbs(call) == ["Connect", "Redirect", "Hangup"]


class Peer:
    """Whoever opens our socket without being Twilio."""

    def __init__(self, base_url: str, signature: str | None = None) -> None:
        self.heard: list[str | bytes] = []
        url = base_url.replace("http://", "ws://") + "/twilio/media"
        headers = {"X-Twilio-Signature": signature} if signature is not None else {}
        self.socket = PhoneSocket(url, headers, self.heard.append)

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            if isinstance(message, str):
                self.socket.send(message)
            else:
                self.socket.send_binary(message)


def start(token: str, **changes: object) -> str:
    inner: dict[str, object] = {"callSid": "CA1", "customParameters": {"token": token}} | changes
    return json.dumps({"event": "start", "streamSid": "MZ1", "start": inner})


STOP = json.dumps({"event": "stop", "streamSid": "MZ1"})


async def test_a_token_works_once() -> None:
    exchange = Exchange()
    token = exchange.ticket().token
    async with served(exchange) as base_url:
        first, second = Peer(base_url), Peer(base_url)
        await first.socket.connect()
        await first.send(start(token))
        await second.socket.connect()
        await second.send(start(token))
        assert await second.socket.closed == 1008
        await first.send(STOP)
        assert await first.socket.closed == 1000
    assert len(exchange.opened) == 1


@pytest.mark.parametrize("token", ["", "rubbish", "call_1.9999999999.nonce-123." + "A" * 43])
async def test_a_forged_token_is_closed_1008(token: str) -> None:
    exchange = Exchange()
    async with served(exchange) as base_url:
        peer = Peer(base_url)
        await peer.socket.connect()
        with capture_logs() as logs:
            await peer.send(start(token))
            assert await peer.socket.closed == 1008
    assert [log["reason"] for log in logs] == ["bad_token"]
    assert exchange.opened == []


async def test_a_handshake_may_come_unsigned_or_rightly_signed_but_not_forged() -> None:
    exchange = Exchange()
    async with served(exchange) as base_url:
        url = base_url.replace("http://", "ws://") + "/twilio/media"
        for signature in (None, sign(AUTH_TOKEN, url)):
            peer = Peer(base_url, signature)
            await peer.socket.connect()
            await peer.send(start(exchange.ticket().token), STOP)
            assert await peer.socket.closed == 1000
        for signature in ("", "forged", sign("another token", url), sign(AUTH_TOKEN, base_url)):
            with pytest.raises(Exception, match="HTTP status 403"):
                await Peer(base_url, signature).socket.connect()
    assert len(exchange.opened) == 2


async def test_a_stream_that_does_not_start_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twilio, "START_LIMIT_S", 0.05)
    async with served(Exchange()) as base_url:
        peer = Peer(base_url)
        await peer.socket.connect()
        await peer.send('{"event":"connected"}', "{", STOP)
        assert await peer.socket.closed == 1008


async def test_a_peer_that_leaves_before_its_start_harms_nobody() -> None:
    exchange = Exchange()
    async with served(exchange) as base_url:
        for is_polite in (True, False):
            peer = Peer(base_url)
            await peer.socket.connect()
            await peer.send('{"event":"connected"}')
            if is_polite:
                peer.socket.close()
            else:
                peer.socket.abort()
            await peer.socket.closed
        last = Peer(base_url)
        await last.socket.connect()
        await last.send(start(exchange.ticket().token), STOP)
        assert await last.socket.closed == 1000
    assert len(exchange.opened) == 1


async def test_a_call_that_cannot_go_on_is_sent_to_next() -> None:
    async def refuse(line: Line) -> None:
        raise CallError("no_flow", "The call's flow is gone.")

    exchange = Exchange(talk=refuse)
    call = await one_call(exchange)
    assert verbs(call) == ["Connect", "Redirect", "Hangup"]
    assert exchange.dials == [None]


async def test_another_audio_format_is_refused_by_name() -> None:
    exchange = Exchange()
    async with served(exchange) as base_url:
        peer = Peer(base_url)
        await peer.socket.connect()
        form = {"encoding": "audio/l16", "sampleRate": "16000", "channels": "1"}
        with capture_logs() as logs:
            await peer.send(start(exchange.ticket().token, mediaFormat=form))
            assert await peer.socket.closed == 1003
    assert logs[0]["offered"] == "audio/l16, 16000 Hz, 1 channels"
    assert exchange.opened == []


async def test_a_peer_that_vanishes_is_a_lost_line() -> None:
    exchange = Exchange()
    over = asyncio.Event()

    async def until_lost(line: Line) -> None:
        await keep_events(exchange, line)
        over.set()

    exchange.talk = until_lost
    async with served(exchange) as base_url:
        peer = Peer(base_url)
        await peer.socket.connect()
        await peer.send(start(exchange.ticket().token))
        await peer.send(json.dumps({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"digit": "5"}}))
        while not exchange.heard:
            await asyncio.sleep(0)
        peer.socket.abort()
        async with asyncio.timeout(10):
            await over.wait()
    assert exchange.heard == [LineDigit("5"), LineStopped("lost")]


HOSTILE: tuple[str | bytes, ...] = (
    "{",
    "[]",
    b"\x00\xff",
    "x" * 70_000,
    "[" * 10_000,
    '{"event":"transfer","to":"+1900"}',
    '{"event":"media","streamSid":"MZ2","media":{"payload":"AAAA"}}',
    '{"event":"media","streamSid":"MZ1","media":{"payload":"!"}}',
    '{"event":"media","streamSid":"MZ1"}',
    '{"event":"stop","streamSid":"MZ2"}',
    start("another"),
)


async def test_hostile_frames_neither_end_the_call_nor_reach_it() -> None:
    exchange = Exchange()
    exchange.talk = lambda line: keep_events(exchange, line)
    async with served(exchange) as base_url:
        peer = Peer(base_url)
        await peer.socket.connect()
        digit = json.dumps({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"digit": "5"}})
        with capture_logs() as logs:
            await peer.send(*HOSTILE[:-1], start(exchange.ticket().token))
            await peer.send(*(HOSTILE * 20), digit, STOP)
            assert await peer.socket.closed == 1000
    assert exchange.heard == [LineDigit("5"), LineStopped("hung_up")]
    kinds = [log["kind"] for log in logs]
    assert len(kinds) == len(set(kinds))
    assert {"bad_json", "binary_message", "huge_message", "wrong_stream"} <= set(kinds)
