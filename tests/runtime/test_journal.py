"""What a call's journal keeps, what it hides, and how its checkpoint is read back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flowengine.events import (
    DigitPressed,
    InterimHeard,
    MarkReached,
    NodeEntered,
    SegmentHeard,
)
from flowengine.flow.scope import CallFacts, Scope
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.runtime.effects import CutSpeech, Report, RunTool, SaveCheckpoint
from flowengine.runtime.journal import Journal, last_checkpoint, masked
from flowengine.store.memory import MemoryStore
from flowengine.tokens import ValueCipher

pytestmark = pytest.mark.unit

CALL = CallId("call_1")
ROW = CallRow(CALL, "twilio", "CA1", "inbound", "+1", "+2", "flow", "v1", {}, "queued", 0, "")


def kept(
    write: Callable[[Journal, MemoryStore], Awaitable[None] | None], seq: int = 0
) -> list[JournalRecord]:
    async def run() -> list[JournalRecord]:
        store = MemoryStore()
        await store.add_call(ROW)
        journal = Journal(store, CALL, 0, seq=seq, cipher=ValueCipher("secret"))
        done = write(journal, store)
        if done is not None:
            await done
        journal.flush()
        return await store.journal(CALL)

    return asyncio.run(run())


def test_records_are_numbered_in_order_over_families() -> None:
    def write(journal: Journal, store: MemoryStore) -> None:
        journal.input(MarkReached(1, 0), 10, is_sensitive=False)
        journal.effect(Report(NodeEntered("a", "say", 1, "start")), 10)
        journal.effect(CutSpeech(2), 11)

    records = kept(write, seq=4)
    assert [(r.seq, r.at_ms, r.family) for r in records] == [
        (5, 10, "input"),
        (6, 10, "fact"),
        (7, 11, "effect"),
    ]
    assert records[1].body["type"] == "NodeEntered"
    assert records[2].body == {"type": "CutSpeech", "floor": 2}


def test_what_is_keyed_or_said_for_a_sensitive_value_is_masked() -> None:
    assert masked(DigitPressed("4")) == DigitPressed("•")
    assert masked(DigitPressed("#")) == DigitPressed("#")
    assert masked(DigitPressed("*")) == DigitPressed("*")
    assert masked(InterimHeard("four 1")) == InterimHeard("•••• •")
    assert masked(SegmentHeard("my pin is 12", 0.5, endpoint=True)) == SegmentHeard(
        "•• ••• •• ••", 0.5, endpoint=True
    )

    def write(journal: Journal, store: MemoryStore) -> None:
        journal.input(DigitPressed("7"), 1, is_sensitive=True)
        journal.input(DigitPressed("7"), 2, is_sensitive=False)

    assert [record.body["digit"] for record in kept(write)] == ["•", "7"]


def test_a_tools_arguments_are_not_in_its_effect() -> None:
    scope = Scope({}, CallFacts("c", "inbound", "", ""), None, "UTC", "en-US")  # type: ignore[arg-type]
    effect = RunTool("k", "pay", {"card": "4111"}, barrier=True, flow="f", scope=scope)
    (record,) = kept(lambda journal, store: journal.effect(effect, 1))
    assert record.body == {
        "type": "RunTool",
        "key": "k",
        "tool": "pay",
        "barrier": True,
        "flow": "f",
    }


def checkpoint_of(
    picture: dict[str, Any], write_key: str, read_key: str
) -> tuple[Any, Any, list[JournalRecord]]:
    async def run() -> tuple[Any, Any, list[JournalRecord]]:
        store = MemoryStore()
        await store.add_call(ROW)
        journal = Journal(store, CALL, 0, cipher=ValueCipher(write_key))
        journal.input(MarkReached(1, 0), 5, is_sensitive=False)
        journal.effect(SaveCheckpoint(picture), 5)
        journal.input(MarkReached(1, 1), 6, is_sensitive=False)
        journal.flush()
        stored = await store.checkpoint(CALL)
        found = await last_checkpoint(store, CALL, ValueCipher(read_key))
        return stored, found, await store.journal(CALL)

    return asyncio.run(run())


def test_a_checkpoint_comes_back_with_its_sensitive_values_and_a_place_behind_all_records() -> None:
    picture = {"frames": [1], "sensitive": {"0": {"pin": "1234"}}, "now_ms": 5}
    stored, found, records = checkpoint_of(picture, "secret", "secret")
    assert "1234" not in str(stored)
    assert found.sensitive == {"0": {"pin": "1234"}}
    assert found.picture["frames"] == [1] and found.picture["now_ms"] == 5
    assert found.seq == records[-1].seq == 3
    assert [record.body for record in records if record.family == "effect"] == [
        {"type": "SaveCheckpoint"}
    ]


def test_sensitive_values_under_another_key_are_left_out() -> None:
    picture = {"frames": [], "sensitive": {"0": {"pin": "1234"}}}
    _, found, _ = checkpoint_of(picture, "secret", "another")
    assert found.sensitive == {}
    assert found.picture["frames"] == []


def test_a_call_without_a_checkpoint_has_none() -> None:
    async def run() -> Any:
        store = MemoryStore()
        await store.add_call(ROW)
        return await last_checkpoint(store, CALL, None)

    assert asyncio.run(run()) is None


def test_records_reach_the_store_without_a_flush_in_a_tenth_of_a_second() -> None:
    async def run() -> int:
        store = MemoryStore()
        await store.add_call(ROW)
        journal = Journal(store, CALL, 0)
        journal.input(MarkReached(1, 0), 5, is_sensitive=False)
        journal.input(MarkReached(1, 1), 5, is_sensitive=False)
        assert await store.journal(CALL) == []
        written = asyncio.get_running_loop().create_future()
        append = store.append

        def noted(*given: Any) -> None:
            append(*given)
            written.set_result(None)

        store.append = noted  # type: ignore[assignment,method-assign]  # watched
        await written
        return len(await store.journal(CALL))

    assert asyncio.run(run()) == 2
