"""Providers by what a flow says of them, supervised, each combination made once for a process.

What a flow leaves out (provider, model, voice) comes from here: the server's own choice by the
keys that are set, and each vendor's ordinary model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import orjson
import structlog

from flowengine.catalog import Catalog, shipped
from flowengine.events import Json
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.ports import HearsAudio, TtsRequest
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.health import HealthBook
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
from flowengine.runtime.voices import voice_request

_VOICE_IS_MODEL = frozenset({"deepgram"})
"""Vendors whose voice and model are one name; a flow says it as either."""
_LLMS = ("openai", "anthropic", "google", "mistral", "groq")
"""Who is asked when a flow names no LLM: the first whose key is set."""
_OURS = ("provider", "model", "fallback", "voice")

log = structlog.get_logger(__name__)


def server_defaults(values: Mapping[str, str], catalog: Catalog | None = None) -> ServerDefaults:
    """What serves flows that name no vendor, by the keys that are set; local speech otherwise."""
    has = ProviderSettings(values).has_key
    catalog = catalog or shipped()
    stt = "deepgram" if has("deepgram") else "local"
    tts = next((name for name in ("elevenlabs", "deepgram") if has(name)), "local")
    llm = next((name for name in _LLMS if has(name)), "")
    model = catalog.default_model(llm, "llm")
    return ServerDefaults(
        stt=SttUse.model_validate({"provider": stt}),
        llm=LlmUse.model_validate({"provider": llm, "model": model}) if llm else None,
        tts=TtsUse.model_validate({"provider": tts}),
    )


class SupervisedVendors:
    """`runtime.services.Vendors` over the providers of a process."""

    def __init__(
        self,
        settings: ProviderSettings,
        server: ServerDefaults,
        deadlines: Deadlines | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        self._catalog = catalog or shipped()
        self._providers = Providers(settings)
        self._server = server
        self._deadlines = deadlines or Deadlines()
        self.health = HealthBook()
        """Of every provider that was used, over all calls."""
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
                        item.model or self._catalog.default_model(name, "stt"),
                        None if item is use else item.settings,
                        None if item is use else item.keyterms,
                    )
                )
            self._stts[key] = SupervisedStt(choices, self._deadlines, self.health)
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
                        options=None if item is use else item.settings,
                        named=partial(self._model_and_voice, name, item, use),
                    )
                )
            self._ttss[key] = SupervisedTts(choices, self._deadlines, self.health)
        return self._ttss[key]

    def llm(self, provider: str, fallback: Sequence[Mapping[str, Json]]) -> SupervisedLlm:
        key = _key([provider, *fallback])
        if key not in self._llms:
            ordinary = self._catalog.default_model(provider, "llm")
            choices = [LlmChoice(self._providers.llm(provider), default_model=ordinary)]
            for item in fallback:
                name = item.get("provider") or provider
                settings = {name: value for name, value in item.items() if name not in _OURS}
                model = item.get("model") or self._catalog.default_model(name, "llm")
                choices.append(LlmChoice(self._providers.llm(name), model, settings))
            self._llms[key] = SupervisedLlm(choices, self._deadlines, self.health)
        return self._llms[key]

    def hears(self, use: LlmUse) -> bool:
        return any(True for _ in self._hearing(use))

    def _hearing(self, use: LlmUse) -> Iterator[tuple[HearsAudio, str]]:
        """The LLM and its fallbacks that hear the caller, with their models."""
        for item in (use, *(use.fallback or ())):
            name, model = item.provider or use.provider, item.model or ""
            llm = self._providers.llm(name) if name else None
            if isinstance(llm, HearsAudio) and llm.hears(model):
                yield llm, model

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
            for hearing, model in self._hearing(llm):
                await hearing.warm_session(model)
        for tts in ttss:
            await self.tts(tts).warm()

    async def aclose(self) -> None:
        """Close what the providers hold."""
        await self._providers.aclose()

    def _model_and_voice(
        self, name: str, item: TtsUse, first: TtsUse, asked: TtsRequest
    ) -> tuple[str, str]:
        """What a vendor is asked for, by what the flow says of it (`item`) and the language."""
        voice = self._voice(name, item, first, asked.language)
        if name in _VOICE_IS_MODEL:
            return item.model or voice, voice if item.voice or not item.model else item.model
        return item.model or self._catalog.default_model(name, "tts"), voice

    def _voice(self, name: str, item: TtsUse, first: TtsUse, language: str) -> str:
        """The voice that is named; else that of a vendor's which is most like the `first`."""
        catalog = self._catalog
        written = voice_request(item, language).voice
        if not written and item is not first:
            written = voice_request(first, language).voice
            provider = first.provider or self._server.tts.provider or "local"
            if provider != name:
                like = catalog.voice(provider, written or catalog.default_voice(provider))
                return catalog.nearest_voice(name, like, language)
        if written:
            known = catalog.voice(name, written)
            return known.id if known else written
        like = catalog.voice(name, catalog.default_voice(name))
        return catalog.nearest_voice(name, like, language)


def _key(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
