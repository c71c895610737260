"""Steering calls through the API: with a phone on a real engine, and another process's call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowengine.assurance.replay import replay
from flowengine.events import CallEnded, NodeEntered, TransferEnded, UtteranceSpoken
from flowengine.ids import CallId
from flowengine.runtime.actor import CallSetup
from flowengine.runtime.caller import facts_of
from flowengine.testing.phone import DialPlan, PhoneCall
from tests.api.service import Asker, api_of, code_of
from tests.runtime.flows import MENU
from tests.runtime.house import CALLED, CALLER, Running, running, vendors
from tests.store.calls import a_call

pytestmark = [pytest.mark.api, pytest.mark.anyio]

HELLO = "A person is listening too."


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[Running, Asker, Asker]]:
    async with (
        vendors() as behind,
        running(folder, MENU, behind) as run,
        api_of(run.engine, run.base_url) as (ours, theirs),
    ):
        yield run, ours, theirs


async def id_of(ours: Asker) -> str:
    (listed,) = (await ours("GET", "/calls")).json()["items"]
    call_id: str = listed["id"]
    return call_id


async def at_the_menu(call: PhoneCall, run: Running) -> None:
    """Wait until the caller has heard the menu."""
    await call.hears()
    while "choose" not in run.path() or len(run.facts(UtteranceSpoken)) < 2:
        await call.hears()


async def test_a_call_is_spoken_to_moved_and_ended(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, ours, theirs):
        async with run.phone.call(CALLER, CALLED) as call:
            await at_the_menu(call, run)
            path = f"/calls/{await id_of(ours)}"
            reader = await scoped(run, ours, "read")
            for what, body in BODIES.items():
                assert code_of(await theirs("POST", f"{path}/{what}", body)) == (
                    404,
                    "no_such_call",
                )
                assert code_of(await reader("POST", f"{path}/{what}", body)) == (
                    403,
                    "missing_scope",
                )
            said = await ours("POST", f"{path}/say", {"text": HELLO})
            assert said.status_code == 200, said.text
            await call.hears()
            lost = await ours("POST", f"{path}/move", {"node": "nowhere"})
            assert code_of(lost) == (409, "unknown_node")
            moved = await ours("POST", f"{path}/move", {"node": "choose", "reason": "once more"})
            assert moved.json()["command"].startswith("cmd_")
            await call.hears()
            body = {"say": "We stop here.", "disposition": "enough"}
            assert (await ours("POST", f"{path}/end", body)).status_code == 200
            await call.over()
        await run.settled()
        assert [fact.heard for fact in run.facts(UtteranceSpoken)][-3:] == [
            HELLO,
            "For sales press one, for help press two.",
            "We stop here.",
        ]
        assert run.path() == ["welcome", "choose", "choose"]
        shown = (await ours("GET", path)).json()
        assert (shown["status"], shown["disposition"]) == ("completed", "enough")
        assert shown["way"][-1]["by"] == "operator"
        assert code_of(await ours("POST", f"{path}/say", {"text": HELLO})) == (409, "call_is_over")
        actions = [row["action"] for row in (await ours("GET", "/audit")).json()["items"]]
        assert actions[:3] == ["call.ended", "call.moved", "call.said"]
        await check_replay(run)


BODIES: dict[str, dict[str, Any]] = {
    "say": {"text": HELLO},
    "move": {"node": "bye"},
    "transfer": {"to": ["+33123456789"]},
    "end": {},
}


async def scoped(run: Running, ours: Asker, scope: str) -> Asker:
    made = await ours("POST", "/keys", {"name": scope, "scopes": [scope]})
    return Asker(ours.http, made.json()["key"])


async def check_replay(run: Running) -> None:
    """The journal, driven again, decides the same."""
    (row,) = await run.engine.store.calls(1)
    assert run.engine.flow is not None
    setup = CallSetup(row.id, facts_of(row), run.engine.server, row.carrier, row.variables)
    result = replay(setup, run.engine.flow.program, await run.engine.store.journal(row.id))
    assert result.verdict == "equal", result.told()


@pytest.mark.parametrize(
    ("back", "dial", "path", "disposition"),
    [
        ("", DialPlan("completed"), ["welcome", "choose", "choose"], "transferred"),
        ("sorry", DialPlan("busy"), ["welcome", "choose", "choose", "sorry"], "failed"),
    ],
)
async def test_a_call_is_transferred_and_comes_back(
    tmp_path: Path, back: str, dial: DialPlan, path: list[str], disposition: str
) -> None:
    async with house(tmp_path) as (run, ours, _):
        async with run.phone.call(CALLER, CALLED, dials=[dial]) as call:
            await at_the_menu(call, run)
            body = {"to": ["+33123456789"], "say": "I connect you.", "back": back}
            taken = await ours("POST", f"/calls/{await id_of(ours)}/transfer", body)
            assert taken.status_code == 200, taken.text
            await call.over()
        await run.settled()
        (row,) = await run.engine.store.calls(1)
        records = await run.engine.store.journal(row.id)
        entered = [r.body["node"] for r in records if r.body["type"] == NodeEntered.__name__]
        assert [verb.name for verb in call.verbs].count("Dial") == 1
        assert entered == path
        assert any(r.body["type"] == TransferEnded.__name__ for r in records)
        assert (row.status, row.disposition) == ("completed", disposition)
        await check_replay(run)


async def test_a_call_of_another_process_is_reached(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(vendors())
        holding = await stack.enter_async_context(running(tmp_path, MENU, behind))
        other = await stack.enter_async_context(running(tmp_path, MENU, behind))
        ours, _ = await stack.enter_async_context(api_of(other.engine, other.base_url))
        async with holding.phone.call(CALLER, CALLED) as call:
            await at_the_menu(call, holding)
            call_id = await id_of(ours)
            assert other.engine.supervisor.held(CallId(call_id)) is None
            said = await ours("POST", f"/calls/{call_id}/say", {"text": HELLO})
            assert said.status_code == 200, said.text
            await call.hears()
            lost = await ours("POST", f"/calls/{call_id}/move", {"node": "nowhere"})
            assert code_of(lost) == (409, "unknown_node")
            assert (await ours("POST", f"/calls/{call_id}/end", {})).status_code == 200
            await call.over()
        await holding.settled()
        assert HELLO in [fact.heard for fact in holding.facts(UtteranceSpoken)]
        assert [fact.disposition for fact in holding.facts(CallEnded)] == ["ended"]


async def test_a_call_that_nobody_holds_is_not_reached(tmp_path: Path) -> None:
    async with house(tmp_path) as (run, ours, _):
        for status in ("in_progress", "ringing", "transferring"):
            row = replace(a_call(f"call_{status}"), status=status)
            await run.engine.store.add_call(row)
        lost = ours("POST", "/calls/call_in_progress/say", {"text": HELLO})
        rings = ours("POST", "/calls/call_ringing/say", {"text": HELLO})
        away = ours("POST", "/calls/call_transferring/move", {"node": "bye"})
        end = ours("POST", "/calls/call_ringing/end", {})
        answers = await asyncio.gather(lost, rings, away, end)
        assert [code_of(answer) for answer in answers] == [
            (504, "call_not_reached"),
            (409, "call_not_answered"),
            (409, "call_is_away"),
            (409, "cannot_end"),
        ]


@pytest.mark.parametrize(
    ("what", "body", "path"),
    [
        ("say", {"text": ""}, "/text"),
        ("say", {"text": "a\0b"}, "/text"),
        ("say", {"text": "a", "loud": True}, "/loud"),
        ("transfer", {"to": []}, "/to"),
        ("transfer", {"to": ["911"]}, "/to/0"),
        ("end", {"disposition": "x" * 61}, "/disposition"),
    ],
)
async def test_what_has_no_good_form_is_refused(
    tmp_path: Path, what: str, body: dict[str, Any], path: str
) -> None:
    async with house(tmp_path) as (_, ours, _):
        answer = await ours("POST", f"/calls/call_1/{what}", body)
        assert code_of(answer) == (422, "invalid_request")
        assert [wrong["path"] for wrong in answer.json()["errors"]] == [path]
