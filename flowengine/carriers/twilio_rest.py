"""Twilio's REST: makes calls and ends them, by the official SDK's asynchronous client.

The SDK is loaded and the client made on first use, inside the running loop. Nothing is tried again
here: whether a call that nobody answered for was made, only its caller can decide about.
"""

from __future__ import annotations

import asyncio
from typing import Any

from flowengine.errors import CarrierError
from flowengine.ports import Placement

LIMIT_S = 10.0
"""Twilio answers a request within some 100 ms."""
EVENTS = ("initiated", "ringing", "answered", "completed")

_GONE = 404
_FIXES = {
    20003: "Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.",
    20429: "Twilio makes one call a second unless the account was given more.",
    21210: "Verify the number that you call from with Twilio, or use one that you rent there.",
    21211: "Twilio does not take the number that you call.",
    21212: "Twilio does not take the number that you call from.",
    21214: "The number that you call cannot be reached.",
    21215: "Allow calls to this country in the account's geographic permissions.",
    21217: "The number that you call is none.",
    21219: "A trial account calls verified numbers only.",
}


class TwilioRest:
    """One account's REST."""

    def __init__(self, account_sid: str, auth_token: str, base_url: str = "") -> None:
        self._account_sid = account_sid
        self._auth_token = auth_token
        self._base_url = base_url.rstrip("/")
        self._http: Any = None
        self._client: Any = None

    async def warm(self) -> None:
        """Load the SDK, off the loop: it takes 0.2 s."""
        await asyncio.to_thread(__import__, "twilio.rest")

    async def create(self, placement: Placement, *, answer_url: str, status_url: str) -> str:
        """Make a call; returns its SID. Raises CarrierError."""
        calls = self._made().calls
        made = await self._asked(
            calls.create_async(
                to=placement.to_number,
                from_=placement.from_number,
                url=answer_url,
                method="POST",
                status_callback=status_url,
                status_callback_method="POST",
                status_callback_event=list(EVENTS),
                timeout=placement.ring_s,
            )
        )
        return str(made.sid)

    async def end(self, sid: str) -> None:
        """End a call in whatever state; one that is gone is ended. Raises CarrierError."""
        try:
            await self._asked(self._made().calls(sid).update_async(status="completed"))
        except CarrierError as error:
            if error.code != "call_gone":
                raise

    async def close(self) -> None:
        """Let the connections go."""
        http, self._http, self._client = self._http, None, None
        if http is not None:
            await http.close()

    def _made(self) -> Any:
        if self._client is None:
            from twilio.http.async_http_client import AsyncTwilioHttpClient
            from twilio.rest import Client

            self._http = AsyncTwilioHttpClient(timeout=LIMIT_S)
            self._client = Client(self._account_sid, self._auth_token, http_client=self._http)
            if self._base_url:
                self._client.api.base_url = self._base_url
        return self._client

    async def _asked(self, request: Any) -> Any:
        from aiohttp import ClientConnectorError, ClientError
        from twilio.base.exceptions import TwilioException, TwilioRestException

        try:
            # The client's own limit does not hold for all that it waits for.
            async with asyncio.timeout(LIMIT_S):
                return await request
        except TwilioRestException as error:
            raise _refused(error.status, error.code) from error
        except ClientConnectorError as error:
            raise CarrierError(
                "connect",
                "Twilio cannot be reached.",
                where="twilio",
                fix="Check that this machine reaches api.twilio.com, or TWILIO_BASE_URL.",
                retryable=True,
            ) from error
        except (ClientError, TimeoutError, TwilioException, ValueError) as error:
            raise _unknown(type(error).__name__) from error


def _refused(status: int, code: int | None) -> CarrierError:
    """Twilio's own refusal. Its sentence holds numbers, so only its code is told."""
    if status == _GONE:
        return CarrierError("call_gone", "Twilio has no such call.", where="twilio")
    if status >= 500 and status != 503:
        return _unknown(f"HTTP {status}")
    kind = {401: "auth", 403: "auth", 429: "rate_limit", 503: "unavailable"}.get(status, "refused")
    return CarrierError(
        kind,
        f"Twilio did not take the request (HTTP {status}, error {code or 'unknown'}).",
        where="twilio",
        fix=_FIXES.get(code or 0, f"See twilio.com/docs/api/errors/{code}." if code else ""),
        retryable=status in (429, 503),
    )


def _unknown(what: str) -> CarrierError:
    return CarrierError(
        "placing_unknown",
        f"Twilio's answer was lost ({what}): nobody knows whether it did what was asked.",
        where="twilio",
        fix="A call that rings all the same is hung up when it is answered. Look before you ask"
        " again.",
    )
