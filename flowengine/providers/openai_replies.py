"""Replies of OpenAI's speech-to-speech models: what is asked, and what comes. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from flowengine.events import Json, Usage
from flowengine.ports import (
    HeardRequest,
    LlmAudio,
    LlmEnd,
    LlmEvent,
    LlmMessage,
    LlmRequest,
    LlmText,
    LlmToolUse,
)
from flowengine.providers.faults import fault, of_word

_OPTIONS: Final = frozenset({"max_output_tokens", "parallel_tool_calls", "reasoning"})
_VOICE: Final = "marin"
_ANSWERS: Final = frozenset({"assistant", "tool"})


def response_create(request: LlmRequest) -> str:
    """The message that asks for a reply, with all that it is to go by."""
    head = next(
        (place for place, one in enumerate(request.messages) if one.role != "system"),
        len(request.messages),
    )
    options = dict(request.options)
    audio = request.audio if isinstance(request, HeardRequest) else b""
    output: dict[str, Json] = {
        "format": {"type": "audio/pcmu"},
        "voice": options.get("voice", _VOICE),
    }
    if "speed" in options:
        output["speed"] = options["speed"]
    response: dict[str, Json] = {
        "conversation": "none",
        "output_modalities": ["audio"],
        "audio": {"output": output},
        "instructions": "\n\n".join(one.text for one in request.messages[:head]),
        "input": _items(request.messages[head:], audio),
        **{name: value for name, value in options.items() if name in _OPTIONS},
    }
    if request.tools:
        response["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            }
            for tool in request.tools
        ]
        response["tool_choice"] = "auto" if request.may_call else "none"
    return orjson.dumps({"type": "response.create", "response": response}).decode()


def _items(messages: Sequence[LlmMessage], audio: bytes) -> list[Json]:
    """The conversation; the caller's last turn as he spoke it, if it is the one to be answered."""
    last = max((i for i, one in enumerate(messages) if one.role == "user"), default=-1)
    is_open = all(one.role == "tool" or one.tool_uses for one in messages[last + 1 :])
    items: list[Json] = []
    for place, one in enumerate(messages):
        if one.role == "tool":
            items.append(
                {"type": "function_call_output", "call_id": one.tool_use_id, "output": one.text}
            )
            continue
        if one.text or one.role == "user":
            content = _content(one, audio if place == last and is_open else b"")
            items.append({"type": "message", "role": one.role, "content": [content]})
        items += [
            {
                "type": "function_call",
                "call_id": use.id,
                "name": use.name,
                "arguments": use.arguments or "{}",
            }
            for use in one.tool_uses
        ]
    return items


def _content(message: LlmMessage, audio: bytes) -> dict[str, Json]:
    if audio:
        return {"type": "input_audio", "audio": base64.b64encode(audio).decode()}
    kind = "output_text" if message.role == "assistant" else "input_text"
    return {"type": kind, "text": message.text}


class ReplyReader:
    """Reads the server's events of one reply."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._id = ""
        self.is_over = False

    def read(self, body: Mapping[str, Any]) -> Iterator[LlmEvent]:
        """What an event gives. Raises ProviderError for a fault that it tells of."""
        try:
            yield from self._read(body)
        except (KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise fault("protocol", "sent an event that cannot be read", self._provider) from error

    def _read(self, body: Mapping[str, Any]) -> Iterator[LlmEvent]:
        match body["type"]:
            case "error":
                error = body["error"]
                if error.get("code") != "response_cancel_not_active":
                    raise of_word(f"{error.get('code')} {error.get('type')}", self._provider)
            case "response.created":
                self._id = body["response"]["id"]
                # Whoever reads knows from now on that the words that come are spoken.
                yield LlmAudio(b"")
            case "response.output_audio.delta" if self._is_ours(body):
                yield LlmAudio(base64.b64decode(body["delta"], validate=True))
            case "response.output_audio_transcript.delta" if self._is_ours(body):
                yield LlmText(body["delta"])
            case "response.output_item.done" if self._is_ours(body):
                item = body["item"]
                if item["type"] == "function_call":
                    yield LlmToolUse(item["call_id"], item["name"], item["arguments"])
            case "response.done" if body["response"]["id"] == self._id:
                self.is_over = True
                yield self._end(body["response"])
            case _:
                pass

    def _is_ours(self, body: Mapping[str, Any]) -> bool:
        """Not what is left of a reply before."""
        return bool(self._id) and body["response_id"] == self._id

    def _end(self, response: Mapping[str, Any]) -> LlmEnd:
        status = response["status"]
        details = response.get("status_details") or {}
        if status == "failed":
            error = details.get("error") or {}
            raise of_word(f"{error.get('code')} {error.get('type')}", self._provider)
        reason = {"completed": "stop", "incomplete": details.get("reason") or "length"}
        return LlmEnd(reason.get(status, status), self._usage(response.get("usage")))

    def _usage(self, usage: Mapping[str, Any] | None) -> Usage | None:
        if not usage:
            return None
        came = usage.get("input_token_details") or {}
        went = usage.get("output_token_details") or {}
        cached = came.get("cached_tokens_details") or {}
        cached_audio = cached.get("audio_tokens") or 0
        return Usage(
            self._provider,
            self._model,
            "tokens",
            usage.get("input_tokens") or 0,
            usage.get("output_tokens") or 0,
            cached_in=(came.get("cached_tokens") or 0) - cached_audio,
            audio_in=came.get("audio_tokens") or 0,
            cached_audio_in=cached_audio,
            audio_out=went.get("audio_tokens") or 0,
        )
