"""A fake Anthropic: `/v1/messages` as server-sent events, and `/v1/models`.

Shapes follow the types of the vendor's SDK 2.12 and recorded streams. It notes what the API
refuses: turns that do not alternate in meaning, tool calls without their results right after them,
blank texts, sampling parameters, more than four cache marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flowengine.events import Json
from flowengine.testing.providers.answers import Answer, FakeLlm, event, retry_after
from flowengine.testing.providers.serving import KEY

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_FIELDS: Final = frozenset(
    "cache_control max_tokens messages metadata model output_config service_tier speed "
    "stop_sequences stream system thinking tool_choice tools".split()
)


class FakeAnthropic(FakeLlm):
    """Anthropic's host.

    `models` says which model takes `thinking: disabled`; `page` is what is answered instead of
    their list (by a host that only speaks like Anthropic).
    """

    error_event = event(
        {"type": "error", "error": {"type": "overloaded_error", "message": "scripted"}}, "error"
    )

    def __init__(
        self,
        plan: Iterable[Answer] = (),
        *,
        answer: Callable[[Json], Answer] | None = None,
        models: dict[str, bool] | None = None,
        page: bytes | None = None,
    ) -> None:
        routes = [
            Route("/v1/messages", self.reply, methods=["POST"]),
            Route("/v1/models", self._list_models),
        ]
        super().__init__(routes, plan, answer)
        self._models = models or {}
        self._page = page

    def has_key(self, request: Request) -> bool:
        if not request.headers.get("anthropic-version"):
            self.violate("the API version is missing")
        given = request.headers.get("authorization"), request.headers.get("x-api-key")
        return f"Bearer {KEY}" in given or KEY in given

    def refusal(self, status: int) -> Response:
        kind = _TYPES.get(status, "api_error")
        error = {"type": kind, "message": "scripted"}
        return JSONResponse(
            {"type": "error", "error": error, "request_id": "req_fake"},
            status_code=status,
            headers=retry_after(status),
        )

    async def _list_models(self, request: Request) -> Response:
        if self._page is not None:
            return Response(self._page, media_type="application/json")
        found = [
            {
                "id": name,
                "type": "model",
                "capabilities": {
                    "thinking": {"supported": True, "types": {"disabled": {"supported": silent}}}
                },
            }
            for name, silent in self._models.items()
        ]
        return JSONResponse({"data": found, "has_more": False, "first_id": None, "last_id": None})

    def check(self, body: Json) -> None:
        for name in sorted(body.keys() - _FIELDS):
            self.violate(f"unknown field {name}")
        if not isinstance(body.get("max_tokens"), int) or not body.get("model"):
            self.violate("model or max_tokens are missing")
        messages = body.get("messages") or []
        self._check_order([message.get("role") for message in messages])
        asked: set[str] = set()
        for message in messages:
            blocks = _blocks(message.get("content"))
            answered = {item["tool_use_id"] for item in blocks if item["type"] == "tool_result"}
            if answered != asked:
                self.violate("tool calls and results do not match")
            asked = {item["id"] for item in blocks if item["type"] == "tool_use"}
            for item in blocks:
                self._check_block(item)
        if asked:
            self.violate("tool calls and results do not match")
        marks = sum(
            "cache_control" in item
            for item in (
                *_blocks(body.get("system") or []),
                *(body.get("tools") or []),
                *(item for message in messages for item in _blocks(message.get("content"))),
            )
        )
        if marks > 4:
            self.violate("more than four cache marks")
        if any("input_schema" not in tool for tool in body.get("tools") or []):
            self.violate("a tool is malformed")

    def _check_order(self, roles: list[Any]) -> None:
        if set(roles) - {"user", "assistant", "system"}:
            self.violate("a message has an unknown role")
        if not roles or roles[0] != "user" or roles[-1] == "assistant":
            self.violate("the conversation does not begin and end with the user")

    def _check_block(self, block: dict[str, Any]) -> None:
        if block["type"] == "text" and not block["text"].strip():
            self.violate("a text is blank")
        if block["type"] == "tool_use" and not isinstance(block["input"], dict):
            self.violate("a tool call's input is no object")

    def messages(self, body: Json, answer: Answer) -> list[bytes]:
        return [event(data, data["type"]) for data in stream(body, answer)]


def stream(body: Json, answer: Answer) -> list[dict[str, Json]]:
    """The events of an answer; a ping comes second, as it does in recordings."""
    usage: dict[str, Json] = {
        "input_tokens": answer.tokens_in - answer.tokens_cached - answer.tokens_written,
        "cache_read_input_tokens": answer.tokens_cached,
        "cache_creation_input_tokens": answer.tokens_written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": answer.tokens_written,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": 1,
    }
    message: dict[str, Json] = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    made: list[dict[str, Json]] = [{"type": "message_start", "message": message}]
    made.append({"type": "ping"})
    if answer.pieces:
        deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        made += _block(0, {"type": "text", "text": ""}, deltas)
    for nth, (name, arguments) in enumerate(answer.tools, start=bool(answer.pieces)):
        opened = {"type": "tool_use", "id": f"toolu_fake_{nth}", "name": name, "input": {}}
        pieces = ["", *(arguments[at : at + 8] for at in range(0, len(arguments), 8))]
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        made += _block(nth, opened, deltas)
    reason = answer.reason or ("tool_use" if answer.tools else "end_turn")
    made.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": len(made)},
        }
    )
    return [*made, {"type": "message_stop"}]


def _block(index: int, opened: Json, deltas: list[Any]) -> list[dict[str, Json]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": opened},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
