"""Supervision of speech to text: opening in time, reconnecting, replaying what was not heard.

Audio stays in a bounded ring until the recogniser has made its words final. When a recogniser
breaks, the same is opened again, then the fallbacks; the ring goes to the new one as fast as its
vendor takes audio, with the live audio behind it. One that stays connected and says
nothing (`deafness`) counts as broken, and the next choice is asked first. Only when nothing can be
had within the time of recovery does the actor hear `HearingFailed`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from flowengine.errors import ProviderError
from flowengine.events import (
    EndpointReached,
    HearingFailed,
    Json,
    SegmentHeard,
    Usage,
    added_up,
)
from flowengine.media.gate import HOP_BYTES, LEAST_LEVEL, LEVEL_TABLE, SpeechGate
from flowengine.ports import BYTES_PER_MS, Stt, SttEvent, SttHints, SttRequest, SttSession
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.deafness import DeafnessWatch
from flowengine.providers.faults import fault
from flowengine.providers.health import HealthBook
from flowengine.providers.recovery import Recovery, Warm, is_worth_repeating

_REPLAY_STEP_MS = 40
_BACKOFF_S = 0.1
_MOST_FRUITLESS = 3
"""A recogniser that breaks so often with no words between is given up, however fast it reopens."""
_SURE_MS = 100
"""Audio that is quiet for so long does not begin in the middle of a word."""
_BEFORE_SPEECH_MS = 300
"""Replayed before the first sound that is surely speech: soft beginnings of words."""
_UNDERSTOOD = (SegmentHeard, EndpointReached)
_FRUITFUL_S = 30.0
"""A session that lasted so long was good, words or not: the caller may have been silent."""


REPLAY_SPEED = 1.25
"""Audio is replayed this much faster than it was spoken where the vendor says nothing of it."""


@runtime_checkable
class Tells(Protocol):
    """A session that tells what it failed with, not only its code."""

    error: ProviderError | None


@runtime_checkable
class Replays(Protocol):
    """A session that takes audio so much faster than it is spoken."""

    replay_speed: float


@runtime_checkable
class Settles(Protocol):
    """A session that tells how much of what it was fed is final."""

    @property
    def settled_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SttChoice:
    """A recogniser to use; an empty `model` (and what is None) is the request's own."""

    stt: Stt
    model: str = ""
    options: Mapping[str, Json] | None = None
    keyterms: tuple[str, ...] | None = None

    def request(self, asked: SttRequest) -> SttRequest:
        return replace(
            asked,
            model=self.model or asked.model,
            options=asked.options if self.options is None else self.options,
            keyterms=asked.keyterms if self.keyterms is None else self.keyterms,
        )


class SupervisedStt:
    """An `Stt` made of one or more, in order of preference."""

    def __init__(
        self,
        choices: Sequence[SttChoice],
        deadlines: Deadlines | None = None,
        book: HealthBook | None = None,
    ) -> None:
        self._choices = tuple(choices)
        self._deadlines = deadlines or Deadlines()
        self._book = book or HealthBook()
        self.name = self._choices[0].stt.name
        self.counts: Counter[str] = Counter()
        """Failures as `provider.code`, and `provider.recovered`."""

    async def warm(self) -> None:
        """Get every recogniser ready."""
        for choice in self._choices:
            if isinstance(choice.stt, Warm):
                await choice.stt.warm()

    async def open(
        self, request: SttRequest, hear: Callable[[SttEvent], None]
    ) -> SupervisedHearing:
        hearing = SupervisedHearing(
            self._choices, request, hear, self._deadlines, self.counts, self._book
        )
        await hearing.begin()
        return hearing


class SupervisedHearing:
    """One call's recogniser, which may be several one after the other."""

    def __init__(
        self,
        choices: Sequence[SttChoice],
        request: SttRequest,
        hear: Callable[[SttEvent], None],
        deadlines: Deadlines,
        counts: Counter[str],
        book: HealthBook,
    ) -> None:
        self._book = book
        self._choices = choices
        self._request = request
        self._hear = hear
        self._deadlines = deadlines
        self._counts = counts
        self._session: SttSession | None = None
        self._opened: SttSession | None = None
        """A new session that has not caught up with the live audio yet."""
        self._settles: Settles | None = None
        self._place = 0
        self._life = 0
        self._ring = bytearray()
        self._ring_start = 0
        """Where in the audio of the call the ring begins."""
        self._base = 0
        """Where in the audio of the call the session's own audio begins."""
        self._fed = 0
        """Up to where in the audio of the call the session was fed."""
        self._settled = 0
        self._hints = SttHints()
        self._finalize_due = False
        self._repair: asyncio.Task[None] | None = None
        self._opened_at = 0.0
        self._unproven_ms: int | None = None
        """How long the session took to open, until it has understood something: one that opens
        and is deaf has not done well."""
        self._mend_until: float | None = None
        self._pause_s = 0.0
        self._fruitless = 0
        """Sessions that broke since words were last made final."""
        self._spent: list[asyncio.Task[Usage | None]] = []
        self._lost = False
        self.more_usage: Sequence[Usage] = ()
        self._deafness = DeafnessWatch(
            self._deaf,
            self._suspected,
            answer_ms=deadlines.stt_answer_ms,
            again_ms=deadlines.stt_answer_again_ms,
        )

    async def begin(self) -> None:
        """Open the first session; raises ProviderError when none can be had."""
        await self._open()

    def feed(self, audio: bytes) -> None:
        if self._lost:
            return
        self._ring += audio
        self._deafness.feed(audio)
        if self._session is not None:
            self._session.feed(audio)
            self._fed += len(audio)
        if len(self._ring) > 2 * self._keep_bytes or self._session is None:
            self._trim()

    def hint(self, hints: SttHints) -> None:
        self._hints = hints
        if self._session is not None:
            self._session.hint(hints)

    def finalize(self) -> None:
        if self._session is not None:
            self._session.finalize()
        else:
            self._finalize_due = True

    async def close(self) -> Usage | None:
        self._life += 1
        self._lost = True
        self._deafness.stop()
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)
        self._spend_all()
        spent = await asyncio.gather(*self._spent)
        self._spent.clear()
        used = added_up(item for item in spent if item is not None)
        self.more_usage = used[1:]
        return used[0] if used else None

    @property
    def _keep_bytes(self) -> int:
        return self._deadlines.replay_ms * BYTES_PER_MS

    def _heard(self, life: int, event: SttEvent) -> None:
        if life != self._life:
            return
        if isinstance(event, HearingFailed):
            self._broke(event.code)
            return
        if self._settles is None and isinstance(event, _UNDERSTOOD):
            self._settled = self._fed
        self._mend_until = None
        if self._unproven_ms is not None and isinstance(event, _UNDERSTOOD):
            self._book.of(self._name, "stt").did_well(self._unproven_ms, self._model(self._place))
            self._unproven_ms = None
        if isinstance(event, _UNDERSTOOD):
            self._fruitless = 0
        self._hear(event)

    def _deaf(self) -> None:
        """It was spoken to and said nothing; somebody else may hear it, or nobody does."""
        if self._deafness.is_second_chance:
            self._count(self._place, fault("stalled", "says nothing", self._name))
            self._let_go()
            self._give_up("stalled")
            return
        self._deafness.is_second_chance = True
        self._broke("stalled")

    def _suspected(self) -> None:
        """It had no word for sounds as long as speech: another one may, if there was any."""
        if self._session is not None:
            self._counts[f"{self._name}.suspected"] += 1
            self._let_go()
            self._begin_anew(fault("stalled", "says nothing", self._name))

    def _broke(self, code: str) -> None:
        told = self._session.error if isinstance(self._session, Tells) else None
        error = told or fault(code, "broke", self._name)
        self._count(self._place, error)
        self._let_go()
        now = asyncio.get_running_loop().time()
        self._fruitless = 1 if now - self._opened_at > _FRUITFUL_S else self._fruitless + 1
        if self._fruitless >= _MOST_FRUITLESS:
            self._give_up(code)
        else:
            self._begin_anew(error)

    def _let_go(self) -> None:
        """The session is no more; what it had not made final is kept."""
        self._life += 1
        self._deafness.stop()
        self._note_settled()
        self._spend_all()
        self._trim()

    def _begin_anew(self, error: ProviderError) -> None:
        now, recovery_s = asyncio.get_running_loop().time(), self._deadlines.recovery_ms / 1000
        if self._mend_until is None or now - self._opened_at > recovery_s:
            self._mend_until, self._pause_s = now + recovery_s, 0.0
        self._repair = asyncio.create_task(self._mend(error))

    async def _mend(self, broken: ProviderError) -> None:
        """Open again within the time of recovery, with growing pauses between rounds.

        A session that breaks again before it heard anything does not buy more time.
        """
        loop = asyncio.get_running_loop()
        until, code = self._mend_until or loop.time(), broken.code
        is_hopeless = not is_worth_repeating(broken, until - loop.time())
        hopeless = {self._place} if is_hopeless else set[int]()
        while loop.time() + self._pause_s < until and len(hopeless) < len(self._choices):
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(1.0, self._pause_s * 2 or _BACKOFF_S)
            # One that opens well and hears nothing, or breaks on the first words again, is asked
            # last from now on: time lost with it is lost to what is replayed.
            first = self._place + (code == "stalled" or self._fruitless > 1)
            for nth in range(len(self._choices)):
                place = (first + nth) % len(self._choices)
                left = until - loop.time()
                if place in hopeless or left <= 0:
                    continue
                try:
                    await self._open_one(place, min(left, self._deadlines.stt_open_ms / 1000))
                except ProviderError as error:
                    self._count(place, error)
                    code = error.code
                    if not is_worth_repeating(error, until - loop.time()):
                        hopeless.add(place)
                    continue
                self._counts[f"{self._choices[place].stt.name}.recovered"] += 1
                await self._replay()
                return
        self._give_up(code)

    def _give_up(self, code: str) -> None:
        self._lost = True
        self._deafness.stop()
        self._ring.clear()
        self._hear(HearingFailed(code))

    async def _open(self) -> None:
        count = len(self._choices)
        asked = [(self._choices[place].stt.name, self._model(place)) for place in range(count)]
        skipped = self._book.skipped(asked, "stt")
        limits = self._deadlines
        recovery = Recovery(count, limits.stt_open_ms, limits.recovery_ms, skipped)
        last: ProviderError | None = None
        while (attempt := recovery.next()) is not None:
            try:
                await self._open_one(*attempt)
            except ProviderError as error:
                self._count(attempt[0], error)
                recovery.failed(attempt[0], error)
                last = error
                continue
            self._session, self._opened = self._opened, None
            return
        raise last or fault("unavailable", "could not be asked", self._choices[0].stt.name)

    async def _open_one(self, place: int, limit_s: float) -> None:
        """Open a session into `_opened`; live audio goes to it once it caught up."""
        choice = self._choices[place]
        self._life += 1
        life = self._life
        now = asyncio.get_running_loop().time
        asked_s = now()
        try:
            async with asyncio.timeout(limit_s):
                session = await choice.stt.open(
                    choice.request(self._request), lambda event: self._heard(life, event)
                )
        except TimeoutError as error:
            raise fault("deadline", "did not open in time", choice.stt.name) from error
        self._place = place
        self._opened = session
        self._opened_at = now()
        self._unproven_ms = round((self._opened_at - asked_s) * 1000)
        self._settles = session if isinstance(session, Settles) else None
        self._deafness.begin(session)
        self._base = self._fed = self._ring_start
        session.hint(self._hints)

    async def _replay(self) -> None:
        """Feed the ring, no faster than allowed, until the live audio is reached."""
        self._skip_quiet()
        session, life = self._opened, self._life
        own_speed = session.replay_speed if isinstance(session, Replays) else REPLAY_SPEED
        speed = self._deadlines.replay_speed or own_speed
        loop = asyncio.get_running_loop()
        step = _REPLAY_STEP_MS * BYTES_PER_MS
        due = loop.time()
        while session is not None and life == self._life:
            place = self._fed - self._ring_start
            piece = bytes(self._ring[place : place + step])
            if piece:
                session.feed(piece)
                self._fed += len(piece)
            if len(piece) < step:
                self._session, self._opened = session, None
                if self._finalize_due:
                    self._finalize_due = False
                    session.finalize()
                return
            due += _REPLAY_STEP_MS / 1000 / speed
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _skip_quiet(self) -> None:
        """Begin the replay where somebody begins to speak: quiet only costs time."""
        quiet = _quiet_bytes(bytes(self._ring))
        del self._ring[:quiet]
        self._ring_start += quiet
        self._base = self._fed = self._ring_start

    def _note_settled(self) -> None:
        if self._settles is not None:
            self._settled = max(self._settled, self._base + self._settles.settled_bytes)

    def _trim(self) -> None:
        """Forget what is final, and of the rest what is older than may be replayed."""
        self._note_settled()
        end = self._ring_start + len(self._ring)
        keep_from = max(self._settled, end - self._keep_bytes, self._ring_start)
        if self._session is None and self._opened is not None:
            keep_from = min(keep_from, self._fed)
        del self._ring[: keep_from - self._ring_start]
        self._ring_start = keep_from

    def _spend_all(self) -> None:
        for session in (self._session, self._opened):
            if session is not None:
                self._spent.append(asyncio.create_task(session.close()))
        self._session = self._opened = None

    def _count(self, place: int, error: ProviderError) -> None:
        name = self._choices[place].stt.name
        self._counts[f"{name}.{error.code}"] += 1
        self._book.of(name, "stt").did_fail(error, self._model(place))

    @property
    def _name(self) -> str:
        """Of the recogniser that hears."""
        return self._choices[self._place].stt.name

    def _model(self, place: int) -> str:
        return self._choices[place].request(self._request).model


def _quiet_bytes(audio: bytes) -> int:
    """How much at the beginning of the audio needs no hearing; 0 when that is not sure."""
    head = audio[: _SURE_MS * BYTES_PER_MS]
    if any(
        sum(head[at : at + HOP_BYTES].translate(LEVEL_TABLE)) > LEAST_LEVEL
        for at in range(0, len(head), HOP_BYTES)
    ):
        return 0
    gate = SpeechGate()
    for at in range(0, len(audio), HOP_BYTES):
        change = gate.feed(audio[at : at + HOP_BYTES])
        if change is not None:
            return max(0, change.began_ms - _BEFORE_SPEECH_MS) * BYTES_PER_MS
    return max(0, len(audio) - _BEFORE_SPEECH_MS * BYTES_PER_MS) // BYTES_PER_MS * BYTES_PER_MS
