"""The commands about providers: who is there, whether accounts work, what a call cost, doctor."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowengine.catalog import shipped
from flowengine.errors import ConfigError
from flowengine.events import Usage, UsageCounted, to_json
from flowengine.ids import CallId
from flowengine.ports import CallRow, JournalRecord
from flowengine.providers.round_trip import Trip, round_trips
from flowengine.providers.settings import ProviderSettings
from flowengine.testing.providers.openai import Answer
from flowengine.testing.providers.openai_audio import FakeOpenAiAudio
from flowengine.testing.providers.serving import KEY, Fault
from tests.cli.test_call_commands import run
from tests.runtime.flows import MENU
from tests.runtime.house import Vendors, vendors
from tests.store.calls import open_store

pytestmark = pytest.mark.conversation

KEYS = (
    "OPENAI",
    "DEEPGRAM",
    "ELEVENLABS",
    "ANTHROPIC",
    "GEMINI",
    "MISTRAL",
    "GROQ",
    "WHISPER",
    "LLAMA",
)


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No key and no setting of whoever runs the tests."""
    for vendor in KEYS:
        monkeypatch.delenv(f"{vendor}_API_KEY", raising=False)
        monkeypatch.delenv(f"{vendor}_BASE_URL", raising=False)
    monkeypatch.setenv("FLOWENGINE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("FLOWENGINE_DATABASE_URL", raising=False)
    monkeypatch.delenv("FLOWENGINE_CATALOG", raising=False)
    return tmp_path


def test_providers_are_listed_with_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "secret-of-a-test")
    told = run("providers", "--json").stdout
    rows = {row["name"]: row for row in json.loads(told)}
    assert rows["google"]["has_key"] and not rows["openai"]["has_key"]
    assert rows["deepgram"]["does"] == {
        "stt": {"model": "nova-3", "sunset": None},
        "tts": {"model": "aura-2-thalia-en", "sunset": None},
    }
    assert rows["openai"]["does"]["llm"]["model"] == "gpt-6-luna"
    assert rows["openai"]["does"]["tts"]["sunset"] == "2027-01-06"
    assert not rows["llama"]["is_set_up"]
    assert "secret-of-a-test" not in told
    monkeypatch.setenv("LLAMA_BASE_URL", "http://127.0.0.1:11434/v1")
    lines = {line.split()[0]: line for line in run("providers").stdout.splitlines()}
    assert "URL set" in lines["llama"] and "key set" in lines["google"]
    assert "tts gpt-4o-mini-tts (until 2027-01-06)" in lines["openai"]


def test_without_a_key_nothing_is_tested() -> None:
    result = run("providers", "test")
    assert result.exit_code == 1
    assert "No key of a provider is set" in result.stdout


@asynccontextmanager
async def behind(*faults: Fault) -> AsyncIterator[Vendors]:
    async with vendors() as all_:
        all_.openai.faults.extend(faults)
        yield all_


@contextmanager
def vendors_in_a_thread() -> Iterator[Vendors]:
    """Fakes for a command that has a loop of its own."""
    started: Future[tuple[Vendors, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        async with vendors() as all_:
            started.set_result((all_, asyncio.get_running_loop(), over))
            await over.wait()

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(asyncio.run, serve())
        all_, loop, over = started.result(10)
        try:
            yield all_
        finally:
            loop.call_soon_threadsafe(over.set)
            serving.result(10)


async def _trips(names: list[str], *faults: Fault) -> list[Trip]:
    async with behind(*faults) as all_:
        all_.deepgram.plan.append("thank you for calling how can he help us")
        all_.elevenlabs.scribe.plan.append("we are sorry")
        settings = ProviderSettings(all_.environment())
        return await round_trips(names, settings, shipped())


def by_kind(trips: list[Trip]) -> dict[tuple[str, str], Trip]:
    return {(trip.provider, trip.kind): trip for trip in trips}


def test_a_round_trip_speaks_hears_and_asks() -> None:
    trips = by_kind(asyncio.run(_trips(["deepgram", "elevenlabs"])))
    for key in (("deepgram", "stt"), ("elevenlabs", "tts")):
        assert not trips[key].error, trips[key]
        assert trips[key].ms["all"] >= trips[key].ms.get("first", 0) or key[1] == "stt"
        assert "ok" in trips[key].to_text()
    assert list(trips)[-1][1] == "stt", "a recogniser hears what a voice said before"
    assert "7 of 10 words right" in trips["deepgram", "stt"].to_text()


def test_the_whole_command_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with vendors_in_a_thread() as all_:
        all_.deepgram.plan.append("thank you for calling how can we help you today")
        for name, value in all_.environment().items():
            monkeypatch.setenv(name, value)
        trips = json.loads(run("providers", "test", "deepgram", "openai", "--json").stdout)
        all_.openai.faults.append(Fault("refuse", status=401))
        refused = run("providers", "test", "openai")
    told = {(trip["provider"], trip["kind"]): trip for trip in trips}
    assert told["openai", "llm"]["ms"]["all"] >= told["openai", "llm"]["ms"]["first"] >= 0
    assert told["deepgram", "tts"]["model"] == "aura-2-thalia-en"
    assert told["deepgram", "stt"]["right"] == "10 of 10"
    assert refused.exit_code == 1 and "FAILED auth" in refused.stdout


def test_without_a_voice_a_recording_is_heard() -> None:
    async def heard() -> list[Trip]:
        async with FakeOpenAiAudio(["we are sorry"]) as vendor:
            values = {"WHISPER_API_KEY": KEY, "WHISPER_BASE_URL": vendor.url}
            return await round_trips(["groq", "whisper"], ProviderSettings(values), shipped())

    groq, _, whisper = asyncio.run(heard())
    assert (groq.kind, groq.error) == ("llm", "missing_key"), "and the others are tried"
    assert "GROQ_API_KEY" in groq.fix
    assert not whisper.error and not whisper.right


def test_an_llm_that_says_nothing_has_failed() -> None:
    async def asked() -> list[Trip]:
        async with behind() as all_:
            all_.openai.plan.append(Answer())
            settings = ProviderSettings(all_.environment())
            return await round_trips(["openai"], settings, shipped())

    assert by_kind(asyncio.run(asked()))["openai", "llm"].error == "protocol"


def test_a_package_that_is_not_installed_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.setattr(importlib, "import_module", missing)
    trips = asyncio.run(round_trips(["google"], ProviderSettings({}), shipped()))
    assert {(trip.kind, trip.error) for trip in trips} == {
        ("llm", "missing_extra"),
        ("stt", "missing_extra"),
    }
    assert all("pip install" in trip.fix for trip in trips)


def test_a_key_that_is_refused_is_told_with_what_to_do() -> None:
    trips = by_kind(asyncio.run(_trips(["openai"], Fault("refuse", status=401))))
    failed: dict[str, Any] = trips["openai", "llm"].to_json()
    assert failed["error"] == "auth"
    assert "API key" in failed["fix"]
    assert "FAILED auth" in trips["openai", "llm"].to_text()


def test_an_unknown_provider_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(round_trips(["depgram"], ProviderSettings({}), shipped()))
    assert caught.value.code == "unknown_provider"


def test_the_cost_of_a_stored_call(clean: Path) -> None:
    row = CallRow(
        id=CallId("call_1"),
        carrier="simulated",
        carrier_sid="CA1",
        direction="inbound",
        from_number="+14155550100",
        to_number="+14155550199",
        flow_id="f",
        version="v",
        flow={},
        status="completed",
        epoch=0,
        created_at="2026-11-26T10:00:00+00:00",
    )
    usages = [
        Usage("openai", "gpt-6-luna", "tokens", 1500, 60),
        Usage("deepgram", "nova-3", "audio_ms", 90_000),
        Usage("openai", "gpt-6-luna", "tokens", 100, 0, estimated=True, wasted=True),
    ]
    records = [
        JournalRecord(place, 0, "fact", to_json(UsageCounted(usage)))
        for place, usage in enumerate(usages, 1)
    ]

    async def write() -> None:
        (clean / "data").mkdir()
        store = open_store(clean / "data" / "flowengine.db")
        await store.add_call(row)
        store.append(row.id, 0, records)
        await store.close()

    asyncio.run(write())
    told = json.loads(run("cost", "last", "--json").stdout)
    assert (told["micro_usd"], told["wasted_micro_usd"], told["is_whole"]) == (7390, 10, True)
    assert "0.007390 USD in all, of it 0.000010 in vain" in run("cost", "call_1").stdout


def test_doctor_finds_what_is_wrong_with_a_flow(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    path = clean / "flow.json"
    path.write_text(json.dumps({**MENU, "start": "nowhere"}))
    result = run("doctor", path)
    assert result.exit_code == 1
    assert "error" in result.stdout and "nowhere" in result.stdout
    assert "keys are set for: openai" in result.stdout
    lines = json.loads(run("doctor", "--json").stdout)
    assert {"verdict", "what", "fix"} == set(lines[0])


def test_doctor_tells_of_a_broken_catalog(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = clean / "own.toml"
    own.write_text("models = [")
    monkeypatch.setenv("FLOWENGINE_CATALOG", str(own))
    result = run("doctor")
    assert result.exit_code == 1
    assert "bad_catalog" in result.stdout


def test_doctor_tells_of_urls_and_models_but_of_no_secret(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key-of-a-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://me:hidden@proxy.example/v1?token=hidden")
    own = clean / "own.toml"
    own.write_text(
        '[[models]]\nprovider = "openai"\nkind = "llm"\nname = "gpt-0"\n'
        "sunset = 2025-01-01\ndefault = true\n"
    )
    monkeypatch.setenv("FLOWENGINE_CATALOG", str(own))
    result = run("doctor")
    assert result.exit_code == 1
    assert "OPENAI_BASE_URL is https://proxy.example/v1\n" in result.stdout
    assert "openai's ordinary llm, gpt-0, was shut down on 2025-01-01." in result.stdout
    assert "openai thinks" in result.stdout
    assert "secret-key-of-a-test" not in result.stdout and "hidden" not in result.stdout


def test_doctor_opens_the_store(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no calls are stored in" in run("doctor").stdout
    (clean / "data").mkdir()
    (clean / "data" / "flowengine.db").write_bytes(b"this is no database at all" * 100)
    result = run("doctor")
    assert result.exit_code == 1
    monkeypatch.setenv("FLOWENGINE_DATABASE_URL", "mysql://host/base")
    assert "No store speaks 'mysql'." in run("doctor").stdout
    monkeypatch.setenv("FLOWENGINE_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/base")
    told = run("doctor").stdout
    assert "Check that the database is up" in told
    assert "hidden" not in told
