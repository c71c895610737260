"""Twilio's Media Streams messages (bidirectional `<Connect><Stream>`), parsed and written. Pure.

The line hands every message of the socket to `parse` and gets what it means, or a `Refusal`:
nothing that a peer sends raises. Twilio sends every number as a string, others may not, so both
are taken. Audio is µ-law at 8000 Hz in base64, of any length.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from flowengine.ports import LineAudio, LineDigit, LineMark, LineStopped

LONGEST_MESSAGE = 65_536
"""Characters; Twilio's media messages have about 350."""

_LONGEST_NAME = 256
_DIGITS = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class Connected:
    """The greeting before `start`."""


@dataclass(frozen=True, slots=True)
class Started:
    """The stream is open. `token` is the `<Parameter>` that our TwiML gave."""

    stream_sid: str
    call_sid: str
    token: str
    format: str
    """Empty when it is what we speak, else what was offered instead."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that is not taken; `kind` is a short, stable word for the log."""

    kind: str


WireEvent = LineAudio | LineDigit | LineMark | LineStopped | Connected | Started | Refusal
_Message = Mapping[str, Any]


def parse(message: str | bytes, stream_sid: str) -> WireEvent:
    """What a message means on the stream `stream_sid` (empty before `start`)."""
    if not isinstance(message, str):
        return Refusal("binary_message")
    if len(message) > LONGEST_MESSAGE:
        return Refusal("huge_message")
    try:
        body = orjson.loads(message)
    except ValueError:
        return Refusal("bad_json")
    if not isinstance(body, dict):
        return Refusal("no_object")
    event = body.get("event")
    if not isinstance(event, str):
        return Refusal("no_event")
    if event == "connected":
        return Connected()
    if event == "start":
        return _start(body) if not stream_sid else Refusal("second_start")
    read = _READERS.get(event)
    if read is None:
        return Refusal("unknown_event")
    if not stream_sid:
        return Refusal("before_start")
    if body.get("streamSid") != stream_sid:
        return Refusal("wrong_stream")
    return read(body)


def _media(body: _Message) -> LineAudio | Refusal:
    media = body.get("media")
    if not isinstance(media, dict):
        return Refusal("bad_media")
    payload = media.get("payload")
    if not isinstance(payload, str) or not payload:
        return Refusal("bad_media")
    if media.get("track", "inbound") != "inbound":
        return Refusal("wrong_track")
    try:
        return LineAudio(binascii.a2b_base64(payload, strict_mode=True))
    except ValueError:
        return Refusal("bad_base64")


def _dtmf(body: _Message) -> LineDigit | Refusal:
    dtmf = body.get("dtmf")
    digit = dtmf.get("digit") if isinstance(dtmf, dict) else None
    if isinstance(digit, int) and not isinstance(digit, bool):
        digit = str(digit)
    if not isinstance(digit, str) or digit not in _DIGITS:
        return Refusal("bad_digit")
    return LineDigit(digit)


def _mark(body: _Message) -> LineMark | Refusal:
    mark = body.get("mark")
    name = mark.get("name") if isinstance(mark, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        return Refusal("bad_mark")
    return LineMark(name)


_READERS: Mapping[
    str, Callable[[_Message], LineAudio | LineDigit | LineMark | LineStopped | Refusal]
]
_READERS = {
    "media": _media,
    "dtmf": _dtmf,
    "mark": _mark,
    "stop": lambda body: LineStopped("hung_up"),
}


def _start(body: _Message) -> Started | Refusal:
    start = body.get("start")
    if not isinstance(start, dict):
        return Refusal("bad_start")
    stream_sid = body.get("streamSid", start.get("streamSid"))
    if not isinstance(stream_sid, str) or not 0 < len(stream_sid) <= _LONGEST_NAME:
        return Refusal("bad_start")
    if start.get("streamSid", stream_sid) != stream_sid:
        return Refusal("bad_start")
    parameters = start.get("customParameters", {})
    token = parameters.get("token", "") if isinstance(parameters, dict) else None
    call_sid = start.get("callSid", "")
    if not isinstance(token, str) or not isinstance(call_sid, str):
        return Refusal("bad_start")
    return Started(stream_sid, call_sid, token, _other_format(start.get("mediaFormat")))


def _other_format(offered: object) -> str:
    """What was offered if it is not µ-law, 8000 Hz, one channel; a start without it is µ-law."""
    if offered is None:
        return ""
    if not isinstance(offered, dict):
        return "no object"
    encoding = str(offered.get("encoding", "audio/x-mulaw"))[:40]
    rate = str(offered.get("sampleRate", "8000"))[:10]
    channels = str(offered.get("channels", "1"))[:10]
    if (encoding, rate, channels) == ("audio/x-mulaw", "8000", "1"):
        return ""
    return f"{encoding}, {rate} Hz, {channels} channels"


class Outgoing:
    """Writes the three messages that Twilio takes, with no field more than it allows."""

    __slots__ = ("_clear", "_mark_head", "_media_head")

    def __init__(self, stream_sid: str) -> None:
        sid = orjson.dumps(stream_sid).decode()
        self._media_head = f'{{"event":"media","streamSid":{sid},"media":{{"payload":"'
        self._mark_head = f'{{"event":"mark","streamSid":{sid},"mark":{{"name":'
        self._clear = f'{{"event":"clear","streamSid":{sid}}}'

    def media(self, audio: bytes) -> str:
        payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
        return f'{self._media_head}{payload}"}}}}'

    def mark(self, name: str) -> str:
        return f"{self._mark_head}{orjson.dumps(name).decode()}}}}}"

    def clear(self) -> str:
        return self._clear
