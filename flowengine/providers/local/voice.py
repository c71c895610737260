"""Text to speech on this machine as the engine's `Tts`: hibari's voice "heart" (American English).

Each sentence is synthesised in the speaking worker at 24 kHz, brought to µ-law at 8000 Hz as a
whole and handed out as one chunk: about 15 ms until the first. The voice tells no word times;
they are shared out over the audible part of the sentence. The package's other voices would be
downloaded on first use and are refused.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from flowengine.errors import ProviderError
from flowengine.events import Usage
from flowengine.media.g711 import linear_to_ulaw
from flowengine.ports import BYTES_PER_MS, Clause, SpeechChunk, TtsRequest
from flowengine.providers.local import weights
from flowengine.providers.local.install import SPEAKING as PACKAGES
from flowengine.providers.local.install import require
from flowengine.providers.local.spans import sentences_in, words_in
from flowengine.providers.local.worker import SPEAKING, Worker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "local"
MODEL = "hibari"
VOICE = "heart"
_RATE = 24_000
_SEED = 0
"""The noise in the voice is drawn from this, so the same text always sounds the same."""

_AUDIBLE = 0.01
"""Of full scale; quieter ends of a sentence hold no word."""

SLOWEST, FASTEST = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """One sentence as phone audio, and where its first and last sounds lie."""

    ulaw: bytes
    begin_ms: int
    end_ms: int


class Engine(Protocol):
    """What a voice needs of its synthesiser; for the speaking worker only."""

    def sentences(self, text: str) -> list[str]: ...

    def speak(self, sentence: str, speed: float) -> Spoken: ...


class Hibari:
    """The process's one voice; for the speaking worker only."""

    def __init__(self) -> None:
        path = weights.checked(weights.package_folder("hibari", "assets"), weights.VOICE)
        self._engine: Any = import_module("hibari").Hibari(voice=VOICE, model=str(path))
        self.speak("Hello.", 1.0)

    def sentences(self, text: str) -> list[str]:
        """The pieces in which a text is synthesised."""
        pieces: list[str] = self._engine.split_sentences(text)
        return pieces

    def speak(self, sentence: str, speed: float) -> Spoken:
        """One sentence as audio."""
        from flowengine.media.resample import resample

        samples: NDArray[np.float32] = self._engine(sentence, speed=speed, seed=_SEED)
        loud = (abs(samples) > _AUDIBLE).nonzero()[0]
        per_ms = _RATE // 1000
        begin, end = (int(loud[0]), int(loud[-1])) if len(loud) else (0, len(samples))
        pcm = (samples.clip(-1.0, 1.0) * 32767.0).astype("<i2").tobytes()
        ulaw = linear_to_ulaw(resample(pcm, _RATE, 8000))
        return Spoken(ulaw, begin // per_ms, end // per_ms)


class LocalVoice:
    """One call's voice."""

    def __init__(self, engine: Callable[[], Engine], worker: Worker, speed: float) -> None:
        self._engine = engine
        self._worker = worker
        self._speed = speed
        self._characters = 0

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        """A chunk a sentence; closing the generator leaves what was not begun unspoken."""
        async for clause in clauses:
            self._characters += len(clause.text)
            pieces = await self._worker.run(_pieces, self._engine, clause.text)
            at_ms = 0
            for number, (first_char, sentence) in enumerate(pieces, start=1):
                spoken = await self._worker.run(_say, self._engine, sentence, self._speed)
                words = words_in(
                    sentence,
                    first_char=first_char,
                    begin_ms=at_ms + spoken.begin_ms,
                    end_ms=at_ms + spoken.end_ms,
                )
                at_ms += len(spoken.ulaw) // BYTES_PER_MS
                yield SpeechChunk(clause.number, spoken.ulaw, words, last=number == len(pieces))
            if not pieces:
                yield SpeechChunk(clause.number, b"", last=True)

    async def close(self) -> Usage | None:
        return Usage(NAME, MODEL, "characters", amount_in=self._characters)


class LocalTts:
    """The voice of this machine; all calls share one model and one thread."""

    name = NAME

    def __init__(self, worker: Worker = SPEAKING) -> None:
        self._worker = worker
        self._is_warm = False

    async def warm(self) -> None:
        """Load the voice (about a second) so that the first call need not wait.

        Raises ProviderError: `local_speech_unavailable`, `local_weights_wrong`, `overloaded`.
        """
        if self._is_warm:
            return
        require(PACKAGES)
        await self._worker.run(shared)
        self._is_warm = True

    async def open(self, request: TtsRequest) -> LocalVoice:
        speed = _checked_speed(request)
        await self.warm()
        return LocalVoice(shared, self._worker, speed)


@cache
def shared() -> Hibari:
    """The process's one voice. Call it in the speaking worker only."""
    return Hibari()


def _pieces(engine: Callable[[], Engine], text: str) -> list[tuple[int, str]]:
    with _faults():
        return sentences_in(text, engine().sentences(text))


def _say(engine: Callable[[], Engine], sentence: str, speed: float) -> Spoken:
    with _faults():
        return engine().speak(sentence, speed)


@contextmanager
def _faults() -> Iterator[None]:
    """What goes wrong inside the voice, as a ProviderError."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as error:
        # onnxruntime's errors have no common base below Exception.
        raise ProviderError(
            "unavailable",
            f"local speech synthesis failed: {type(error).__name__}",
            where=NAME,
            retryable=True,
        ) from error


def _checked_speed(request: TtsRequest) -> float:
    speed = request.options.get("speed", 1.0)
    is_number = isinstance(speed, (int, float)) and not isinstance(speed, bool)
    what = ""
    if request.language.lower().split("-")[0] not in ("", "en"):
        what = "the local voice speaks English only"
    elif request.model not in ("", MODEL):
        what = f"local speech has one model, {MODEL}"
    elif request.voice not in ("", VOICE):
        what = f"local speech has one voice, {VOICE}"
    elif set(request.options) - {"speed"}:
        what = "the local voice has one option, `speed`"
    elif not is_number or not SLOWEST <= speed <= FASTEST:
        what = f"`speed` is not a number from {SLOWEST} to {FASTEST}"
    if what:
        raise ProviderError("bad_request", what, where=NAME, fix="Change the flow's `tts`.")
    return float(speed)
