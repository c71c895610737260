"""The simulated carrier is as strict as Twilio: what it would warn of is on record, once."""

from __future__ import annotations

import base64
import json

import pytest

from flowengine.testing.phone_stream import PhoneStream, StreamHooks, StreamNames

pytestmark = pytest.mark.unit

SID = "MZ1"


class Carrier:
    """A stream without a socket, and what it told its call."""

    def __init__(self) -> None:
        self.cleared: list[int] = []
        self.marks: list[tuple[str, bool]] = []
        self.faults: list[str] = []
        hooks = StreamHooks(
            self.cleared.append,
            lambda name, was_played: self.marks.append((name, was_played)),
            self.faults.append,
        )
        self.stream = PhoneStream(StreamNames("AC1", "CA1", SID), hooks)

    def hear(self, body: object) -> None:
        self.stream.hear(json.dumps(body))


def media(payload: object, **more: object) -> dict[str, object]:
    return {"event": "media", "streamSid": SID, "media": {"payload": payload}, **more}


def mark(name: str) -> dict[str, object]:
    return {"event": "mark", "streamSid": SID, "mark": {"name": name}}


CLEAR = {"event": "clear", "streamSid": SID}


def test_audio_is_played_and_marks_come_back_when_it_is() -> None:
    carrier = Carrier()
    carrier.hear(media(base64.b64encode(b"a" * 200).decode()))
    carrier.hear(mark("one"))
    assert carrier.stream.play_frame() == b"a" * 160
    assert carrier.stream.play_frame() == b"a" * 40
    assert carrier.marks == []
    assert carrier.stream.play_frame() == b""
    assert carrier.marks == [("one", True)]
    assert carrier.faults == []


def test_a_clear_gives_everything_back() -> None:
    carrier = Carrier()
    carrier.hear(media(base64.b64encode(b"a" * 200).decode()))
    carrier.hear(mark("one"))
    carrier.hear(mark("two"))
    carrier.hear(CLEAR)
    assert carrier.cleared == [200]
    assert carrier.marks == [("one", False), ("two", False)]
    assert carrier.stream.play_frame() == b""


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"\x00", "31950 binary message"),
        ("{", "31951 bad JSON"),
        ("[]", "31951 unknown event"),
        ('{"event":"hangup"}', "31951 unknown event"),
        (json.dumps(media("AAAA", extra=1)), "31951 fields missing or too many"),
        (json.dumps(CLEAR | {"mark": {"name": "x"}}), "31951 fields missing or too many"),
        ('{"event":"mark","streamSid":"MZ1"}', "31951 fields missing or too many"),
        (
            json.dumps({**media("AAAA"), "media": {"payload": "AAAA", "track": "outbound"}}),
            "31951 fields missing or too many",
        ),
        (json.dumps(media(7)), "31951 a value is no string"),
        (json.dumps(media("A")), "31951 bad payload"),
        (json.dumps(CLEAR | {"streamSid": "MZ2"}), "31951 wrong streamSid"),
    ],
)
def test_what_twilio_would_not_take_is_warned_of_once(message: str | bytes, fault: str) -> None:
    carrier = Carrier()
    carrier.stream.hear(message)
    carrier.stream.hear(message)
    assert carrier.faults == [fault]
    assert carrier.cleared == []
    assert carrier.stream.play_frame() == b""
