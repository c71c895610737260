"""Twilio: signed webhooks in, TwiML out, and the media stream's door.

A call: `POST /twilio/voice` is answered with `<Connect><Stream>` and a `<Redirect>` behind it;
Twilio opens `/twilio/media` and hands in the token; when the media phase ends we close the
socket, Twilio follows the redirect to `/twilio/next`, and what comes next is asked of the
switchboard. That the redirect always stands there also covers a stream that breaks.

Every webhook is checked against `X-Twilio-Signature` over the public address. For the stream the
one-use token is the gate. The handshake's signature is the second check: it is made over the
very address that our TwiML carried, when the header is there; absent, the token alone decides;
present and wrong, the handshake is refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlencode, urlsplit

import structlog
from twilio.request_validator import (
    HMAC_SHA1,
    HMAC_SHA256,
    RequestValidator,
    get_signature_algorithm,
)
from twilio.twiml.voice_response import Dial as DialVerb
from twilio.twiml.voice_response import VoiceResponse

from flowengine.carriers.twilio_line import Refusals, TwilioLine, close_quietly
from flowengine.carriers.twilio_rest import TwilioRest
from flowengine.carriers.twilio_wire import Refusal, Started, parse
from flowengine.errors import CallError, CarrierError, FlowengineError
from flowengine.ids import CallId
from flowengine.ports import (
    CallOffer,
    Carrier,
    Dial,
    DialReport,
    HangUp,
    HttpReply,
    HttpRequest,
    NextStep,
    Placement,
    Reconnect,
    Refuse,
    Socket,
    SocketHandler,
    StreamTicket,
    Switchboard,
    Webhook,
)
from flowengine.settings import Settings, socket_url
from flowengine.tokens import call_id_of

START_LIMIT_S = 10.0
"""Twilio sends `start` right after the handshake."""

APOLOGY = "We are sorry, this call cannot go on. Please call again later."
"""Spoken by Twilio itself when the engine cannot say what comes next."""

_SID = re.compile(r"[A-Za-z0-9_-]{2,64}")
_OUR_ID = re.compile(r"call_[A-Za-z0-9_]{1,60}")
_CALL = "call"
"""The query's name of it."""
_SIP_HEADER = "SipHeader_"
_LONGEST_ADDRESS = 256
_CALL_STATUSES = frozenset(
    ("queued", "initiated", "ringing", "in-progress", "answered")
    + ("completed", "busy", "failed", "no-answer", "canceled")
)
_DIAL_STATUSES = frozenset(("completed", "answered", "busy", "no-answer", "failed", "canceled"))

_POLICY_VIOLATION, _UNSUPPORTED_DATA = 1008, 1003

log = structlog.get_logger(__name__)


class _Malformed(Exception):
    """A webhook's form lacks what it must hold; the text says which field."""


class _Form:
    """A form as Twilio's validator wants it: repeated names and blank values count."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def getlist(self, name: str) -> list[str]:
        return self._values[name]

    def get(self, name: str) -> str:
        """The first value, empty when there is none."""
        return self._values.get(name, [""])[0]

    def sid(self) -> str:
        value = self.get("CallSid")
        if not _SID.fullmatch(value):
            raise _Malformed("CallSid is missing or malformed")
        return value

    def address(self, name: str) -> str:
        value = self.get(name)
        if len(value) > _LONGEST_ADDRESS:
            raise _Malformed(f"{name} is too long")
        return value

    def sip_headers(self) -> dict[str, str]:
        """A SIP caller's own headers (`X-…`), as Twilio hands them on."""
        return {
            name.removeprefix(_SIP_HEADER).lower(): values[0]
            for name, values in self._values.items()
            if name.startswith(_SIP_HEADER) and len(values[0]) <= _LONGEST_ADDRESS
        }

    def number(self, name: str) -> int:
        value = self.get(name)
        if value and not re.fullmatch(r"[0-9]{1,9}", value):
            raise _Malformed(f"{name} is no whole number")
        return int(value or "0")

    def one_of(self, name: str, allowed: frozenset[str]) -> str:
        value = self.get(name)
        if value not in allowed:
            raise _Malformed(f"{name} is missing or unknown")
        return value


class TwilioCarrier:
    """Twilio's control side, for one account and one public address."""

    name = "twilio"

    def __init__(
        self,
        switchboard: Switchboard,
        *,
        public_url: str,
        auth_token: str,
        account_sid: str = "",
        rest_url: str = "",
    ) -> None:
        """Without `account_sid` it answers calls and makes none."""
        self._rest = TwilioRest(account_sid, auth_token, rest_url) if account_sid else None
        self._switchboard = switchboard
        self._base_url = f"{public_url.rstrip('/')}/{self.name}"
        self._validator = RequestValidator(auth_token)

    def webhooks(self) -> Mapping[str, Webhook]:
        return {
            "voice": self._voice,
            "next": self._next,
            "status": self._status,
            "recording": self._recording,
        }

    def sockets(self) -> Mapping[str, SocketHandler]:
        return {"media": self._media}

    # --- calls that we make ---

    @property
    def can_place(self) -> bool:
        return self._rest is not None

    async def place(self, placement: Placement) -> str:
        ours = urlencode({_CALL: placement.call_id})
        return await self._made().create(
            placement,
            answer_url=f"{self._base_url}/voice?{ours}",
            status_url=f"{self._base_url}/status?{ours}",
        )

    async def end(self, carrier_sid: str) -> None:
        await self._made().end(carrier_sid)

    async def warm(self) -> None:
        await self._made().warm()

    async def close(self) -> None:
        if self._rest is not None:
            await self._rest.close()

    def _made(self) -> TwilioRest:
        if self._rest is None:
            raise CarrierError(
                "cannot_place",
                "Twilio is set up to answer calls only.",
                where=self.name,
                fix="Set TWILIO_ACCOUNT_SID.",
            )
        return self._rest

    # --- webhooks ---

    async def _voice(self, request: HttpRequest) -> HttpReply:
        return await self._answer("voice", request)

    async def _next(self, request: HttpRequest) -> HttpReply:
        return await self._answer("next", request)

    async def _status(self, request: HttpRequest) -> HttpReply:
        return await self._answer("status", request)

    async def _recording(self, request: HttpRequest) -> HttpReply:
        return await self._answer("recording", request)

    async def _answer(self, hook: str, request: HttpRequest) -> HttpReply:
        """Check the signature, then the form, then do what the webhook is for."""
        form = _Form(request.form)
        if not self._is_signed(hook, request, form):
            log.warning("webhook refused", carrier=self.name, hook=hook, reason="bad_signature")
            return _plain(403, "The request is not signed by Twilio for this address.")
        try:
            return await self._act(hook, form, _our_id(request))
        except _Malformed as error:
            log.warning("webhook refused", carrier=self.name, hook=hook, reason=str(error))
            return _plain(400, f"The form is malformed: {error}.")
        except FlowengineError as error:
            log.error("webhook failed", carrier=self.name, hook=hook, code=error.code)
            return _twiml_of(Refuse("rejected", APOLOGY), self._base_url, answered=True)

    async def _act(self, hook: str, form: _Form, call_id: CallId) -> HttpReply:
        sid = form.sid()
        if hook == "voice":
            step = await self._switchboard.offered(_offer(sid, form, call_id))
            return _twiml_of(step, self._base_url, answered=False)
        if hook == "next":
            report = _dial_report(form)
            try:
                step = await self._switchboard.next_step(sid, report)
            except CallError as error:
                log.warning("call is unknown", carrier=self.name, hook=hook, code=error.code)
                step = HangUp()
            return _twiml_of(step, self._base_url, answered=True)
        if hook == "status":
            await self._report(sid, form, call_id)
        return HttpReply(204)

    async def _report(self, sid: str, form: _Form, call_id: CallId) -> None:
        status = form.one_of("CallStatus", _CALL_STATUSES)
        sequence = form.number("SequenceNumber")
        try:
            await self._switchboard.reported(sid, status, sequence, call_id)
        except FlowengineError as error:
            log.warning("status not taken", carrier=self.name, code=error.code)

    def _is_signed(self, hook: str, request: HttpRequest, form: _Form) -> bool:
        """Over our public address: what a proxy made of it does not matter."""
        query = urlsplit(request.url).query
        url = f"{self._base_url}/{hook}" + (f"?{query}" if query else "")
        return self._verifies(url, form, request.headers)

    def _verifies(self, url: str, form: _Form | None, headers: Mapping[str, str]) -> bool:
        algorithm = get_signature_algorithm(headers.get("x-twilio-webhooks-signature-settings"))
        if algorithm.upper() not in (HMAC_SHA1, HMAC_SHA256):
            return False
        signature = headers.get("x-twilio-signature", "")
        return bool(self._validator.validate(url, form, signature, algorithm))

    # --- the media stream ---

    async def _media(self, socket: Socket) -> None:
        """Let a stream in and run the call over it; returns when its media phase is over."""
        url = f"{socket_url(self._base_url)}/media"
        if "x-twilio-signature" in socket.headers and not self._verifies(url, None, socket.headers):
            log.warning("stream refused", carrier=self.name, reason="bad_signature")
            await close_quietly(socket, _POLICY_VIOLATION, "bad signature")
            return
        refusals = Refusals()
        try:
            await socket.accept()
            started = await self._start(socket, refusals)
        except CarrierError as error:
            log.info("stream lost before its start", carrier=self.name, code=error.code)
            return
        if started is not None:
            await self._run(socket, started, refusals)

    async def _start(self, socket: Socket, refusals: Refusals) -> Started | None:
        """The stream's `start`; None when it did not come, or not in a form that we speak."""
        try:
            async with asyncio.timeout(START_LIMIT_S):
                started = await _wait_for_start(socket, refusals)
        except TimeoutError:
            log.warning("stream refused", carrier=self.name, reason="no_start")
            await close_quietly(socket, _POLICY_VIOLATION, "no start")
            return None
        if started is not None and started.format:
            log.warning(
                "stream refused",
                carrier=self.name,
                reason="media_format",
                offered=started.format,
                call=call_id_of(started.token),
            )
            await close_quietly(socket, _UNSUPPORTED_DATA, "audio/x-mulaw at 8000 Hz only")
            return None
        return started

    async def _run(self, socket: Socket, started: Started, refusals: Refusals) -> None:
        call_id = call_id_of(started.token)
        refusals.belong_to(call_id)
        line = TwilioLine(socket, started, refusals)
        try:
            await self._switchboard.stream_opened(
                StreamTicket(call_id, started.token, started.call_sid), line
            )
        except CallError as error:
            if error.code != "bad_token":
                raise
            log.warning("stream refused", carrier=self.name, reason="bad_token", call=call_id)
            await close_quietly(socket, _POLICY_VIOLATION, "bad token")
        finally:
            await line.close()


def from_settings(settings: Settings, switchboard: Switchboard) -> Carrier | None:
    """The carrier if Twilio is set up: without its token or our address nothing can be checked."""
    token = settings.twilio_auth_token.get_secret_value()
    if not token or not settings.public_url:
        return None
    return TwilioCarrier(
        switchboard,
        public_url=settings.public_url,
        auth_token=token,
        account_sid=settings.twilio_account_sid,
        rest_url=settings.provider_settings().get("TWILIO_BASE_URL", ""),
    )


async def _wait_for_start(socket: Socket, refusals: Refusals) -> Started | None:
    while (message := await socket.receive()) is not None:
        event = parse(message, "")
        if isinstance(event, Started):
            return event
        if isinstance(event, Refusal):
            refusals.add(event.kind)
    return None


def _our_id(request: HttpRequest) -> CallId:
    """Our own id of a call that we made, which its addresses carry; "" for any other."""
    found = next((value for name, value in request.query if name == _CALL), "")
    return CallId(found if _OUR_ID.fullmatch(found) else "")


def _offer(sid: str, form: _Form, call_id: CallId) -> CallOffer:
    is_outbound = form.get("Direction").startswith("outbound")
    return CallOffer(
        carrier="twilio",
        carrier_sid=sid,
        direction="outbound" if is_outbound else "inbound",
        from_number=form.address("From"),
        to_number=form.address("To"),
        call_id=call_id,
        headers=form.sip_headers(),
    )


def _dial_report(form: _Form) -> DialReport | None:
    if not form.get("DialCallStatus"):
        return None
    status = form.one_of("DialCallStatus", _DIAL_STATUSES)
    return DialReport(status, form.number("DialCallDuration"))


def _plain(status: int, text: str) -> HttpReply:
    return HttpReply(status, text, "text/plain; charset=utf-8")


def _twiml_of(step: NextStep, base_url: str, *, answered: bool) -> HttpReply:
    """A step as TwiML; an `answered` call can no longer be rejected, only ended."""
    response = VoiceResponse()
    next_url = f"{base_url}/next"
    match step:
        case Reconnect(ticket):
            stream = response.connect().stream(url=f"{socket_url(base_url)}/media")
            stream.parameter(name="token", value=ticket.token)
            response.redirect(next_url, method="POST")
        case Dial():
            response.append(_dial(step, next_url))
        case Refuse(reason, say):
            if say:
                response.say(say)
            if say or answered:
                response.hangup()
            else:
                response.reject(reason=reason)
        case HangUp():
            response.hangup()
    return HttpReply(200, str(response))


def _dial(step: Dial, next_url: str) -> DialVerb:
    """`<Dial>` whose `action` brings the call back to us when the other side has left."""
    dial = DialVerb(
        action=next_url,
        method="POST",
        timeout=step.ring_s,
        time_limit=step.longest_s or None,
        caller_id=step.caller_id or None,
    )
    if step.to.startswith(("sip:", "sips:")):
        dial.sip(step.to)
    else:
        dial.number(step.to, send_digits=step.press or None)
    return dial
