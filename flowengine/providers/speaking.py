"""Supervision of the voice: first audio, audio that stops, retry and other voices.

Clauses are kept until their audio is whole. When a vendor fails between two clauses, another
attempt goes on with the first clause that was not spoken; when it fails inside one, the actor is
told, for nobody can say which words of it were good.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage, added_up
from flowengine.ports import Clause, SpeechChunk, Tts, TtsRequest, Voice
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.faults import fault
from flowengine.providers.health import HealthBook
from flowengine.providers.recovery import Recovery, Warm


@dataclass(frozen=True, slots=True)
class TtsChoice:
    """A voice to speak with; an empty `model` or `voice` is the request's own.

    `named`: model and voice for a request, where they are not the same for all (by language).
    """

    tts: Tts
    model: str = ""
    voice: str = ""
    options: Mapping[str, Json] | None = None
    named: Callable[[TtsRequest], tuple[str, str]] | None = None

    def request(self, asked: TtsRequest) -> TtsRequest:
        model, voice = self.named(asked) if self.named else (self.model, self.voice)
        return replace(
            asked,
            model=model or asked.model,
            voice=voice or asked.voice,
            options=asked.options if self.options is None else self.options,
        )


class SupervisedTts:
    """A `Tts` made of one or more, in order of preference."""

    def __init__(
        self,
        choices: Sequence[TtsChoice],
        deadlines: Deadlines | None = None,
        book: HealthBook | None = None,
    ) -> None:
        self._choices = tuple(choices)
        self._deadlines = deadlines or Deadlines()
        self._book = book or HealthBook()
        self.name = self._choices[0].tts.name
        self.counts: Counter[str] = Counter()
        """Failed attempts as `provider.code`, and `provider.recovered`."""

    async def warm(self) -> None:
        """Get every voice's vendor ready."""
        for choice in self._choices:
            if isinstance(choice.tts, Warm):
                await choice.tts.warm()

    async def open(self, request: TtsRequest) -> SupervisedVoice:
        voice = SupervisedVoice(self._choices, request, self._deadlines, self.counts, self._book)
        await voice.warm()
        return voice


class SupervisedVoice:
    """One call's voice, with others to fall back on."""

    def __init__(
        self,
        choices: Sequence[TtsChoice],
        request: TtsRequest,
        deadlines: Deadlines,
        counts: Counter[str],
        book: HealthBook,
    ) -> None:
        self._book = book
        self._choices = choices
        self._request = request
        self._deadlines = deadlines
        self._counts = counts
        self._voices: dict[int, Voice] = {}
        self._closing: list[asyncio.Task[Usage | None]] = []
        self.more_usage: Sequence[Usage] = ()
        self._first = 0
        """The choice that spoke last: a call does not change its voice back and forth."""

    async def warm(self) -> None:
        """Open the first voice that can be had; raises ProviderError when none can."""
        recovery = self._recovery(self._deadlines.tts_open_ms)
        last: ProviderError | None = None
        while (attempt := recovery.next()) is not None:
            place, limit_s = self._placed(attempt[0]), attempt[1]
            try:
                await self._voice(place, limit_s)
            except ProviderError as error:
                self._count(place, error)
                recovery.failed(attempt[0], error)
                last = error
                continue
            self._first = place
            return
        raise last or fault("unavailable", "could not be asked", self._choices[0].tts.name)

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        script = _Script(clauses)
        try:
            async with aclosing(self._spoken(script)) as chunks:
                async for chunk in chunks:
                    yield chunk
            await script.ended()
        finally:
            await script.close()

    async def _spoken(self, script: _Script) -> AsyncGenerator[SpeechChunk, None]:
        recovery = self._recovery(self._deadlines.tts_first_audio_ms)
        last: ProviderError | None = None
        while (attempt := recovery.next()) is not None:
            place, first_s = self._placed(attempt[0]), attempt[1]
            try:
                async with aclosing(self._watched(place, script, first_s)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except ProviderError as error:
                self._count(place, error)
                self._give_up(place)
                if script.inside_clause:
                    raise
                recovery.failed(attempt[0], error)
                last = error
                continue
            if last is not None:
                self._counts[f"{self._choices[place].tts.name}.recovered"] += 1
            self._first = place
            return
        raise last or fault("unavailable", "could not be asked", self._choices[0].tts.name)

    async def _watched(
        self, place: int, script: _Script, first_s: float
    ) -> AsyncGenerator[SpeechChunk, None]:
        name = self._choices[place].tts.name
        asked_s, waited_s = asyncio.get_running_loop().time(), 0.0
        watch = script.watch(first_s, self._deadlines.tts_between_audio_ms / 1000)
        voice = await self._voice(place, min(first_s, self._deadlines.tts_open_ms / 1000))
        async with aclosing(voice.speak(script.clauses())) as chunks:
            while True:
                try:
                    async with watch.timer() as timer:
                        watch.running = timer
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    break
                except TimeoutError as error:
                    code = "stalled" if watch.begun else "deadline"
                    raise fault(code, "sent no audio in time", name) from error
                if not watch.begun:
                    waited_s = asyncio.get_running_loop().time() - asked_s
                watch.begun = True
                script.came(chunk)
                try:
                    yield chunk
                except GeneratorExit:
                    # Whoever is interrupted had done nothing wrong so far.
                    self._did_well(place, waited_s)
                    raise
        if script.owes:
            raise fault("dropped", "ended without all of the audio", name)
        if watch.begun:
            self._did_well(place, waited_s)

    async def close(self) -> Usage | None:
        for place in list(self._voices):
            self._give_up(place)
        usages = await asyncio.gather(*self._closing)
        self._closing.clear()
        used = added_up(item for item in usages if item is not None)
        self.more_usage = used[1:]
        return used[0] if used else None

    async def _voice(self, place: int, limit_s: float) -> Voice:
        voice = self._voices.get(place)
        if voice is None:
            choice = self._choices[place]
            try:
                async with asyncio.timeout(limit_s):
                    voice = await choice.tts.open(choice.request(self._request))
            except TimeoutError as error:
                raise fault("deadline", "did not open in time", choice.tts.name) from error
            self._voices[place] = voice
        return voice

    def _give_up(self, place: int) -> None:
        """Close a voice without waiting for it; it is opened anew before it speaks again."""
        voice = self._voices.pop(place, None)
        if voice is not None:
            self._closing.append(asyncio.create_task(voice.close()))

    def _recovery(self, first_ms: int) -> Recovery:
        count = len(self._choices)
        order = [self._placed(nth) for nth in range(count)]
        asked = [(self._choices[place].tts.name, self._model(place)) for place in order]
        skipped = self._book.skipped(asked, "tts")
        return Recovery(count, first_ms, self._deadlines.recovery_ms, skipped)

    def _model(self, place: int) -> str:
        """What may fail by itself: the model with the voice."""
        request = self._choices[place].request(self._request)
        return f"{request.model} {request.voice}".strip()

    def _placed(self, nth: int) -> int:
        return (self._first + nth) % len(self._choices)

    def _count(self, place: int, error: ProviderError) -> None:
        self._counts[f"{error.where}.{error.code}"] += 1
        self._book.of(error.where, "tts").did_fail(error, self._model(place))

    def _did_well(self, place: int, waited_s: float) -> None:
        health = self._book.of(self._choices[place].tts.name, "tts")
        health.did_well(round(waited_s * 1000), self._model(place))


class _Script:
    """One utterance's clauses: those that came, those that are spoken, those that are owed."""

    def __init__(self, source: AsyncIterator[Clause]) -> None:
        self._clauses: list[Clause] = []
        self._done = 0
        self._news = asyncio.Event()
        self._watch: _Watch | None = None
        self.inside_clause = False
        """Audio of the first unfinished clause is already out."""
        self._pulling = asyncio.create_task(self._pull(source))

    @property
    def owes(self) -> bool:
        return self._done < len(self._clauses)

    async def clauses(self) -> AsyncGenerator[Clause, None]:
        """What is not spoken yet, then what comes."""
        place = self._done
        while True:
            while place < len(self._clauses):
                place += 1
                yield self._clauses[place - 1]
            if self._pulling.done():
                return
            self._news.clear()
            await self._news.wait()

    def watch(self, first_s: float, between_s: float) -> _Watch:
        """A watch for one attempt; its first limit runs from now or from the first clause."""
        self._watch = _Watch(self, first_s, between_s)
        return self._watch

    def came(self, chunk: SpeechChunk) -> None:
        if chunk.last:
            self._done += 1
            self.inside_clause = False
        elif chunk.audio:
            self.inside_clause = True

    async def ended(self) -> None:
        """Raise what the source of the clauses raised, if it did."""
        await self._pulling

    async def close(self) -> None:
        self._pulling.cancel()
        await asyncio.gather(self._pulling, return_exceptions=True)

    async def _pull(self, source: AsyncIterator[Clause]) -> None:
        try:
            async for clause in source:
                self._clauses.append(clause)
                if self._watch is not None:
                    self._watch.arrived()
                self._news.set()
        finally:
            asyncio.get_running_loop().call_soon(self._news.set)


class _Watch:
    """The deadline of the next audio, which runs only while audio is owed."""

    def __init__(self, script: _Script, first_s: float, between_s: float) -> None:
        self._script = script
        self._first_s = first_s
        self._between_s = between_s
        self._loop = asyncio.get_running_loop()
        self._first_due = self._loop.time() + first_s if script.owes else None
        self.begun = False
        self.running: asyncio.Timeout | None = None

    def timer(self) -> asyncio.Timeout:
        """A timer for the next wait."""
        if not self.begun:
            return asyncio.timeout_at(self._first_due)
        return asyncio.timeout(self._between_s if self._script.owes else None)

    def arrived(self) -> None:
        """A clause came: audio is owed from now on, if it was not before."""
        if not self.begun and self._first_due is None:
            self._first_due = self._loop.time() + self._first_s
            self._start(self._first_due)
        elif self.begun:
            self._start(self._loop.time() + self._between_s)

    def _start(self, due: float) -> None:
        timer = self.running
        if timer is not None and not timer.expired() and timer.when() is None:
            timer.reschedule(due)
