"""Twilio's stream messages: what is documented is understood, nothing else is, nothing raises."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.carriers.twilio_wire import (
    LONGEST_MESSAGE,
    Connected,
    Outgoing,
    Refusal,
    Started,
    parse,
)
from flowengine.ports import LineAudio, LineDigit, LineMark, LineStopped

pytestmark = pytest.mark.unit

SID = "MZ0123456789abcdef0123456789abcdef"


def media(payload: object = "", **more: object) -> dict[str, Any]:
    """A media message as Twilio sends it."""
    inner = {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": payload, **more}
    return {"event": "media", "sequenceNumber": "4", "media": inner, "streamSid": SID}


def start(**changes: object) -> str:
    """A start message; keyword arguments replace what is in its inner object."""
    inner = {
        "accountSid": "AC1",
        "streamSid": SID,
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t"},
    }
    body = {"event": "start", "sequenceNumber": "1", "streamSid": SID, "start": inner | changes}
    return json.dumps(body)


@given(st.binary(min_size=1, max_size=4000))
def test_audio_of_any_length_comes_through(audio: bytes) -> None:
    message = json.dumps(media(base64.b64encode(audio).decode()))
    assert parse(message, SID) == LineAudio(audio)


@given(st.binary(min_size=1, max_size=4000))
def test_what_we_send_is_what_twilio_allows(audio: bytes) -> None:
    body = json.loads(Outgoing(SID).media(audio))
    assert body == {
        "event": "media",
        "streamSid": SID,
        "media": {"payload": base64.b64encode(audio).decode()},
    }


@given(st.text(), st.text())
def test_names_are_written_as_json_whatever_is_in_them(sid: str, name: str) -> None:
    outgoing = Outgoing(sid)
    assert json.loads(outgoing.mark(name)) == {
        "event": "mark",
        "streamSid": sid,
        "mark": {"name": name},
    }
    assert json.loads(outgoing.clear()) == {"event": "clear", "streamSid": sid}


def test_the_documented_messages_are_understood() -> None:
    connected = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
    assert parse(connected, "") == Connected()
    assert parse(start(), "") == Started(SID, "CA1", "t", "")
    mark = {"event": "mark", "sequenceNumber": "4", "streamSid": SID, "mark": {"name": "m1"}}
    assert parse(json.dumps(mark), SID) == LineMark("m1")
    dtmf = {"event": "dtmf", "streamSid": SID, "dtmf": {"track": "inbound_track", "digit": "#"}}
    assert parse(json.dumps(dtmf), SID) == LineDigit("#")
    stop = {"event": "stop", "streamSid": SID, "stop": {"accountSid": "AC1", "callSid": "CA1"}}
    assert parse(json.dumps(stop), SID) == LineStopped("hung_up")


def test_numbers_may_be_numbers_or_strings() -> None:
    dtmf = {"event": "dtmf", "streamSid": SID, "dtmf": {"digit": 7}}
    assert parse(json.dumps(dtmf), SID) == LineDigit("7")
    form = {"encoding": "audio/x-mulaw", "sampleRate": "8000", "channels": "1"}
    assert parse(start(mediaFormat=form), "") == Started(SID, "CA1", "t", "")
    assert parse(json.dumps(media("AAAA", chunk=2, timestamp=5)), SID) == LineAudio(bytes(3))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"encoding": "audio/l16", "sampleRate": 16000, "channels": 1}, "audio/l16, 16000 Hz"),
        ({"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2}, "2 channels"),
        ("ulaw", "no object"),
    ],
)
def test_another_format_is_named(form: object, said: str) -> None:
    started = parse(start(mediaFormat=form), "")
    assert isinstance(started, Started)
    assert said in started.format


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (b"\x00\x01", "binary_message"),
        ("x" * (LONGEST_MESSAGE + 1), "huge_message"),
        ("{", "bad_json"),
        ("[" * 5000, "bad_json"),
        ("[]", "no_object"),
        ("17", "no_object"),
        ("{}", "no_event"),
        ('{"event":["media"]}', "no_event"),
        ('{"event":"transfer"}', "unknown_event"),
        (start(), "second_start"),
        (json.dumps(media("AAAA") | {"streamSid": "MZ2"}), "wrong_stream"),
        (json.dumps({"event": "stop"}), "wrong_stream"),
        (json.dumps(media("AAAA") | {"media": []}), "bad_media"),
        (json.dumps(media("")), "bad_media"),
        (json.dumps(media(17)), "bad_media"),
        (json.dumps(media("AAAA", track="outbound")), "wrong_track"),
        (json.dumps(media("A")), "bad_base64"),
        (json.dumps(media("AA=A")), "bad_base64"),
        (json.dumps(media("AA\nAA")), "bad_base64"),
        (json.dumps(media("ééé=")), "bad_base64"),
        (json.dumps({"event": "dtmf", "streamSid": SID, "dtmf": {"digit": "12"}}), "bad_digit"),
        (json.dumps({"event": "dtmf", "streamSid": SID, "dtmf": {"digit": True}}), "bad_digit"),
        (json.dumps({"event": "dtmf", "streamSid": SID}), "bad_digit"),
        (json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": ""}}), "bad_mark"),
        (json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": 1}}), "bad_mark"),
    ],
)
def test_what_means_nothing_is_refused_by_kind(message: str | bytes, kind: str) -> None:
    assert parse(message, SID) == Refusal(kind)


@pytest.mark.parametrize(
    "message",
    [
        start(streamSid="MZ2"),
        start(customParameters="token"),
        start(customParameters={"token": 7}),
        start(callSid=None),
        json.dumps({"event": "start", "streamSid": SID}),
        json.dumps({"event": "start", "streamSid": "", "start": {}}),
    ],
)
def test_a_start_that_is_not_whole_is_refused(message: str) -> None:
    assert parse(message, "") == Refusal("bad_start")


def test_nothing_counts_before_the_start() -> None:
    assert parse(json.dumps(media("AAAA")), "") == Refusal("before_start")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop", "other"])


@given(
    event=EVENTS | JSON,
    stream_sid=st.just(SID) | JSON,
    inner=st.dictionaries(
        st.sampled_from(["payload", "digit", "name", "streamSid", "customParameters"])
        | st.just("mediaFormat"),
        JSON,
    )
    | JSON,
    known=st.sampled_from(["", SID]),
)
def test_no_object_of_any_shape_raises(
    event: object, stream_sid: object, inner: object, known: str
) -> None:
    names = ("start", "media", "dtmf", "mark", "stop")
    body = {"event": event, "streamSid": stream_sid} | dict.fromkeys(names, inner)
    result = parse(json.dumps(body), known)
    if known and stream_sid != known:
        assert isinstance(result, Refusal | Connected)
    if not known:
        assert isinstance(result, Refusal | Connected | Started)


@given(st.text() | st.binary(), st.sampled_from(["", SID]))
def test_no_message_raises(message: str | bytes, known: str) -> None:
    assert isinstance(parse(message, known), Refusal)
