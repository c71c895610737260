"""Making calls through the API: Twilio's REST on loopback, and a phone that answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowengine.events import CallEnded, NodeEntered, UtteranceSpoken
from flowengine.ids import CallId
from flowengine.testing.providers.faults import Fault, cut, garbage, status
from flowengine.testing.twilio_rest import FakeTwilioRest
from tests.api.service import Asker, api_of, code_of
from tests.api.test_steering import check_replay
from tests.runtime.house import AUTH_TOKEN, CALLED, CALLER, Running, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]

ACCOUNT = "AC" + "1" * 32
REMINDER: dict[str, Any] = {
    "flow": "1",
    "id": "reminder",
    "start": "hello",
    "variables": {
        "name": {"type": "name", "input": True},
        "party": {"type": "integer", "min": 1, "max": 10, "input": True, "default": 2},
        "pin": {"type": "digits", "length": 4, "input": True, "default": None, "sensitive": True},
        "day": {"type": "date"},
    },
    "nodes": {
        "hello": {"kind": "greeting", "say": "Good day {{ name }}, a table for {{ party }}."},
        "nobody": {"kind": "hangup", "disposition": "unreached"},
        "bye": {"kind": "hangup", "say": "See you.", "disposition": "reminded"},
    },
    "edges": [
        {"from": "hello", "to": "bye"},
        {"from": "hello", "on": ["voicemail", "unreached"], "to": "nobody"},
    ],
}
GOOD: dict[str, Any] = {
    "flow": "reminder",
    "to": CALLER,
    "from": CALLED,
    "variables": {"name": "Ada", "pin": "4711"},
    "metadata": {"order": 7},
}


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[Running, FakeTwilioRest, Asker, Asker]]:
    async with vendors() as behind, FakeTwilioRest(ACCOUNT, AUTH_TOKEN) as twilio:
        more = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_BASE_URL": twilio.url}
        async with (
            running(folder, REMINDER, behind, more=more) as run,
            api_of(run.engine, run.base_url) as (ours, theirs),
        ):
            yield run, twilio, ours, theirs
        assert twilio.violations == []


async def shown(ours: Asker, call_id: str) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = (await ours("GET", f"/calls/{call_id}")).json()
    return answer


async def test_a_call_is_made_answered_and_runs_its_flow(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, ours, theirs):
        made = await ours("POST", "/calls", GOOD)
        assert made.status_code == 201, made.text
        call_id = made.json()["id"]
        assert made.headers["location"] == f"/v1/calls/{call_id}"
        assert (made.json()["status"], made.json()["from"]) == ("queued", CALLED)
        (placed,) = twilio.calls
        assert (placed.from_number, placed.to_number, placed.ring_s) == (CALLED, CALLER, 30)
        assert placed.voice_url == f"{run.base_url}/twilio/voice?call={call_id}"
        assert code_of(await theirs("GET", f"/calls/{call_id}")) == (404, "no_such_call")
        async with run.phone.answers(placed) as call:
            await call.hears()
            await call.over()
        await run.settled()
        said = [fact.heard for fact in run.facts(UtteranceSpoken)]
        assert said == ["Good day Ada, a table for 2.", "See you."]
        row = await shown(ours, call_id)
        assert (row["direction"], row["status"], row["disposition"]) == (
            "outbound",
            "completed",
            "reminded",
        )
        assert row["metadata"] == {"order": 7}
        assert row["variables"]["name"] == "Ada"
        assert "4711" not in str(row), "what is sensitive is sealed"
        inputs = await run.engine.store.call(CallId(call_id))
        assert inputs is not None and inputs.carrier_sid == placed.sid
        actions = [line["action"] for line in (await ours("GET", "/audit")).json()["items"]]
        assert actions == ["call.placed"]


async def test_a_flow_with_inputs_is_replayed(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, ours, _):
        body = {**GOOD, "variables": {"name": "Ada", "party": 4}}
        assert (await ours("POST", "/calls", body)).status_code == 201
        async with run.phone.answers(twilio.calls[0]) as call:
            await call.over()
        await run.settled()
        await check_replay(run)


@pytest.mark.parametrize("told", ["busy", "no-answer", "failed", "canceled"])
async def test_a_call_that_nobody_takes_says_so(tmp_path: Path, told: str) -> None:
    async with house(tmp_path) as (run, twilio, ours, _):
        call_id = (await ours("POST", "/calls", GOOD)).json()["id"]
        before = run.engine.supervisor.live_calls
        await run.phone.misses(twilio.calls[0], told)
        row = await shown(ours, call_id)
        ours_word = told.replace("-", "_")
        assert (row["status"], row["disposition"]) == (ours_word, ours_word)
        assert (before, run.engine.supervisor.live_calls) == (1, 0)


async def test_statuses_that_come_before_the_answer_and_out_of_order(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, ours, _):
        call_id = CallId((await ours("POST", "/calls", GOOD)).json()["id"])
        supervisor, sid = run.engine.supervisor, twilio.calls[0].sid
        await supervisor.reported(sid, "ringing", 1, call_id)
        await supervisor.reported(sid, "initiated", 0, call_id)
        assert (await shown(ours, call_id))["status"] == "ringing"
        await supervisor.reported(sid, "no-answer", 2, call_id)
        await supervisor.reported(sid, "ringing", 1, call_id)
        assert (await shown(ours, call_id))["status"] == "no_answer"


async def test_a_call_that_rings_is_ended(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, ours, _):
        call_id = (await ours("POST", "/calls", GOOD)).json()["id"]
        said = await ours("POST", f"/calls/{call_id}/say", {"text": "Hello."})
        assert code_of(said) == (409, "call_not_answered")
        ended = await ours("POST", f"/calls/{call_id}/end", {"disposition": "not needed"})
        assert ended.status_code == 200, ended.text
        assert twilio.calls[0].hung_up.is_set()
        row = await shown(ours, call_id)
        assert (row["status"], row["disposition"]) == ("canceled", "not needed")
        await run.phone.misses(twilio.calls[0], "canceled")
        assert (await shown(ours, call_id))["disposition"] == "not needed"


# --- what the carrier does wrong ---


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (status(429), "rate_limit"),
        (status(401), "auth"),
        (status(500), "placing_unknown"),
        (status(503), "unavailable"),
        (garbage(), "placing_unknown"),
    ],
)
async def test_a_call_that_the_carrier_does_not_make_is_failed(
    tmp_path: Path, fault: Fault, code: str
) -> None:
    async with house(tmp_path) as (run, twilio, ours, _):
        twilio.faults.append(fault)
        answer = await ours("POST", "/calls", GOOD)
        assert code_of(answer) == (502, code)
        assert CALLER not in answer.text
        row = await shown(ours, answer.json()["where"])
        assert (row["status"], row["disposition"]) == ("failed", "not_placed")
        assert run.engine.supervisor.live_calls == 0


async def test_an_answer_that_is_lost_makes_no_second_call(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, ours, _):
        twilio.faults.append(cut())
        key = {"idempotency-key": "order 7"}
        first = await ours("POST", "/calls", GOOD, headers=key)
        again = await ours("POST", "/calls", GOOD, headers=key)
        assert code_of(first) == code_of(again) == (502, "placing_unknown")
        assert again.headers["idempotency-replayed"] == "true"
        (placed,) = twilio.calls
        async with run.phone.answers(placed) as call:
            await call.over()
        assert [verb.name for verb in call.verbs] == ["Hangup"]
        assert run.facts(NodeEntered) == []
        assert (await shown(ours, first.json()["where"]))["status"] == "failed"


async def test_a_refused_call_may_be_tried_again_with_its_key(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, twilio, ours, _):
        twilio.faults.append(status(429))
        key = {"idempotency-key": "order 7"}
        assert code_of(await ours("POST", "/calls", GOOD, headers=key)) == (502, "rate_limit")
        made = await ours("POST", "/calls", GOOD, headers=key)
        again = await ours("POST", "/calls", GOOD, headers=key)
        assert made.status_code == 201 and made.json() == again.json()
        assert len(twilio.calls) == 1


async def test_an_answer_under_another_calls_id_is_hung_up(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, ours, _):
        call_id = (await ours("POST", "/calls", GOOD)).json()["id"]
        placed = twilio.calls[0]
        placed.sid = "CA" + "9" * 32
        async with run.phone.answers(placed) as call:
            await call.over()
        assert [verb.name for verb in call.verbs] == ["Hangup"]
        assert (await shown(ours, call_id))["status"] == "queued"


# --- what is refused before anything is dialled ---


@pytest.mark.parametrize(
    ("variables", "wrong"),
    [
        ({}, [("/variables/name", "missing_input")]),
        ({"name": "Ada", "party": 11}, [("/variables/party", "bad_max")]),
        ({"name": "Ada", "party": "many"}, [("/variables/party", "bad_type")]),
        ({"name": "Ada", "pin": "12"}, [("/variables/pin", "bad_length")]),
        ({"name": "Ada", "day": "2026-01-01"}, [("/variables/day", "unknown_input")]),
        (
            {"n/a~me": 1},
            [("/variables/n~1a~0me", "unknown_input"), ("/variables/name", "missing_input")],
        ),
    ],
)
async def test_inputs_are_held_against_the_flow(
    tmp_path: Path, variables: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    async with house(tmp_path) as (_, twilio, ours, _):
        answer = await ours("POST", "/calls", {**GOOD, "variables": variables})
        assert code_of(answer) == (422, "bad_variables")
        assert [(one["path"], one["code"]) for one in answer.json()["errors"]] == wrong
        assert twilio.connections == 0
        assert (await ours("GET", "/calls")).json()["items"] == []


async def test_what_may_not_be_placed(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, ours, theirs):
        both = {**GOOD, "version": 1, "tag": "production"}
        assert code_of(await ours("POST", "/calls", both)) == (422, "version_or_tag")
        for body in ({**GOOD, "flow": "other"}, {**GOOD, "version": 3}, {**GOOD, "tag": "no"}):
            assert code_of(await ours("POST", "/calls", body)) == (404, "no_such_version")
        assert code_of(await theirs("POST", "/calls", GOOD)) == (404, "no_such_version")
        number = {"e164": CALLED, "routes": {"routes": "1", "last": {"refuse": "busy"}}}
        assert (await ours("POST", "/numbers", number)).status_code == 201
        assert code_of(await theirs("POST", "/calls", GOOD)) == (422, "not_your_number")
        run.engine.supervisor.is_draining = True
        full = await ours("POST", "/calls", GOOD)
        assert code_of(full) == (503, "no_room") and full.headers["retry-after"]
        assert twilio.calls == []


async def test_a_published_version_is_pinned(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, twilio, _, theirs):
        assert (await theirs("POST", "/flows", {"document": REMINDER})).status_code == 201
        published = await theirs(
            "POST", "/flows/reminder/publish", {"tags": ["production"]}, match="*"
        )
        assert published.status_code in (200, 201), published.text
        made = await theirs("POST", "/calls", {**GOOD, "tag": "production"})
        assert made.status_code == 201, made.text
        assert made.json()["flow_version"] == 1
        async with run.phone.answers(twilio.calls[0]) as call:
            await call.over()
        await run.settled()
        assert [fact.disposition for fact in run.facts(CallEnded)] == ["reminded"]


async def test_without_a_carrier_nothing_is_stored(tmp_path: Path) -> None:
    async with (
        vendors() as behind,
        running(tmp_path, REMINDER, behind) as run,
        api_of(run.engine, run.base_url) as (ours, _),
    ):
        assert code_of(await ours("POST", "/calls", GOOD)) == (409, "cannot_place")
        assert (await ours("GET", "/calls")).json()["items"] == []
