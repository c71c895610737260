"""The commands that look back at a call that the store keeps: journal, why, replay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flowengine.cli import build
from flowengine.errors import CallError, ConfigError, FlowError
from flowengine.flow.program import Program
from flowengine.ids import CallId
from flowengine.ports import CallRow
from flowengine.testing.simulation import Caller, SimulatedCall, simulate
from tests.runtime.small_flows import DESK, INNER, desk, shop
from tests.store.calls import open_store

pytestmark = pytest.mark.conversation

ID = CallId("call_simulated")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(build(), [str(item) for item in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOWENGINE_DATA", str(tmp_path))
    monkeypatch.delenv("FLOWENGINE_DATABASE_URL", raising=False)
    return tmp_path


def keep(data: Path, program: Program, call: SimulatedCall) -> None:
    """Store a call as the engine does."""
    row = CallRow(
        id=ID,
        carrier="simulated",
        carrier_sid="CA1",
        direction="inbound",
        from_number="+14155550100",
        to_number="+14155550199",
        flow_id=program.flow.id,
        version=program.version,
        flow=program.flow.document,
        status="completed",
        epoch=0,
        created_at="2026-03-03T10:00:00+00:00",
    )

    async def write() -> None:
        store = open_store(data / "flowengine.db")
        await store.add_call(row)
        store.append(ID, 0, call.journal)
        await store.close()

    asyncio.run(write())


@pytest.fixture
def kept(data: Path) -> SimulatedCall:
    call = simulate(shop(), [Caller.says("order"), Caller.says("three"), Caller.says("yes")])
    keep(data, shop(), call)
    return call


def test_a_journal_as_lines_of_json(kept: SimulatedCall) -> None:
    lines = [json.loads(line) for line in run("journal", ID, "--jsonl").stdout.splitlines()]
    assert len(lines) == len(kept.journal)
    assert lines[0]["body"]["type"] == "LineOpened"
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line["family"] for line in lines} == {"input", "fact", "effect"}


def test_a_journal_for_people(kept: SimulatedCall) -> None:
    lines = run("journal", "last").stdout.splitlines()
    assert len(lines) == len(kept.journal)
    assert "input  LineOpened" in lines[0]
    assert any("fact   EdgeDecided" in line for line in lines)


@pytest.mark.usefixtures("kept")
def test_why() -> None:
    told = run("why", ID).stdout
    assert told.startswith("welcome → choose → how_many → sold\n")
    assert "choose: outcome order → e1 to how_many, decided by engine" in told


@pytest.mark.usefixtures("kept")
def test_a_replay_is_equal() -> None:
    result = run("replay", ID)
    assert result.exit_code == 0
    assert f"{ID}: equal: " in result.stdout


def test_a_replay_that_differs_fails(data: Path) -> None:
    call = simulate(shop(), [Caller.says("order"), Caller.hangs_up()])
    record = next(r for r in call.journal if r.body["type"] == "TurnEnded")
    record.body["confidence"] = 0.1  # type: ignore[index]
    keep(data, shop(), call)
    result = run("replay", "last")
    assert result.exit_code == 1
    assert "confidence: 0.1 in the journal, 0.95 now" in result.stdout


def test_a_flow_that_calls_others_needs_their_files(data: Path) -> None:
    call = simulate(
        desk(), [Caller.says("five"), Caller.hangs_up()], tools={"account": {}, "order": {}}
    )
    keep(data, desk(), call)
    with pytest.raises(FlowError) as caught:
        run("replay", ID)
    assert caught.value.code == "no_subflows"
    for document in (DESK, INNER):
        (data / f"{document['id']}.json").write_text(json.dumps(document))
    result = run("replay", ID, "--flow", data / "desk.json")
    assert result.exit_code == 0, result.stdout


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("command", ["journal", "why", "replay"])
def test_without_a_store_there_is_no_call(command: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(command, "last")
    assert caught.value.code == "no_store"


@pytest.mark.usefixtures("kept")
def test_a_call_that_is_not_there() -> None:
    with pytest.raises(CallError) as caught:
        run("why", "call_nobody")
    assert caught.value.code == "no_such_call"


@pytest.mark.usefixtures("data")
def test_a_database_that_we_do_not_speak_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWENGINE_DATABASE_URL", "mysql://localhost/calls")
    with pytest.raises(ConfigError) as caught:
        run("why", "last")
    assert caught.value.code == "bad_database_url"
