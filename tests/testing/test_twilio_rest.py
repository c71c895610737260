"""The fake of Twilio's REST, asked by Twilio's own SDK; and what our carrier makes of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from flowengine.carriers import twilio_rest
from flowengine.carriers.twilio import TwilioCarrier
from flowengine.carriers.twilio_rest import TwilioRest
from flowengine.errors import CarrierError
from flowengine.ids import CallId
from flowengine.ports import Placement, PlacingCarrier
from flowengine.testing.providers.faults import Fault, cut, late, status
from flowengine.testing.twilio_rest import FakeTwilioRest
from tests.carriers.exchange import Exchange

pytestmark = [pytest.mark.api, pytest.mark.anyio]

ACCOUNT, TOKEN = "AC" + "2" * 32, "token of a test"
PLACEMENT = Placement(CallId("call_1"), "+14155550199", "+14155550100", 25)


@asynccontextmanager
async def sdk(twilio: FakeTwilioRest, token: str = TOKEN) -> AsyncIterator[Client]:
    http = AsyncTwilioHttpClient(timeout=5)
    client = Client(ACCOUNT, token, http_client=http)
    client.api.base_url = twilio.url
    yield client
    await http.close()


@asynccontextmanager
async def rest(url: str) -> AsyncIterator[TwilioRest]:
    made = TwilioRest(ACCOUNT, TOKEN, f"{url}/")
    yield made
    await made.close()


async def test_the_sdk_makes_looks_at_and_ends_a_call() -> None:
    async with FakeTwilioRest(ACCOUNT, TOKEN) as twilio, sdk(twilio) as client:
        made = await client.calls.create_async(
            to="+14155550100",
            from_="+14155550199",
            url="https://x.example/voice?call=call_1",
            status_callback="https://x.example/status",
            status_callback_event=["initiated", "completed"],
            timeout=20,
        )
        assert made.status == "queued" and made.sid.startswith("CA")
        (placed,) = twilio.calls
        assert (placed.events, placed.ring_s) == (("initiated", "completed"), 20)
        assert (await client.calls(made.sid).fetch_async()).to == "+14155550100"
        ended = await client.calls(made.sid).update_async(status="completed")
        assert ended.status == "canceled" and placed.hung_up.is_set()
        with pytest.raises(TwilioRestException) as over:
            await client.calls(made.sid).update_async(status="completed")
        assert over.value.code == 21220
        assert twilio.violations == []


@pytest.mark.parametrize(
    ("to", "from_", "url", "code"),
    [
        ("911", "+14155550199", "https://x.example", 21211),
        ("+14155550100", "5", "https://x.example", 21212),
        ("+14155550100", "+14155550199", "nowhere", 21205),
    ],
)
async def test_the_sdk_is_told_what_is_wrong(to: str, from_: str, url: str, code: int) -> None:
    async with FakeTwilioRest(ACCOUNT, TOKEN) as twilio, sdk(twilio) as client:
        with pytest.raises(TwilioRestException) as caught:
            await client.calls.create_async(to=to, from_=from_, url=url)
        assert (caught.value.status, caught.value.code) == (400, code)
        assert twilio.calls == []


async def test_a_stranger_is_refused_and_an_unknown_call_is_not_there() -> None:
    async with FakeTwilioRest(ACCOUNT, TOKEN) as twilio:
        async with sdk(twilio, "another token") as client:
            with pytest.raises(TwilioRestException) as stranger:
                await client.calls("CA1").fetch_async()
        async with sdk(twilio) as client:
            with pytest.raises(TwilioRestException) as unknown:
                await client.calls("CA1").fetch_async()
    assert (stranger.value.status, unknown.value.status) == (401, 404)


# --- what our carrier makes of it ---


async def test_our_carrier_asks_for_what_it_needs() -> None:
    async with FakeTwilioRest(ACCOUNT, TOKEN) as twilio, rest(twilio.url) as ours:
        await ours.warm()
        sid = await ours.create(PLACEMENT, answer_url="https://a/v", status_url="https://a/s")
        (placed,) = twilio.calls
        assert (placed.sid, placed.ring_s) == (sid, 25)
        assert placed.events == ("initiated", "ringing", "answered", "completed")
        await ours.end(sid)
        await ours.end("CA" + "0" * 32)
        assert placed.hung_up.is_set()
        assert twilio.violations == []


@pytest.mark.parametrize(
    ("fault", "code", "may_be_repeated", "is_made"),
    [
        (status(429), "rate_limit", True, False),
        (status(403), "auth", False, False),
        (status(503), "unavailable", True, False),
        (status(500), "placing_unknown", False, False),
        (cut(), "placing_unknown", False, True),
        (late(2000), "placing_unknown", False, True),
    ],
)
async def test_each_fault_has_its_code(
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    code: str,
    may_be_repeated: bool,
    is_made: bool,
) -> None:
    monkeypatch.setattr(twilio_rest, "LIMIT_S", 0.5)
    async with FakeTwilioRest(ACCOUNT, TOKEN) as twilio, rest(twilio.url) as ours:
        twilio.faults.append(fault)
        with pytest.raises(CarrierError) as caught:
            await ours.create(PLACEMENT, answer_url="https://a/v", status_url="https://a/s")
        assert (caught.value.code, caught.value.retryable) == (code, may_be_repeated)
        assert PLACEMENT.to_number not in str(caught.value)
        assert len(twilio.calls) == is_made


async def test_a_number_that_is_none_is_told_without_the_number() -> None:
    async with FakeTwilioRest(ACCOUNT, TOKEN) as twilio, rest(twilio.url) as ours:
        wrong = Placement(CallId("call_1"), "+14155550199", "12345", 25)
        with pytest.raises(CarrierError) as caught:
            await ours.create(wrong, answer_url="https://a/v", status_url="https://a/s")
    assert caught.value.code == "refused" and "21211" in caught.value.what
    assert "12345" not in str(caught.value)


async def test_a_server_that_is_not_there_was_not_asked() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with rest(f"http://127.0.0.1:{port}") as ours:
        with pytest.raises(CarrierError) as caught:
            await ours.create(PLACEMENT, answer_url="https://a/v", status_url="https://a/s")
    assert (caught.value.code, caught.value.retryable) == ("connect", True)


async def test_without_an_account_twilio_only_answers() -> None:
    carrier = TwilioCarrier(Exchange(), public_url="https://a", auth_token=TOKEN)
    assert isinstance(carrier, PlacingCarrier) and not carrier.can_place
    with pytest.raises(CarrierError) as caught:
        await carrier.place(PLACEMENT)
    assert caught.value.code == "cannot_place"
    await carrier.close()
