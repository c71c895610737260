"""One live round trip with a provider: is the account good, and how fast is it from here.

An LLM answers with one word, a voice says a sentence, a recogniser hears that sentence: from the
same provider's voice, else from another's, else a recording that the engine carries. Each has
`LIMIT_S`; what fails is told with its code and what to do.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from flowengine.catalog import Catalog, Kind
from flowengine.errors import ConfigError, FlowengineError
from flowengine.events import EndpointReached, HearingFailed, InterimHeard, Json, SegmentHeard
from flowengine.media.g711 import silence
from flowengine.ports import (
    BYTES_PER_MS,
    Clause,
    Llm,
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
from flowengine.providers.recovery import Warm
from flowengine.providers.registry import Providers, offered, provider_kinds
from flowengine.providers.settings import ProviderSettings
from flowengine.runtime.audio_files import AudioFiles
from flowengine.runtime.speaking import APOLOGY

LIMIT_S = 20.0
_FRAME_MS = 20
_ASKED = LlmRequest("", (LlmMessage("user", "Answer with the one word: yes"),))
_SENTENCE = "Thank you for calling, how can we help you today?"
_LANGUAGE = "en-US"


@dataclass(slots=True)
class Trip:
    """One provider doing one kind of work; times in ms since it was asked."""

    provider: str
    kind: Kind
    model: str
    ms: dict[str, int] = field(default_factory=dict)
    """`first` token, audio or words since the start; `all` of it, for a recogniser since the
    speech's end."""
    right: str = ""
    """How many words of what a voice said the recogniser heard: "9 of 10"."""
    error: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    def to_text(self) -> str:
        head = f"{self.provider:<12} {self.kind:<4} {self.model:<26}"
        if self.error:
            return f"{head} FAILED {self.error} {self.fix}".rstrip()
        told = [f"{name} {ms} ms" for name, ms in self.ms.items()]
        told += [f"{self.right} words right"] if self.right else []
        return f"{head} ok     {', '.join(told)}"


async def round_trips(
    names: Sequence[str], settings: ProviderSettings, catalog: Catalog
) -> list[Trip]:
    """Try everything that these providers do, one after the other; recognisers come last.

    Raises ConfigError(`unknown_provider`).
    """
    trips = [trip for name in names for trip in _trips_of(name, catalog)]
    trips.sort(key=lambda trip: trip.kind == "stt")
    tour = _Tour(Providers(settings), catalog)
    try:
        for trip in trips:
            if not trip.error:
                await tour.take(trip)
    finally:
        await tour.providers.aclose()
    return trips


def _trips_of(name: str, catalog: Catalog) -> list[Trip]:
    try:
        kinds = provider_kinds(name)
    except ConfigError as error:
        if error.code == "unknown_provider":
            raise
        return [Trip(name, kind, "", error=error.code, fix=error.fix) for kind in offered()[name]]
    return [Trip(name, kind, catalog.default_model(name, kind)) for kind in kinds]


class _Tour:
    """What the trips share: the providers, and the speech that recognisers are given."""

    def __init__(self, providers: Providers, catalog: Catalog) -> None:
        self.providers = providers
        self._catalog = catalog
        self._spoken: dict[str, bytes] = {}

    async def take(self, trip: Trip) -> None:
        """Try one; what goes wrong stands in the trip."""
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._take(trip)
        except TimeoutError:
            error = fault("deadline", f"gave nothing within {LIMIT_S:g} s", trip.provider)
            trip.error, trip.fix = error.code, "Check the base URL and the network to the provider."
        except FlowengineError as error:
            trip.error, trip.fix = error.code, error.fix

    async def _take(self, trip: Trip) -> None:
        match trip.kind:
            case "llm":
                await _ask(trip, await _warm(self.providers.llm(trip.provider)))
            case "tts":
                voice = self._catalog.default_voice(trip.provider)
                trip.model = trip.model or voice
                tts = await _warm(self.providers.tts(trip.provider))
                self._spoken[trip.provider] = await _speak(trip, tts, voice)
            case "stt":
                stt = await _warm(self.providers.stt(trip.provider))
                own = self._spoken.get(trip.provider)
                speech = own or next(iter(self._spoken.values()), b"")
                heard = await _hear(trip, stt, speech or AudioFiles().get(APOLOGY) or b"")
                trip.right = _right(heard) if speech else ""


Made = TypeVar("Made", Stt, Llm, Tts)


async def _warm(made: Made) -> Made:
    """Get ready as the server does at its start, so that the times are those of a call."""
    if isinstance(made, Warm):
        await made.warm()
    return made


def _right(heard: str) -> str:
    wanted, words = _words_of(_SENTENCE), _words_of(heard)
    return f"{sum((wanted & words).values())} of {wanted.total()}"


def _words_of(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z]+", text.lower()))


async def _ask(trip: Trip, llm: Llm) -> None:
    if not trip.model:
        raise ConfigError(
            "no_model",
            "No ordinary model of this provider is known.",
            where=trip.provider,
            fix="Give it one in FLOWENGINE_CATALOG.",
        )
    begun = time.monotonic()
    request = LlmRequest(trip.model, _ASKED.messages)
    async with aclosing(llm.stream(request)) as events:
        async for event in events:
            if isinstance(event, LlmText) and event.text:
                trip.ms.setdefault("first", _since(begun))
    if "first" not in trip.ms:
        raise fault("protocol", "answered without a word", trip.provider)
    trip.ms["all"] = _since(begun)


async def _speak(trip: Trip, tts: Tts, voice_id: str) -> bytes:
    begun = time.monotonic()
    audio = bytearray()
    voice = await tts.open(TtsRequest(trip.model, voice_id, _LANGUAGE))
    try:
        async with aclosing(voice.speak(_one_clause())) as chunks:
            async for chunk in chunks:
                if chunk.audio:
                    trip.ms.setdefault("first", _since(begun))
                    audio += chunk.audio
    finally:
        await voice.close()
    if "first" not in trip.ms:
        raise fault("protocol", "sent no audio", trip.provider)
    trip.ms["all"] = _since(begun)
    return bytes(audio)


async def _one_clause() -> AsyncIterator[Clause]:
    yield Clause(0, _SENTENCE)


async def _hear(trip: Trip, stt: Stt, speech: bytes) -> str:
    heard: asyncio.Queue[SttEvent] = asyncio.Queue()
    begun = 0.0

    def hear(event: SttEvent) -> None:
        if isinstance(event, InterimHeard):
            trip.ms.setdefault("first", _since(begun))
        heard.put_nowait(event)

    session = await stt.open(SttRequest(trip.model, _LANGUAGE, 300), hear)
    frame = _FRAME_MS * BYTES_PER_MS
    begun = due = time.monotonic()
    try:
        for at in range(0, len(speech), frame):
            session.feed(speech[at : at + frame])
            due += _FRAME_MS / 1000
            await asyncio.sleep(due - time.monotonic())
        return await _words(trip, session.feed, heard, due)
    finally:
        await session.close()


async def _words(
    trip: Trip, feed: Callable[[bytes], None], heard: asyncio.Queue[SttEvent], ended: float
) -> str:
    """What was heard until the end of a turn; quiet goes on until then."""
    words = ""
    while True:
        try:
            async with asyncio.timeout(_FRAME_MS / 1000):
                event = await heard.get()
        except TimeoutError:
            feed(silence(_FRAME_MS))
            continue
        match event:
            case HearingFailed(code):
                raise fault(code, "failed while it listened", trip.provider)
            case SegmentHeard(text, _, endpoint):
                words = f"{words} {text}".strip()
                if words and endpoint:
                    break
            case EndpointReached() if words:
                break
    trip.ms["all"] = _since(ended)
    return words


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
