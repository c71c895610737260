"""The composition root: what is refused before anything listens, and what is ready when it does."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from flowengine.app import Engine
from flowengine.errors import ConfigError, FlowError
from flowengine.events import UtteranceSpoken
from flowengine.providers.vendors import server_defaults
from flowengine.settings import load_settings
from tests.runtime.flows import MENU
from tests.runtime.house import CALLED, CALLER, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]


def engine(folder: Path, flow: dict[str, Any], **settings: str) -> Engine:
    path = folder / "flow.json"
    path.write_text(json.dumps(flow))
    return Engine(load_settings({"FLOWENGINE_DATA": str(folder / "data"), **settings}), path)


async def test_a_flow_with_errors_is_refused_with_all_of_them(tmp_path: Path) -> None:
    broken = {**MENU, "start": "nowhere", "edges": [*MENU["edges"], {"from": "bye", "to": "x"}]}
    with pytest.raises(FlowError) as caught:
        engine(tmp_path, broken)
    assert caught.value.code == "bad_flow"
    assert "nowhere" in str(caught.value) and "'x'" in str(caught.value)


async def test_a_flow_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(FlowError) as caught:
        Engine(load_settings({"FLOWENGINE_DATA": str(tmp_path)}), tmp_path / "none.json")
    assert (caught.value.code, caught.value.where) == ("no_flow_file", str(tmp_path / "none.json"))


async def test_a_store_that_we_do_not_speak_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        engine(tmp_path, MENU, FLOWENGINE_DATABASE_URL="mysql://somewhere/calls")
    assert caught.value.code == "bad_database_url"


async def test_a_function_that_no_package_offers_is_refused_before_anything_listens(
    tmp_path: Path,
) -> None:
    tool = {"kind": "python", "function": "os:getcwd", "description": "Where we are."}
    with pytest.raises(ConfigError) as caught:
        engine(tmp_path, {**MENU, "tools": {"where": tool}})
    assert caught.value.code == "unknown_function"
    assert caught.value.where.endswith("/tools/where/function")


async def test_without_twilios_token_no_carrier_is_mounted(tmp_path: Path) -> None:
    made = engine(tmp_path, MENU)
    assert made.carriers == []
    await made.close(0)


def test_the_servers_own_choice_follows_the_keys() -> None:
    none = server_defaults({})
    assert (none.stt.provider, none.llm, none.tts.provider) == ("local", None, "local")
    every = server_defaults(
        {"DEEPGRAM_API_KEY": "k", "OPENAI_API_KEY": "k", "ELEVENLABS_API_KEY": "k"}
    )
    assert every.stt.provider == "deepgram" and every.tts.provider == "elevenlabs"
    assert every.llm is not None and every.llm.provider == "openai"


async def test_a_recording_that_is_missing_is_told_before_the_first_call(tmp_path: Path) -> None:
    nodes = {**MENU["nodes"], "welcome": {"kind": "say", "say": {"audio": "hello.wav"}}}

    async def serve() -> None:
        async with vendors() as behind, running(tmp_path, {**MENU, "nodes": nodes}, behind):
            raise AssertionError("it must not come to this")

    with pytest.raises(FlowError) as caught:
        await serve()
    assert caught.value.code == "no_audio_file"


async def test_a_recording_beside_the_flow_is_played_from_pcm(tmp_path: Path) -> None:
    samples = b"".join(struct.pack("<h", (n % 40) * 300) for n in range(4000))
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    body = b"WAVE" + head + b"data" + struct.pack("<I", len(samples)) + samples
    (tmp_path / "hello.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    nodes = {**MENU["nodes"], "welcome": {"kind": "say", "say": {"audio": "hello.wav"}}}
    async with vendors() as behind, running(tmp_path, {**MENU, "nodes": nodes}, behind) as run:
        audio = run.engine.services.audio.get("hello.wav")
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.press("1")
            await call.over()
    assert audio is not None and len(audio) == 4000
    assert audio in bytes(call.played)


async def test_subflows_beside_the_flow_are_found_and_run(tmp_path: Path) -> None:
    inner = {
        "flow": "1",
        "id": "inner",
        "start": "hello",
        "nodes": {
            "hello": {"kind": "say", "say": "From the inner flow."},
            "back": {"kind": "return", "as": "finished"},
        },
        "edges": [{"from": "hello", "to": "back"}],
    }
    outer = {
        "flow": "1",
        "id": "outer",
        "start": "inside",
        "nodes": {
            "inside": {"kind": "flow", "flow": "inner"},
            "bye": {"kind": "hangup", "say": "Goodbye.", "disposition": "served"},
        },
        "edges": [
            {"from": "inside", "on": "finished", "to": "bye"},
            {"from": "inside", "on": "else", "to": "bye"},
        ],
    }
    (tmp_path / "inner.json").write_text(json.dumps(inner))
    async with (
        vendors() as behind,
        running(tmp_path, outer, behind) as run,
        run.phone.call(CALLER, CALLED) as call,
    ):
        await call.over()
    assert run.path() == ["inside", "hello", "back", "bye"]
    assert [fact.heard for fact in run.facts(UtteranceSpoken)] == [
        "From the inner flow.",
        "Goodbye.",
    ]
