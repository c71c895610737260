"""A fake OpenAI-compatible host: `/v1/chat/completions` as server-sent events, and `/v1/models`.

Shapes follow OpenAI's published OpenAPI description; what other hosts do otherwise (`Habits`) was
met in recorded streams and in the trackers of their clients. What is answered comes from a list of
`Answer`s in order, or from a function of the request's body.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flowengine.events import Json
from flowengine.testing.providers.answers import Answer, FakeLlm, event, retry_after, saying
from flowengine.testing.providers.serving import KEY

__all__ = ["GROQ", "LLAMA", "MISTRAL", "Answer", "FakeOpenAi", "Habits", "chunks", "saying"]

_ROLES: Final = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
_NINE: Final = re.compile(r"[a-zA-Z0-9]{9}")


@dataclass(frozen=True, slots=True)
class Habits:
    """What a host does otherwise than OpenAI."""

    key: str = KEY
    lists_content: bool = False
    """Text comes as a list of parts."""
    whole_tools: bool = False
    """A tool call comes in one delta."""
    same_index: bool = False
    """Every tool call has the index 0."""
    usage: str = "asked"
    """`asked`: in a last chunk when asked for; `finish`: in the chunk that ends; `x_groq`: there
    under its own name."""
    strict: bool = False
    """Refuses `stream_options`, ids of other than nine letters and digits, a user's message after
    a tool's, an assistant's at the end."""
    comments: bool = False
    """Keep-alive comments between chunks."""
    reasoning: bool = False
    """Tells its reasoning, under three names."""
    says_done: bool = True


OPENAI = Habits()
GROQ = Habits(whole_tools=True, usage="x_groq", reasoning=True)
MISTRAL = Habits(lists_content=True, whole_tools=True, usage="finish", strict=True)
LLAMA = Habits(key="none", whole_tools=True, same_index=True, comments=True)


class FakeOpenAi(FakeLlm):
    """A host whose `url` ends in /v1. Without a plan left it just agrees."""

    error_event = event(
        {"error": {"message": "scripted", "type": "server_error", "code": None}}, "error"
    )

    def __init__(
        self,
        plan: Iterable[Answer] = (),
        *,
        answer: Callable[[Json], Answer] | None = None,
        habits: Habits | None = None,
    ) -> None:
        routes = [
            Route("/v1/chat/completions", self.reply, methods=["POST"]),
            Route("/v1/models", self._models),
        ]
        super().__init__(routes, plan, answer)
        self._habits = habits or OPENAI
        self.end_event = b"data: [DONE]\n\n" if self._habits.says_done else b""

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": []})

    def has_key(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self._habits.key}"

    def refusal(self, status: int) -> Response:
        code, kind = ("invalid_api_key", "invalid_request_error") if status == 401 else ("s", "s")
        body = {"error": {"message": "scripted", "code": code, "type": kind, "param": None}}
        return JSONResponse(body, status_code=status, headers=retry_after(status))

    def messages(self, body: Json, answer: Answer) -> list[bytes]:
        made = [event(chunk) for chunk in chunks(body, answer, self._habits)]
        if self._habits.comments:
            made[0] = b": KEEP-ALIVE\n\n" + made[0]
        return made

    def check(self, body: Json) -> None:
        messages = body.get("messages")
        if not isinstance(body.get("model"), str) or not messages:
            self.violate("model or messages are missing")
            return
        asked: set[str] = set()
        for message in messages:
            if message.get("role") not in _ROLES:
                self.violate("a message has an unknown role")
            if message.get("content") is None and not message.get("tool_calls"):
                self.violate("a message has neither content nor tool calls")
            for call in message.get("tool_calls") or ():
                asked.add(call["id"])
                if call.get("type") != "function" or not isinstance(
                    call["function"]["arguments"], str
                ):
                    self.violate("a tool call is malformed")
            if message["role"] == "tool":
                if message.get("tool_call_id") not in asked:
                    self.violate("a tool message answers no tool call")
                asked.discard(message.get("tool_call_id"))
            elif asked and not message.get("tool_calls"):
                self.violate("tool calls are not answered before the next message")
                asked.clear()
        for tool in body.get("tools") or ():
            if tool.get("type") != "function" or "name" not in tool.get("function", {}):
                self.violate("a tool is malformed")
        if self._habits.strict:
            self._check_strictly(body, messages)

    def _check_strictly(self, body: Json, messages: list[dict[str, Any]]) -> None:
        if "stream_options" in body:
            self.violate("stream_options is not known here")
        ids = [message["tool_call_id"] for message in messages if "tool_call_id" in message]
        if any(not _NINE.fullmatch(use_id) for use_id in ids):
            self.violate("an id of a tool call is not nine letters and digits")
        roles = [message["role"] for message in messages]
        if "tool user" in " ".join(roles):
            self.violate("a user's message follows a tool's")
        if roles[-1] == "assistant":
            self.violate("an assistant's message is the last")


def chunks(body: Json, answer: Answer, habits: Habits = OPENAI) -> list[dict[str, Json]]:
    """The chunks of an answer, as the host sends them."""
    deltas: list[dict[str, Json]] = [{"role": "assistant", "content": ""}]
    if habits.reasoning:
        deltas.append({"reasoning": "hm", "reasoning_content": "hm", "reasoning_details": []})
    for piece in answer.pieces:
        parts = [{"type": "text", "text": piece}]
        deltas.append({"content": parts if habits.lists_content else piece})
    for index, (name, arguments) in enumerate(answer.tools):
        deltas += _tool_deltas(index, name, arguments, habits)
    reason = answer.reason or ("tool_calls" if answer.tools else "stop")
    choices: list[dict[str, Json]] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    frame: dict[str, Json] = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": body["model"],
    }
    made: list[dict[str, Json]] = [{**frame, "choices": [choice]} for choice in choices]
    used: dict[str, Json] = {
        "prompt_tokens": answer.tokens_in,
        "completion_tokens": len(deltas),
        "total_tokens": answer.tokens_in + len(deltas),
        "prompt_tokens_details": {
            "cached_tokens": answer.tokens_cached,
            "cache_write_tokens": answer.tokens_written,
        },
    }
    if habits.usage == "finish":
        made[-1]["usage"] = used
    elif habits.usage == "x_groq":
        made[-1]["x_groq"] = {"id": "req_fake", "usage": used}
    elif (body.get("stream_options") or {}).get("include_usage"):
        made.append({**frame, "choices": [], "usage": used})
    return made


def _tool_deltas(index: int, name: str, arguments: str, habits: Habits) -> list[dict[str, Json]]:
    place = 0 if habits.same_index else index
    use_id = f"callfak{index:02}" if habits.strict else f"call_fake_{index}"
    first = arguments if habits.whole_tools else ""
    function: dict[str, Json] = {"name": name, "arguments": first}
    opened = {"index": place, "id": use_id, "type": "function", "function": function}
    rest = "" if habits.whole_tools else arguments
    return [
        {"tool_calls": [opened]},
        *(
            {"tool_calls": [{"index": place, "function": {"arguments": rest[at : at + 8]}}]}
            for at in range(0, len(rest), 8)
        ),
    ]
