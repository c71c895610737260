"""Providers by what a flow says of them, supervised, each combination made once for a process.

What a flow leaves out (provider, model, voice) comes from here: the server's own choice by the
keys that are set, and each vendor's ordinary model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import structlog

from flowengine.events import Json
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.registry import Providers
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.supervision import (
    LlmChoice,
    SttChoice,
    SupervisedLlm,
    SupervisedStt,
    SupervisedTts,
    TtsChoice,
)
from flowengine.runtime.context import ServerDefaults

STT_MODELS = {
    "deepgram": "nova-3",
    "elevenlabs": "scribe_v2_realtime",
    "groq": "whisper-large-v3-turbo",
    "openai": "gpt-live-transcribe",
    "whisper": "whisper-1",
}
LLM_MODELS = {"openai": "gpt-6-luna"}
TTS_MODELS = {"elevenlabs": "eleven_flash_v2_5", "openai": "gpt-4o-mini-tts"}
TTS_VOICES = {"elevenlabs": "21m00Tcm4TlvDq8ikWAM", "openai": "alloy"}
"""ElevenLabs' stock voice "Rachel"; OpenAI's that all of its models and most other hosts have."""
VOICE_IS_MODEL = {"deepgram": "aura-2-thalia-en"}
"""Vendors whose voice and model are one name, and the ordinary one; a flow says it as either."""
_OURS = ("provider", "model", "fallback", "voice")

log = structlog.get_logger(__name__)


def server_defaults(values: Mapping[str, str]) -> ServerDefaults:
    """What serves flows that name no vendor, by the keys that are set; local speech otherwise."""

    def has(vendor: str) -> bool:
        return bool(values.get(f"{vendor.upper()}_API_KEY", "").strip())

    stt = "deepgram" if has("deepgram") else "local"
    tts = "elevenlabs" if has("elevenlabs") else "local"
    llm = {"provider": "openai", "model": LLM_MODELS["openai"]} if has("openai") else None
    return ServerDefaults(
        stt=SttUse.model_validate({"provider": stt}),
        llm=None if llm is None else LlmUse.model_validate(llm),
        tts=TtsUse.model_validate({"provider": tts}),
    )


class SupervisedVendors:
    """`runtime.services.Vendors` over the providers of a process."""

    def __init__(
        self,
        settings: ProviderSettings,
        server: ServerDefaults,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._providers = Providers(settings)
        self._server = server
        self._deadlines = deadlines or Deadlines()
        self._stts: dict[bytes, SupervisedStt] = {}
        self._llms: dict[bytes, SupervisedLlm] = {}
        self._ttss: dict[bytes, SupervisedTts] = {}

    def stt(self, use: SttUse) -> SupervisedStt:
        key = _key(use.written())
        if key not in self._stts:
            default = self._server.stt.provider or "local"
            choices = []
            for item in (use, *(use.fallback or ())):
                name = item.provider or default
                choices.append(
                    SttChoice(
                        self._providers.stt(name),
                        item.model or STT_MODELS.get(name, ""),
                        None if item is use else item.settings,
                        None if item is use else item.keyterms,
                    )
                )
            self._stts[key] = SupervisedStt(choices, self._deadlines)
        return self._stts[key]

    def tts(self, use: TtsUse) -> SupervisedTts:
        key = _key(use.written())
        if key not in self._ttss:
            default = self._server.tts.provider or "local"
            choices = []
            for item in (use, *(use.fallback or ())):
                name = item.provider or default
                choices.append(
                    TtsChoice(
                        self._providers.tts(name),
                        *_model_and_voice(name, item),
                        None if item is use else item.settings,
                    )
                )
            self._ttss[key] = SupervisedTts(choices, self._deadlines)
        return self._ttss[key]

    def llm(self, provider: str, fallback: Sequence[Mapping[str, Json]]) -> SupervisedLlm:
        key = _key([provider, *fallback])
        if key not in self._llms:
            ordinary = LLM_MODELS.get(provider, "")
            choices = [LlmChoice(self._providers.llm(provider), default_model=ordinary)]
            for item in fallback:
                name = item.get("provider") or provider
                settings = {name: value for name, value in item.items() if name not in _OURS}
                model = item.get("model") or LLM_MODELS.get(name, "")
                choices.append(LlmChoice(self._providers.llm(name), model, settings))
            self._llms[key] = SupervisedLlm(choices, self._deadlines)
        return self._llms[key]

    async def warm(
        self, stts: Sequence[SttUse], llms: Sequence[LlmUse], ttss: Sequence[TtsUse]
    ) -> None:
        """Make and warm what flows name. Raises ConfigError for what cannot be had at all."""
        for stt in stts:
            await self.stt(stt).warm()
        for llm in llms:
            if llm.provider:
                fallback = tuple(item.written() for item in llm.fallback or ())
                await self.llm(llm.provider, fallback).warm()
        for tts in ttss:
            await self.tts(tts).warm()

    async def aclose(self) -> None:
        """Close what the providers hold."""
        await self._providers.aclose()


def _model_and_voice(name: str, item: TtsUse) -> tuple[str, str]:
    """What a vendor is asked for; "" is the request's own (a voice by language)."""
    voice = item.voice if isinstance(item.voice, str) else ""
    if name in VOICE_IS_MODEL:
        one = item.model or voice or ("" if item.voice else VOICE_IS_MODEL[name])
        return one, voice or ("" if item.voice else one)
    model = item.model or TTS_MODELS.get(name, "")
    return model, voice or ("" if item.voice else TTS_VOICES.get(name, ""))


def _key(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
