"""A call whose dialog is answered by a model that hears the caller and speaks for itself."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from flowengine.events import UsageCounted, UtteranceSpoken
from flowengine.ports import BYTES_PER_MS
from flowengine.providers.openai import OpenAiLlm
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.faults import status
from flowengine.testing.providers.openai import saying
from flowengine.testing.providers.openai_realtime import FakeOpenAiRealtime, SpokenAnswer
from tests.runtime.flows import MENU
from tests.runtime.house import CALLED, CALLER, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]

MODEL = "gpt-realtime-2.1"
TALK: dict[str, Any] = {
    "flow": "1",
    "id": "speaks-for-itself",
    "start": "talk",
    "tools": {
        "visits": {
            "kind": "http",
            "description": "Looks for free visits.",
            "url": "https://clinic.invalid/visits",
            "input": {"day": {"type": "string"}},
        }
    },
    "nodes": {
        **{name: MENU["nodes"][name] for name in ("bye", "sorry")},
        "talk": {
            "kind": "dialog",
            "say": "What can I do for you?",
            "prompt": "Help the caller.",
            "tools": ["visits"],
            "use": {
                "llm": {
                    "provider": "openai",
                    "model": MODEL,
                    "voice": "cedar",
                    "fallback": [{"provider": "openai", "model": "gpt-6-luna"}],
                }
            },
        },
    },
    "edges": [edge for edge in MENU["edges"] if edge["from"] in ("talk", "*")],
}
LONG = "We are open every day from eight to five, and on Saturdays until noon, but not on Sundays."


async def test_a_dialog_speaks_for_itself_and_is_broken_into(tmp_path: Path) -> None:
    replies = [
        SpokenAnswer(LONG),
        SpokenAnswer(tools=(("visits", '{"day": "Monday"}'),)),
        SpokenAnswer("There is nothing free."),
    ]
    async with vendors() as behind, FakeOpenAiRealtime(replies, chat=behind.openai) as speaking:
        behind.deepgram.plan.extend(["when are you open", "a visit on monday"])
        more = {"OPENAI_BASE_URL": speaking.url}
        async with running(tmp_path, TALK, behind, more=more) as run:
            async with run.phone.call(CALLER, CALLED) as call:
                await call.hears()
                await call.say(babble(700))
                await call.hears_speech()
                await call.pause(1500)
                await call.say(babble(900, seed=3))
                await call.hears()
                await call.hang_up()
                await call.over()
            await run.settled()
            spoken = run.facts(UtteranceSpoken)
    greeting, first, second = spoken
    assert first.cut and LONG.startswith(first.heard.strip())
    assert 0 < len(first.heard) < len(LONG)
    asked = [response["input"] for response in speaking.responses]
    (heard,) = asked[0][-1]["content"]
    assert heard["type"] == "input_audio"
    seconds = len(base64.b64decode(heard["audio"])) / BYTES_PER_MS / 1000
    assert 0.6 < seconds < 2.0
    said = [item["content"][0]["text"] for item in asked[1] if item.get("role") == "assistant"]
    assert said == [greeting.text, first.heard.strip()]
    assert asked[1][-1]["content"][0]["type"] == "input_audio"
    assert asked[2][-1]["type"] == "function_call_output"
    assert second.text.strip() == "There is nothing free." and not second.cut
    assert speaking.cancelled == 0 and speaking.opened == [MODEL]
    assert speaking.violations == []
    usage = [fact.usage for fact in run.facts(UsageCounted) if fact.usage.model == MODEL]
    assert sum(one.audio_in for one in usage) == 150


async def test_a_session_that_dies_leaves_the_answer_to_the_next_llm_and_the_nodes_voice(
    tmp_path: Path,
) -> None:
    replies = [SpokenAnswer("We open at eight.")]
    async with vendors() as behind, FakeOpenAiRealtime(replies, chat=behind.openai) as speaking:
        behind.deepgram.plan.extend(["when are you open", "and on sundays"])
        behind.openai.plan.append(saying("On Sundays we are closed."))
        more = {"OPENAI_BASE_URL": speaking.url}
        async with running(tmp_path, TALK, behind, more=more) as run:
            async with run.phone.call(CALLER, CALLED) as call:
                await call.hears()
                await call.say(babble(700))
                await call.hears()
                before = behind.elevenlabs.connections
                llm = run.engine.vendors._providers.llm("openai")
                assert isinstance(llm, OpenAiLlm)
                for session in llm._realtime._idle[MODEL]:
                    session.socket.transport.abort()
                speaking.faults.append(status(401))
                await call.say(babble(700, seed=3))
                heard = await call.hears()
                await call.hang_up()
                await call.over()
            await run.settled()
            spoken = run.facts(UtteranceSpoken)
    assert [one.text.strip() for one in spoken][-1] == "On Sundays we are closed."
    assert len(heard) > 4000
    assert speaking.said == [] and behind.elevenlabs.connections >= before
    assert any(
        message["content"] == "and on sundays" for message in behind.openai.requests[0]["messages"]
    )
