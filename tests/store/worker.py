"""A worker of its own process, for the tests: `python -m tests.store.worker ACT URL`."""

from __future__ import annotations

import asyncio
import sys

from flowengine.ids import CallId
from tests.store.calls import a_record, open_store

CALLS = 40


async def claim(url: str) -> None:
    """Claim the stream of every call; prints the index of each that was won."""
    store = open_store(url)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for index in range(CALLS):
        if await store.claim_stream(CallId(f"call_{index}"), "nonce") is not None:
            print(index, flush=True)
    await store.close()


async def write(url: str) -> None:
    """Journal until killed; prints the number of each record that is promised to be on disk."""
    store = open_store(url)
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
