"""One live round trip with a provider: is the account good, and how fast is it from here.

An LLM answers with one word, a voice says a sentence, a recogniser hears the recording that the
engine carries. Each has `LIMIT_S`; what fails is told with its code and what to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field

from flowengine.catalog import Catalog, Kind
from flowengine.errors import ConfigError, FlowengineError
from flowengine.events import HearingFailed, InterimHeard, Json, SegmentHeard
from flowengine.media.g711 import silence
from flowengine.ports import (
    BYTES_PER_MS,
    Clause,
    LlmMessage,
    LlmRequest,
    LlmText,
    Stt,
    SttEvent,
    SttRequest,
    Tts,
    TtsRequest,
)
from flowengine.providers.faults import fault
from flowengine.providers.registry import Providers, provider_kinds
from flowengine.providers.settings import ProviderSettings
from flowengine.runtime.audio_files import AudioFiles
from flowengine.runtime.speaking import APOLOGY

LIMIT_S = 20.0
_FRAME_MS = 20
_ASKED = LlmRequest("", (LlmMessage("user", "Answer with the one word: yes"),))
_SENTENCE = "One moment, please."


@dataclass(slots=True)
class Trip:
    """One provider doing one kind of work; times in ms since it was asked."""

    provider: str
    kind: Kind
    model: str
    ms: dict[str, int] = field(default_factory=dict)
    """`first` token, audio or words; `all` of it; for a recogniser since the speech's end."""
    error: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    def to_text(self) -> str:
        head = f"{self.provider:<12} {self.kind:<4} {self.model:<26}"
        if self.error:
            return f"{head} FAILED {self.error} {self.fix}".rstrip()
        return f"{head} ok     " + ", ".join(f"{name} {ms} ms" for name, ms in self.ms.items())


async def round_trips(
    names: Sequence[str], settings: ProviderSettings, catalog: Catalog
) -> list[Trip]:
    """Try everything that these providers do, one after the other."""
    providers = Providers(settings)
    trips = []
    try:
        for name in names:
            for kind in provider_kinds(name):
                trip = Trip(name, kind, catalog.default_model(name, kind))
                await _try(trip, providers, catalog.default_voice(name))
                trips.append(trip)
    finally:
        await providers.aclose()
    return trips


async def _try(trip: Trip, providers: Providers, voice: str) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            match trip.kind:
                case "llm":
                    await _ask(trip, providers)
                case "tts":
                    trip.model = trip.model or voice
                    await _speak(trip, providers.tts(trip.provider), voice)
                case "stt":
                    await _hear(trip, providers.stt(trip.provider))
    except TimeoutError:
        error = fault("deadline", f"gave nothing within {LIMIT_S:g} s", trip.provider)
        trip.error, trip.fix = error.code, "Check the base URL and the network to the provider."
    except FlowengineError as error:
        trip.error, trip.fix = error.code, error.fix


async def _ask(trip: Trip, providers: Providers) -> None:
    if not trip.model:
        raise ConfigError(
            "no_model",
            "No ordinary model of this provider is known.",
            where=trip.provider,
            fix="Give it one in FLOWENGINE_CATALOG.",
        )
    begun = time.monotonic()
    request = LlmRequest(trip.model, _ASKED.messages)
    async with aclosing(providers.llm(trip.provider).stream(request)) as events:
        async for event in events:
            if isinstance(event, LlmText) and event.text:
                trip.ms.setdefault("first", _since(begun))
    trip.ms["all"] = _since(begun)


async def _speak(trip: Trip, tts: Tts, voice_id: str) -> None:
    begun = time.monotonic()
    voice = await tts.open(TtsRequest(trip.model, voice_id, "en-US"))
    try:
        async with aclosing(voice.speak(_one_clause())) as chunks:
            async for chunk in chunks:
                if chunk.audio:
                    trip.ms.setdefault("first", _since(begun))
    finally:
        await voice.close()
    if "first" not in trip.ms:
        raise fault("protocol", "sent no audio", trip.provider)
    trip.ms["all"] = _since(begun)


async def _one_clause() -> AsyncIterator[Clause]:
    yield Clause(0, _SENTENCE)


async def _hear(trip: Trip, stt: Stt) -> None:
    heard: asyncio.Queue[SttEvent] = asyncio.Queue()
    session = await stt.open(SttRequest(trip.model, "en-US", 300), heard.put_nowait)
    speech = AudioFiles().get(APOLOGY) or b""
    try:
        for at in range(0, len(speech), _FRAME_MS * BYTES_PER_MS):
            session.feed(speech[at : at + _FRAME_MS * BYTES_PER_MS])
            await asyncio.sleep(_FRAME_MS / 1000)
        begun = time.monotonic()
        await _words(trip, session.feed, heard, begun)
    finally:
        await session.close()


async def _words(
    trip: Trip, feed: Callable[[bytes], None], heard: asyncio.Queue[SttEvent], begun: float
) -> None:
    """Quiet goes on until the words are final."""
    while True:
        feed(silence(_FRAME_MS))
        try:
            async with asyncio.timeout(_FRAME_MS / 1000):
                event = await heard.get()
        except TimeoutError:
            continue
        match event:
            case HearingFailed(code):
                raise fault(code, "failed while it listened", trip.provider)
            case InterimHeard():
                trip.ms.setdefault("first", _since(begun))
            case SegmentHeard(text) if text.strip():
                trip.ms["all"] = _since(begun)
                return


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
