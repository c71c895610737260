"""What strangers send: hostile media messages, forged and malformed webhooks."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import httpx2
import orjson

from bench.processes import AUTH_TOKEN
from flowengine.errors import CarrierError
from flowengine.testing.phone import PhoneCall
from flowengine.testing.phone_route import sign
from flowengine.testing.phone_socket import PhoneSocket

FRAMES_INSIDE = 9000
FRAMES_OUTSIDE = 1000
WEBHOOKS = 1000
_BATCH = 20
_FORM = [("AccountSid", "AC" + "0" * 32), ("From", "+15550001"), ("To", "+15550199")]


@dataclass(slots=True)
class Tally:
    """What became of it."""

    frames_inside: int = 0
    frames_outside: int = 0
    let_in: int = 0
    webhooks: int = 0
    refused: int = 0
    broken: int = 0
    taken: int = 0
    surprises: list[str] = field(default_factory=list)


def hostile_messages() -> list[str | bytes]:
    """One of each kind; none of them means anything to a media stream."""
    deep = "[" * 20_000
    return [
        "",
        "null",
        "[]",
        "{",
        "\x00\x00",
        deep,
        '{"a":' * 5000,
        "9" * 5000,
        '{"event":1}',
        '{"event":"media"}',
        '{"event":"connected","protocol":"Call","version":"9"}',
        '{"event":"start","streamSid":"MZevil","start":{"customParameters":{"token":"x"}}}',
        '{"event":"media","streamSid":"MZevil","media":{"payload":"////"}}',
        '{"event":"stop","streamSid":"MZevil","stop":{}}',
        '{"event":"dtmf","streamSid":"MZevil","dtmf":{"digit":"1"}}',
        '{"event":"mark","streamSid":"MZevil","mark":{"name":"1"}}',
        '{"event":"transfer","streamSid":"MZevil","to":"+1900"}',
        '{"event":"' + "m" * 60_000 + '"}',
        "x" * 70_000,
        b"\x00\x01\x02" * 100,
        b"",
    ]


def hostile_for(stream_sid: str) -> list[str | bytes]:
    """The same, and broken messages under the stream's right name."""
    sid = orjson.dumps(stream_sid).decode()
    return [
        *hostile_messages(),
        f'{{"event":"media","streamSid":{sid},"media":{{"payload":"%%%%"}}}}',
        f'{{"event":"media","streamSid":{sid},"media":{{"payload":17}}}}',
        f'{{"event":"media","streamSid":{sid},"media":[]}}',
        f'{{"event":"media","streamSid":{sid},"media":{{"payload":"","track":"inbound"}}}}',
        f'{{"event":"media","streamSid":{sid},"media":{{"payload":"////","track":"outbound"}}}}',
        f'{{"event":"dtmf","streamSid":{sid},"dtmf":{{"digit":"1234"}}}}',
        f'{{"event":"dtmf","streamSid":{sid},"dtmf":{{"digit":"x"}}}}',
        f'{{"event":"dtmf","streamSid":{sid},"dtmf":null}}',
        f'{{"event":"mark","streamSid":{sid},"mark":{{"name":""}}}}',
        f'{{"event":"mark","streamSid":{sid},"mark":{{"name":"no-such-mark"}}}}',
        f'{{"event":"mark","streamSid":{sid},"mark":{{"name":"{"n" * 300}"}}}}',
        f'{{"event":"start","streamSid":{sid},"start":{{"streamSid":{sid}}}}}',
    ]


async def frames(base_url: str, calls: Sequence[PhoneCall], tally: Tally) -> None:
    """10,000 hostile messages: into the callers' streams, and into strangers' own."""
    chance = random.Random(1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_outside(base_url, tally))
        while tally.frames_inside < FRAMES_INSIDE:
            up = [call for call in calls if call.is_connected]
            if not up:
                tally.surprises.append("no call was up any more")
                return
            for call in chance.sample(up, min(len(up), _BATCH)):
                _inject(call, chance)
                tally.frames_inside += 1
            await asyncio.sleep(0.02)


def _inject(call: PhoneCall, chance: random.Random) -> None:
    stream = call.stream
    # The phone keeps its stream's name to itself; its own messages carry it.
    message = chance.choice(hostile_for(stream.names.stream_sid))
    if isinstance(message, bytes):
        stream.socket.send_binary(message)
    else:
        stream.socket.send(message)


async def _outside(base_url: str, tally: Tally) -> None:
    """Streams without a ticket: some with no signature, some with a right one."""
    url = base_url.replace("http://", "ws://") + "/twilio/media"
    messages = hostile_messages()
    number = 0
    while tally.frames_outside < FRAMES_OUTSIDE:
        number += 1
        headers = {"X-Twilio-Signature": sign(AUTH_TOKEN, url)} if number % 4 == 0 else {}
        socket = PhoneSocket(url, headers, lambda message: None)
        try:
            await socket.connect()
        except CarrierError:
            tally.frames_outside += 1
            continue
        for message in messages:
            if isinstance(message, bytes):
                socket.send_binary(message)
            else:
                socket.send(message)
            tally.frames_outside += 1
            await asyncio.sleep(0)
        start = {"streamSid": "MZx", "callSid": "CAx", "customParameters": {"token": "forged"}}
        socket.send(orjson.dumps({"event": "start", "streamSid": "MZx", "start": start}).decode())
        try:
            async with asyncio.timeout(5):
                await socket.closed
        except TimeoutError:
            tally.let_in += 1
            tally.surprises.append("a stranger's stream was not closed")
            socket.abort()


async def webhooks(base_url: str, tally: Tally) -> None:
    """1,000 requests that no carrier sends."""
    chance = random.Random(2)
    async with httpx2.AsyncClient(timeout=15) as client:
        while tally.webhooks < WEBHOOKS:
            batch = [_webhook(client, base_url, chance, tally) for _ in range(8)]
            await asyncio.gather(*batch)
            await asyncio.sleep(0.05)


async def _webhook(
    client: httpx2.AsyncClient, base_url: str, chance: random.Random, tally: Tally
) -> None:
    path = chance.choice(("voice", "next", "status", "recording"))
    url = f"{base_url}/twilio/{path}"
    form = [*_FORM, ("CallSid", "CA" + secrets.token_hex(16)), ("CallStatus", "ringing")]
    body = urlencode(form).encode()
    kind = chance.choice(tuple(_FORGERIES))
    method, target, headers, content = _FORGERIES[kind](url, form, body)
    tally.webhooks += 1
    try:
        reply = await client.request(method, target, headers=headers, content=content)
    except httpx2.HTTPError as error:
        tally.broken += 1
        tally.surprises.append(f"{kind} {path}: {type(error).__name__}")
        return
    if 400 <= reply.status_code < 500:
        tally.refused += 1
        return
    tally.surprises.append(f"{kind} {path}: HTTP {reply.status_code}")
    if reply.status_code >= 500:
        tally.broken += 1
    else:
        tally.taken += 1


_Form = list[tuple[str, str]]
_Request = tuple[str, str, dict[str, str], bytes]
_PLAIN = "application/x-www-form-urlencoded"


def _signed(url: str, form: _Form, kind: str = _PLAIN) -> dict[str, str]:
    return {"X-Twilio-Signature": sign(AUTH_TOKEN, url, form), "Content-Type": kind}


def _unsigned(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, {"Content-Type": _PLAIN}, body


def _wrongly_signed(url: str, form: _Form, body: bytes) -> _Request:
    headers = {"X-Twilio-Signature": sign("another token", url, form), "Content-Type": _PLAIN}
    return "POST", url, headers, body


def _changed(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, _signed(url, form), body + b"&To=%2B1900"


def _signed_for_another_url(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, _signed(url + "?x=1", form), body


def _bad_signature(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, {"X-Twilio-Signature": "%%%=", "Content-Type": _PLAIN}, body


def _json(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, _signed(url, form, "application/json"), orjson.dumps(dict(form))


def _no_text(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, _signed(url, form), b"\xff\xfe%zz&&==&" + bytes(range(256))


def _huge(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, _signed(url, form), b"a=" + b"x" * 1_500_000


def _many_fields(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, _signed(url, form), b"&".join(b"k%d=v" % n for n in range(5000))


def _got(url: str, form: _Form, body: bytes) -> _Request:
    return "GET", f"{url}?{body.decode()}", {}, b""


def _nowhere(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", f"{url}/../../etc/passwd", _signed(url, form), body


def _no_call(url: str, form: _Form, body: bytes) -> _Request:
    return "POST", url, _signed(url, [("CallSid", "")]), b"CallSid="


_FORGERIES = {
    "unsigned": _unsigned,
    "wrongly signed": _wrongly_signed,
    "changed": _changed,
    "signed for another URL": _signed_for_another_url,
    "bad signature": _bad_signature,
    "JSON": _json,
    "no text": _no_text,
    "huge": _huge,
    "many fields": _many_fields,
    "GET": _got,
    "nowhere": _nowhere,
    "no call": _no_call,
}
