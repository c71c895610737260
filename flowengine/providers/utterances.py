"""Hearing by utterance, for recognisers that take one recording at a time.

`Utterances` (pure) cuts a call's audio where the caller speaks; `UtteranceSession` has each piece
recognised, the answers told in order. Only speech that the energy gate found is sent: a recogniser
of the Whisper family makes up words for silence. How a piece becomes words is the vendor's part
(`Recognise`).
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

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
from flowengine.media.gate import HOP_BYTES, ONSET_MS, SpeechGate
from flowengine.ports import BYTES_PER_MS, SttEvent, SttHints, SttRequest
from flowengine.providers.faults import fault
from flowengine.providers.recovery import is_worth_repeating

PREROLL_MS: Final = 300
"""Kept from before the first sound over the floor: soft beginnings of words."""
PAUSE_MS: Final = 200
"""Quiet after which the caller seems to have stopped; so much of it stays at the end."""
DIGITS_ENDPOINTING_MS: Final = 1000
"""A caller who reads digits pauses between groups."""
LEAST_SPEECH_MS: Final = 100
"""A shorter sound is a click and no word."""
LONGEST_UTTERANCE_MS: Final = 30_000
"""Then what there is goes out, and hearing goes on. Whisper hears 30 s at once."""
ANSWER_S: Final = 3.0
"""From the end of an utterance to its words."""
_RING_BYTES: Final = (PREROLL_MS + ONSET_MS) * BYTES_PER_MS - HOP_BYTES
"""Kept while nobody speaks; the last frame of an onset comes on top."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """µ-law of one stretch of speech; no audio: what there was can hold no word.

    `endpoint`: the caller's turn ends with it. `end_bytes`: where in the stream it was taken.
    """

    audio: bytes
    endpoint: bool
    end_bytes: int


class Utterances:
    """Finds the utterances of one stream of µ-law; time is that of the audio."""

    def __init__(self, endpointing_ms: int) -> None:
        self._endpointing_ms = endpointing_ms
        self._gate = SpeechGate(quiet_ms=PAUSE_MS)
        self._audio = bytearray()
        self._fed = 0
        self._began_ms = 0
        self._ended_ms = 0
        self._sound_end = 0
        """Up to where in `_audio` the last sound and a pause after it reach."""
        self._spoke_ms = 0
        self._taken_ms = 0
        self._owes_end = False
        self.is_open = False
        """Somebody speaks, or just paused."""
        self.patient = False
        """Digits are expected: a short pause ends nothing."""

    def since(self, place: int) -> bytes:
        """The audio of the utterance that is not over, from a place in it on."""
        return bytes(self._audio[place:]) if self.is_open else b""

    def feed(self, audio: bytes) -> Iterator[SpeechStarted | SpeechStopped | Utterance]:
        """Take audio of any length; what happens in it, in order."""
        for at in range(0, len(audio), HOP_BYTES):
            frame = audio[at : at + HOP_BYTES]
            self._audio += frame
            self._fed += len(frame)
            change = self._gate.feed(frame)
            if change is not None and change.ended_ms is None:
                self.is_open = self._owes_end = True
                self._began_ms = change.began_ms
                yield SpeechStarted("stt")
            elif change is not None and change.ended_ms is not None:
                self._ended_ms = change.ended_ms
                self._spoke_ms += self._sounding_ms(change.ended_ms)
                self._sound_end = len(self._audio)
                yield SpeechStopped("stt")
            utterance = self._cut()
            if utterance is not None:
                yield utterance

    def finalize(self) -> Utterance | None:
        """Take what there is as the end of a turn; None when nobody speaks."""
        return self._take(endpoint=True) if self.is_open else None

    def _cut(self) -> Utterance | None:
        if not self.is_open:
            del self._audio[:-_RING_BYTES]
            return None
        if self._gate.speaking:
            is_long = len(self._audio) >= LONGEST_UTTERANCE_MS * BYTES_PER_MS
            return self._take(endpoint=False) if is_long else None
        needed_ms = max(self._endpointing_ms, DIGITS_ENDPOINTING_MS if self.patient else 0)
        if self._gate.heard_ms - self._ended_ms < needed_ms:
            return None
        return self._take(endpoint=True)

    def _take(self, *, endpoint: bool) -> Utterance | None:
        speaking = self._gate.speaking
        spoke_ms = self._spoke_ms
        end = self._sound_end
        if speaking:
            spoke_ms += self._sounding_ms(self._gate.heard_ms)
            end = len(self._audio)
        audio = bytes(self._audio[:end]) if spoke_ms >= LEAST_SPEECH_MS else b""
        owed = self._owes_end
        # A sound that goes on after its words were asked for ends no turn of its own.
        self._owes_end = not endpoint
        # Quiet behind the last sound stays: the next one may begin in it.
        del self._audio[:end]
        self._spoke_ms = self._sound_end = 0
        self._taken_ms = self._gate.heard_ms
        self.is_open = speaking
        return Utterance(audio, endpoint, self._fed) if audio or owed else None

    def _sounding_ms(self, until_ms: int) -> int:
        return max(0, until_ms - max(self._began_ms, self._taken_ms))


@dataclass(frozen=True, slots=True)
class Heard:
    """The words of an utterance; `usage` is None when the vendor tells none."""

    text: str
    usage: Usage | None = None


Recognise = Callable[[bytes, Callable[[str], None]], Awaitable[Heard]]
"""Turns µ-law into words; tells the words so far to the callback. Raises ProviderError."""


class UtteranceSession:
    """One call's recogniser. A vendor that fails is reported once as `HearingFailed`."""

    replay_speed = 1000.0
    """Nothing but our own gate sees the audio before an utterance is whole."""

    def __init__(
        self,
        provider: str,
        request: SttRequest,
        hear: Callable[[SttEvent], None],
        recognise: Recognise,
    ) -> None:
        self._provider = provider
        self._model = request.model
        self._hear = hear
        self._recognise = recognise
        self._utterances = Utterances(request.endpointing_ms)
        self._running: list[asyncio.Task[None]] = []
        self._is_over = False
        self.error: ProviderError | None = None
        """What it failed with."""
        self._used: Usage | None = None
        self._asked_ms = 0
        self._told_ms = 0
        """Of the audio asked about: that of which the usage is known."""
        self.settled_bytes = 0
        """How much of what was fed has been told in final words."""

    def feed(self, audio: bytes) -> None:
        if self._is_over:
            return
        for happened in self._utterances.feed(audio):
            if isinstance(happened, Utterance):
                self._ask(happened)
            else:
                self._hear(happened)

    def hint(self, hints: SttHints) -> None:
        self._utterances.patient = hints.digits

    def finalize(self) -> None:
        if self._is_over:
            return
        utterance = self._utterances.finalize()
        if utterance is not None:
            self._ask(utterance)
        elif not self._running:
            self._hear(EndpointReached())

    async def close(self) -> Usage | None:
        self._is_over = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if not self._asked_ms:
            return None
        if self._used is None:
            return Usage(
                self._provider, self._model, "audio_ms", amount_in=self._asked_ms, estimated=True
            )
        share = self._asked_ms / self._told_ms
        return replace(
            self._used,
            amount_in=round(self._used.amount_in * share),
            amount_out=round(self._used.amount_out * share),
            audio_in=round(self._used.audio_in * share),
            estimated=self._asked_ms != self._told_ms,
        )

    def _ask(self, utterance: Utterance) -> None:
        before = self._running[-1] if self._running else None
        task = asyncio.get_running_loop().create_task(self._run(utterance, before))
        self._running.append(task)
        task.add_done_callback(self._running.remove)

    async def _run(self, utterance: Utterance, before: asyncio.Task[None] | None) -> None:
        """Have an utterance recognised at once, and tell it after the one before."""
        heard = Heard("")
        if utterance.audio:
            try:
                heard = await self._recognised(utterance.audio, before)
            except ProviderError as error:
                if not self._is_over:
                    self._is_over, self.error = True, error
                    self._hear(HearingFailed(error.code))
                return
        if before is not None:
            await asyncio.wait([before])
        if self._is_over:
            return
        self.settled_bytes = utterance.end_bytes
        text = heard.text.strip()
        if text:
            self._hear(SegmentHeard(text, endpoint=utterance.endpoint))
        elif utterance.endpoint:
            self._hear(EndpointReached())

    async def _recognised(self, audio: bytes, before: asyncio.Task[None] | None) -> Heard:
        """Ask, and ask again at once after an error that may pass.

        Supervision would play the audio again, as slowly as it was spoken.
        """

        def tell(text: str) -> None:
            if not self._is_over and text.strip() and (before is None or before.done()):
                self._hear(InterimHeard(text.strip()))

        audio_ms = len(audio) // BYTES_PER_MS
        self._asked_ms += audio_ms
        try:
            async with asyncio.timeout(ANSWER_S):
                try:
                    heard = await self._recognise(audio, tell)
                except ProviderError as error:
                    if not is_worth_repeating(error, ANSWER_S):
                        raise
                    heard = await self._recognise(audio, tell)
        except TimeoutError as error:
            raise fault("deadline", "did not answer in time", self._provider) from error
        if heard.usage is not None:
            self._told_ms += audio_ms
            self._used = add_usage(self._used, heard.usage)
        return heard


def add_usage(used: Usage | None, more: Usage) -> Usage:
    """What two utterances cost together."""
    if used is None:
        return more
    return replace(
        used,
        amount_in=used.amount_in + more.amount_in,
        amount_out=used.amount_out + more.amount_out,
        audio_in=used.audio_in + more.audio_in,
    )


def wav(ulaw: bytes) -> bytes:
    """µ-law as a file of 16-bit audio at 8000 Hz, which every host can read."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(ulaw_to_linear(ulaw))
    return content.getvalue()
