"""The speaking pipe: pieces of utterances in, audio of clauses into the playback.

What is there already (cached prompts, recordings, pauses, tones) is fed in the actor's own step.
Words go to the voice as one stream for as many pieces as follow each other, so that a reply is
spoken while the LLM still writes it. One utterance after another.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from flowengine.errors import ConfigError, FlowengineError, FlowError, ProviderError
from flowengine.events import Input, SpeakingFailed, Usage, Word
from flowengine.flow.defaults import TtsUse
from flowengine.media.g711 import silence
from flowengine.media.tones import dtmf_tones
from flowengine.ports import Clause, SpeechChunk, UsedSeveral, Voice
from flowengine.runtime.effects import CoverSilence, Piece, Speak
from flowengine.runtime.playback import Playback
from flowengine.runtime.prompts import CachedSpeech, Speaker
from flowengine.runtime.services import Services
from flowengine.runtime.spoken_reply import SpokenReply
from flowengine.runtime.voices import open_voice, speaker_of

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
CLOSE_S = 2.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Job:
    """An utterance that is not fed to its end yet."""

    generation: int
    speaker: Speaker
    tts: TtsUse
    language: str
    pieces: deque[Piece] = field(default_factory=deque)
    is_complete: bool = False
    asked_ms: int = -1
    has_begun: bool = False


class _Stream:
    """Clauses on their way to the voice, numbered from 0, and the pieces that they are."""

    def __init__(self, job: _Job, spoken: SpokenReply | None = None) -> None:
        self.job = job
        self.spoken = spoken
        """The reply that the LLM speaks itself, in place of the voice."""
        self.pieces: list[Piece] = []
        self.is_ended = False
        self.task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def push(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self._news.set()

    def end(self) -> None:
        self.is_ended = True
        self._news.set()

    async def clauses(self) -> AsyncIterator[Clause]:
        place = 0
        while True:
            while place < len(self.pieces):
                yield Clause(place, self.pieces[place].text)
                place += 1
            if self.is_ended:
                return
            self._news.clear()
            await self._news.wait()


class Mouth:
    """The speaking pipe of one call."""

    def __init__(
        self,
        playback: Playback,
        services: Services,
        spawn: Spawn,
        report: Callable[[Input], None],
        now_ms: Callable[[], int],
        spoken: Callable[[int], SpokenReply | None] = lambda reply: None,
    ) -> None:
        """`spoken`: the sound of a reply of this generation, if the LLM speaks it itself."""
        self._spoken = spoken
        self._playback = playback
        self._services = services
        self._spawn = spawn
        self._report = report
        self._now_ms = now_ms
        self._jobs: dict[int, _Job] = {}
        self._stream: _Stream | None = None
        self._voices: dict[str, Voice] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._given_up: asyncio.Task[None] | None = None
        self._gone: set[int] = set()
        """Utterances that failed or were dropped: what still comes for them is late."""
        self._wasted: Counter[str] = Counter()
        """By voice, how many characters were given to it ahead in vain."""

    # --- the actor's effects ---

    def speak(self, effect: Speak) -> None:
        """Take pieces of an utterance; what can be fed at once is."""
        if effect.generation in self._gone:
            return
        job = self._jobs.get(effect.generation)
        if job is None:
            self._playback.open(effect.generation, held=effect.held)
            speaker = speaker_of(effect.tts, effect.language)
            job = _Job(effect.generation, speaker, effect.tts, effect.language)
            self._jobs[effect.generation] = job
        job.pieces.extend(effect.pieces)
        job.is_complete = job.is_complete or effect.last
        self._advance()

    def cover(self, effect: CoverSilence) -> None:
        """Say what is at hand before everything that has not begun."""
        generation = effect.generation
        key = speaker_of(effect.tts, effect.language).key(effect.text)
        speech = self._services.prompts.get(key)
        if speech is None or not self._playback.open_before(generation):
            self._report(SpeakingFailed(generation, "not_at_hand"))
            return
        self._playback.feed(generation, 0, speech.audio, speech.words, last=True)

    def cut(self, floor: int) -> None:
        """Drop utterances older than `floor`, also at the vendor."""
        self._jobs = {key: job for key, job in self._jobs.items() if key >= floor}
        stream = self._stream
        if stream is not None and stream.job.generation < floor:
            self._give_up(stream)
        self._advance()

    def drop(self, generation: int, *, wasted: bool = False) -> None:
        """Nothing more is synthesised; a clause of which something was sent is finished."""
        self._gone.add(generation)
        job = self._jobs.get(generation)
        if job is None:
            return
        job.pieces.clear()
        job.is_complete = True
        stream = self._stream
        if stream is not None and stream.job is job:
            if wasted:
                self._wasted[job.speaker.key("")] += sum(len(piece.text) for piece in stream.pieces)
            wanted = [p for p in stream.pieces if self._playback.wants(generation, p.clause)]
            if wanted:
                stream.end()
            else:
                self._give_up(stream)
        self._advance()

    async def warm(self, use: TtsUse, language: str) -> None:
        """Open a voice before it is needed; what fails will fail again, and be told, when used."""
        try:
            await self._voice(use, language)
        except FlowengineError as error:
            log.warning("voice_not_warm", provider=use.provider or "", code=error.code)

    async def close(self) -> list[Usage]:
        """Close the voices; returns what was used."""
        voices, self._voices = self._voices, {}
        closed = await asyncio.gather(*(_closed(voice) for voice in voices.values()))
        usages = zip(voices, closed, strict=True)
        used = [part for key, usage in usages if usage for part in _split(usage, self._wasted[key])]
        several = [voice for voice in voices.values() if isinstance(voice, UsedSeveral)]
        return [*used, *(usage for voice in several for usage in voice.more_usage)]

    # --- inside ---

    def _advance(self) -> None:
        """Feed what can be fed now, in order."""
        while self._jobs:
            job = next(iter(self._jobs.values()))
            while job.pieces:
                if not self._feed(job, job.pieces[0]):
                    return
                job.pieces.popleft()
            if not job.is_complete:
                return
            if self._stream is not None:
                self._stream.end()
                return
            del self._jobs[job.generation]

    def _feed(self, job: _Job, piece: Piece) -> bool:
        """Feed one piece, or give it to the voice; False when what is before it comes first."""
        stream = self._stream
        if job.asked_ms < 0:
            job.asked_ms = self._now_ms()
        sound = self._at_hand(job, piece)
        if sound is None and piece.kind == "words":
            spoken = self._spoken(piece.reply) if piece.reply else None
            if stream is None:
                stream = self._stream = _Stream(job, spoken)
                stream.task = self._spawn(self._say(stream), "voice")
            elif stream.is_ended or stream.spoken is not spoken:
                stream.end()
                return False
            stream.push(piece)
            return True
        if stream is not None:
            stream.end()
            return False
        if sound is None:
            stream = self._stream = _Stream(job)
            stream.push(piece)
            stream.end()
            stream.task = self._spawn(self._play_file(stream, piece.text), "recording")
            return True
        self._deliver(job, piece.clause, sound.audio, sound.words, last=True)
        return True

    def _at_hand(self, job: _Job, piece: Piece) -> CachedSpeech | None:
        match piece.kind:
            case "words":
                if not piece.text.strip():
                    return CachedSpeech(b"")
                key = job.speaker.key(piece.text) if piece.static else ""
                return self._services.prompts.get(key) if key else None
            case "audio":
                audio = self._services.audio.get(piece.text)
                return None if audio is None else CachedSpeech(audio)
            case "pause":
                return CachedSpeech(silence(piece.ms))
            case "tones":
                return CachedSpeech(dtmf_tones(piece.text))

    def _deliver(
        self, job: _Job, clause: int, audio: bytes, words: tuple[Word, ...], *, last: bool
    ) -> bool:
        first_audio_ms = None
        if audio and not job.has_begun:
            job.has_begun = True
            first_audio_ms = self._now_ms() - job.asked_ms
        return self._playback.feed(
            job.generation, clause, audio, words, last=last, first_audio_ms=first_audio_ms
        )

    async def _say(self, stream: _Stream) -> None:
        """One stream of clauses through the voice."""
        code = ""
        if self._given_up is not None:
            # A voice speaks one utterance at a time.
            await asyncio.wait((self._given_up,), timeout=CLOSE_S)
        try:
            said = stream.spoken or await self._voice(stream.job.tts, stream.job.language)
            async with aclosing(said.speak(stream.clauses())) as chunks:
                await self._hear_out(stream, chunks)
        except (ProviderError, ConfigError) as error:
            code = error.code
        except Exception as error:  # noqa: BLE001 - an adapter's bug costs the utterance, not the call
            log.error("voice_broke", error=type(error).__name__)
            code = "internal"
        self._over(stream, code)

    async def _hear_out(self, stream: _Stream, chunks: AsyncIterator[SpeechChunk]) -> None:
        job, kept = stream.job, CachedSpeech(b"")
        async for chunk in chunks:
            piece = stream.pieces[chunk.clause]
            self._deliver(job, piece.clause, chunk.audio, chunk.words, last=chunk.last)
            if piece.static:
                kept = CachedSpeech(kept.audio + chunk.audio, kept.words + chunk.words)
                if chunk.last:
                    keep = self._services.prompts.put(job.speaker.key(piece.text), kept)
                    self._spawn(keep, "keep prompt")
            if chunk.last:
                kept = CachedSpeech(b"")

    async def _play_file(self, stream: _Stream, name: str) -> None:
        code = ""
        try:
            audio = await self._services.audio.load(name)
        except FlowError as error:
            code = error.code
        except OSError as error:
            log.error("recording_unreadable", file=name, error=type(error).__name__)
            code = "no_audio_file"
        else:
            self._deliver(stream.job, stream.pieces[0].clause, audio, (), last=True)
        self._over(stream, code)

    def _over(self, stream: _Stream, code: str) -> None:
        """A stream came to its end; one that was given up has nobody to tell."""
        if self._stream is not stream:
            return
        self._stream = None
        if code:
            generation = stream.job.generation
            self._jobs.pop(generation, None)
            self._gone.add(generation)
            self._playback.fail(generation)
            self._report(SpeakingFailed(generation, code))
        self._advance()

    def _give_up(self, stream: _Stream) -> None:
        self._stream = None
        if stream.task is not None:
            stream.task.cancel()
            self._given_up = stream.task

    async def _voice(self, use: TtsUse, language: str) -> Voice:
        speaker = speaker_of(use, language).key("")
        async with self._opening.setdefault(speaker, asyncio.Lock()):
            voice = self._voices.get(speaker)
            if voice is None:
                voice = self._voices[speaker] = await open_voice(
                    self._services.vendors, use, language
                )
            return voice


def _split(usage: Usage, wasted: int) -> list[Usage]:
    """What a voice used, and how much of it was in vain; told by characters only."""
    wasted = min(wasted, usage.amount_in) if usage.unit == "characters" else 0
    if not wasted:
        return [usage]
    used = replace(usage, amount_in=usage.amount_in - wasted)
    return [used, replace(usage, amount_in=wasted, estimated=True, wasted=True)]


async def _closed(voice: Voice) -> Usage | None:
    try:
        async with asyncio.timeout(CLOSE_S):
            return await voice.close()
    except TimeoutError:
        log.warning("voice_not_closed")
        return None
