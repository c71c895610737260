"""What the engine needs of carriers, and they of it: lines, webhooks, the switchboard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from flowengine.ids import CallId

# --- the line and the carrier ---


@dataclass(frozen=True, slots=True)
class LineAudio:
    """Audio of the caller."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class LineDigit:
    """A key that the caller pressed."""

    digit: str


@dataclass(frozen=True, slots=True)
class LineMark:
    """A mark came back; whether it was played or cleared is for the playback to know."""

    name: str


@dataclass(frozen=True, slots=True)
class LineStopped:
    """The stream is over: `hung_up` when the carrier said so, `lost` when it broke."""

    reason: Literal["hung_up", "lost"]


LineEvent = LineAudio | LineDigit | LineMark | LineStopped


class Line(Protocol):
    """The media of one call, as the carrier's stream carries it.

    Sends are bounded (5 s) and raise CarrierError(`line_lost`) when the far end is gone.
    """

    def events(self) -> AsyncIterator[LineEvent]:
        """What comes from the far end, until and including `LineStopped`."""
        ...

    async def send_audio(self, audio: bytes) -> None:
        """Queue audio at the carrier; any length."""
        ...

    async def send_mark(self, name: str) -> None:
        """Ask to be told when what was sent before has been played."""
        ...

    async def clear(self) -> None:
        """Throw away what the carrier has not played yet."""
        ...

    async def close(self) -> None:
        """End the media phase; the carrier then asks what comes next. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A webhook request: `url` is the public one that the sender used, `form` in order."""

    method: str
    url: str
    headers: Mapping[str, str]
    """Names in lower case."""
    form: Sequence[tuple[str, str]]
    query: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a webhook answers."""

    status: int
    body: str = ""
    content_type: str = "text/xml"


class Socket(Protocol):
    """A WebSocket that a carrier opened to us."""

    headers: Mapping[str, str]
    url: str

    async def accept(self) -> None: ...
    async def receive(self) -> str | bytes | None:
        """The next message; None when the peer closed in order.

        Raises CarrierError(`line_lost`).
        """
        ...

    async def send(self, text: str) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


Webhook = Callable[[HttpRequest], Awaitable[HttpReply]]
SocketHandler = Callable[[Socket], Awaitable[None]]


class Carrier(Protocol):
    """A phone company's control side. `api` mounts what it declares under `/<name>/…`."""

    name: str

    def webhooks(self) -> Mapping[str, Webhook]:
        """POST handlers by path below the carrier's name, for example `voice`."""
        ...

    def sockets(self) -> Mapping[str, SocketHandler]:
        """WebSocket handlers by path below the carrier's name, for example `media`."""
        ...


# --- what a carrier asks of the engine ---


@dataclass(frozen=True, slots=True)
class CallOffer:
    """A call that a carrier offers: `carrier_sid` is the carrier's own id of it."""

    carrier: str
    carrier_sid: str
    direction: Literal["inbound", "outbound"]
    from_number: str
    to_number: str
    call_id: CallId = CallId("")
    """Ours, of a call that we placed: somebody has answered it."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of a call that came by SIP; names in lower case."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A call to be made. The carrier brings `call_id` back with everything it tells of it."""

    call_id: CallId
    from_number: str
    to_number: str
    ring_s: int


@runtime_checkable
class PlacingCarrier(Protocol):
    """What a carrier has that can make calls too.

    Its methods raise CarrierError; `placing_unknown` when nobody knows whether it was made.
    """

    name: str
    can_place: bool
    """Whether it is set up for it."""

    async def place(self, placement: Placement) -> str:
        """Make a call; returns the carrier's id of it."""
        ...

    async def end(self, carrier_sid: str) -> None:
        """End a call that is not on our line: it rings, or is joined with somebody else."""
        ...

    async def warm(self) -> None:
        """Load what the first call would wait for."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamTicket:
    """Leave to open one media stream for a call; `token` works once."""

    call_id: CallId
    token: str
    carrier_sid: str = ""
    """The carrier's id of the call, as the stream says; "" when it says nothing."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Next step: the carrier calls `to` and joins the caller to it (`bridge`)."""

    to: str
    ring_s: int
    longest_s: int
    caller_id: str
    press: str = ""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Next step: the carrier ends the call."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Next step: the carrier opens a new media stream with this ticket."""

    ticket: StreamTicket


@dataclass(frozen=True, slots=True)
class Refuse:
    """The call cannot be taken: `busy` (come back later) or `rejected`."""

    reason: Literal["busy", "rejected"]
    say: str = ""


NextStep = Dial | HangUp | Reconnect | Refuse


@dataclass(frozen=True, slots=True)
class DialReport:
    """How the carrier's `Dial` went: `completed busy no-answer failed canceled answered`."""

    status: str
    seconds: int = 0


class Switchboard(Protocol):
    """What the engine does for carriers; every method may be called by any worker."""

    async def offered(self, offer: CallOffer) -> NextStep:
        """A new call: admit it (`Reconnect` with a ticket) or refuse it.

        The same offer again (a webhook retried) gives the same call a fresh ticket.
        """
        ...

    async def stream_opened(self, ticket: StreamTicket, line: Line) -> None:
        """Run the call over `line` until its media phase ends.

        Raises CallError(`bad_token`) before anything is opened when the ticket is wrong, used
        or too old.
        """
        ...

    async def next_step(self, carrier_sid: str, dial: DialReport | None) -> NextStep:
        """The media phase is over, or a `Dial` is: what comes next."""
        ...

    async def reported(
        self, carrier_sid: str, status: str, sequence: int, call_id: CallId = CallId("")
    ) -> None:
        """The carrier's status of a call; late and repeated ones are ignored with a record.

        `call_id`: ours, of a call that we placed; it may come before the carrier's answer to us.
        """
        ...
