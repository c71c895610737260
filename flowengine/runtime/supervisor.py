"""Admits calls, hands out and checks stream tokens, runs calls, and says what comes next.

What a carrier is answered comes from the store, so that any worker can answer it: a crash, a
hand-over and a transfer that left our line are one path. A call's row holds `pending`, the step
for which it left its line; without one, a stream that ended has broken, and the call goes on from
its checkpoint on a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

import structlog

from flowengine.clock import Clock, RealClock
from flowengine.errors import CallError, FlowengineError, StoreError
from flowengine.events import (
    CalleeAnswered,
    Input,
    Json,
    LineOpened,
    MoveRefused,
    TransferEnded,
)
from flowengine.flow.program import Program
from flowengine.ids import DEFAULT_PROJECT, CallId, new_call_id
from flowengine.ports import (
    CallOffer,
    CallRow,
    CallStore,
    CommandPost,
    DialReport,
    HangUp,
    Line,
    NextStep,
    Reconnect,
    Refuse,
    StreamTicket,
)
from flowengine.runtime.actor import Actor, CallSetup
from flowengine.runtime.call import Call, CallOver, CallPlan, Watch
from flowengine.runtime.caller import facts_of
from flowengine.runtime.context import ServerDefaults
from flowengine.runtime.inputs import opened_inputs
from flowengine.runtime.journal import Journal, Kept, last_checkpoint
from flowengine.runtime.lifecycle import FINAL, Lifecycle, Status, Trigger
from flowengine.runtime.reach import Reach
from flowengine.runtime.services import Services
from flowengine.runtime.transfers import after_dial, dial_of, ends_without_media
from flowengine.tokens import STREAM_TOKEN_LIFE, StreamTokens, ValueCipher, new_nonce

END_S = 15.0
"""How long calls may take to end in order when the process stops."""

SETTLE_S = 5.0
"""A stream that is over writes its last records within this time; webhooks have 15 s."""
SUPERSEDED_S = 1.0
"""How long a new stream waits for the one that it takes over from, while the caller waits."""

MOST_STREAMS = 50
"""A call that broke so often is given up."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class House:
    """What the supervisor works with."""

    store: CallStore
    services_of: Callable[[CallRow], Awaitable[Services]]
    """What a call may use: a project's tools know its secrets. Raises StoreError."""
    server: ServerDefaults
    program_of: Callable[[CallRow], Awaitable[Program]]
    """The version that a call is pinned to. Raises FlowError, StoreError."""
    choose: Callable[[CallOffer, CallId], Awaitable[Begin | Refuse]]
    """What a new call runs. Raises FlowError, StoreError."""
    secret: str
    max_calls: int
    recordings: Path
    clock: Clock = field(default_factory=RealClock)
    watch: Watch | None = None
    tell: Callable[[CallRow, str, Mapping[str, Json]], None] = lambda row, type_, data: None
    """Takes what the world is told of a call: a type of `happenings.TYPES` and its data."""
    finished: Callable[[CallRow], None] = lambda row: None
    """Told once a call is over and its journal is written."""
    commands: CommandPost | None = None
    """How calls of other processes are reached; None: there are no others."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What a new call runs: a version of a flow, whose it is, and its inputs."""

    program: Program
    document: Mapping[str, Json]
    project_id: str = DEFAULT_PROJECT
    flow_version: int | None = None
    """Its number, when it was published to the store."""
    variables: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A call that runs now: what load is counted by."""

    to_number: str
    flow_id: str


class Supervisor:
    """The engine's `Switchboard`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._tokens = StreamTokens(house.secret)
        self._cipher = ValueCipher(house.secret)
        self._calls: dict[CallId, Call] = {}
        self.reach = Reach(self._calls, house.commands)
        """How a call is asked for something, whichever process holds it."""
        self._on_line: dict[CallId, CallRow] = {}
        self._settling: dict[CallId, asyncio.Event] = {}
        self._admitted: dict[CallId, float] = {}
        """Calls that were let in and have no stream yet: until when their place is kept."""
        self._rows: dict[CallId, CallRow] = {}
        self._lifecycles: dict[CallId, Lifecycle] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.is_draining = False
        self.carriers: Sequence[str] = ("twilio",)
        """Names of the carriers whose calls these may be."""

    # --- what the carriers ask ---

    async def offered(self, offer: CallOffer) -> NextStep:
        if offer.call_id:
            return await self._answered(offer)
        store = self._house.store
        row = await store.call_by_sid(offer.carrier, offer.carrier_sid)
        if row is not None:
            return HangUp() if row.status in FINAL else await self._ticket(row.id)
        if self.is_draining or self.live_calls >= self._house.max_calls:
            log.warning("call_refused", reason="draining" if self.is_draining else "max_calls")
            return Refuse("busy")
        call_id = new_call_id()
        begin = await self._house.choose(offer, call_id)
        if isinstance(begin, Refuse):
            log.warning("call_refused", reason="route", call=call_id)
            return begin
        row = self._new_row(offer, call_id, begin)
        self._admit(row)
        try:
            await store.add_call(row)
        except StoreError as error:
            self._admitted.pop(row.id, None)
            self._rows.pop(row.id, None)
            known = await store.call_by_sid(offer.carrier, offer.carrier_sid)
            if error.code != "call_exists" or known is None:
                raise
            return await self._ticket(known.id)
        self.tell_status(row)
        return await self._ticket(row.id)

    async def stream_opened(self, ticket: StreamTicket, line: Line) -> None:
        call_id, nonce = self._tokens.read(ticket.token, self._house.clock.wall())
        row = self._rows.pop(call_id, None) or await self._house.store.call(call_id)
        is_this_call = row is not None and ticket.carrier_sid in ("", row.carrier_sid)
        epoch = await self._house.store.claim_stream(call_id, nonce) if is_this_call else None
        if epoch is not None and epoch > 1:
            row = await self._house.store.call(call_id)
        self._admitted.pop(call_id, None)
        if epoch is None or row is None:
            raise CallError(
                "bad_token",
                "The stream's token is of another call, was used, or a newer one was given out.",
                where=call_id,
                fix="A token is good for one stream.",
            )
        older = self._calls.get(call_id)
        if older is not None:
            older.request_end("superseded")
            await self._settled(call_id, SUPERSEDED_S)
        call = await self._prepared(row, epoch, line)
        if call is None:
            return
        self._calls[call_id] = call
        self._on_line[call_id] = row
        settled = self._settling[call_id] = asyncio.Event()
        self._empty.clear()
        self.reach.begin()
        try:
            await self._move(row, "answer")
            over = await call.run()
            if self._calls.get(call_id) is call:
                await self._ended(row, over)
            if over.ended is not None:
                self._house.finished(row)
        finally:
            settled.set()
            if self._calls.get(call_id) is call:
                del self._calls[call_id]
                del self._on_line[call_id]
                del self._settling[call_id]
            if not self._calls:
                self._empty.set()

    async def next_step(self, carrier_sid: str, dial: DialReport | None) -> NextStep:
        row = await self._row_of(carrier_sid)
        pending = row.pending
        if row.status in FINAL or (pending is not None and pending.get("do") == "hang_up"):
            return HangUp()
        if row.epoch >= MOST_STREAMS:
            log.error("call_given_up", call=row.id, epoch=row.epoch)
            return HangUp()
        if pending is None or pending.get("do") in ("resume", "no_dial"):
            return await self._ticket(row.id)
        if dial is None:
            await self._move(row, "transfer")
            return dial_of(pending, row)
        step = after_dial(pending, dial)
        if step.get("do") == "dial":
            await self._keep_pending(row, step)
            return dial_of(step, row)
        return await self._come_back(row, step)

    async def reported(
        self, carrier_sid: str, status: str, sequence: int, call_id: CallId = CallId("")
    ) -> None:
        placed = await self._placed_row(call_id, carrier_sid) if call_id else None
        row = placed or await self._row_of(carrier_sid)
        lifecycle = self._lifecycle(row)
        before = lifecycle.status
        refused = lifecycle.reported(status, sequence)
        if refused is not None:
            self._note(row.id, refused)
        elif lifecycle.status != before:
            disposition = ""
            if lifecycle.is_over and await self._has_no_end(row.id):
                disposition = _DISPOSITIONS.get((row.direction, lifecycle.status), "")
            await self._store_status(row, lifecycle.status, disposition)
        if lifecycle.is_over and row.id not in self._calls:
            self._forget(row.id)
            self._admitted.pop(row.id, None)

    # --- calls that we make ---

    def place_for(
        self, begin: Begin, carrier: str, from_number: str, to_number: str, ring_s: int
    ) -> CallRow:
        """Keep a place for a call that is about to be made; its row, not stored yet.

        Raises CallError(`no_room`).
        """
        reasons = self.not_ready()
        if reasons:
            raise CallError(
                "no_room",
                f"No call can be made now: {', '.join(reasons)}.",
                fix="Ask again in a moment, or another server.",
                retryable=True,
            )
        offer = CallOffer(carrier, "", "outbound", from_number, to_number)
        row = replace(self._new_row(offer, new_call_id(), begin), status="queued")
        self._admit(row, ring_s + STREAM_TOKEN_LIFE.total_seconds())
        return row

    def made(self, row: CallRow) -> None:
        """The carrier makes the call, under the id that the row has now."""
        if row.id in self._admitted:
            self._rows[row.id] = row

    def forget(self, call_id: CallId) -> None:
        """A place that was kept is free again: the call could not even be stored."""
        self._admitted.pop(call_id, None)
        self._forget(call_id)

    def tell_status(self, row: CallRow) -> None:
        """Tell the world that the call is there."""
        self._house.tell(row, "call.status", {"status": row.status})

    async def give_up(self, row: CallRow, trigger: Trigger, disposition: str) -> None:
        """A call comes to nothing, or ends where we are not on the line."""
        self._admitted.pop(row.id, None)
        lifecycle = self._lifecycle(row)
        refused = lifecycle.move(trigger)
        if refused is None:
            await self._store_status(row, lifecycle.status, disposition)
        self._forget(row.id)

    async def _answered(self, offer: CallOffer) -> NextStep:
        """Somebody whom we called has answered."""
        row = await self._placed_row(offer.call_id, offer.carrier_sid)
        if row is None or row.carrier != offer.carrier or row.status in FINAL:
            # Of a call that was given up, or that was never ours.
            log.warning("answer_not_taken", call=offer.call_id)
            return HangUp()
        return await self._ticket(row.id)

    async def _placed_row(self, call_id: CallId, carrier_sid: str) -> CallRow | None:
        """A call that we made, under the carrier's id of it; None when it has another."""
        row = await self._house.store.call(call_id)
        if row is None or not await self._house.store.set_sid(call_id, carrier_sid):
            return None
        row = replace(row, carrier_sid=carrier_sid)
        self.made(row)
        return row

    # --- the process ---

    def running(self) -> list[Running]:
        """The calls that run here, and those that were just let in."""
        rows = (*self._on_line.values(), *self._rows.values())
        return [Running(row.to_number, row.flow_id) for row in rows]

    def running_call(self, call_id: CallId) -> Call | None:
        """A call that runs here."""
        return self._calls.get(call_id)

    def held(self, call_id: CallId) -> CallRow | None:
        """The row of a call that runs here."""
        return self._on_line.get(call_id)

    @property
    def live_calls(self) -> int:
        """Calls on a line, and calls that were just let in."""
        now_s = asyncio.get_running_loop().time()
        self._admitted = {key: until for key, until in self._admitted.items() if until > now_s}
        return len(self._calls) + len(self._admitted)

    def not_ready(self) -> list[str]:
        """Why new calls cannot be taken now."""
        reasons = []
        if self.is_draining:
            reasons.append("draining")
        if self.live_calls >= self._house.max_calls:
            reasons.append("max_calls")
        return reasons

    async def drain(self, grace_s: float) -> None:
        """Take no new calls, wait for those that run, then end the rest in order."""
        self.is_draining = True
        if await self._all_over(grace_s):
            return
        log.warning("calls_ended_by_stop", calls=len(self._calls))
        for call in list(self._calls.values()):
            call.request_end("draining")
        await self._all_over(END_S)

    async def _all_over(self, limit_s: float) -> bool:
        try:
            async with asyncio.timeout(limit_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    # --- a call's beginning ---

    def _new_row(self, offer: CallOffer, call_id: CallId, begin: Begin) -> CallRow:
        return CallRow(
            id=call_id,
            carrier=offer.carrier,
            carrier_sid=offer.carrier_sid,
            direction=offer.direction,
            from_number=offer.from_number,
            to_number=offer.to_number,
            flow_id=begin.program.flow.id,
            version=begin.program.version,
            flow=begin.document,
            status="ringing",
            epoch=0,
            created_at=self._house.clock.wall().isoformat(),
            project_id=begin.project_id,
            flow_version=begin.flow_version,
            variables=begin.variables,
            metadata=begin.metadata,
        )

    def _admit(self, row: CallRow, for_s: float = STREAM_TOKEN_LIFE.total_seconds()) -> None:
        now_s = asyncio.get_running_loop().time()
        self._admitted[row.id] = now_s + for_s
        self._rows = {key: kept for key, kept in self._rows.items() if key in self._admitted}
        if row.carrier_sid:
            self._rows[row.id] = row

    async def _ticket(self, call_id: CallId) -> Reconnect:
        nonce = new_nonce()
        await self._house.store.issue_stream(call_id, nonce)
        expires_at = self._house.clock.wall() + STREAM_TOKEN_LIFE
        return Reconnect(StreamTicket(call_id, self._tokens.issue(call_id, nonce, expires_at)))

    async def _prepared(self, row: CallRow, epoch: int, line: Line) -> Call | None:
        """The call, ready to run; one that cannot be made ready is hung up, not tried for ever."""
        try:
            return await self._prepare(row, epoch, line)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must not hear silence
            code = error.code if isinstance(error, FlowengineError) else type(error).__name__
            log.error("call_not_begun", call=row.id, epoch=epoch, error=code)
            await self._house.store.set_pending(row.id, epoch, {"do": "hang_up"})
            await self._store_status(row, "failed", "failed")
            await line.close()
            return None

    async def _prepare(self, row: CallRow, epoch: int, line: Line) -> Call:
        house = self._house
        program = await house.program_of(row)
        kept = None
        if epoch > 1:
            kept = await last_checkpoint(house.store, row.id, self._cipher)
        actor = self._actor(row, program, kept)
        begin: list[Input] = [LineOpened(house.clock.wall().isoformat(), resumed=kept is not None)]
        if kept is not None and row.pending is not None:
            transfer = _transfer_of(row.pending)
            if transfer is not None:
                begin.append(transfer)
                await self._move(row, "come_back")
            await house.store.set_pending(row.id, epoch, None)
        if row.direction == "outbound":
            # The carrier opens a stream only to somebody who has answered; who, it does not say.
            begin.append(CalleeAnswered("unknown"))
        name = row.id if epoch == 1 else f"{row.id}.{epoch}"

        async def leave(step: Mapping[str, Json]) -> None:
            if step.get("do") == "dial":
                step = {**step, "at": 0}
            if not await house.store.set_pending(row.id, epoch, step):
                log.warning("step_of_old_epoch", call=row.id, epoch=epoch)

        plan = CallPlan(
            call_id=row.id,
            actor=actor,
            program=program,
            server=house.server,
            journal=Journal(
                house.store, row.id, epoch, seq=0 if kept is None else kept.seq, cipher=self._cipher
            ),
            services=await house.services_of(row),
            begin=begin,
            leave=leave,
            begin_ms=0 if kept is None else int(kept.picture.get("now_ms", 0)),
            recording=house.recordings / f"{name}.wav",
            watch=house.watch,
        )
        return Call(plan, line)

    def _actor(self, row: CallRow, program: Program, kept: Kept | None) -> Actor:
        inputs = opened_inputs(program, row.variables, self._cipher)
        setup = CallSetup(row.id, facts_of(row), self._house.server, row.carrier, inputs)
        if kept is None:
            return Actor(setup, program)
        return Actor.restore(setup, program, kept.picture, kept.sensitive)

    # --- a call's end, and what comes after a transfer ---

    async def _ended(self, row: CallRow, over: CallOver) -> None:
        if over.ended is None:
            return
        lifecycle = self._lifecycle(row)
        refused = lifecycle.move("fail" if over.is_broken else "complete")
        if refused is None or lifecycle.is_over:
            await self._store_status(row, lifecycle.status, over.ended.disposition)
        self._forget(row.id)

    async def _come_back(self, row: CallRow, step: Mapping[str, Json]) -> NextStep:
        """The transfer is over: go on in the flow, or end where there is nothing more to do."""
        await self._settled(row.id, SETTLE_S)
        kept = await last_checkpoint(self._house.store, row.id, self._cipher)
        transfer = _transfer_of(step)
        if kept is not None and transfer is not None:
            actor = self._actor(row, await self._house.program_of(row), kept)
            wall = self._house.clock.wall().isoformat()
            now_ms = int(kept.picture.get("now_ms", 0))
            begin = (LineOpened(wall, resumed=True), transfer)
            ended = ends_without_media(actor, begin, now_ms)
            if ended is not None:
                journal = Journal(
                    self._house.store, row.id, row.epoch, seq=kept.seq, cipher=self._cipher
                )
                for event, effects in ended.steps:
                    journal.input(event, now_ms, is_sensitive=False)
                    for effect in effects:
                        journal.effect(effect, now_ms)
                journal.flush()
                await self._keep_pending(row, {"do": "hang_up"})
                await self._ended(row, CallOver(ended=ended.fact))
                return HangUp()
        await self._keep_pending(row, step)
        return await self._ticket(row.id)

    async def _settled(self, call_id: CallId, limit_s: float) -> None:
        """Wait until the stream before has written its last record: the next goes on behind it."""
        settling = self._settling.get(call_id)
        try:
            async with asyncio.timeout(limit_s):
                if settling is not None:
                    await settling.wait()
                await self._house.store.written(call_id)
        except (TimeoutError, StoreError) as error:
            log.warning("stream_not_settled", call=call_id, error=type(error).__name__)

    async def _keep_pending(self, row: CallRow, step: Mapping[str, Json]) -> None:
        if not await self._house.store.set_pending(row.id, row.epoch, step):
            raise CallError("stale_epoch", "A newer stream holds this call.", where=row.id)

    # --- status ---

    async def _row_of(self, carrier_sid: str) -> CallRow:
        for carrier in self.carriers:
            row = await self._house.store.call_by_sid(carrier, carrier_sid)
            if row is not None:
                return row
        raise CallError("unknown_call", "No call has this id.", fix="It was never offered to us.")

    def _lifecycle(self, row: CallRow) -> Lifecycle:
        found = self._lifecycles.get(row.id)
        if found is None:
            found = self._lifecycles[row.id] = Lifecycle(cast("Status", row.status))
        return found

    async def _move(self, row: CallRow, trigger: Trigger) -> None:
        """Move the call's status; a move that is none (a second stream) changes nothing."""
        lifecycle = self._lifecycle(row)
        if lifecycle.move(trigger) is None:
            await self._store_status(row, lifecycle.status)

    async def _store_status(self, row: CallRow, status: str, disposition: str = "") -> None:
        try:
            await self._house.store.set_status(row.id, status, disposition=disposition)
        except StoreError as error:
            log.error("status_not_stored", call=row.id, code=error.code)
        told = {"status": status, "disposition": disposition or row.disposition}
        self._house.tell(row, "call.status", told)

    async def _has_no_end(self, call_id: CallId) -> bool:
        """Whether nothing of ours says how the call ended. One that runs will; one that ran has."""
        if call_id in self._calls:
            return False
        row = await self._house.store.call(call_id)
        return row is not None and not row.disposition

    def _note(self, call_id: CallId, refused: MoveRefused) -> None:
        log.info("move_refused", call=call_id, what=refused.what, reason=refused.reason)

    def _forget(self, call_id: CallId) -> None:
        self._lifecycles.pop(call_id, None)
        self._rows.pop(call_id, None)


_DISPOSITIONS: Mapping[tuple[str, str], str] = {
    ("inbound", "completed"): "hung_up",
    ("outbound", "completed"): "hung_up",
    ("outbound", "busy"): "busy",
    ("outbound", "no_answer"): "no_answer",
    ("outbound", "failed"): "failed",
    ("outbound", "canceled"): "canceled",
}
"""What came of a call of whose end only the carrier tells, by direction and status."""

_Outcome = Literal["done", "busy", "no_answer", "declined", "failed"]


def _transfer_of(step: Mapping[str, Json]) -> TransferEnded | None:
    """How a transfer went, from the step that was kept; None when it was none."""
    if step.get("do") == "no_dial":
        return TransferEnded("failed", reason=str(step.get("reason", "")))
    if step.get("do") != "resume":
        return None
    return TransferEnded(
        cast("_Outcome", step["outcome"]), step["to"], step["seconds"], step["reason"]
    )
