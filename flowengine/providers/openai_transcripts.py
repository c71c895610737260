"""What OpenAI's transcription models have in common, by file or by socket: hints and usage.

Which model takes which hint is told in OpenAI's reference of `audio/transcriptions`: keywords as
such, a list as the prompt (Whisper, whose prompt counts to 224 tokens), or a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flowengine.events import Json, Usage
from flowengine.ports import SttRequest
from flowengine.providers.faults import fault

_KEYWORD_MODELS: Final = ("gpt-transcribe", "gpt-live-transcribe")
_PROMPTLESS: Final = ("gpt-realtime-whisper", "gpt-4o-transcribe-diarize")
_PROMPT_TOKENS: Final = 200


def check_options(request: SttRequest, known: frozenset[str], provider: str) -> None:
    """Raise ProviderError(`bad_request`) for an option that there is not, a prompt that is none."""
    unknown = sorted(set(request.options) - known)
    if unknown:
        raise fault("bad_request", f"knows no option {', '.join(unknown)}", provider)
    if not isinstance(request.options.get("prompt", ""), str):
        raise fault("bad_request", "the option prompt is no text", provider)


def hints(request: SttRequest) -> dict[str, Json]:
    """`language`, and `keywords` or `prompt` as the model takes them."""
    asked: dict[str, Json] = {}
    language = request.language.partition("-")[0].lower()
    if len(language) in (2, 3):
        asked["language"] = language
    if request.model.startswith(_PROMPTLESS):
        return asked
    prompt = request.options.get("prompt", "")
    if request.model.startswith(_KEYWORD_MODELS):
        if request.keyterms:
            asked["keywords"] = list(request.keyterms)
    elif terms := ", ".join(_fitting(request.keyterms)):
        is_list = not request.model.startswith("gpt-")
        prompt = f"{prompt} {terms if is_list else f'Expect these words: {terms}.'}".strip()
    if prompt:
        asked["prompt"] = prompt
    return asked


def usage_of(told: Json, provider: str, model: str) -> Usage | None:
    """What a transcript cost: tokens or seconds of audio, as the vendor says; else None.

    Raises KeyError, TypeError or ValueError for a usage that cannot be read.
    """
    if not isinstance(told, Mapping):
        return None
    if told.get("type") == "duration":
        audio_ms = round(float(told["seconds"]) * 1000)
        return Usage(provider, model, "audio_ms", amount_in=audio_ms)
    details = told.get("input_token_details") or {}
    return Usage(
        provider,
        model,
        "tokens",
        amount_in=int(told["input_tokens"]),
        amount_out=int(told["output_tokens"]),
        audio_in=int(details.get("audio_tokens") or 0),
    )


def _fitting(keyterms: tuple[str, ...]) -> list[str]:
    """The first terms that are sure to fit: what is too much is cut off at the front."""
    fitting: list[str] = []
    tokens = 0
    for term in keyterms:
        tokens += 1 + len(term.encode()) // 2
        if tokens > _PROMPT_TOKENS:
            break
        fitting.append(term)
    return fitting
