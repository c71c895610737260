"""The rows of the table of faults: every provider with its fake, and how a call drives it.

What the caller says is coded in its samples (`worded`), and the fakes read it there, so that a word
that is lost or heard twice is seen whatever connection it came over.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from flowengine.errors import ProviderError
from flowengine.events import HearingFailed, SegmentHeard
from flowengine.ports import (
    BYTES_PER_MS,
    Llm,
    LlmEnd,
    LlmMessage,
    LlmRequest,
    LlmText,
    SpeechChunk,
    Stt,
    SttEvent,
    SttRequest,
    Tts,
    TtsRequest,
)
from flowengine.providers.anthropic import AnthropicLlm
from flowengine.providers.cartesia_ink import CartesiaStt
from flowengine.providers.cartesia_speech import CartesiaTts
from flowengine.providers.chat_hosts import ChatHost
from flowengine.providers.deepgram import DeepgramStt
from flowengine.providers.deepgram_speak import DeepgramTts
from flowengine.providers.elevenlabs import ElevenLabsTts
from flowengine.providers.elevenlabs_scribe import ScribeStt
from flowengine.providers.google_llm import GoogleLlm
from flowengine.providers.groq import GROQ as GROQ_HOST
from flowengine.providers.llama import LLAMA as LLAMA_HOST
from flowengine.providers.mistral import MISTRAL as MISTRAL_HOST
from flowengine.providers.openai import OPENAI as OPENAI_HOST
from flowengine.providers.openai import OpenAiLlm
from flowengine.providers.openai_speech import OpenAiTts
from flowengine.providers.openai_transcription import OpenAiStt
from flowengine.providers.settings import socket_url
from flowengine.providers.supervision import (
    LlmChoice,
    SttChoice,
    SupervisedLlm,
    SupervisedStt,
    SupervisedTts,
    TtsChoice,
)
from flowengine.testing.providers.anthropic import FakeAnthropic
from flowengine.testing.providers.cartesia import FakeCartesia
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.google import FakeGoogle
from flowengine.testing.providers.openai import (
    GROQ,
    LLAMA,
    MISTRAL,
    OPENAI,
    FakeOpenAi,
    Habits,
    saying,
)
from flowengine.testing.providers.openai_audio import FakeOpenAiAudio
from flowengine.testing.providers.openai_realtime_transcription import FakeOpenAiLive
from flowengine.testing.providers.serving import KEY, FakeVendor, Fault
from flowengine.testing.providers.speech import MS_A_CHARACTER, silence
from tests.providers.running import clauses, close_kept, kept
from tests.providers.virtual_time import VirtualLoop

_T = TypeVar("_T")

# --- what is said ---

WORDS: Final = "one two three four five six seven eight nine".split()
_WORD_MS: Final = 300
_LEAST_FRAMES: Final = 6
_FRAME_MS: Final = 20
_PAUSE_MS: Final = 700
_FED_MS: Final = 160
"""Audio comes in such pieces; fewer of them make the table quicker."""
TURNS: Final = (WORDS[:3], WORDS[3:6], WORDS[6:])


def worded(words: Iterable[str]) -> bytes:
    """Loud µ-law in which each word is the amplitude of a stretch of its own."""
    places = (WORDS.index(word) for word in words)
    return b"".join(bytes([0x80 | place, place]) * (_WORD_MS * 4) for place in places)


def read(audio: bytes) -> str:
    """The words of audio, those of which less than 120 ms are there left out."""
    codes = (code & 0x7F for code in audio[:: _FRAME_MS * BYTES_PER_MS])
    runs = ((code, len(list(run))) for code, run in itertools.groupby(codes))
    return " ".join(
        WORDS[code] for code, frames in runs if code < len(WORDS) and frames >= _LEAST_FRAMES
    )


def _caller() -> bytes:
    return silence(200) + b"".join(worded(turn) + silence(_PAUSE_MS) for turn in TURNS)


class _Deepgram(FakeDeepgram):
    def words(self, audio: bytes, *, final: bool) -> str:
        return read(audio)


class _Cartesia(FakeCartesia):
    def words(self, audio: bytes, *, final: bool) -> str:
        return read(audio)


class _ElevenLabs(FakeElevenLabs):
    def __init__(self) -> None:
        super().__init__()
        self.scribe.words = self._words  # type: ignore[method-assign]

    @staticmethod
    def _words(audio: bytes, *, final: bool) -> str:  # noqa: ARG004 - the port's
        return read(audio)


class _Audio(FakeOpenAiAudio):
    def words(self, audio: bytes) -> str:
        return read(audio)


class _Live(FakeOpenAiLive):
    def words(self, audio: bytes) -> str:
        return read(audio)

    def so_far(self, audio: bytes) -> str:
        return read(audio)


# --- outcomes ---


@dataclass(slots=True)
class Outcome:
    """What came of a fault: `told` is the code that the actor got, `counts` what was counted."""

    told: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    whole: bool = False
    """All words came, each once."""
    wrong: str = ""
    """Words that were lost or doubled though nobody was told of a fault, or that are not ours."""
    connections: int = 0
    others: int = 0
    """How often the fallback was asked."""
    took_s: float = 0.0

    @property
    def codes(self) -> list[str]:
        """The codes of the faults that were counted, but for those of the fallback."""
        return sorted({name.partition(".")[2] for name in self.counts} - {"recovered"})

    @property
    def verdict(self) -> str:
        """In a word or two: what the caller notices."""
        if self.wrong:
            return f"WRONG {self.wrong}"
        if self.told:
            return f"told {self.told}"
        if not self.whole:
            return "LOST"
        if self.others:
            return "other " + " ".join(self.codes)
        return ("again " + " ".join(self.codes)) if self.codes else "whole"


# --- recognisers ---


@dataclass(frozen=True, slots=True)
class Hearing:
    """A recogniser and its fake; `middle` is about the message where the second turn is heard."""

    name: str
    fake: Callable[[], FakeVendor]
    make: Callable[[str], Stt]
    model: str
    middle: int
    options: dict[str, Any] = field(default_factory=dict)
    over: str = "socket"


def _openai_stt(name: str) -> Callable[[str], Stt]:
    return lambda url: kept(OpenAiStt(KEY, url, name))


HEARING: Final = (
    Hearing("deepgram nova", _Deepgram, lambda url: DeepgramStt(KEY, url), "nova-3", 7),
    Hearing("deepgram flux", _Deepgram, lambda url: DeepgramStt(KEY, url), "flux-general-en", 12),
    Hearing("openai live", _Live, _openai_stt("openai"), "gpt-live-transcribe", 9),
    Hearing("openai vad", _Live, _openai_stt("openai"), "gpt-transcribe", 9, {"live": True}),
    Hearing("openai", _Audio, _openai_stt("openai"), "gpt-transcribe", 1, over="files"),
    Hearing("whisper", _Audio, _openai_stt("whisper"), "whisper-1", 0, over="files"),
    Hearing(
        "elevenlabs scribe",
        _ElevenLabs,
        lambda url: ScribeStt(KEY, socket_url(url)),
        "scribe_v2_realtime",
        6,
    ),
    Hearing("cartesia ink", _Cartesia, lambda url: CartesiaStt(KEY, socket_url(url)), "ink-2", 9),
    Hearing(
        "cartesia whisper",
        _Cartesia,
        lambda url: CartesiaStt(KEY, socket_url(url)),
        "ink-whisper",
        6,
    ),
)


class _Ears:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.failed = ""

    def hear(self, event: SttEvent) -> None:
        if isinstance(event, SegmentHeard):
            self.heard += event.text.split()
        elif isinstance(event, HearingFailed):
            self.failed = event.code

    @property
    def is_over(self) -> bool:
        return bool(self.failed) or self.heard[-1:] == WORDS[-1:]


async def hear(row: Hearing, faults: Iterable[Fault | None], *, other: bool) -> Outcome:
    """A call of three turns with a recogniser whose first connections misbehave."""
    outcome, ears = Outcome(), _Ears()
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(row.fake())
        vendor.faults.extend(faults)
        choices = [SttChoice(row.make(vendor.url))]
        fallback: FakeVendor | None = None
        if other:
            fallback = await stack.enter_async_context(_Deepgram())
            second = DeepgramStt(KEY, fallback.url)
            second.name = "other"
            choices.append(SttChoice(second, "nova-3", {}, ()))
        stt = SupervisedStt(choices)
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            session = await stt.open(SttRequest(row.model, "en", 300, (), row.options), ears.hear)
        except ProviderError as error:
            outcome.told = error.code
        else:
            audio = _caller()
            step = _FED_MS * BYTES_PER_MS
            due = clock()
            for at in range(0, len(audio) + 200 * step, step):
                if ears.is_over:
                    break
                session.feed(audio[at : at + step] or silence(_FED_MS))
                due += _FED_MS / 1000
                await until(due)
            # Whatever comes late would be heard twice.
            await until(due + 1.2)
            await session.close()
            outcome.told = ears.failed
        outcome.took_s = clock() - begun
        outcome.counts = dict(stt.counts)
        outcome.whole = ears.heard == WORDS
        outcome.connections = vendor.connections
        outcome.others = fallback.connections if fallback is not None else 0
        in_order = [word for word in WORDS if word in ears.heard]
        if ears.heard != in_order or (not outcome.told and not outcome.whole):
            outcome.wrong = " ".join(ears.heard)
        assert not vendor.violations, vendor.violations
    return outcome


async def until(due_s: float) -> None:
    """Wait for a moment of the loop's time."""
    try:
        async with asyncio.timeout_at(due_s):
            await asyncio.Event().wait()
    except TimeoutError:
        return


# --- LLMs ---


@dataclass(frozen=True, slots=True)
class Thinking:
    """An LLM and its fake."""

    name: str
    fake: Callable[[], FakeVendor]
    make: Callable[[str], Llm]
    model: str = "gpt-test"


ANSWER: Final = "Your table is booked for nine on Friday evening."


def _chat(host: ChatHost, habits: Habits, key: str = KEY) -> Thinking:
    return Thinking(
        host.name,
        lambda: FakeOpenAi(answer=lambda body: saying(ANSWER), habits=habits),
        lambda url: kept(OpenAiLlm(key, url, host)),
    )


THINKING: Final = (
    _chat(OPENAI_HOST, OPENAI),
    Thinking(
        "anthropic",
        lambda: FakeAnthropic(answer=lambda body: saying(ANSWER)),
        lambda url: kept(AnthropicLlm(KEY, url)),
        "claude-test",
    ),
    Thinking(
        "google",
        lambda: FakeGoogle(answer=lambda body: saying(ANSWER)),
        lambda url: kept(GoogleLlm(KEY, url)),
        "gemini-2.5-flash",
    ),
    _chat(MISTRAL_HOST, MISTRAL),
    _chat(GROQ_HOST, GROQ),
    _chat(LLAMA_HOST, LLAMA, "none"),
)


async def think(row: Thinking, faults: Iterable[Fault | None], *, other: bool) -> Outcome:
    """An answer of an LLM whose first requests misbehave."""
    outcome, text = Outcome(), ""
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(row.fake())
        vendor.faults.extend(faults)
        choices = [LlmChoice(row.make(vendor.url))]
        fallback: FakeVendor | None = None
        if other:
            fallback = await stack.enter_async_context(
                FakeOpenAi(answer=lambda body: saying(ANSWER))
            )
            second = kept(OpenAiLlm(KEY, fallback.url))
            second.name = "other"
            choices.append(LlmChoice(second, "gpt-other", {}))
        llm = SupervisedLlm(choices)
        clock = asyncio.get_running_loop().time
        begun = clock()
        ends = 0
        try:
            request = LlmRequest(row.model, (LlmMessage("user", "Hello?"),))
            async with aclosing(llm.stream(request)) as events:
                async for event in events:
                    if isinstance(event, LlmText):
                        text += event.text
                    ends += isinstance(event, LlmEnd)
        except ProviderError as error:
            outcome.told = error.code
        outcome.took_s = clock() - begun
        outcome.counts = dict(llm.counts)
        outcome.whole = text == ANSWER and ends == 1
        outcome.connections = vendor.connections
        outcome.others = fallback.connections if fallback is not None else 0
        if not ANSWER.startswith(text) or (not outcome.told and not outcome.whole):
            outcome.wrong = text or "nothing"
        assert not vendor.violations, vendor.violations
    return outcome


# --- voices ---


@dataclass(frozen=True, slots=True)
class Speaking:
    """A voice and its fake."""

    name: str
    fake: Callable[[], FakeVendor]
    make: Callable[[str], Tts]
    request: TtsRequest
    greets: int = 0
    """How many messages come before the first audio."""
    over: str = "socket"


CLAUSES: Final = (
    "Your table is booked for nine, and we look forward to seeing you.",
    " That is on Friday evening.",
    " Goodbye.",
)


_PIECE: Final = 12
"""Characters whose audio the fakes send in one piece."""
_WAYS: Final = ("multi-stream-input", "stream-input", "stream")


def _elevenlabs(way: str, name: str) -> Speaking:
    return Speaking(
        name,
        lambda: FakeElevenLabs(offers=_WAYS[_WAYS.index(way) :]),
        lambda url: kept(ElevenLabsTts(KEY, url)),
        TtsRequest("eleven_flash_v2_5", "voice-1", "en-US"),
        over="HTTP" if way == "stream" else "socket",
    )


def _deepgram(voice: str, name: str, greets: int) -> Speaking:
    return Speaking(
        name,
        FakeDeepgram,
        lambda url: DeepgramTts(KEY, socket_url(url)),
        TtsRequest("", voice, "en-US"),
        greets,
    )


SPEAKING: Final = (
    _elevenlabs("multi-stream-input", "elevenlabs"),
    _elevenlabs("stream-input", "elevenlabs single"),
    _elevenlabs("stream", "elevenlabs http"),
    _deepgram("aura-2-thalia-en", "aura", 1),
    _deepgram("flux-tts-en", "flux voice", 3),
    Speaking(
        "cartesia",
        FakeCartesia,
        lambda url: CartesiaTts(KEY, socket_url(url)),
        TtsRequest("sonic-3", "voice-1", "en-US"),
        greets=1,
    ),
    Speaking(
        "openai voice",
        FakeOpenAiAudio,
        lambda url: kept(OpenAiTts(KEY, url)),
        TtsRequest("gpt-4o-mini-tts", "alloy", "en-US"),
        over="HTTP",
    ),
    Speaking(
        "openai plain",
        FakeOpenAiAudio,
        lambda url: kept(OpenAiTts(KEY, url)),
        TtsRequest("tts-1", "alloy", "en-US"),
        over="HTTP",
    ),
)


async def speak(row: Speaking, faults: Iterable[Fault | None], *, other: bool) -> Outcome:
    """An utterance of three clauses of a voice whose first connections misbehave."""
    outcome = Outcome()
    chunks: list[SpeechChunk] = []
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(row.fake())
        vendor.faults.extend(faults)
        choices = [TtsChoice(row.make(vendor.url))]
        fallback: FakeVendor | None = None
        if other:
            fallback = await stack.enter_async_context(FakeElevenLabs())
            second = kept(ElevenLabsTts(KEY, fallback.url))
            second.name = "other"
            choices.append(TtsChoice(second, "eleven_flash_v2_5", "voice-1", {}))
        tts = SupervisedTts(choices)
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            voice = await tts.open(row.request)
            try:
                async with aclosing(voice.speak(clauses(CLAUSES))) as speech:
                    async for chunk in speech:
                        chunks.append(chunk)
            finally:
                await voice.close()
        except ProviderError as error:
            outcome.told = error.code
        outcome.took_s = clock() - begun
        outcome.counts = dict(tts.counts)
        outcome.connections = vendor.connections
        outcome.others = fallback.connections if fallback is not None else 0
        _judge(outcome, chunks)
        assert not vendor.violations, vendor.violations
    return outcome


def _judge(outcome: Outcome, chunks: list[SpeechChunk]) -> None:
    """Everything is spoken once and in order; only what is told to have failed may be cut short.

    Where a clause ends is counted to the piece: audio has no words to tell by.
    """
    lasts = [chunk.clause for chunk in chunks if chunk.last]
    order = [chunk.clause for chunk in chunks]
    spoken_ms = sum(len(chunk.audio) for chunk in chunks) // BYTES_PER_MS
    outcome.whole = lasts == list(range(len(CLAUSES)))
    done = "".join(CLAUSES[: len(lasts)])
    least = MS_A_CHARACTER * (len(done.replace(" ", "")) - _PIECE)
    most = MS_A_CHARACTER * (len("".join(CLAUSES)) + 2 * len(CLAUSES) + _PIECE)
    if outcome.whole:
        most = MS_A_CHARACTER * (len(done) + 2 * len(CLAUSES))
        least = MS_A_CHARACTER * (len(done) - len(CLAUSES) - 2)
    if not least <= spoken_ms <= most:
        outcome.wrong = f"{spoken_ms} ms of {least} to {most}"
    if order != sorted(order) or lasts != list(range(len(lasts))):
        outcome.wrong = "clauses out of order"
    if not outcome.whole and not outcome.told:
        outcome.wrong = f"only {lasts}"


def run_on_wires(work: Coroutine[Any, Any, _T]) -> _T:
    """Run over real sockets, in time that passes only while nothing is on its way.

    A call that hangs meets its end after three minutes of that time.
    """

    async def bounded() -> _T:
        try:
            async with asyncio.timeout(180):
                return await work
        finally:
            await close_kept()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(has_wires=True)) as runner:
        return runner.run(bounded())
