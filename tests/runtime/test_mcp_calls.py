"""Whole calls whose LLM uses a tool of a real MCP server, described by the server itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from flowengine.app import Engine
from flowengine.assurance.replay import replay, server_of
from flowengine.cli.rehearsal import Rehearsal
from flowengine.errors import ConfigError
from flowengine.events import CallEnded, ToolEnded, UtteranceSpoken
from flowengine.ports import LlmTool, ToolResult
from flowengine.settings import load_settings
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.answers import Answer, saying
from flowengine.testing.simulated_llm import Item
from flowengine.testing.simulation import Caller, Proposes, World, setup_of, simulate
from tests.runtime.house import CALLED, CALLER, running, vendors
from tests.runtime.small_flows import program

pytest.importorskip("mcp")

pytestmark = [pytest.mark.api]

SERVERS = {
    "book": {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_book.py"))]}
}
FLOW: dict[str, Any] = {
    "flow": "1",
    "id": "desk",
    "start": "talk",
    "variables": {"who": {"type": "string", "output": True}},
    "tools": {
        "account": {
            "kind": "mcp",
            "server": "book",
            "name": "find",
            "save": {"who": "string(result.body.name)"},
        }
    },
    "nodes": {
        "talk": {
            "kind": "dialog",
            "say": "Hello.",
            "prompt": "Help the caller.",
            "tools": ["account"],
        },
        "bye": {"kind": "hangup", "say": "Goodbye."},
    },
    "edges": [
        {"from": "talk", "on": {"intent": "The caller says goodbye"}, "to": "bye", "id": "leave"},
        {"from": "talk", "on": "else", "to": "bye"},
    ],
}
SIMULATED = setup_of(World(llm=lambda request: [])).server
OFFER = LlmTool(
    "find",
    "Finds an account.",
    {"type": "object", "properties": {"phone": {"type": "string"}}, "required": ["phone"]},
)


@pytest.mark.anyio
async def test_the_llm_calls_a_tool_of_a_server_on_the_phone(tmp_path: Path) -> None:
    more = {"FLOWENGINE_MCP_SERVERS": orjson.dumps(SERVERS).decode()}
    async with vendors() as behind:
        behind.deepgram.plan.extend(["who am I", "okay goodbye"])
        behind.openai.plan += [
            Answer(tools=(("account", '{"phone": "+14155550100"}'),)),
            saying("You are Ada."),
            Answer(tools=(("take_edge", '{"edge":"leave","quote":"okay goodbye"}'),)),
        ]
        async with running(tmp_path, FLOW, behind, more=more) as run:
            async with run.phone.call(CALLER, CALLED) as call:
                await call.hears()
                await call.say(babble(700))
                await call.hears()
                await call.say(babble(700, seed=2))
                await call.over()
            await run.settled()
        offered = next(
            item["function"]
            for item in behind.openai.requests[0]["tools"]
            if item["function"]["name"] == "account"
        )
    assert [fact.body for fact in run.facts(ToolEnded)] == [{"id": 1, "name": "Ada"}]
    assert "You are Ada." in [fact.text for fact in run.facts(UtteranceSpoken)]
    assert [dict(fact.outputs) for fact in run.facts(CallEnded)] == [{"who": "Ada"}]
    assert offered["description"] == "Finds an account by its phone number."
    assert offered["parameters"]["required"] == ["phone"]
    assert behind.openai.violations == []


@pytest.mark.anyio
async def test_an_engine_does_not_start_with_a_tool_that_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    path.write_bytes(orjson.dumps(FLOW))
    data = {"FLOWENGINE_DATA": str(tmp_path)}
    with pytest.raises(ConfigError, match="unknown_mcp_server"):
        Engine(load_settings(data), path)
    wrong = {**FLOW["tools"]["account"], "name": "finde"}
    path.write_bytes(orjson.dumps({**FLOW, "tools": {"account": wrong}}))
    servers = {**data, "FLOWENGINE_MCP_SERVERS": orjson.dumps(SERVERS).decode()}
    engine = Engine(load_settings(servers), path)
    with pytest.raises(ConfigError, match="unknown_mcp_tool"):
        await engine.warm(prompts=False)
    await engine.close(0)


def test_a_rehearsal_uses_the_server_too(tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    file.write_bytes(orjson.dumps(SERVERS))
    settings = load_settings({"FLOWENGINE_MCP_SERVERS": str(file)})
    made = program(FLOW)
    answers: list[list[Item]] = [[Proposes("account", {"phone": "+14155550100"})], ["You are Ada."]]
    with Rehearsal(made, settings) as rehearsal:
        call = simulate(
            made,
            [Caller.says("who am I"), Caller.hears("You are Ada"), Caller.hangs_up()],
            llm=lambda request: answers.pop(0),
            server=replace(SIMULATED, offers=rehearsal.server.offers),
            run_tool=rehearsal.run_tool,
        )
    assert call.outputs == {"who": "Ada"}


def test_a_replay_knows_from_the_journal_what_the_server_offered() -> None:
    made = program(FLOW)
    server = replace(SIMULATED, offers={"book/find": OFFER})
    call = simulate(
        made,
        [Caller.says("who am I"), Caller.hears("Ada"), Caller.hangs_up()],
        llm=lambda request: (
            ["You are Ada."]
            if request.messages[-1].role == "tool"
            else [Proposes("account", {"phone": "1", "not_declared": True})]
        ),
        tools={"account": ToolResult("done", body={"name": "Ada"})},
        server=server,
    )
    offered = next(tool for tool in call.llm_requests[0].tools if tool.name == "account")
    assert offered.parameters == OFFER.parameters
    journal = [
        replace(record, body=orjson.loads(orjson.dumps(record.body, default=dict)))
        for record in call.journal
    ]
    setup = replace(setup_of(World()), server=server_of(journal, made))
    assert replay(setup, made, journal).verdict == "equal"
