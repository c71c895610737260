"""A fake OpenAI-compatible host: `/v1/chat/completions` as server-sent events, and `/v1/models`.

Shapes follow OpenAI's published OpenAPI description. What is answered comes from a list of
`Answer`s in order, or from a function of the request's body.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from flowengine.events import Json
from flowengine.testing.providers.serving import KEY, FakeVendor, Fault, forever

_ROLES: Final = frozenset({"developer", "system", "user", "assistant", "tool", "function"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: text in `pieces`, then tool calls as (name, JSON of the arguments)."""

    pieces: tuple[str, ...] = ()
    tools: tuple[tuple[str, str], ...] = ()
    first_token_ms: int = 0
    between_tokens_ms: int = 0
    tokens_in: int = 100
    tokens_cached: int = 0


def saying(text: str) -> Answer:
    """An answer that says a text, word by word."""
    words = text.split(" ")
    return Answer(tuple(word if nth == 0 else f" {word}" for nth, word in enumerate(words)))


class FakeOpenAi(FakeVendor):
    """A host whose `url` ends in /v1. Without a plan left it just agrees."""

    def __init__(
        self, plan: Iterable[Answer] = (), *, answer: Callable[[Json], Answer] | None = None
    ) -> None:
        super().__init__(
            [
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )
        self.plan = deque(plan)
        self._answer = answer
        self.requests: list[Json] = []
        self.peers: set[tuple[str, int]] = set()
        """Where requests for answers came from: one for each connection."""
        self.aborted = 0
        """Streams that the client gave up."""

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": []})

    async def _complete(self, request: Request) -> Response:
        fault = self.next_fault()
        body = orjson.loads(await request.body())
        self.requests.append(body)
        if request.client is not None:
            self.peers.add((request.client.host, request.client.port))
        self.changed.set()
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "invalid_api_key", "invalid_request_error")
        self._check(body)
        if fault is not None and fault.kind == "refuse":
            return _error(fault.status, "scripted", "scripted")
        if fault is not None and fault.kind == "hang":
            await forever()
        if self._answer is not None:
            answer = self._answer(body)
        else:
            answer = self.plan.popleft() if self.plan else saying("Yes.")
        return StreamingResponse(
            self._stream(request, body, answer, fault), media_type="text/event-stream"
        )

    async def _stream(
        self, request: Request, body: Json, answer: Answer, fault: Fault | None
    ) -> AsyncGenerator[bytes, None]:
        ended = False
        delay_ms = fault.delay_ms if fault is not None else 0
        try:
            if answer.first_token_ms + delay_ms:
                await asyncio.sleep((answer.first_token_ms + delay_ms) / 1000)
            for nth, chunk in enumerate(chunks(body, answer)):
                if fault is not None and nth >= fault.after:
                    async for misdeed in self._misbehave(request, fault):
                        yield misdeed
                if nth and answer.between_tokens_ms:
                    await asyncio.sleep(answer.between_tokens_ms / 1000)
                yield b"data: " + orjson.dumps(chunk) + b"\n\n"
            ended = True
            yield b"data: [DONE]\n\n"
        finally:
            if not ended:
                self.aborted += 1
                self.changed.set()

    async def _misbehave(self, request: Request, fault: Fault) -> AsyncGenerator[bytes, None]:
        if fault.kind == "stall":
            await forever()
        if fault.kind == "cut":
            self.cut(request.scope)
            await forever()
        if fault.kind == "nonsense":
            yield b'data: {"choices": [{"delta"\n\n'
        if fault.kind == "error":
            yield b'event: error\ndata: {"error":{"message":"scripted","type":"server_error"}}\n\n'

    def _check(self, body: Json) -> None:
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


def chunks(body: Json, answer: Answer) -> list[dict[str, Json]]:
    """The chunks of an answer, as the vendor sends them."""
    deltas: list[dict[str, Json]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in answer.pieces]
    for index, (name, arguments) in enumerate(answer.tools):
        function: dict[str, Json] = {"name": name, "arguments": ""}
        deltas.append(
            {
                "tool_calls": [
                    {
                        "index": index,
                        "id": f"call_fake_{index}",
                        "type": "function",
                        "function": function,
                    }
                ]
            }
        )
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + 8]}}]}
            for at in range(0, len(arguments), 8)
        ]
    reason = "tool_calls" if answer.tools else "stop"
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
    if (body.get("stream_options") or {}).get("include_usage"):
        used: dict[str, Json] = {
            "prompt_tokens": answer.tokens_in,
            "completion_tokens": len(deltas),
            "total_tokens": answer.tokens_in + len(deltas),
            "prompt_tokens_details": {"cached_tokens": answer.tokens_cached},
        }
        made.append({**frame, "choices": [], "usage": used})
    return made


def _error(status: int, code: str, kind: str) -> Response:
    body = {"error": {"message": "scripted", "code": code, "type": kind, "param": None}}
    return JSONResponse(body, status_code=status, headers={"retry-after": "30"})
