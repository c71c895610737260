"""Random histories: both stores behave as a model of a few lines does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.errors import StoreError
from flowengine.ids import CallId
from flowengine.ports import CallStore
from flowengine.store.memory import MemoryStore
from tests.databases import KINDS, prepared_database
from tests.store.calls import a_call, a_record, open_store

pytestmark = pytest.mark.unit

CALLS = (CallId("call_1"), CallId("call_2"))
Step = tuple[str, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["issue", "claim", "append", "checkpoint", "pending", "written"]),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    max_size=60,
)
"""What is done, with which call, by how old an epoch (or with which nonce)."""


@dataclass
class Model:
    """One call, as the contract says it is."""

    epoch: int = 0
    nonce: str | None = None
    pending: int | None = None
    journal: list[int] = field(default_factory=list)
    checkpoint: int | None = None
    appended: int | None = None
    seq: int = 0

    def claim(self, nonce: str) -> int | None:
        if self.nonce != nonce:
            return None
        self.nonce = None
        self.epoch += 1
        return self.epoch


async def do(store: CallStore, models: list[Model], step: Step) -> None:
    """Do a step to the store and to its model, and compare what they answer."""
    act, index, age = step
    call_id, model = CALLS[index], models[index]
    epoch = model.epoch - age
    if act == "issue":
        model.nonce = f"nonce {age}"
        await store.issue_stream(call_id, model.nonce)
    elif act == "claim":
        assert await store.claim_stream(call_id, f"nonce {age}") == model.claim(f"nonce {age}")
    elif act == "pending":
        assert await store.set_pending(call_id, epoch, {"n": model.seq}) == (age == 0)
        model.pending = model.seq if age == 0 else model.pending
    elif act == "written":
        await check_barrier(store, call_id, model)
    elif epoch >= 0:
        model.seq += 1
        model.appended = max(epoch, model.appended or 0)
        if act == "append":
            store.append(call_id, epoch, [a_record(model.seq)])
            model.journal += [model.seq] if age == 0 else []
        else:
            store.save_checkpoint(call_id, epoch, {"n": model.seq})
            model.checkpoint = model.seq if age == 0 else model.checkpoint


async def check_barrier(store: CallStore, call_id: CallId, model: Model) -> None:
    if model.appended is not None and model.appended != model.epoch:
        with pytest.raises(StoreError) as caught:
            await store.written(call_id)
        assert caught.value.code == "stale_epoch"
        return
    await store.written(call_id)
    assert [record.seq for record in await store.journal(call_id)] == model.journal


async def compare(store: CallStore, script: list[Step]) -> None:
    models = [Model(), Model()]
    for call_id in CALLS:
        await store.add_call(a_call(call_id))
    for step in script:
        await do(store, models, step)
    for call_id, model in zip(CALLS, models, strict=True):
        await store.set_status(call_id, "ringing")
        row = await store.call(call_id)
        assert row is not None
        assert row.epoch == model.epoch
        assert row.pending == (None if model.pending is None else {"n": model.pending})
        assert await store.journal(call_id) == [a_record(seq) for seq in model.journal]
        saved = None if model.checkpoint is None else {"n": model.checkpoint}
        assert await store.checkpoint(call_id) == saved
    await store.close()


@given(steps)
@settings(max_examples=150, deadline=None)
def test_the_memory_store_is_the_model(script: list[Step]) -> None:
    asyncio.run(compare(MemoryStore(), script))


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_is_the_model(kind: str) -> None:
    @given(steps)
    @settings(max_examples=60 if kind == "sqlite" else 25, deadline=None)
    def held_against(script: list[Step]) -> None:
        with prepared_database(kind) as url:
            asyncio.run(compare(open_store(url), script))

    held_against()
