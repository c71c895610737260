"""A worker of its own process, for the tests: `python -m tests.store.worker ACT FILE`."""

from __future__ import annotations

import asyncio
import sys

from flowengine.ids import CallId
from flowengine.store.sqlite import SqliteStore
from tests.store.calls import a_record

CALLS = 40


async def claim(path: str) -> None:
    """Claim the stream of every call; prints the index of each that was won."""
    store = SqliteStore(path)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for index in range(CALLS):
        if await store.claim_stream(CallId(f"call_{index}"), "nonce") is not None:
            print(index, flush=True)
    await store.close()


async def write(path: str) -> None:
    """Journal until killed; prints the number of each record that is promised to be on disk."""
    store = SqliteStore(path)
    call_id = CallId("call_0")
    seq = 0
    while True:
        for _ in range(37):
            seq += 1
            store.append(call_id, 1, [a_record(seq)])
            if seq % 5 == 0:
                store.save_checkpoint(call_id, 1, {"seq": seq})
        if seq % 2:
            await store.written(call_id)
            print(seq, flush=True)
        else:
            await store.call(call_id)


if __name__ == "__main__":
    asyncio.run({"claim": claim, "write": write}[sys.argv[1]](sys.argv[2]))
