"""Twilio's REST on loopback, as its official SDK asks it: calls made, looked at, ended.

What was asked for stands in `calls`; that somebody answers is the phone's part
(`Phone.answers`, `Phone.misses`), which calls the addresses that the call was made with.

    async with FakeTwilioRest(account_sid, auth_token) as twilio:
        …  # the engine's TWILIO_BASE_URL is twilio.url
        await twilio.until(lambda: bool(twilio.calls))
        async with phone.answers(twilio.calls[0]) as call:
            await call.hears()
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flowengine.testing.phone_route import PlacedCall
from flowengine.testing.providers.serving import FakeVendor

_ROOT = "/2010-04-01/Accounts/{account}"
_NUMBER = re.compile(r"\+[1-9][0-9]{5,14}")
_EVENTS = frozenset(("initiated", "ringing", "answered", "completed"))
_OVER = frozenset(("completed", "busy", "no-answer", "failed", "canceled"))
_FIELDS = frozenset(
    ("To", "From", "Url", "Method", "StatusCallback", "StatusCallbackMethod")
    + ("StatusCallbackEvent", "Timeout")
)


class FakeTwilioRest(FakeVendor):
    """One account's `Calls.json`: create, fetch, update."""

    def __init__(self, account_sid: str, auth_token: str) -> None:
        super().__init__(
            [
                Route(f"{_ROOT}/Calls.json", self._create, methods=["POST"]),
                Route(f"{_ROOT}/Calls/{{sid}}.json", self._fetch, methods=["GET"]),
                Route(f"{_ROOT}/Calls/{{sid}}.json", self._update, methods=["POST"]),
            ]
        )
        self._account_sid = account_sid
        self._basic = base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self.calls: list[PlacedCall] = []

    def refusal(self, status: int) -> Response:
        code, message = {
            401: (20003, "Authenticate"),
            404: (20404, "The requested resource was not found"),
            429: (20429, "Too Many Requests"),
        }.get(status, (20500, "An internal server error has occurred"))
        return _error(status, code, message)

    async def _create(self, request: Request) -> Response:
        refused = self._stranger(request)
        if refused is not None:
            return refused
        form = parse_qs((await request.body()).decode(), keep_blank_values=True)
        unknown = set(form) - _FIELDS
        if unknown:
            self.violate(f"fields that the engine has no use for: {sorted(unknown)}")
        one = {name: values[0] for name, values in form.items()}
        wrong = _wrong(one, form.get("StatusCallbackEvent", []))
        if wrong is not None:
            return _error(400, *wrong)
        made = PlacedCall(
            sid="CA" + secrets.token_hex(16),
            from_number=one["From"],
            to_number=one["To"],
            voice_url=one["Url"],
            status_url=one.get("StatusCallback", ""),
            events=tuple(form.get("StatusCallbackEvent", ())),
            ring_s=int(one.get("Timeout", "60")),
        )
        self.calls.append(made)
        self.changed.set()
        return JSONResponse(self._shown(made), 201)

    async def _fetch(self, request: Request) -> Response:
        refused = self._stranger(request)
        made = self._found(request)
        if refused is not None or made is None:
            return refused or self.refusal(404)
        return JSONResponse(self._shown(made))

    async def _update(self, request: Request) -> Response:
        refused = self._stranger(request)
        made = self._found(request)
        if refused is not None or made is None:
            return refused or self.refusal(404)
        form = parse_qs((await request.body()).decode())
        wanted = form.get("Status", [""])[0]
        if wanted not in ("completed", "canceled"):
            return _error(400, 21220, "Invalid call state")
        if made.status in _OVER:
            return _error(400, 21220, "Call is not in-progress. Cannot redirect.")
        is_up = made.status == "in-progress"
        if wanted == "completed" or not is_up:
            made.status = "completed" if is_up else "canceled"
            made.hung_up.set()
        self.changed.set()
        return JSONResponse(self._shown(made))

    def _stranger(self, request: Request) -> Response | None:
        """The refusal of whoever is not this account."""
        given = request.headers.get("authorization", "")
        is_known = hmac.compare_digest(given, f"Basic {self._basic}")
        is_own = request.path_params["account"] == self._account_sid
        return None if is_known and is_own else self.refusal(401)

    def _found(self, request: Request) -> PlacedCall | None:
        sid = request.path_params["sid"]
        return next((made for made in self.calls if made.sid == sid), None)

    def _shown(self, made: PlacedCall) -> dict[str, object]:
        uri = f"/2010-04-01/Accounts/{self._account_sid}/Calls/{made.sid}.json"
        return {
            "sid": made.sid,
            "account_sid": self._account_sid,
            "to": made.to_number,
            "from": made.from_number,
            "status": made.status,
            "direction": "outbound-api",
            "api_version": "2010-04-01",
            "uri": uri,
            "subresource_uris": {},
        }


def _wrong(form: dict[str, str], events: list[str]) -> tuple[int, str] | None:
    """Twilio's number and sentence for what a form lacks."""
    if "To" not in form:
        return 21201, "No 'To' number is specified"
    if "From" not in form:
        return 21603, "No 'From' number is specified"
    if not _NUMBER.fullmatch(form["To"]):
        return 21211, f"The 'To' number {form['To']} is not a valid phone number."
    if not _NUMBER.fullmatch(form["From"]):
        return 21212, f"The 'From' number {form['From']} is not a valid phone number."
    if not form.get("Url", "").startswith(("http://", "https://")):
        return 21205, "Url is not a valid URL"
    if not set(events) <= _EVENTS:
        return 21626, "Invalid Status Callback Event"
    timeout = form.get("Timeout", "60")
    if not timeout.isdigit() or int(timeout) > 600:
        return 13214, "Invalid timeout"
    return None


def _error(status: int, code: int, message: str) -> Response:
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Response(orjson.dumps(body), status, media_type="application/json")
