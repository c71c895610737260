"""What every call store does, whichever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flowengine.clock import ManualClock
from flowengine.errors import StoreError
from flowengine.ids import CallId
from flowengine.ports import CallStore, JournalRecord
from flowengine.store.memory import MemoryStore
from tests.databases import KINDS, prepared_database
from tests.store.calls import a_call, a_record, open_store

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONE = CallId("call_1")


class Minutes(ManualClock):
    """A clock that goes on by a minute each time it is read."""

    def wall(self) -> datetime:
        read = super().wall()
        self.advance_to(self.now_ms() + 60_000)
        return read


Play = Callable[[CallStore], Awaitable[None]]
Run = Callable[[Play], None]


@pytest.fixture(params=["memory", *KINDS])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a play with a fresh store, and closes it."""

    async def whole(store: CallStore, play: Play) -> None:
        await play(store)
        await store.close()

    def started(play: Play) -> None:
        clock = Minutes(NOON)
        if request.param == "memory":
            asyncio.run(whole(MemoryStore(clock), play))
            return
        with prepared_database(request.param) as url:
            asyncio.run(whole(open_store(url, clock=clock), play))

    return started


async def begun(store: CallStore, call_id: CallId = ONE) -> int:
    """Add a call and claim its stream; returns the epoch."""
    await store.add_call(a_call(call_id))
    await store.issue_stream(call_id, "nonce")
    epoch = await store.claim_stream(call_id, "nonce")
    assert epoch is not None
    return epoch


def test_a_call_is_read_back_as_it_was_added(run: Run) -> None:
    async def play(store: CallStore) -> None:
        row = replace(
            a_call(),
            pending={"step": "hang_up"},
            disposition="x",
            project_id="clinic",
            flow_version=3,
            variables={"name": "Zoë", "visits": 2},
            metadata={"crm": ["a", None]},
        )
        await store.add_call(row)
        assert await store.call(ONE) == row
        assert await store.call_by_sid("twilio", row.carrier_sid) == row
        assert await store.call_by_sid("vonage", row.carrier_sid) is None
        assert await store.call(CallId("call_2")) is None

    run(play)


def test_the_same_call_is_added_once(run: Run) -> None:
    async def play(store: CallStore) -> None:
        await store.add_call(a_call())
        for again in (a_call(sid="CA_other"), a_call("call_2", sid="CA_call_1")):
            with pytest.raises(StoreError) as caught:
                await store.add_call(again)
            assert caught.value.code == "call_exists"
        assert len(await store.calls(10)) == 1

    run(play)


def test_calls_without_a_carriers_id_do_not_collide(run: Run) -> None:
    async def play(store: CallStore) -> None:
        await store.add_call(a_call("call_1", sid=""))
        await store.add_call(a_call("call_2", sid=""))
        assert await store.call_by_sid("twilio", "") is None
        assert len(await store.calls(10)) == 2

    run(play)


def test_calls_come_latest_first(run: Run) -> None:
    async def play(store: CallStore) -> None:
        for name in ("call_b", "call_c", "call_a"):
            await store.add_call(a_call(name))
        assert [row.id for row in await store.calls(2)] == ["call_a", "call_c"]

    run(play)


def test_a_nonce_works_once_and_only_the_last_one(run: Run) -> None:
    async def play(store: CallStore) -> None:
        await store.add_call(a_call())
        assert await store.claim_stream(ONE, "never issued") is None
        await store.issue_stream(ONE, "first")
        await store.issue_stream(ONE, "second")
        assert await store.claim_stream(ONE, "first") is None
        assert await store.claim_stream(ONE, "second") == 1
        assert await store.claim_stream(ONE, "second") is None
        assert await store.claim_stream(CallId("call_2"), "second") is None
        await store.issue_stream(ONE, "third")
        assert await store.claim_stream(ONE, "third") == 2

    run(play)


def test_the_end_of_a_call_is_dated_once(run: Run) -> None:
    async def play(store: CallStore) -> None:
        await store.add_call(a_call())
        await store.set_status(ONE, "in_progress")
        row = await store.call(ONE)
        assert row is not None
        assert (row.status, row.ended_at) == ("in_progress", None)
        await store.set_status(ONE, "completed", disposition="served")
        await store.set_status(ONE, "completed")
        row = await store.call(ONE)
        assert row is not None
        assert (row.ended_at, row.disposition) == (NOON.isoformat(), "served")

    run(play)


def test_what_comes_next_is_set_by_the_epoch_that_holds_the_call(run: Run) -> None:
    async def play(store: CallStore) -> None:
        epoch = await begun(store)
        assert await store.set_pending(ONE, epoch, {"step": "dial", "to": ["a", 1, None]})
        assert not await store.set_pending(ONE, epoch - 1, {"step": "stale"})
        row = await store.call(ONE)
        assert row is not None
        assert row.pending == {"step": "dial", "to": ["a", 1, None]}
        assert await store.set_pending(ONE, epoch, None)
        row = await store.call(ONE)
        assert row is not None
        assert row.pending is None

    run(play)


def test_records_are_read_back_in_order(run: Run) -> None:
    async def play(store: CallStore) -> None:
        epoch = await begun(store)
        store.append(ONE, epoch, [a_record(1), a_record(2)])
        store.append(ONE, epoch, [])
        store.append(ONE, epoch, [JournalRecord(3, 60, "fact", {"list": ("a", 2.5, None)})])
        await store.written(ONE)
        assert await store.journal(ONE) == [
            a_record(1),
            a_record(2),
            JournalRecord(3, 60, "fact", {"list": ["a", 2.5, None]}),
        ]
        assert await store.journal(CallId("call_2")) == []

    run(play)


def test_what_is_changed_after_append_is_not_journalled(run: Run) -> None:
    async def play(store: CallStore) -> None:
        epoch = await begun(store)
        body = {"value": 1}
        store.append(ONE, epoch, [JournalRecord(1, 0, "fact", body)])
        store.save_checkpoint(ONE, epoch, body)
        body["value"] = 2
        await store.written(ONE)
        assert (await store.journal(ONE))[0].body == {"value": 1}
        assert await store.checkpoint(ONE) == {"value": 1}

    run(play)


def test_an_old_epoch_writes_nothing_and_is_told_so(run: Run) -> None:
    async def play(store: CallStore) -> None:
        old = await begun(store)
        store.append(ONE, old, [a_record(1)])
        store.save_checkpoint(ONE, old, {"node": "a"})
        await store.written(ONE)
        await store.issue_stream(ONE, "again")
        assert await store.claim_stream(ONE, "again") == old + 1
        store.append(ONE, old, [a_record(2)])
        store.save_checkpoint(ONE, old, {"node": "stale"})
        with pytest.raises(StoreError) as caught:
            await store.written(ONE)
        assert caught.value.code == "stale_epoch"
        assert await store.journal(ONE) == [a_record(1)]
        assert await store.checkpoint(ONE) == {"node": "a"}
        store.append(ONE, old + 1, [a_record(2)])
        store.save_checkpoint(ONE, old + 1, {"node": "b"})
        await store.written(ONE)
        assert await store.journal(ONE) == [a_record(1), a_record(2)]
        assert await store.checkpoint(ONE) == {"node": "b"}

    run(play)


def test_a_record_is_never_overwritten(run: Run) -> None:
    async def play(store: CallStore) -> None:
        epoch = await begun(store)
        store.append(ONE, epoch, [a_record(1)])
        store.append(ONE, epoch, [JournalRecord(1, 9, "fact", {"other": True}), a_record(2)])
        await store.written(ONE)
        assert await store.journal(ONE) == [a_record(1), a_record(2)]

    run(play)


@pytest.mark.parametrize("act", ["issue_stream", "set_status", "set_pending", "written"])
def test_an_unknown_call_is_an_error(run: Run, act: str) -> None:
    async def play(store: CallStore) -> None:
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "issue_stream": lambda: store.issue_stream(ONE, "n"),
            "set_status": lambda: store.set_status(ONE, "ringing"),
            "set_pending": lambda: store.set_pending(ONE, 0, None),
            "written": lambda: store.written(ONE),
        }
        with pytest.raises(StoreError) as caught:
            await acts[act]()
        assert caught.value.code == "no_such_call"

    run(play)


def test_what_is_not_json_is_refused_where_it_is_handed_in(run: Run) -> None:
    async def play(store: CallStore) -> None:
        epoch = await begun(store)
        with pytest.raises(StoreError) as caught:
            store.append(ONE, epoch, [JournalRecord(1, 0, "fact", {"value": object()})])
        assert caught.value.code == "not_json"
        with pytest.raises(StoreError) as caught:
            store.append(ONE, epoch, [JournalRecord(2**70, 0, "fact", {})])
        assert caught.value.code == "bad_value"
        with pytest.raises(StoreError) as caught:
            store.save_checkpoint(ONE, epoch, {"value": {1, 2}})
        assert caught.value.code == "not_json"
        await store.written(ONE)
        assert await store.journal(ONE) == []

    run(play)


def test_a_closed_store_says_so(run: Run) -> None:
    async def play(store: CallStore) -> None:
        epoch = await begun(store)
        await store.close()
        store.append(ONE, epoch, [a_record(1)])
        for act in (store.call(ONE), store.claim_stream(ONE, "n"), store.journal(ONE)):
            with pytest.raises(StoreError) as caught:
                await act
            assert caught.value.code == "store_closed"

    run(play)


def test_text_that_a_database_does_not_hold_harms_only_itself(run: Run) -> None:
    async def play(store: CallStore) -> None:
        epoch = await begun(store)
        store.append(ONE, epoch, [JournalRecord(1, 0, "fact", {"text": "a\0b"})])
        for text in ("\ud800", "a\0b"):
            with pytest.raises(StoreError) as caught:
                await store.set_status(ONE, "ringing", disposition=text)
            assert caught.value.code == "bad_value"
        await store.written(ONE)
        assert (await store.journal(ONE))[0].body == {"text": "a\0b"}

    run(play)


def test_the_carriers_id_of_a_call_is_set_once(run: Run) -> None:
    async def play(store: CallStore) -> None:
        await store.add_call(a_call("call_1", sid=""))
        await store.add_call(a_call("call_2", sid="CA_taken"))
        assert await store.call_by_sid("twilio", "") is None
        assert not await store.set_sid(ONE, "CA_taken"), "it is another call's"
        assert await store.set_sid(ONE, "CA_own")
        assert await store.set_sid(ONE, "CA_own")
        assert not await store.set_sid(ONE, "CA_else")
        found = await store.call_by_sid("twilio", "CA_own")
        assert found is not None and found.id == ONE
        with pytest.raises(StoreError) as caught:
            await store.set_sid(CallId("call_9"), "CA_9")
        assert caught.value.code == "no_such_call"

    run(play)
