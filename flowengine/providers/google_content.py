"""Gemini's `streamGenerateContent`: our request in its form, and its stream into our events.

Pure. Shapes are those of google-genai 3.4 and of recorded streams: a function call comes whole;
usage is cumulative in every chunk, thoughts apart from the answer; the chunk with `finishReason` is
the last. Gemini 3 refuses (400) a function call that comes back without its `thoughtSignature`,
which stands on the first call of an answer (ai.google.dev/gemini-api/docs/thought-signatures).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import (
    LlmEnd,
    LlmEvent,
    LlmRequest,
    LlmText,
    LlmTool,
    LlmToolUse,
    LlmUsage,
)
from flowengine.providers.faults import fault, of_status
from flowengine.providers.history import Answered, Part, Turn, arguments_of, turns
from flowengine.providers.tool_ids import made

NO_SIGNATURE = "skip_thought_signature_validator"
"""What the vendor takes for a call of which we have no signature (another model made it)."""
_TOP_LEVEL = frozenset(
    {"cachedContent", "generationConfig", "labels", "safetySettings", "serviceTier", "toolConfig"}
)
_BEFORE_3 = re.compile(r"gemini-[12]\b")


class Signatures(Protocol):
    """The signatures of calls by their ids; "" for a later call of the same answer."""

    def get(self, use_id: str, /) -> str | None: ...

    def __setitem__(self, use_id: str, signature: str, /) -> None: ...


def body(request: LlmRequest, signatures: Signatures) -> dict[str, Json]:
    """What is asked. Options are of `generationConfig`, but for the few that stand beside it."""
    system, found = turns(request.messages)
    contents: list[dict[str, Json]] = []
    for turn in found:
        if turn.role == "system":
            system += [part for part in turn.parts if isinstance(part, str)]
        else:
            _add(contents, turn, signatures)
    if not _BEFORE_3.match(request.model):
        _sign(contents)
    asked: dict[str, Json] = {"contents": contents}
    if system:
        asked["systemInstruction"] = {"parts": [{"text": "\n\n".join(system)}]}
    if request.tools:
        asked["tools"] = [{"functionDeclarations": [_tool(tool) for tool in request.tools]}]
    asked.update({name: item for name, item in request.options.items() if name in _TOP_LEVEL})
    if request.tools and not request.may_call:
        asked["toolConfig"] = {"functionCallingConfig": {"mode": "NONE"}}
    config = {name: item for name, item in request.options.items() if name not in _TOP_LEVEL}
    asked["generationConfig"] = {
        **quick(request.model),
        **config,
        **asked.get("generationConfig", {}),
    }
    return asked


def quick(model: str) -> dict[str, Json]:
    """What makes a caller wait least: every Gemini 3 takes `low`, 2.5 Flash need not think."""
    if model.startswith("gemini-2.5-flash"):
        return {"thinkingConfig": {"thinkingBudget": 0}}
    if model.startswith("gemini-3"):
        return {"thinkingConfig": {"thinkingLevel": "LOW"}}
    return {}


def _add(contents: list[dict[str, Json]], turn: Turn, signatures: Signatures) -> None:
    """Add a turn; calls that one answer made side by side stand in one content again."""
    role = "model" if turn.role == "assistant" else "user"
    parts = [_part(part, signatures) for part in turn.parts]
    first = turn.parts[0]
    is_sibling = isinstance(first, LlmToolUse) and signatures.get(first.id) == ""
    if is_sibling and len(contents) >= 2 and _has(contents[-2], "functionCall"):
        contents[-2]["parts"] += parts
    elif contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _has(content: dict[str, Json], kind: str) -> bool:
    return any(kind in part for part in content["parts"])


def _sign(contents: list[dict[str, Json]]) -> None:
    """Give the first call of each content a signature, where it has none."""
    for content in contents:
        call = next((part for part in content["parts"] if "functionCall" in part), None)
        if call is not None:
            call.setdefault("thoughtSignature", NO_SIGNATURE)


def _part(part: Part, signatures: Signatures) -> dict[str, Json]:
    if isinstance(part, str):
        return {"text": part}
    if isinstance(part, Answered):
        given = {"id": part.use_id, "name": part.name, "response": _object(part.text)}
        return {"functionResponse": given}
    called = {"id": part.id, "name": part.name, "args": arguments_of(part)}
    signature = signatures.get(part.id)
    return {"functionCall": called, **({"thoughtSignature": signature} if signature else {})}


def _object(text: str) -> dict[str, Json]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = text
    return found if isinstance(found, dict) else {"result": found}


def _tool(tool: LlmTool) -> dict[str, Json]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parametersJsonSchema": dict(tool.parameters),
    }


class ContentReader:
    """One answer; notes the signatures of its calls in `signatures`."""

    def __init__(self, provider: str, model: str, signatures: Signatures) -> None:
        self._provider = provider
        self._model = model
        self._signatures = signatures
        self._reason = ""
        self._is_signed = False
        self._gave = False
        self._usage: Usage | None = None
        self.done = False
        """The chunk with `finishReason` and usage was read."""
        self.began = False
        """Anything was read."""

    def read(self, data: bytes) -> list[LlmEvent]:
        """Take one event's data; raises ProviderError for an error object or nonsense."""
        try:
            chunk = orjson.loads(data)
            self.began = True
            if chunk.get("error"):
                raise error_of(chunk, self._provider)
            return self._chunk(chunk)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise fault("protocol", "sent a chunk that cannot be read", self._provider) from error

    def end(self) -> list[LlmEvent]:
        """The answer is complete, or its body ended."""
        if not self._reason:
            raise fault("dropped", "ended its answer in the middle", self._provider)
        if self._reason == "MALFORMED_FUNCTION_CALL" and not self._gave:
            raise fault("protocol", "wrote a tool call that nobody can read", self._provider)
        return [LlmEnd(self._reason, self._usage)]

    def _chunk(self, chunk: dict[str, Json]) -> list[LlmEvent]:
        events: list[LlmEvent] = []
        used = self._used(chunk.get("usageMetadata"))
        if used is not None and used != self._usage:
            self._usage = used
            events.append(LlmUsage(used))
        self._reason = (chunk.get("promptFeedback") or {}).get("blockReason") or self._reason
        for candidate in chunk.get("candidates") or ():
            if candidate.get("index"):
                continue
            self._reason = candidate.get("finishReason") or self._reason
            for part in (candidate.get("content") or {}).get("parts") or ():
                events.append(self._part(part))
        self.done = bool(self._reason) and used is not None
        return events or [LlmText("")]

    def _part(self, part: dict[str, Json]) -> LlmEvent:
        call = part.get("functionCall")
        if call is not None:
            self._gave = True
            use_id = call.get("id") or made()
            signature = part.get("thoughtSignature") or ""
            if signature or self._is_signed:
                self._signatures[use_id] = signature
                self._is_signed = True
            return LlmToolUse(use_id, call["name"], orjson.dumps(call.get("args") or {}).decode())
        if part.get("thought"):
            return LlmText("")
        text = part.get("text") or ""
        self._gave = self._gave or bool(text)
        return LlmText(text)

    def _used(self, told: dict[str, Json] | None) -> Usage | None:
        if not told:
            return None
        return Usage(
            self._provider,
            self._model,
            "tokens",
            amount_in=(told.get("promptTokenCount") or 0)
            + (told.get("toolUsePromptTokenCount") or 0),
            amount_out=(told.get("candidatesTokenCount") or 0)
            + (told.get("thoughtsTokenCount") or 0),
            cached_in=told.get("cachedContentTokenCount") or 0,
            audio_in=sum(
                part.get("tokenCount") or 0
                for part in told.get("promptTokensDetails") or ()
                if part.get("modality") == "AUDIO"
            ),
        )


def error_of(answer: Any, provider: str, status: int = 0) -> ProviderError:
    """The error of a body `{"error": {"code", "status", "details": [{"reason"}]}}`, or none."""
    error = answer[0] if isinstance(answer, list) and answer else answer
    error = error.get("error") if isinstance(error, Mapping) else None
    if not isinstance(error, Mapping):
        error = {}
    details = error.get("details")
    reasons = [
        str(item.get("reason"))
        for item in (details if isinstance(details, list) else ())
        if isinstance(item, Mapping)
    ]
    code = error.get("code")
    word = " ".join([str(error.get("status")), *reasons])
    return of_status(status or (code if isinstance(code, int) else 500), provider, word)
