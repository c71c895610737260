"""Speech to text on this machine as the engine's `Stt`.

A session cuts a call's audio into utterances by voice activity and has each recognised once, in
the hearing worker. Recognition begins when the caller seems to stop (200 ms); the words go out as
an interim, and as the final segment when the endpoint is reached without more speech. What the
node expects (`SttHints`) decides how: freely, by scoring a closed set, or as digits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    HearingFailed,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    Usage,
)
from flowengine.media.g711 import ulaw_to_linear
from flowengine.ports import BYTES_PER_MS, SttEvent, SttHints, SttRequest
from flowengine.providers.local.endpoints import Change, Endpoints
from flowengine.providers.local.install import HEARING as PACKAGES
from flowengine.providers.local.install import require
from flowengine.providers.local.transcript import Transcript
from flowengine.providers.local.weights import moonshine_folder
from flowengine.providers.local.worker import HEARING, Worker

if TYPE_CHECKING:
    from flowengine.providers.local.moonshine import Moonshine

NAME = "local"
MODEL = "moonshine-tiny-en"

PREROLL_MS = 300
"""Kept from before the first window of speech, so that no first sound is lost."""

DIGITS_ENDPOINTING_MS = 1000
"""A caller who reads digits pauses between groups."""

LONGEST_UTTERANCE_MS = 30_000
"""Then the words so far go out and hearing goes on."""

LONGEST_INTERIM_MS = 10_000
"""Longer utterances, and strings of digits, are recognised at their end only: each pause would
cost a tenth of a second of CPU."""

_FRAME_BYTES = 20 * BYTES_PER_MS

_RING_BYTES = (PREROLL_MS + 2 * 32) * BYTES_PER_MS
"""The onset is known two windows late."""


class Activity(Protocol):
    """Voice activity of one call (`vad.CallVad`)."""

    def feed(self, audio: bytes, *, speaking: bool) -> list[tuple[bytes, float]]:
        """Whole windows of 32 ms and their probability of speech."""
        ...


Listen = Callable[[bytes, SttHints], Transcript]
"""Recognises one utterance of µ-law; runs in the worker."""


@dataclass(slots=True, eq=False)
class _Work:
    """One utterance on its way to words."""

    hints: SttHints
    is_final: bool = False
    endpoint: bool = False
    ends_at: int = 0
    """How much had been fed when its words were wanted for good."""
    heard: Transcript | None = None
    failed: bool = False

    @property
    def is_interim(self) -> bool:
        """Its words, here or to come, may still serve as the final ones."""
        return not self.is_final and not self.failed

    @property
    def is_awaited(self) -> bool:
        """Its words are wanted for good and on their way."""
        return self.is_final and self.heard is None and not self.failed


class LocalSession:
    """One call's recogniser. All of it but `listen` runs on the event loop."""

    def __init__(
        self,
        endpointing_ms: int,
        hear: Callable[[SttEvent], None],
        *,
        listen: Listen,
        vad: Activity,
        worker: Worker,
    ) -> None:
        self._endpointing_ms = endpointing_ms
        self._hear = hear
        self._listen = listen
        self._vad = vad
        self._worker = worker
        self._endpoints = Endpoints(window_ms=32)
        self._hints = SttHints()
        self._audio = bytearray()
        self._work: _Work | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fed = 0
        self._is_speaking = False
        self._is_over = False
        self.settled_bytes = 0
        """How much of what was fed has been told in final words (supervision replays the rest)."""

    def feed(self, audio: bytes) -> None:
        """Take audio of any length; judging voice activity takes about 0.2 ms a window."""
        if self._is_over:
            return
        self._fed += len(audio)
        for at in range(0, len(audio), _FRAME_BYTES):
            frame = audio[at : at + _FRAME_BYTES]
            for window, probability in self._vad.feed(frame, speaking=self._endpoints.speaking):
                self._audio += window
                self._follow(self._judge(probability))
                self._bound()

    def hint(self, hints: SttHints) -> None:
        self._hints = hints

    def finalize(self) -> None:
        """Take the utterance as ended here."""
        if self._is_over:
            return
        if self._work is not None and self._work.is_awaited:
            return
        if self._endpoints.speaking and self._endpoints.is_speech:
            self._finish(endpoint=True)
        else:
            self._hear(EndpointReached())

    async def close(self) -> Usage | None:
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return Usage(NAME, MODEL, "audio_ms", amount_in=self._fed // BYTES_PER_MS)

    def _judge(self, probability: float) -> Change | None:
        digits = self._hints.digits
        needed_ms = max(self._endpointing_ms, DIGITS_ENDPOINTING_MS if digits else 0)
        return self._endpoints.feed(probability, endpointing_ms=needed_ms, is_patient=digits)

    def _follow(self, change: Change | None) -> None:
        match change:
            case Change.BEGUN | Change.RESUMED:
                self._work = None
                self._is_speaking = True
                self._hear(SpeechStarted("stt"))
            case Change.PAUSED:
                self._stopped()
                is_long = len(self._audio) > LONGEST_INTERIM_MS * BYTES_PER_MS
                if not is_long and not self._hints.digits:
                    self._recognise(is_final=False, endpoint=False)
            case Change.ENDED:
                self._stopped()
                self._finish(endpoint=True)
            case None:
                pass

    def _stopped(self) -> None:
        if self._is_speaking:
            self._is_speaking = False
            self._hear(SpeechStopped("stt"))

    def _bound(self) -> None:
        """Keep the pre-roll while quiet, and no more than the longest utterance else."""
        if not self._endpoints.speaking:
            del self._audio[:-_RING_BYTES]
        elif len(self._audio) >= LONGEST_UTTERANCE_MS * BYTES_PER_MS:
            self._finish(endpoint=False)

    def _finish(self, *, endpoint: bool) -> None:
        """The words of the audio so far are wanted for good."""
        work = self._work
        if work is not None and work.is_interim and work.hints == self._hints:
            work.is_final, work.endpoint, work.ends_at = True, endpoint, self._fed
            if work.heard is not None:
                self._tell(work, work.heard)
        else:
            self._recognise(is_final=True, endpoint=endpoint)
        self._audio.clear()
        self._endpoints.taken()

    def _recognise(self, *, is_final: bool, endpoint: bool) -> None:
        work = _Work(self._hints, is_final, endpoint, self._fed)
        self._work = work
        if not self._endpoints.is_speech:
            work.heard = Transcript("", 0.0, 0.0)
            self._tell(work, work.heard)
            return
        task = asyncio.get_running_loop().create_task(self._run(work, bytes(self._audio)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: _Work, audio: bytes) -> None:
        try:
            heard = await self._worker.run(self._listen, audio, work.hints)
        except ProviderError as error:
            work.failed = True
            if work.is_final and not self._is_over:
                self._is_over = True
                self._hear(HearingFailed(error.code))
            return
        work.heard = heard
        if not self._is_over:
            self._tell(work, heard)

    def _tell(self, work: _Work, heard: Transcript) -> None:
        if not work.is_final:
            if heard.text and work is self._work:
                self._hear(InterimHeard(heard.text, heard.confidence))
            return
        self.settled_bytes = max(self.settled_bytes, work.ends_at)
        if heard.text:
            self._hear(SegmentHeard(heard.text, heard.confidence, endpoint=work.endpoint))
        elif work.endpoint:
            self._hear(EndpointReached())


class LocalStt:
    """The recogniser of this machine; all sessions share one model and one thread."""

    name = NAME

    def __init__(self, weights_folder: str = "", worker: Worker = HEARING) -> None:
        self._weights_folder = weights_folder
        self._worker = worker
        self._is_warm = False

    async def warm(self) -> None:
        """Load the models (about a second) so that the first call need not wait.

        Raises ProviderError: `local_speech_unavailable`, `local_weights_wrong`, `overloaded`.
        """
        if self._is_warm:
            return
        require(PACKAGES)
        await self._worker.run(_load, moonshine_folder(self._weights_folder))
        self._is_warm = True

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> LocalSession:
        _check(request)
        await self.warm()
        from flowengine.providers.local.vad import CallVad, shared_network

        folder = moonshine_folder(self._weights_folder)
        return LocalSession(
            request.endpointing_ms,
            hear,
            listen=lambda audio, hints: listen(folder, audio, hints),
            vad=CallVad(shared_network()),
            worker=self._worker,
        )


def listen(folder: Path, audio: bytes, hints: SttHints) -> Transcript:
    """Recognise one utterance of µ-law; runs in the worker. Raises ProviderError."""
    from flowengine.media.resample import resample
    from flowengine.providers.local.candidates import hear_candidates, hear_digits

    model = _load(folder)
    try:
        encoded = model.encode(resample(ulaw_to_linear(audio), 8000, 16000))
        if hints.candidates:
            return hear_candidates(model, encoded, hints.candidates)
        if hints.digits:
            return hear_digits(model, encoded)
        return model.transcript(model.greedy(encoded), encoded)
    except Exception as error:
        # onnxruntime's errors have no common base below Exception.
        raise ProviderError(
            "unavailable",
            f"local speech recognition failed: {type(error).__name__}",
            where=NAME,
            retryable=True,
        ) from error


def _load(folder: Path) -> Moonshine:
    from flowengine.providers.local.moonshine import shared
    from flowengine.providers.local.vad import shared_network

    shared_network()
    return shared(folder)


def _check(request: SttRequest) -> None:
    what = ""
    if request.language.lower().split("-")[0] not in ("", "en"):
        what = "local speech recognition knows English only"
    elif request.model not in ("", MODEL):
        what = f"local speech recognition has one model, {MODEL}"
    elif request.options:
        what = "local speech recognition has no options"
    if what:
        raise ProviderError("bad_request", what, where=NAME, fix="Change the flow's `stt`.")
