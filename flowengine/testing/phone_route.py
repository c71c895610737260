"""The carrier's part of a simulated call: webhooks out, TwiML in, verb after verb.

As Twilio documents it: a media stream blocks its document until the server closes the socket,
then the next verb runs; a document without one more verb ends the call.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlencode, urljoin

import httpx2

from flowengine.errors import CarrierError
from flowengine.testing.phone_stream import PhoneStream, StreamHooks, StreamNames
from flowengine.testing.phone_twiml import BadTwiml, Verb, read_twiml

WEBHOOK_LIMIT_S = 15.0
"""Twilio waits so long for an answer."""

_MOST_DOCUMENTS = 100
_ACCOUNT_SID = "AC" + "0" * 32

Form = Sequence[tuple[str, str]]


def sign(auth_token: str, url: str, form: Iterable[tuple[str, str]] = ()) -> str:
    """Twilio's signature: HMAC-SHA1 over the URL and the sorted fields, in base64."""
    text = url + "".join(name + value for name, value in sorted(set(form)))
    return base64.b64encode(hmac.digest(auth_token.encode(), text.encode(), hashlib.sha1)).decode()


@dataclass(frozen=True, slots=True)
class DialPlan:
    """How somebody whom the call is transferred to behaves."""

    status: str = "completed"
    """What Twilio reports: `completed busy no-answer failed canceled`."""
    ring_s: float = 0.0
    talk_s: float = 0.0


@dataclass(slots=True, eq=False)
class PlacedCall:
    """A call that the engine had made, with what it was made with."""

    sid: str
    from_number: str
    to_number: str
    voice_url: str
    status_url: str
    events: tuple[str, ...] = ("completed",)
    """Of which the status address is told: `initiated ringing answered completed`."""
    ring_s: int = 60
    status: str = "queued"
    sequence: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the engine ended it by Twilio's REST."""


_EVENT_OF = {
    "initiated": "initiated",
    "ringing": "ringing",
    "in-progress": "answered",
}
"""The event that a status is told by; all others are `completed`."""


class Webhooks:
    """Sends signed webhooks; holds a connection pool while somebody is calling."""

    def __init__(self, base_url: str, auth_token: str) -> None:
        self.base_url = base_url
        self._auth_token = auth_token
        self._client: httpx2.AsyncClient | None = None
        self._users = 0

    async def __aenter__(self) -> Self:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=WEBHOOK_LIMIT_S, verify=self.base_url.startswith("https://")
            )
        self._users += 1
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._users -= 1
        client = self._client
        if not self._users and client is not None:
            self._client = None
            await client.aclose()

    async def post(self, url: str, form: Form) -> tuple[int, str]:
        """Send a form; status and body of the answer. Raises CarrierError(`connect`)."""
        if self._client is None:
            raise ValueError("webhooks are sent during calls only")
        headers = {
            "X-Twilio-Signature": sign(self._auth_token, url, form),
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        }
        try:
            reply = await self._client.post(url, content=urlencode(form), headers=headers)
        except httpx2.HTTPError as error:
            raise CarrierError("connect", f"11200 {type(error).__name__}", where=url) from error
        return reply.status_code, reply.text

    def stream_headers(self, url: str) -> dict[str, str]:
        """What the handshake of a media stream carries."""
        return {"X-Twilio-Signature": sign(self._auth_token, url)}


class Route:
    """One call's way through the engine's TwiML; `changed`: a stream has opened or ended."""

    def __init__(
        self,
        webhooks: Webhooks,
        numbers: tuple[str, str],
        dials: Sequence[DialPlan],
        hooks: StreamHooks,
        changed: Callable[[], None],
        placed: PlacedCall | None = None,
    ) -> None:
        """`placed`: the call that is answered; None for one that rings the engine."""
        self.call_sid = "CA" + secrets.token_hex(16) if placed is None else placed.sid
        self._placed = placed
        self.verbs: list[Verb] = []
        self.stream: PhoneStream | None = None
        self._webhooks = webhooks
        self._form = [
            ("AccountSid", _ACCOUNT_SID),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", self.call_sid),
            ("CallerName", ""),
            ("Direction", "inbound" if placed is None else "outbound-api"),
            ("From", numbers[0]),
            ("To", numbers[1]),
        ]
        self._dials = deque(dials)
        self._hooks = hooks
        self._changed = changed
        self._hung_up = asyncio.Event()
        self._began_s = asyncio.get_running_loop().time()

    async def ring(self) -> list[Verb] | None:
        """Post the voice webhook; None when it is not answered with TwiML."""
        if self._placed is None:
            return await self._fetch(self._voice_url, "ringing")
        for status in ("initiated", "ringing"):
            await self._report(status)
        self._placed.status = "in-progress"
        verbs = await self._fetch(self._voice_url, "in-progress")
        await self._report("in-progress")
        return verbs

    async def miss(self, status: str) -> None:
        """Nobody takes the call that was placed: `busy`, `no-answer`, `failed`, `canceled`."""
        for told in ("initiated", "ringing", status):
            await self._report(told)

    def hang_up(self) -> None:
        """The caller puts the receiver down."""
        self._hung_up.set()
        if self.stream is not None and self.stream.is_open:
            self.stream.stop()

    @property
    def _voice_url(self) -> str:
        if self._placed is not None:
            return self._placed.voice_url
        return f"{self._webhooks.base_url}/twilio/voice"

    async def follow(self, verbs: list[Verb] | None) -> None:
        """Follow TwiML, document after document, until nothing is left to do."""
        url = self._voice_url
        for _ in range(_MOST_DOCUMENTS):
            target = await self._document(verbs or [])
            if target is None or self._hung_up.is_set():
                break
            url = urljoin(url, target[0])
            verbs = await self._fetch(url, "in-progress", target[1])
        else:
            self._hooks.fault("too many TwiML documents")
        await self._report_end()

    async def _document(self, verbs: list[Verb]) -> tuple[str, list[tuple[str, str]]] | None:
        """Follow one document; where the next one is and what to post there, or None."""
        for verb in verbs:
            self.verbs.append(verb)
            if verb.name in ("Hangup", "Reject"):
                return None
            if verb.name == "Redirect":
                return verb.text, []
            if verb.name == "Connect":
                await self._connect(verb)
            elif verb.name == "Pause":
                await self._unless_hung_up(float(verb.attributes.get("length", "1")))
            elif verb.name == "Dial":
                fields = await self._dial()
                if "action" in verb.attributes and not self._hung_up.is_set():
                    return verb.attributes["action"], fields
            if self._hung_up.is_set():
                return None
        return None

    async def _connect(self, verb: Verb) -> None:
        """Hold a media stream until it is closed; one that does not open is passed over."""
        url = verb.noun_attributes["url"]
        names = StreamNames(_ACCOUNT_SID, self.call_sid, "MZ" + secrets.token_hex(16))
        stream = PhoneStream(names, self._hooks)
        try:
            await stream.open(url, self._webhooks.stream_headers(url), verb.parameters)
        except CarrierError as error:
            self._hooks.fault(f"31920 {error.what}")
            return
        self.stream = stream
        self._changed()
        if self._hung_up.is_set():
            stream.stop()
        code = await stream.socket.closed
        self.stream = None
        self._changed()
        if code not in (1000, 1001) and not self._hung_up.is_set():
            self._hooks.fault(f"31924 the stream was closed with {code}")

    async def _dial(self) -> list[tuple[str, str]]:
        """Ring whom the call is transferred to; what the `action` is told."""
        plan = self._dials.popleft() if self._dials else DialPlan()
        await self._unless_hung_up(plan.ring_s)
        if plan.status == "completed":
            await self._unless_hung_up(plan.talk_s)
        fields = [("DialCallStatus", plan.status), ("DialCallSid", "CA" + secrets.token_hex(16))]
        if plan.status == "completed":
            fields.append(("DialCallDuration", str(round(plan.talk_s))))
        return fields

    async def _unless_hung_up(self, duration_s: float) -> None:
        try:
            async with asyncio.timeout(duration_s):
                await self._hung_up.wait()
        except TimeoutError:
            return

    async def _fetch(
        self, url: str, status: str, extra: Sequence[tuple[str, str]] = ()
    ) -> list[Verb] | None:
        """The TwiML behind a URL; None, with a fault on record, when there is none."""
        try:
            code, body = await self._webhooks.post(
                url, [*self._form, ("CallStatus", status), *extra]
            )
            if code != 200:
                raise BadTwiml(f"11200 HTTP status {code}")
            return read_twiml(body)
        except (CarrierError, BadTwiml) as error:
            what = error.what if isinstance(error, CarrierError) else str(error)
            self._hooks.fault(what)
            return None

    async def _report_end(self) -> None:
        """Post the status callback that the number, or the call, is set up with."""
        lasted_s = asyncio.get_running_loop().time() - self._began_s
        await self._report("completed", [("CallDuration", str(round(lasted_s)))])

    async def _report(self, status: str, more: Sequence[tuple[str, str]] = ()) -> None:
        placed, sequence = self._placed, 0
        url = f"{self._webhooks.base_url}/twilio/status"
        if placed is not None:
            placed.status = status
            sequence, placed.sequence = placed.sequence, placed.sequence + 1
            url = placed.status_url
            if _EVENT_OF.get(status, "completed") not in placed.events:
                return
        form = [
            *self._form,
            ("CallStatus", status),
            *more,
            ("SequenceNumber", str(sequence)),
        ]
        try:
            code, _ = await self._webhooks.post(url, form)
        except CarrierError as error:
            self._hooks.fault(error.what)
        else:
            if code >= 300:
                self._hooks.fault(f"11200 HTTP status {code} for a status callback")
