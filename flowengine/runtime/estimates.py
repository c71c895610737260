"""What an answer that was cancelled has used, where the vendor does not come to say it."""

from __future__ import annotations

import orjson

from flowengine.ports import LlmRequest

CHARACTERS_A_TOKEN = 4
"""OpenAI's and Anthropic's own rule of thumb for English text."""


def tokens_of(characters: int) -> int:
    """So many characters as tokens, rounded up."""
    return -(-characters // CHARACTERS_A_TOKEN)


def request_tokens(request: LlmRequest) -> int:
    """The tokens of a request: its messages, the tool calls in them, and its tools."""
    characters = 0
    for message in request.messages:
        characters += len(message.text)
        characters += sum(len(use.name) + len(use.arguments) for use in message.tool_uses)
    for tool in request.tools:
        schema = orjson.dumps(dict(tool.parameters))
        characters += len(tool.name) + len(tool.description) + len(schema)
    return tokens_of(characters)
