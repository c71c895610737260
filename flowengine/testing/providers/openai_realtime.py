"""A fake of OpenAI's speech to speech: `/v1/realtime?model=…`, replies outside of a conversation.

Message shapes follow OpenAI's published OpenAPI description. What is said comes from a plan; its
sound carries a tag and its length fits its text, so that a test can tell what of it was played.
Sound comes faster than it is spoken, behind its text, as from the real one.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowengine.events import Json
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.openai_realtime_transcription import FakeOpenAiLive
from flowengine.testing.providers.serving import KEY
from flowengine.testing.providers.speech import TAGS, speech, spoken_ms

_DELTA_MS: Final = 100
_RESPONSE: Final = frozenset(
    "audio conversation input instructions max_output_tokens metadata output_modalities "
    "parallel_tool_calls prompt reasoning tool_choice tools".split()
)
_CONTENT: Final = {
    "user": {"input_text", "input_audio"},
    "system": {"input_text"},
    "assistant": {"output_text"},
}


@dataclass(frozen=True, slots=True)
class SpokenAnswer:
    """One reply: words that are spoken, then tool calls as (name, JSON of the arguments).

    `fails`: the vendor's code of a failure in place of an end. `endless`: the sound never ends.
    """

    text: str = ""
    tools: tuple[tuple[str, str], ...] = ()
    fails: str = ""
    endless: bool = False


class FakeOpenAiRealtime(FakeOpenAiLive):
    """Everything of OpenAI's, speech to speech included. Without a plan left it just agrees."""

    def __init__(
        self,
        replies: Iterable[SpokenAnswer] = (),
        *,
        chat: FakeOpenAi | None = None,
    ) -> None:
        super().__init__(chat=chat)
        self.replies = deque(replies)
        self.responses: list[dict[str, Any]] = []
        """What every reply was asked with."""
        self.cancelled = 0
        self.spoken: list[str] = []
        """What was said; its sound has the tag of its place."""
        self.opened: list[str] = []
        """The models of the sessions."""

    async def _listen(self, websocket: WebSocket) -> None:
        model = websocket.query_params.get("model", "")
        if not model:
            await super()._listen(websocket)
            return
        if websocket.headers.get("authorization") != f"Bearer {KEY}":
            await self.refuse(websocket, 401)
            return
        await websocket.accept()
        self.opened.append(model)
        self.changed.set()
        try:
            await _Session(self, websocket).run()
        except WebSocketDisconnect:
            return


class _Session:
    """One connection."""

    def __init__(self, vendor: FakeOpenAiRealtime, websocket: WebSocket) -> None:
        self._vendor = vendor
        self._socket = websocket
        self._sent = 0
        self._reply: asyncio.Task[None] | None = None
        self._reply_id = ""

    async def run(self) -> None:
        session = {"type": "realtime", "id": "sess_fake", "object": "realtime.session"}
        await self._send({"type": "session.created", "session": session})
        try:
            while True:
                body = orjson.loads(await self._socket.receive_text())
                match body["type"]:
                    case "session.update":
                        await self._update(body["session"])
                    case "response.create":
                        self._create(body["response"])
                    case "response.cancel":
                        await self._cancel()
                    case other:
                        self._vendor.violate(f"not asked here: {other}")
        finally:
            if self._reply is not None:
                self._reply.cancel()

    async def _update(self, session: dict[str, Any]) -> None:
        if session.get("type") != "realtime":
            self._vendor.violate("a session says its type")
        for side in ("input", "output"):
            if session["audio"][side]["format"] != {"type": "audio/pcmu"}:
                self._vendor.violate("a phone line speaks µ-law")
        if session["audio"]["input"]["turn_detection"] is not None:
            self._vendor.violate("turns are ours")
        await self._send({"type": "session.updated", "session": session})

    def _create(self, response: dict[str, Any]) -> None:
        vendor = self._vendor
        if self._reply is not None and not self._reply.done():
            vendor.violate("one reply at a time")
        unknown = set(response) - _RESPONSE
        if unknown:
            vendor.violate(f"unknown: {sorted(unknown)}")
        for item in response["input"]:
            self._check(item)
        vendor.responses.append(response)
        vendor.changed.set()
        answer = vendor.replies.popleft() if vendor.replies else SpokenAnswer("All right.")
        self._reply_id = f"resp_{len(vendor.responses)}"
        self._reply = asyncio.create_task(self._answer(answer, self._reply_id, response))

    def _check(self, item: dict[str, Any]) -> None:
        kinds = {"message", "function_call", "function_call_output"}
        if item["type"] not in kinds:
            self._vendor.violate(f"no such item: {item['type']}")
        if item["type"] != "message":
            return
        for content in item["content"]:
            if content["type"] not in _CONTENT[item["role"]]:
                self._vendor.violate(f"{item['role']} says no {content['type']}")
            if content["type"] == "input_audio":
                base64.b64decode(content["audio"], validate=True)

    async def _cancel(self) -> None:
        if self._reply is None or self._reply.done():
            error = {"type": "invalid_request_error", "code": "response_cancel_not_active"}
            await self._send({"type": "error", "error": error})
            return
        self._reply.cancel()
        self._vendor.cancelled += 1
        self._vendor.changed.set()
        details = {"type": "cancelled", "reason": "client_cancelled"}
        await self._done(self._reply_id, "cancelled", details, _usage("", 0))

    async def _answer(self, answer: SpokenAnswer, name: str, asked: dict[str, Any]) -> None:
        response = {"id": name, "object": "realtime.response", "status": "in_progress"}
        await self._send({"type": "response.created", "response": response})
        if answer.text:
            await self._speak(answer, name)
        for index, (tool, arguments) in enumerate(answer.tools):
            call = {"type": "function_call", "call_id": f"{name}_call_{index}"}
            call |= {"id": f"{name}_item_{index}", "name": tool, "arguments": arguments}
            await self._send(
                {
                    "type": "response.output_item.done",
                    "response_id": name,
                    "output_index": index + 1,
                    "item": call,
                }
            )
        heard = sum(
            content["type"] == "input_audio"
            for item in asked["input"]
            if item["type"] == "message"
            for content in item["content"]
        )
        if answer.fails:
            details: dict[str, Json] = {"type": "failed"}
            details["error"] = {"type": "server_error", "code": answer.fails}
            await self._done(name, "failed", details, None)
            return
        await self._done(name, "completed", None, _usage(answer.text, heard))

    async def _speak(self, answer: SpokenAnswer, name: str) -> None:
        vendor = self._vendor
        tag = len(vendor.spoken) % TAGS
        vendor.spoken.append(answer.text)
        place: dict[str, Json] = {
            "response_id": name,
            "item_id": f"{name}_item",
            "output_index": 0,
            "content_index": 0,
        }
        for nth, word in enumerate(answer.text.split(" ")):
            delta = word if nth == 0 else f" {word}"
            kind = "response.output_audio_transcript.delta"
            await self._send({"type": kind, **place, "delta": delta})
        sound = speech(spoken_ms(answer.text), tag)
        size = _DELTA_MS * BYTES_PER_MS
        for start in range(0, len(sound), size):
            delta = base64.b64encode(sound[start : start + size]).decode()
            await self._send({"type": "response.output_audio.delta", **place, "delta": delta})
        if answer.endless:
            await asyncio.Event().wait()
        await self._send({"type": "response.output_audio.done", **place})

    async def _done(
        self, name: str, status: str, details: Json, usage: dict[str, Json] | None
    ) -> None:
        response = {
            "id": name,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [],
            "usage": usage,
        }
        await self._send({"type": "response.done", "response": response})

    async def _send(self, body: dict[str, Json]) -> None:
        self._sent += 1
        await self._socket.send_text(orjson.dumps({"event_id": f"e{self._sent}", **body}).decode())


def _usage(text: str, heard: int) -> dict[str, Json]:
    """Tokens: 100 of text and 50 of sound a turn that is heard; two for each word that is said."""
    out = len(text.split())
    return {
        "total_tokens": 100 + 50 * heard + 3 * out,
        "input_tokens": 100 + 50 * heard,
        "output_tokens": 3 * out,
        "input_token_details": {
            "text_tokens": 100,
            "audio_tokens": 50 * heard,
            "image_tokens": 0,
            "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": out, "audio_tokens": 2 * out},
    }
