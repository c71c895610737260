"""A small clinic's calendar over HTTP: free slots, bookings, cancellations; for the booking flow.

`python -m flowengine.testing.calendar_service` serves it on loopback. `Calendar.answer` is the same
service without a socket, for simulated calls. It keeps its bookings in memory.

    GET    /slots?day=2026-12-01   the day's free slots, at most four (what one can be read)
    GET    /next?after=2026-12-01  the first later day that has any, with its slots
    POST   /bookings               {"slot", "reason", "birth_date", "phone"} → 201 and a code; 409
    GET    /bookings/483920        what was booked under a code; 404
    DELETE /bookings/483920        cancels it
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPMethod, HTTPStatus

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flowengine.events import Json

HOST, PORT = "127.0.0.1", 8077
"""Where the booking flow looks for the service unless it is told otherwise."""

DOCTORS = ("Doctor Chen", "Doctor Patel")
HOURS = ("09:00", "10:30", "13:00", "14:30", "16:00")
MOST_SLOTS = 4
FURTHEST_DAYS = 90
"""How far ahead `/next` looks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body."""

    status: int
    body: Json


@dataclass(frozen=True, slots=True)
class Booking:
    """One appointment."""

    code: str
    slot: str
    reason: str
    birth_date: str
    phone: str

    @property
    def shown(self) -> dict[str, Json]:
        """What the service tells about it: nothing of the patient."""
        day, _, time = self.slot.partition("T")
        return {"code": self.code, "day": day, "time": time, "reason": self.reason}


class Refused(Exception):
    """A request that gets no more than a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.answer = Answer(status, {"error": reason})


@dataclass(slots=True)
class Calendar:
    """Who comes when. Open from Monday to Friday; one doctor in the morning, one after noon."""

    fully_booked: Collection[dt.date] = ()
    bookings: dict[str, Booking] = field(default_factory=dict)
    _by_key: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        key: str = "",
    ) -> Answer:
        """Answer a request; `key`: its Idempotency-Key, under which nothing is booked twice."""
        known = query or {}
        try:
            match method, *path.strip("/").split("/"):
                case HTTPMethod.GET, "slots":
                    return self._day(_date(known.get("day", "")))
                case HTTPMethod.GET, "next":
                    return self._next(_date(known.get("after", "")))
                case HTTPMethod.POST, "bookings":
                    return self._book(body if isinstance(body, Mapping) else {}, key)
                case HTTPMethod.GET, "bookings", code:
                    return Answer(HTTPStatus.OK, self._booked(code).shown)
                case HTTPMethod.DELETE, "bookings", code:
                    booking = self._booked(code)
                    del self.bookings[code]
                    return Answer(HTTPStatus.OK, booking.shown)
                case _:
                    raise Refused(HTTPStatus.NOT_FOUND, "no such page")
        except Refused as refused:
            return refused.answer

    def free(self, day: dt.date) -> list[dict[str, Json]]:
        """The free slots of a day, in the order in which they are offered."""
        if day.weekday() > 4 or day in self.fully_booked:
            return []
        taken = {booking.slot for booking in self.bookings.values()}
        slots = ((f"{day.isoformat()}T{hour}", hour) for hour in HOURS)
        return [
            {"id": slot, "time": hour, "doctor": DOCTORS[hour >= "12:00"]}
            for slot, hour in slots
            if slot not in taken
        ]

    def _day(self, day: dt.date) -> Answer:
        body = {"day": day.isoformat(), "slots": self.free(day)[:MOST_SLOTS]}
        return Answer(HTTPStatus.OK, body)

    def _next(self, after: dt.date) -> Answer:
        for ahead in range(1, FURTHEST_DAYS + 1):
            day = after + dt.timedelta(days=ahead)
            if self.free(day):
                return self._day(day)
        raise Refused(HTTPStatus.NOT_FOUND, "nothing free")

    def _book(self, wanted: Mapping[str, Json], key: str) -> Answer:
        if key in self._by_key:
            return Answer(HTTPStatus.CREATED, self._booked(self._by_key[key]).shown)
        slot = str(wanted.get("slot", ""))
        day = _date(slot.partition("T")[0])
        if slot not in [free["id"] for free in self.free(day)]:
            raise Refused(HTTPStatus.CONFLICT, "taken")
        details = {name: str(wanted.get(name) or "") for name in ("reason", "birth_date", "phone")}
        self._count += 1
        # Six digits that look like nothing, never twice the same: 7919 and 900,000 share no factor.
        code = str(100_000 + self._count * 7919 % 900_000)
        self.bookings[code] = booking = Booking(code, slot, **details)
        if key:
            self._by_key[key] = code
        return Answer(HTTPStatus.CREATED, booking.shown)

    def _booked(self, code: str) -> Booking:
        booking = self.bookings.get(code)
        if booking is None:
            raise Refused(HTTPStatus.NOT_FOUND, "no such booking")
        return booking


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "no date") from None


def application(calendar: Calendar | None = None) -> Starlette:
    """The service as an ASGI application."""
    book = calendar or Calendar()

    async def page(request: Request) -> Response:
        try:
            body = orjson.loads(await request.body() or b"null")
        except ValueError:
            answer = Answer(HTTPStatus.BAD_REQUEST, {"error": "no JSON"})
        else:
            key = request.headers.get("Idempotency-Key", "")
            query = dict(request.query_params)
            answer = book.answer(request.method, request.url.path, query, body, key)
        content = orjson.dumps(answer.body)
        return Response(content, answer.status, media_type="application/json")

    return Starlette(routes=[Route("/{rest:path}", page, methods=["GET", "POST", "DELETE"])])


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the calendar until it is stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m flowengine.testing.calendar_service",
        description="A clinic's calendar on loopback, for the appointments flow.",
    )
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument(
        "--full",
        type=dt.date.fromisoformat,
        nargs="*",
        default=[],
        metavar="DATE",
        help="days without a free slot, such as 2026-12-01",
    )
    chosen = parser.parse_args(arguments)
    uvicorn.run(application(Calendar(frozenset(chosen.full))), host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
