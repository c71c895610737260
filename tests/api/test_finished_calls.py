"""What is left of a call that really rang: sound in a bucket, a transcript without numbers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flowengine import app
from flowengine.errors import StoreError
from flowengine.store.feed import LiveEvent
from tests.api.service import api_of, code_of
from tests.databases import KINDS, prepared_database
from tests.runtime.flows import MENU
from tests.runtime.house import CALLED, CALLER, running, vendors
from tests.s3 import empty_s3, make_bucket
from tests.store.kept import files

pytestmark = [pytest.mark.api, pytest.mark.anyio]

LIMIT_S = 30.0
"""Ends a test that would hang."""


def with_number(flow: dict[str, Any]) -> dict[str, Any]:
    """The flow, whose last words hold a phone number."""
    bye = {**flow["nodes"]["bye"], "say": "Goodbye. Or call +14155550123."}
    return {**flow, "nodes": {**flow["nodes"], "bye": bye}}


async def ready_event(engine: app.Engine) -> LiveEvent:
    """The first recording that can be fetched."""
    followed = engine.feed.follow("default", 0, types=["recording.ready"])
    async with asyncio.timeout(LIMIT_S):
        async for event in followed:
            if event is not None:
                await followed.aclose()
                return event
    raise AssertionError("a stream of events has no end")


@pytest.mark.parametrize("kind", KINDS)
async def test_sound_goes_to_the_bucket_and_numbers_from_the_transcript(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = empty_s3(monkeypatch)
    make_bucket(endpoint, "sound")
    with prepared_database(kind) as url:
        more = {
            "FLOWENGINE_DATABASE_URL": url,
            "FLOWENGINE_RECORDINGS_URL": "s3://sound/calls",
            "FLOWENGINE_RECORDINGS_ENDPOINT": endpoint,
        }
        async with (
            vendors() as behind,
            running(tmp_path, with_number(MENU), behind, more=more) as run,
            api_of(run.engine, run.base_url) as (ours, theirs),
        ):
            settings = {"redact_transcripts": True}
            changed = {"name": "Default", "settings": settings}
            await ours("PUT", "/projects/default", changed, match="*")
            async with run.phone.call(CALLER, CALLED) as call:
                await call.hears(600)
                await call.press("1")
                await call.over()
            event = await ready_event(run.engine)
            path = f"/calls/{event.call_id}"
            (part,) = (await ours("GET", path)).json()["recordings"]
            assert event.data == {
                "size_bytes": part["size_bytes"],
                "length_ms": part["length_ms"],
            }
            folder = run.engine.recordings.local.folder
            assert files(folder) == []
            heard = await ours("GET", f"{path}/recording")
            assert (heard.status_code, len(heard.content)) == (200, part["size_bytes"])
            tail = await ours("GET", f"{path}/recording", headers={"range": "bytes=-4"})
            assert (tail.status_code, tail.content) == (206, heard.content[-4:])
            said = (await ours("GET", f"{path}/transcript")).json()["items"]
            assert said[-1]["text"] == "Goodbye. Or call [phone]."
            hidden = await theirs("GET", f"{path}/recording")
            assert code_of(hidden) == (404, "no_such_call")
            place = f"s3://sound/calls/default/{event.call_id}.wav"
            assert await run.engine.recordings.size(place) == part["size_bytes"]
            assert (await ours("DELETE", path)).status_code == 204
            gone = await ours("GET", f"{path}/recording")
            assert code_of(gone) == (404, "no_such_call")
            with pytest.raises(StoreError) as caught:
                await run.engine.recordings.size(place)
            assert caught.value.code == "no_such_recording"
