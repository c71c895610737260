"""Makes calls: the attempt is stored, then the carrier is asked, then its id is noted.

So nothing rings of which no row knows; a call that the carrier does not make is `failed`. Where the
carrier's answer is lost nobody knows whether it rings: the row is `failed` all the same, and who
answers then is hung up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from flowengine.errors import CallError, CarrierError
from flowengine.ids import CallId
from flowengine.ports import CallRow, CallStore, Placement, PlacingCarrier
from flowengine.runtime.supervisor import Begin, Supervisor

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A call to be made: what it runs, from and to which number, and how long it may ring."""

    begin: Begin
    from_number: str
    to_number: str
    ring_s: int


class Placing:
    """Makes calls, and ends those that no bot of ours is in."""

    def __init__(
        self, supervisor: Supervisor, store: CallStore, carriers: Sequence[object]
    ) -> None:
        self._supervisor = supervisor
        self._store = store
        self._carriers: Mapping[str, PlacingCarrier] = {
            carrier.name: carrier
            for carrier in carriers
            if isinstance(carrier, PlacingCarrier) and carrier.can_place
        }

    async def place(self, order: Order) -> CallRow:
        """Make a call. Raises CarrierError (`cannot_place` when none can), CallError, StoreError.

        A CarrierError of a call that was stored has its id as `where`.
        """
        carrier = self._carrier()
        row = self._supervisor.place_for(
            order.begin, carrier.name, order.from_number, order.to_number, order.ring_s
        )
        try:
            await self._store.add_call(row)
        except BaseException:
            self._supervisor.forget(row.id)
            raise
        self._supervisor.tell_status(row)
        try:
            sid = await carrier.place(
                Placement(row.id, row.from_number, row.to_number, order.ring_s)
            )
        except CarrierError as error:
            log.warning("call_not_placed", call=row.id, carrier=carrier.name, code=error.code)
            await self._supervisor.give_up(row, "fail", "not_placed")
            error.where = row.id
            raise
        row = replace(row, carrier_sid=sid)
        # The carrier may have told of the call before it answered us: then this is known.
        if await self._store.set_sid(row.id, sid):
            self._supervisor.made(row)
        return row

    async def end(self, call_id: CallId, disposition: str) -> None:
        """End a call that rings, or whose caller is joined with somebody else.

        Raises CallError, CarrierError, StoreError.
        """
        row = await self._store.call(call_id)
        carrier = None if row is None else self._carriers.get(row.carrier)
        if row is None or carrier is None or not row.carrier_sid:
            raise CallError(
                "cannot_end",
                "No bot is on this call's line, and its carrier cannot be asked to end it.",
                where=call_id,
                fix="Wait until it is answered or back; for Twilio set TWILIO_ACCOUNT_SID.",
            )
        await carrier.end(row.carrier_sid)
        if row.status == "transferring":
            await self._supervisor.give_up(row, "complete", disposition or "ended")
        else:
            await self._supervisor.give_up(row, "cancel", disposition or "canceled")

    async def warm(self) -> None:
        """Load what the first call would wait for."""
        for carrier in self._carriers.values():
            await carrier.warm()

    async def close(self) -> None:
        """Let the carriers' connections go."""
        for carrier in self._carriers.values():
            await carrier.close()

    def _carrier(self) -> PlacingCarrier:
        for carrier in self._carriers.values():
            return carrier
        raise CarrierError(
            "cannot_place",
            "No carrier of this server can make calls.",
            fix="For Twilio set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and FLOWENGINE_PUBLIC_URL.",
        )
