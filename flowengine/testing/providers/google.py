"""A fake Gemini: `models/<model>:streamGenerateContent?alt=sse`, under /v1 and /v1beta.

Shapes follow the types of google-genai 3.4 and recorded streams. It notes what the API refuses:
a function call that does not follow the user, one without its signature (Gemini 3 and later), and
results that do not match the calls before them.
"""

from __future__ import annotations

import io
import wave
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flowengine.events import Json
from flowengine.testing.providers.answers import Answer, FakeLlm, event, retry_after
from flowengine.testing.providers.serving import KEY

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_AUDIO_TOKENS_A_SECOND: Final = 32
_FIELDS: Final = frozenset(
    "cachedContent contents generationConfig labels safetySettings serviceTier systemInstruction "
    "toolConfig tools".split()
)


class FakeGoogle(FakeLlm):
    """Google's host; gives the first call of each answer a signature and asks for it again."""

    error_event = event(
        {"error": {"code": 503, "message": "scripted", "status": "UNAVAILABLE"}}, end="\r\n\r\n"
    )

    def __init__(
        self, plan: Iterable[Answer] = (), *, answer: Callable[[Json], Answer] | None = None
    ) -> None:
        path = "/{version:str}/models/{model:str}:streamGenerateContent"
        routes = [
            Route(path, self._generate, methods=["POST"]),
            Route("/{version:str}/models", self._list_models),
        ]
        super().__init__(routes, plan, answer)
        self.models: list[str] = []
        self.signatures: list[str] = []
        """The signatures that were given out."""

    async def _list_models(self, request: Request) -> Response:
        return JSONResponse({"models": []})

    async def _generate(self, request: Request) -> Response:
        self.models.append(request.path_params["model"])
        if request.query_params.get("alt") != "sse":
            self.violate("server-sent events are not asked for")
        return await self.reply(request)

    def has_key(self, request: Request) -> bool:
        return request.headers.get("x-goog-api-key") == KEY

    def refusal(self, status: int) -> Response:
        error: dict[str, Json] = {
            "code": status,
            "message": "scripted",
            "status": _STATUSES.get(status, "UNKNOWN"),
        }
        if status == 401:
            # The API's word for a bad key: 400 with a reason.
            status, error["code"] = 400, 400
            error["details"] = [{"reason": "API_KEY_INVALID"}]
        return JSONResponse({"error": error}, status_code=status, headers=retry_after(status))

    def check(self, body: Json) -> None:
        for name in sorted(body.keys() - _FIELDS):
            self.violate(f"unknown field {name}")
        contents = body.get("contents") or []
        roles = [content.get("role") for content in contents]
        if set(roles) - {"user", "model"} or not roles or roles[0] != "user" or roles[-1] != "user":
            self.violate("the conversation does not begin and end with the user")
        called: list[str] = []
        for content in contents:
            answered = _names(content, "functionResponse")
            if answered != called:
                self.violate("function calls and responses do not match")
            called = _names(content, "functionCall")
            self._check_signature(content)
        for tool in body.get("tools") or []:
            for declared in tool.get("functionDeclarations") or []:
                # JSON of protocol buffers may write a name either way; the SDK does.
                schema = {"parametersJsonSchema", "parameters_json_schema", "parameters"}
                if "name" not in declared or not schema & declared.keys():
                    self.violate("a function is malformed")

    def _check_signature(self, content: Any) -> None:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and not self.models[-1].startswith(("gemini-1", "gemini-2")):
            given = calls[0].get("thoughtSignature")
            if given not in (*self.signatures, "skip_thought_signature_validator"):
                self.violate("a function call has no signature")

    def messages(self, body: Json, answer: Answer) -> list[bytes]:
        signature = b64encode(f"signature {len(self.requests)}".encode()).decode()
        made = chunks(self.models[-1], answer, signature, heard_ms(body))
        if answer.tools:
            self.signatures.append(signature)
        return [event(chunk, end="\r\n\r\n") for chunk in made]


def chunks(model: str, answer: Answer, signature: str, audio_ms: int = 0) -> list[dict[str, Json]]:
    """The chunks of an answer: usage is cumulative in each, calls come whole."""
    parts: list[dict[str, Json]] = [{"text": piece} for piece in answer.pieces]
    for nth, (name, arguments) in enumerate(answer.tools):
        call: dict[str, Json] = {"name": name, "args": orjson.loads(arguments)}
        signed = {} if nth else {"thoughtSignature": signature}
        parts.append({"functionCall": call, **signed})
    made = []
    for nth, part in enumerate(parts or [{"text": ""}], start=1):
        candidate: dict[str, Json] = {"content": {"parts": [part], "role": "model"}, "index": 0}
        if nth >= len(parts):
            candidate["finishReason"] = answer.reason or "STOP"
        usage: dict[str, Json] = {
            "promptTokenCount": answer.tokens_in,
            "candidatesTokenCount": nth,
            "thoughtsTokenCount": 7,
            "totalTokenCount": answer.tokens_in + nth + 7,
        }
        if audio_ms:
            audio = audio_ms * _AUDIO_TOKENS_A_SECOND // 1000
            usage["promptTokensDetails"] = [
                {"modality": "TEXT", "tokenCount": answer.tokens_in - audio},
                {"modality": "AUDIO", "tokenCount": audio},
            ]
        if answer.tokens_cached:
            usage["cachedContentTokenCount"] = answer.tokens_cached
        made.append({"candidates": [candidate], "usageMetadata": usage, "modelVersion": model})
    return made


def heard_ms(body: Json) -> int:
    """How long the audio of a request is; 0 without any. Raises for what is no WAV file."""
    length_ms = 0
    for content in body["contents"]:
        for part in content["parts"]:
            if "inlineData" in part:
                # Either alphabet, as JSON of protocol buffers has it.
                data = part["inlineData"]["data"].replace("-", "+").replace("_", "/")
                with wave.open(io.BytesIO(b64decode(data))) as sound:
                    length_ms += sound.getnframes() * 1000 // sound.getframerate()
    return length_ms


def _names(content: Any, kind: str) -> list[str]:
    return [part[kind]["name"] for part in content["parts"] if kind in part]
