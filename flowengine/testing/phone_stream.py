"""The carrier's side of one media stream, as Twilio does it: its messages, checks and buffer."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from flowengine.testing.phone_audio import FRAME_MS, SILENT_FRAME
from flowengine.testing.phone_playout import Playout
from flowengine.testing.phone_socket import PhoneSocket


@dataclass(frozen=True, slots=True)
class StreamNames:
    """The ids that Twilio puts into a stream's messages."""

    account_sid: str
    call_sid: str
    stream_sid: str


@dataclass(frozen=True, slots=True)
class StreamHooks:
    """Who wants to know what the bot sent."""

    cleared: Callable[[int], None]
    """Called with the number of bytes that were dropped."""
    marked: Callable[[str, bool], None]
    """Called with a mark that came back, and whether it was played (else cleared)."""
    fault: Callable[[str], None]


_ALLOWED = {
    "media": {"event", "streamSid", "media"},
    "mark": {"event", "streamSid", "mark"},
    "clear": {"event", "streamSid"},
}
_BODIES = {"media": "payload", "mark": "name"}
_SILENT_PAYLOAD = binascii.b2a_base64(SILENT_FRAME, newline=False).decode()


class PhoneStream:
    """One `<Connect><Stream>` from the carrier's end."""

    def __init__(self, names: StreamNames, hooks: StreamHooks) -> None:
        self.playout = Playout()
        self.names = names
        self._hooks = hooks
        self._socket: PhoneSocket | None = None
        self._sequence = 0
        self._chunk = 0
        self._warned: set[str] = set()

    @property
    def is_open(self) -> bool:
        return self._socket is not None and self._socket.is_open

    @property
    def socket(self) -> PhoneSocket:
        if self._socket is None:
            raise ValueError("the stream was not opened")
        return self._socket

    async def open(
        self, url: str, headers: Mapping[str, str], parameters: Mapping[str, str]
    ) -> None:
        """Connect and say `connected` and `start`. Raises CarrierError(`connect`)."""
        socket = PhoneSocket(url, headers, self.hear)
        await socket.connect()
        self._socket = socket
        self.send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        self._send_numbered(
            "start",
            {
                "accountSid": self.names.account_sid,
                "streamSid": self.names.stream_sid,
                "callSid": self.names.call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": dict(parameters),
            },
        )

    def send_frame(self, frame: bytes) -> None:
        """One frame of the caller's; the hot path, so it is written by hand."""
        if self._socket is None:
            return
        if frame is SILENT_FRAME:
            payload = _SILENT_PAYLOAD
        else:
            payload = binascii.b2a_base64(frame, newline=False).decode("ascii")
        self._sequence += 1
        self._chunk += 1
        self._socket.send(
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{(self._chunk - 1) * FRAME_MS}",'
            f'"payload":"{payload}"}},"streamSid":"{self.names.stream_sid}"}}'
        )

    def send_digit(self, digit: str) -> None:
        self._send_numbered("dtmf", {"track": "inbound_track", "digit": digit})

    def stop(self) -> None:
        """The caller hung up."""
        names = self.names
        self._send_numbered("stop", {"accountSid": names.account_sid, "callSid": names.call_sid})
        if self._socket is not None:
            self._socket.close()

    def send(self, message: Mapping[str, Any]) -> None:
        if self._socket is not None:
            self._socket.send(orjson.dumps(message).decode())

    def play_frame(self) -> bytes:
        """20 ms pass: what is played in them; marks that were passed go back."""
        frame, names = self.playout.pull()
        for name in names:
            self._send_mark(name, played=True)
        return frame

    def hear(self, message: str | bytes) -> None:
        """Take a message of the bot's, as strictly as Twilio does."""
        body = _checked(message, self.names.stream_sid)
        if isinstance(body, str):
            self._warn(body)
            return
        event = body["event"]
        if event == "clear":
            dropped, names = self.playout.clear()
            self._hooks.cleared(dropped)
            for name in names:
                self._send_mark(name, played=False)
        elif event == "mark":
            if self.playout.mark(body["mark"]["name"]):
                self._send_mark(body["mark"]["name"], played=True)
        else:
            self._take_audio(body["media"]["payload"])

    def _take_audio(self, payload: str) -> None:
        try:
            audio = binascii.a2b_base64(payload, strict_mode=True)
        except ValueError:
            self._warn("31951 bad payload")
        else:
            self.playout.add(audio)

    def _warn(self, fault: str) -> None:
        if fault not in self._warned:
            self._warned.add(fault)
            self._hooks.fault(fault)

    def _send_mark(self, name: str, *, played: bool) -> None:
        self._hooks.marked(name, played)
        self._send_numbered("mark", {"name": name})

    def _send_numbered(self, event: str, body: Mapping[str, Any]) -> None:
        self._sequence += 1
        self.send(
            {
                "event": event,
                "sequenceNumber": str(self._sequence),
                "streamSid": self.names.stream_sid,
                event: body,
            }
        )


def _checked(message: str | bytes, stream_sid: str) -> dict[str, Any] | str:
    """The message if Twilio would take it, else the warning that it would give."""
    if isinstance(message, bytes):
        return "31950 binary message"
    try:
        body = orjson.loads(message)
    except ValueError:
        return "31951 bad JSON"
    event = body.get("event") if isinstance(body, dict) else None
    if not isinstance(event, str) or event not in _ALLOWED:
        return "31951 unknown event"
    if set(body) != _ALLOWED[event]:
        return "31951 fields missing or too many"
    if event in _BODIES:
        inner = body[event]
        if not isinstance(inner, dict) or set(inner) != {_BODIES[event]}:
            return "31951 fields missing or too many"
        if not isinstance(inner[_BODIES[event]], str):
            return "31951 a value is no string"
    if body["streamSid"] != stream_sid:
        return "31951 wrong streamSid"
    checked: dict[str, Any] = body
    return checked
