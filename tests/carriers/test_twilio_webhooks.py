"""Twilio's webhooks: signatures as the official SDK makes them, forms, and the TwiML we answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator

from flowengine.carriers.twilio import APOLOGY, TwilioCarrier
from flowengine.errors import StoreError
from flowengine.ports import (
    CallOffer,
    Dial,
    DialReport,
    HangUp,
    HttpReply,
    HttpRequest,
    NextStep,
    Reconnect,
    Refuse,
)
from tests.carriers.exchange import AUTH_TOKEN, CALLED, CALLER, Exchange

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PUBLIC = "https://phone.example.com/prefix"
SID = "CA0123456789abcdef0123456789abcdef"
FORM = [
    ("CallSid", SID),
    ("From", CALLER),
    ("To", CALLED),
    ("Direction", "inbound"),
    ("CallStatus", "ringing"),
    ("CallerName", ""),
]

Form = Sequence[tuple[str, str]]


class _Fields(dict[str, list[str]]):
    """A form as the SDK's oracle takes it."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def signed(url: str, form: Form, token: str = AUTH_TOKEN) -> dict[str, str]:
    fields = _Fields()
    for name, value in form:
        fields.setdefault(name, []).append(value)
    return {"x-twilio-signature": RequestValidator(token).compute_signature(url, fields)}


def request(hook: str, form: Form, headers: Mapping[str, str], query: str = "") -> HttpRequest:
    """As the server sees it: behind a proxy that changed scheme, host and path."""
    url = f"http://10.0.0.7:8080/twilio/{hook}" + query
    return HttpRequest("POST", url, headers, form, (), b"")


async def post(exchange: Exchange, hook: str, form: Form) -> HttpReply:
    carrier = TwilioCarrier(exchange, public_url=PUBLIC, auth_token=AUTH_TOKEN)
    headers = signed(f"{PUBLIC}/twilio/{hook}", form)
    return await carrier.webhooks()[hook](request(hook, form, headers))


def shape(reply: HttpReply) -> list[tuple[str, dict[str, str]]]:
    """Every element of a TwiML answer but its root, in document order."""
    root = ElementTree.fromstring(reply.body)
    assert (reply.status, reply.content_type, root.tag) == (200, "text/xml", "Response")
    return [(element.tag, dict(element.attrib)) for element in root.iter()][1:]


async def test_a_call_is_offered_and_connected_to_its_stream() -> None:
    exchange = Exchange()
    reply = await post(exchange, "voice", FORM)
    assert exchange.offers == [CallOffer("twilio", SID, "inbound", CALLER, CALLED)]
    elements = shape(reply)
    token = elements[2][1].pop("value")
    assert exchange.tokens.read(token, datetime.now(UTC))[0] == "call_1"
    assert elements == [
        ("Connect", {}),
        ("Stream", {"url": "wss://phone.example.com/prefix/twilio/media"}),
        ("Parameter", {"name": "token"}),
        ("Redirect", {"method": "POST"}),
    ]
    assert "https://phone.example.com/prefix/twilio/next</Redirect>" in reply.body


async def test_an_outbound_call_is_told_from_an_inbound_one() -> None:
    exchange = Exchange()
    form = [(n, "outbound-api" if n == "Direction" else v) for n, v in FORM]
    await post(exchange, "voice", form)
    assert exchange.offers[0].direction == "outbound"


@pytest.mark.parametrize(
    ("refusal", "elements"),
    [
        (Refuse("busy"), [("Reject", {"reason": "busy"})]),
        (Refuse("rejected"), [("Reject", {"reason": "rejected"})]),
        (Refuse("busy", "Later, please."), [("Say", {}), ("Hangup", {})]),
        (HangUp(), [("Hangup", {})]),
    ],
)
async def test_a_call_can_be_refused(
    refusal: NextStep, elements: list[tuple[str, dict[str, str]]]
) -> None:
    assert shape(await post(Exchange(greeting=refusal), "voice", FORM)) == elements


async def known(*steps: NextStep | Exception) -> Exchange:
    """An exchange that has this call, and these answers for what comes next."""
    exchange = Exchange(steps=list(steps))
    await post(exchange, "voice", FORM)
    return exchange


async def test_the_next_step_may_be_a_transfer() -> None:
    exchange = await known(Dial("+15550100003", 25, 600, CALLED, press="1w2"))
    action = f"{PUBLIC}/twilio/next"
    assert shape(await post(exchange, "next", FORM)) == [
        (
            "Dial",
            {
                "action": action,
                "method": "POST",
                "timeout": "25",
                "timeLimit": "600",
                "callerId": CALLED,
            },
        ),
        ("Number", {"sendDigits": "1w2"}),
    ]
    assert exchange.dials == [None]


async def test_a_transfer_may_go_to_a_sip_address() -> None:
    exchange = await known(Dial("sip:desk@pbx.example.com", 25, 0, ""))
    reply = await post(exchange, "next", FORM)
    assert shape(reply)[1] == ("Sip", {})
    assert shape(reply)[0][1].keys() == {"action", "method", "timeout"}


async def test_how_a_transfer_went_is_handed_on() -> None:
    exchange = await known(HangUp(), HangUp())
    await post(exchange, "next", [*FORM, ("DialCallStatus", "busy")])
    form = [*FORM, ("DialCallStatus", "completed"), ("DialCallDuration", "42")]
    await post(exchange, "next", form)
    assert exchange.dials == [DialReport("busy"), DialReport("completed", 42)]


async def test_the_call_may_come_back_to_us() -> None:
    exchange = await known()
    exchange.steps.append(Reconnect(exchange.ticket()))
    tags = [tag for tag, _ in shape(await post(exchange, "next", FORM))]
    assert tags == ["Connect", "Stream", "Parameter", "Redirect"]


async def test_an_answered_call_is_ended_not_rejected() -> None:
    exchange = await known(Refuse("busy"))
    assert shape(await post(exchange, "next", FORM)) == [("Hangup", {})]


async def test_a_call_that_nobody_knows_is_hung_up() -> None:
    assert shape(await post(Exchange(), "next", FORM)) == [("Hangup", {})]


@pytest.mark.parametrize("hook", ["voice", "next"])
async def test_a_failure_of_ours_is_an_apology(hook: str) -> None:
    failure = StoreError("cannot_read", "The store does not answer.")
    exchange = Exchange(greeting=failure) if hook == "voice" else await known(failure)
    reply = await post(exchange, hook, FORM)
    assert shape(reply) == [("Say", {}), ("Hangup", {})]
    assert APOLOGY in reply.body


async def test_statuses_are_handed_on_and_strangers_do_no_harm() -> None:
    exchange = await known()
    form = [(n, "completed" if n == "CallStatus" else v) for n, v in FORM]
    assert (await post(exchange, "status", [*form, ("SequenceNumber", "3")])).status == 204
    assert (await post(exchange, "status", form)).status == 204
    assert exchange.reports == [(SID, "completed", 3), (SID, "completed", 0)]
    assert (await post(Exchange(), "status", form)).status == 204


async def test_a_sip_callers_headers_come_with_the_offer() -> None:
    exchange = Exchange()
    form = [
        ("CallSid", SID),
        ("From", "sip:desk@acme.example"),
        ("To", CALLED),
        ("SipHeader_X-Partner", "acme"),
        ("SipHeader_X-Long", "9" * 300),
    ]
    await post(exchange, "voice", form)
    assert exchange.offers[0].headers == {"x-partner": "acme"}


async def test_recording_callbacks_are_taken() -> None:
    form = [("CallSid", SID), ("RecordingSid", "RE1"), ("RecordingStatus", "completed")]
    assert (await post(Exchange(), "recording", form)).status == 204


@pytest.mark.parametrize(
    ("hook", "form", "field"),
    [
        ("voice", [("From", CALLER)], "CallSid"),
        ("voice", [("CallSid", "CA1\r\nx")], "CallSid"),
        ("voice", [("CallSid", "C" * 65)], "CallSid"),
        ("voice", [("CallSid", SID), ("From", "9" * 257)], "From"),
        ("next", [], "CallSid"),
        ("next", [("CallSid", SID), ("DialCallStatus", "fine")], "DialCallStatus"),
        (
            "next",
            [("CallSid", SID), ("DialCallStatus", "busy"), ("DialCallDuration", "-1")],
            "DialCallDuration",
        ),
        ("status", [("CallSid", SID)], "CallStatus"),
        ("status", [("CallSid", SID), ("CallStatus", "gone")], "CallStatus"),
        (
            "status",
            [("CallSid", SID), ("CallStatus", "completed"), ("SequenceNumber", "x")],
            "SequenceNumber",
        ),
        ("recording", [], "CallSid"),
    ],
)
async def test_a_malformed_form_is_refused_by_its_field(hook: str, form: Form, field: str) -> None:
    exchange = Exchange()
    reply = await post(exchange, hook, form)
    assert (reply.status, reply.content_type) == (400, "text/plain; charset=utf-8")
    assert field in reply.body
    assert not exchange.offers
    assert not exchange.reports


URL = f"{PUBLIC}/twilio/voice"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-twilio-signature": ""},
        {"x-twilio-signature": "é" * 28},
        signed(URL, FORM, "another token"),
        signed(URL, FORM[:-1]),
        signed(f"{PUBLIC}/twilio/next", FORM),
        signed("http://10.0.0.7:8080/twilio/voice", FORM),
        signed(URL, FORM) | {"x-twilio-webhooks-signature-settings": "algorithm=NONE"},
        signed(URL, FORM) | {"x-twilio-webhooks-signature-settings": "algorithm=HMAC_SHA256"},
    ],
)
async def test_a_forged_webhook_is_refused_and_logged_without_numbers(
    headers: Mapping[str, str],
) -> None:
    exchange = Exchange()
    carrier = TwilioCarrier(exchange, public_url=PUBLIC, auth_token=AUTH_TOKEN)
    with capture_logs() as logs:
        reply = await carrier.webhooks()["voice"](request("voice", FORM, headers))
    assert reply.status == 403
    assert not exchange.offers
    assert [log["reason"] for log in logs] == ["bad_signature"]
    assert CALLER not in str(logs) and CALLED not in str(logs)


@pytest.mark.parametrize(
    "form",
    [
        FORM,
        [*FORM, ("CallerName", "Zoë O'Neill & söns"), ("X", "a"), ("X", "b"), ("X", "a")],
        [*FORM, ("", ""), ("Empty", "")],
    ],
)
async def test_every_form_that_twilio_signs_verifies(form: Form) -> None:
    assert (await post(Exchange(), "voice", form)).status == 200


async def test_a_query_and_the_newer_algorithm_are_part_of_it() -> None:
    carrier = TwilioCarrier(Exchange(), public_url=PUBLIC, auth_token=AUTH_TOKEN)
    fields = dict(FORM)
    signature = RequestValidator(AUTH_TOKEN).compute_signature(
        f"{URL}?tenant=7", fields, "HMAC_SHA256"
    )
    headers = {
        "x-twilio-signature": signature,
        "x-twilio-webhooks-signature-settings": "key=k,algorithm=HMAC_SHA256",
    }
    webhook = carrier.webhooks()["voice"]
    assert (await webhook(request("voice", FORM, headers, "?tenant=7"))).status == 200
    assert (await webhook(request("voice", FORM, headers, "?tenant=8"))).status == 403
