"""The phone's reading of TwiML, with the official SDK's builders as the source."""

from __future__ import annotations

import pytest
from twilio.twiml.voice_response import VoiceResponse

from flowengine.testing.phone_twiml import BadTwiml, read_twiml

pytestmark = pytest.mark.unit


def test_a_stream_is_read_with_its_parameters() -> None:
    response = VoiceResponse()
    stream = response.connect().stream(url="wss://h.example.com/media")
    stream.parameter(name="token", value="a<&b")
    response.redirect("https://h.example.com/next", method="POST")
    connect, redirect = read_twiml(str(response))
    assert (connect.name, connect.noun) == ("Connect", "Stream")
    assert connect.noun_attributes == {"url": "wss://h.example.com/media"}
    assert connect.parameters == {"token": "a<&b"}
    assert (redirect.name, redirect.text) == ("Redirect", "https://h.example.com/next")


def test_a_dial_is_read_with_its_number() -> None:
    response = VoiceResponse()
    response.dial(action="/next", timeout=20).number("+15550100003", send_digits="1")
    (dial,) = read_twiml(str(response))
    assert dial.attributes == {"action": "/next", "timeout": "20"}
    assert (dial.noun, dial.noun_text) == ("Number", "+15550100003")
    assert dial.noun_attributes == {"sendDigits": "1"}


@pytest.mark.parametrize(
    ("document", "number"),
    [
        ("", "12100"),
        ("<Response>", "12100"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><Response/>", "12100"),
        ("<Answer/>", "12102"),
        ("<Response><Sing/></Response>", "12200"),
        ("<Response><Connect/></Response>", "31922"),
        ('<Response><Connect><Stream url="https://h"/></Connect></Response>', "31922"),
        ('<Response><Connect><Stream url="wss://h/?a=b"/></Connect></Response>', "31920"),
        (
            '<Response><Connect><Stream url="wss://h/"><Parameter name="a" value="'
            + "x" * 500
            + '"/></Stream></Connect></Response>',
            "12200",
        ),
    ],
)
def test_what_twilio_refuses_is_refused_with_its_number(document: str, number: str) -> None:
    with pytest.raises(BadTwiml, match=number):
        read_twiml(document)
