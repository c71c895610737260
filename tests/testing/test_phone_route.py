"""The carrier's part of a simulated call: signatures as Twilio's own, faults by its numbers."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from flowengine.ports import Line
from flowengine.testing.phone import Phone, PhoneError
from flowengine.testing.phone_audio import babble
from flowengine.testing.phone_route import Webhooks, sign
from tests.carriers.exchange import AUTH_TOKEN, CALLED, CALLER, Exchange, served

pytestmark = [pytest.mark.api, pytest.mark.anyio]


class _Fields(dict[str, list[str]]):
    def getlist(self, name: str) -> list[str]:
        return self[name]


@given(st.lists(st.tuples(st.text(), st.text())), st.text(min_size=1))
def test_the_phone_signs_as_the_official_sdk_does(form: list[tuple[str, str]], token: str) -> None:
    fields = _Fields()
    for name, value in form:
        fields.setdefault(name, []).append(value)
    url = "https://phone.example.com/twilio/voice"
    assert sign(token, url, form) == RequestValidator(token).compute_signature(url, fields)


async def close(line: Line) -> None:
    await line.close()


async def test_a_webhook_that_fails_is_on_record_and_ends_the_call() -> None:
    exchange = Exchange(talk=close, steps=[RuntimeError("a fault of the engine")])
    async with (
        served(exchange) as base_url,
        Phone(base_url, AUTH_TOKEN).call(CALLER, CALLED) as call,
    ):
        await call.over()
    assert call.report().faults == ("11200 HTTP status 500",)
    assert [status for _, status, _ in exchange.reports] == ["completed"]


async def test_a_caller_who_is_cut_short_says_no_more() -> None:
    exchange = Exchange()
    async with (
        served(exchange) as base_url,
        Phone(base_url, AUTH_TOKEN).call(CALLER, CALLED) as call,
    ):
        await call.connected()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await call.say(babble(10_000))
        said = len(bytes(call.spoken).strip(b"\xff"))
        await call.pause(60)
        assert len(bytes(call.spoken).strip(b"\xff")) <= said + 160
    assert call.ended.is_set()


async def test_a_stream_that_is_not_let_in_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = {"X-Twilio-Signature": "forged"}
    monkeypatch.setattr(Webhooks, "stream_headers", lambda self, url: forged)
    exchange = Exchange()
    async with (
        served(exchange) as base_url,
        Phone(base_url, AUTH_TOKEN).call(CALLER, CALLED) as call,
    ):
        await call.over()
    assert call.report().faults == ("31920 The stream did not open: HTTP status 403.",)
    assert [verb.name for verb in call.verbs] == ["Connect", "Redirect", "Hangup"]
    assert exchange.opened == []


async def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(PhoneError, match="11200 ConnectError"):
        async with Phone("http://127.0.0.1:1", AUTH_TOKEN).call(CALLER, CALLED):
            raise AssertionError("the call was answered")
