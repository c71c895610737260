"""The fake LLM hosts notice what the vendors refuse."""

from __future__ import annotations

import httpx2
import pytest

from flowengine.events import Json
from flowengine.testing.providers.answers import FakeLlm
from flowengine.testing.providers.anthropic import FakeAnthropic
from flowengine.testing.providers.google import FakeGoogle
from flowengine.testing.providers.openai import MISTRAL, FakeOpenAi
from flowengine.testing.providers.serving import KEY
from tests.providers.running import run

pytestmark = pytest.mark.unit


def told(vendor: FakeLlm, path: str, headers: dict[str, str], body: Json) -> list[str]:
    """What a fake notes about a request; one without the key is refused first."""

    async def call() -> list[str]:
        async with vendor, httpx2.AsyncClient() as client:
            url = f"{vendor.url}{path}"
            refused = await client.post(url, json=body)
            assert refused.status_code in (400, 401)
            assert "error" in refused.json()
            vendor.violations.clear()
            taken = await client.post(url, json=body, headers=headers)
            assert taken.status_code == 200
            return vendor.violations

    return run(call())


def test_a_wrong_request_to_anthropic() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "text", "text": "x", **mark}
    use = {"type": "tool_use", "id": "a", "name": "f", "input": "{}"}
    body = {
        "temperature": 1,
        "system": [text],
        "messages": [
            {"role": "tool", "content": [text, text]},
            {"role": "assistant", "content": [text, use]},
            {"role": "user", "content": [text, {"type": "text", "text": " "}]},
            {"role": "assistant", "content": [use]},
        ],
        "tools": [{"name": "f"}],
    }
    assert told(FakeAnthropic(), "/v1/messages", {"x-api-key": KEY}, {"model": "m", **body}) == [
        "the API version is missing",
        "unknown field temperature",
        "model or max_tokens are missing",
        "a message has an unknown role",
        "the conversation does not begin and end with the user",
        "a tool call's input is no object",
        "tool calls and results do not match",
        "a text is blank",
        "a tool call's input is no object",
        "tool calls and results do not match",
        "more than four cache marks",
        "a tool is malformed",
    ]


def test_a_wrong_request_to_google() -> None:
    called = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "invented"}
    body = {
        "messages": [],
        "contents": [
            {"role": "assistant", "parts": [called]},
            {"role": "user", "parts": [{"functionResponse": {"name": "g", "response": {}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
    }
    path = "/v1/models/gemini-3.8-flash:streamGenerateContent"
    assert told(FakeGoogle(), path, {"x-goog-api-key": KEY}, body) == [
        "server-sent events are not asked for",
        "unknown field messages",
        "the conversation does not begin and end with the user",
        "a function call has no signature",
        "function calls and responses do not match",
        "a function is malformed",
    ]


def test_a_wrong_request_to_mistral() -> None:
    function = {"name": "f", "arguments": "{}"}
    use = {"id": "call_1", "type": "function", "function": function}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [use]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "x"},
    ]
    body = {"model": "m", "messages": messages, "stream_options": {"include_usage": True}}
    headers = {"authorization": f"Bearer {KEY}"}
    assert told(FakeOpenAi(habits=MISTRAL), "/chat/completions", headers, body) == [
        "stream_options is not known here",
        "an id of a tool call is not nine letters and digits",
        "a user's message follows a tool's",
        "an assistant's message is the last",
    ]
