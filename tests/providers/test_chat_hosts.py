"""Mistral, Groq, a local server and a third party's host, over the OpenAI-compatible client."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import openai
import orjson
import pytest

from flowengine.errors import ProviderError
from flowengine.ports import (
    LlmEnd,
    LlmMessage,
    LlmRequest,
    LlmToolUse,
)
from flowengine.providers import groq, llama, mistral, registry
from flowengine.providers.chat import ChatReader
from flowengine.providers.chat_hosts import ChatHost
from flowengine.providers.history import AFTER
from flowengine.providers.openai import OpenAiLlm
from flowengine.providers.settings import ProviderSettings
from flowengine.testing.providers.openai import GROQ, LLAMA, MISTRAL, Answer, FakeOpenAi, Habits
from flowengine.testing.providers.serving import KEY, Fault
from tests.providers.running import LLM, events_of, kept, run, text_of, tools_of

pytestmark = pytest.mark.unit

CALLS = (("f", '{"a":"b c d"}'), ("g", "{}"))
HOSTS = {
    "groq": (groq.make_llm, GROQ),
    "llama": (llama.make_llm, LLAMA),
    "mistral": (mistral.make_llm, MISTRAL),
}


def settings(name: str, url: str) -> ProviderSettings:
    values = {f"{name.upper()}_BASE_URL": url}
    if name != "llama":
        values[f"{name.upper()}_API_KEY"] = KEY
    return ProviderSettings(values)


@pytest.mark.parametrize("name", HOSTS)
def test_each_host_with_its_habits(name: str) -> None:
    async def call() -> None:
        make, habits = HOSTS[name]
        async with FakeOpenAi([Answer(("Hel", "lo"), CALLS)], habits=habits) as vendor:
            llm = kept(make(settings(name, vendor.url)))
            await llm.warm()
            events = await events_of(llm, LlmRequest("some-model", LLM.messages))
            assert text_of(events) == "Hello"
            assert tools_of(events) == list(CALLS)
            end = events[-1]
            assert isinstance(end, LlmEnd)
            assert end.usage is not None
            assert (end.usage.provider, end.usage.amount_in) == (name, 100)
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_whose_answer_breaks_off_with_an_error(name: str) -> None:
    async def call() -> None:
        make, habits = HOSTS[name]
        async with FakeOpenAi(habits=habits) as vendor:
            vendor.faults += [Fault("error", after=1), Fault("refuse", status=429)]
            llm = kept(make(settings(name, vendor.url)))
            for code in ("unavailable", "rate_limit"):
                with pytest.raises(ProviderError) as caught:
                    await events_of(llm)
                assert (caught.value.code, caught.value.where) == (code, name)

    run(call())


def test_mistral_gets_its_order_and_its_ids() -> None:
    async def call() -> None:
        said = (
            LlmMessage("user", "Monday please"),
            LlmMessage("assistant", "", (LlmToolUse("call_of_another", "f", "{}"),)),
            LlmMessage("tool", "free", tool_use_id="call_of_another"),
            LlmMessage("user", "And?"),
            LlmMessage("assistant", "It is free."),
        )
        async with FakeOpenAi(habits=MISTRAL) as vendor:
            await events_of(
                kept(mistral.make_llm(settings("mistral", vendor.url))), LlmRequest("m", said)
            )
            sent = vendor.requests[0]["messages"]
            roles = [message["role"] for message in sent]
            assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "user"]
            assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]
            assert sent[-1]["content"] == AFTER
            assert vendor.violations == []

    run(call())


def test_a_body_without_done_and_with_usage_in_any_chunk() -> None:
    async def call() -> None:
        habits = Habits(usage="finish", says_done=False, comments=True, reasoning=True)
        async with FakeOpenAi([Answer(("Hello",))], habits=habits) as vendor:
            events = await events_of(kept(OpenAiLlm(KEY, vendor.url)))
            assert text_of(events) == "Hello"
            assert isinstance(events[-1], LlmEnd)
            assert events[-1].usage is not None

    run(call())


def test_a_tool_call_that_groq_could_not_read_is_worth_another_try() -> None:
    error = {"message": "m", "type": "invalid_request_error", "code": "tool_use_failed"}
    with pytest.raises(ProviderError) as caught:
        ChatReader("groq", "m").read(orjson.dumps({"error": error}))
    assert (caught.value.code, caught.value.retryable) == ("protocol", True)


def test_a_third_party_adds_a_host_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    house = ModuleType("house_llm")

    def make_llm(found: ProviderSettings) -> OpenAiLlm:
        host = ChatHost("house", "https://llm.example.com/v1", takes_stream_options=False)
        return OpenAiLlm(found.key("house"), found.base_url("house", host.url), host)

    house.make_llm = make_llm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "house_llm", house)
    point = EntryPoint("house", "house_llm", registry.GROUP)
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group, name="house": [point] if name == "house" else []
    )

    async def call() -> None:
        async with FakeOpenAi([Answer(("Hello",))], habits=MISTRAL) as vendor:
            assert "house" in registry.provider_names()
            providers = registry.Providers(settings("house", vendor.url))
            assert text_of(await events_of(providers.llm("house"))) == "Hello"
            await providers.aclose()
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize("habits", [GROQ, MISTRAL, LLAMA], ids=["groq", "mistral", "llama"])
def test_the_sdk_understands_the_fake(habits: Habits) -> None:
    async def call() -> None:
        async with FakeOpenAi([Answer(("Hello",), CALLS)], habits=habits) as vendor:
            client = openai.AsyncOpenAI(api_key=habits.key, base_url=vendor.url, max_retries=0)
            async with client:
                stream = await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "x"}], stream=True
                )
                deltas = [item.choices[0].delta async for item in stream if item.choices]
            calls = [call for delta in deltas for call in delta.tool_calls or ()]
            named = [
                (call.function.name, call.function.arguments) for call in calls if call.function
            ]
            assert named == list(CALLS)
            assert vendor.violations == []

    run(call())
