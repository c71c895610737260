"""The last request of a turn: the tools stand in it, and none may be called."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.ports import LlmMessage, LlmRequest, LlmTool
from flowengine.providers import anthropic_messages, google_content
from flowengine.providers.chat_hosts import ChatHost, chat_body

pytestmark = pytest.mark.unit

HOST = ChatHost("some", "https://llm.example/v1")


def request(*, may_call: bool) -> LlmRequest:
    tool = LlmTool("look", "Looks.", {"type": "object", "properties": {}})
    return LlmRequest("some", (LlmMessage("user", "Hi"),), (tool,), may_call=may_call)


def bodies(asked: LlmRequest) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    return (
        chat_body(HOST, asked, HOST.url),
        anthropic_messages.body(asked),
        google_content.body(asked, {}),
    )


def test_every_vendor_is_told_that_words_are_wanted() -> None:
    chat, anthropic, google = bodies(request(may_call=False))
    assert chat.pop("tool_choice") == "none"
    assert anthropic.pop("tool_choice") == {"type": "none"}
    assert google.pop("toolConfig") == {"functionCallingConfig": {"mode": "NONE"}}
    assert (chat, anthropic, google) == bodies(request(may_call=True)), "all else stays cached"
