"""Supervision of vendors; the actor speaks to these as to any `Stt`, `Llm` or `Tts`.

An attempt that fails before anything of it was used is repeated at once, then the fallbacks are
asked in order, all within `Deadlines.recovery_ms`; then the last `ProviderError` is raised and the
actor speaks. Errors that a second try cannot help (`auth`, `quota`, `rate_limit`, `bad_request`)
skip the repeat. An LLM that is late for `Deadlines.llm_hedge_ms` gets the next choice beside it.
Whatever is given up is closed, so nothing goes on at the vendor. The LLM's part is here and in
`llm_try`; the voice's is in `speaking`, the recogniser's in `hearing`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from flowengine.errors import ProviderError
from flowengine.events import Usage
from flowengine.ports import LlmEvent, LlmRequest, LlmSpent, LlmUsage
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.faults import fault
from flowengine.providers.health import HealthBook
from flowengine.providers.hearing import SttChoice, SupervisedStt
from flowengine.providers.llm_try import LlmChoice, LlmTry
from flowengine.providers.recovery import Recovery, Warm
from flowengine.providers.speaking import SupervisedTts, TtsChoice

__all__ = [
    "Deadlines",
    "LlmChoice",
    "SttChoice",
    "SupervisedLlm",
    "SupervisedStt",
    "SupervisedTts",
    "TtsChoice",
]


class SupervisedLlm:
    """An `Llm` made of one or more, in order of preference.

    One that is late gets the next choice beside it (a hedge): whichever begins first answers, the
    other is given up. Who is asked, and what the others used, is told before and after.
    """

    def __init__(
        self,
        choices: Sequence[LlmChoice],
        deadlines: Deadlines | None = None,
        book: HealthBook | None = None,
    ) -> None:
        self._choices = tuple(choices)
        self._deadlines = deadlines or Deadlines()
        self._book = book or HealthBook()
        self.name = self._choices[0].llm.name
        self.counts: Counter[str] = Counter()
        """Failed attempts as `provider.code`, `provider.recovered`, and `provider.hedged`."""

    async def warm(self) -> None:
        """Get every LLM ready."""
        for choice in self._choices:
            if isinstance(choice.llm, Warm):
                await choice.llm.warm()

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        race = _Race(self._choices, request, self._deadlines, self.counts, self._book)
        try:
            while race.winner is None and race.goes_on():
                for told in race.account():
                    yield told
                await race.round()
            for told in race.account():
                yield told
            winner = race.result()
            async with aclosing(winner.rest()) as events:
                async for event in events:
                    yield event
            race.went_well()
        except ProviderError as error:
            if race.winner is not None:
                self.counts[f"{error.where}.{error.code}"] += 1
                self._book.of(race.winner.name, "llm").did_fail(error, race.winner.model)
            raise
        except GeneratorExit:
            # Whoever is interrupted had done nothing wrong so far.
            race.went_well()
            raise
        finally:
            await race.close()


class _Race:
    """The attempts at one answer: one after another, or two side by side."""

    def __init__(
        self,
        choices: Sequence[LlmChoice],
        request: LlmRequest,
        limits: Deadlines,
        counts: Counter[str],
        book: HealthBook,
    ) -> None:
        self._choices = choices
        self._request = request
        self._limits = limits
        self._counts = counts
        self._book = book
        asked = [(choice.llm.name, choice.request(request).model) for choice in choices]
        skipped = book.skipped(asked, "llm")
        self._recovery = Recovery(
            len(choices), limits.llm_first_token_ms, limits.recovery_ms, skipped
        )
        self._running: dict[asyncio.Task[None], LlmTry] = {}
        self._closing: list[asyncio.Task[None]] = []
        self._last: ProviderError | None = None
        self._spent: list[Usage] = []
        self._told: tuple[LlmTry | None, LlmSpent] = (None, LlmSpent(()))
        self._alone: LlmTry | None = None
        """An attempt beside which nobody is left to begin."""
        self.winner: LlmTry | None = None
        self._waited_ms = 0
        """Until it began to answer."""

    def goes_on(self) -> bool:
        """Whether an attempt runs; if none does the next one begins, while there is time."""
        if not self._running and (attempt := self._recovery.next()) is not None:
            self._begin(*attempt)
        return bool(self._running)

    async def round(self) -> None:
        """Wait until an attempt begins to answer or fails, or the only one is late."""
        await asyncio.wait(
            self._running, timeout=self._hedge_s(), return_when=asyncio.FIRST_COMPLETED
        )
        # In the order of preference, for of two that begin in one moment the first answers.
        done = [task for task in self._running if task.done()]
        for task in done:
            error = task.exception()
            if error is None:
                self._won(task)
                return
            if not isinstance(error, ProviderError):
                raise error
            self._failed(self._running.pop(task), error)
        if not done and self._hedge_s() == 0:
            self._hedge()

    def account(self) -> list[LlmEvent]:
        """What changed: who is asked for the answer, and what the others used."""
        asked = self.winner or next(iter(self._running.values()), None)
        beside = [other for other in self._running.values() if other is not asked]
        spent = LlmSpent((*self._spent, *_used(beside, wasted=True)))
        (was_asked, was_spent), self._told = self._told, (asked, spent)
        told: list[LlmEvent] = []
        if asked is not None and asked is not was_asked:
            told += [LlmUsage(usage) for usage in _used([asked])]
        return [*told, spent] if spent != was_spent else told

    def result(self) -> LlmTry:
        """The attempt that answers. Raises the last ProviderError when none does."""
        if self.winner is None:
            name = self._choices[0].llm.name
            raise self._last or fault("unavailable", "could not be asked", name)
        return self.winner

    def went_well(self) -> None:
        """The answer is complete, or nobody wants the rest."""
        if self.winner is not None:
            health = self._book.of(self.winner.name, "llm")
            health.did_well(self._waited_ms, self.winner.model)

    async def close(self) -> None:
        """End what still runs, also at the vendors."""
        self._give_up()
        if self.winner is not None:
            await self.winner.close()
        await asyncio.gather(*self._closing)

    # --- inside ---

    def _begin(self, place: int, first_s: float) -> None:
        attempt = LlmTry(place, self._choices[place], self._request, first_s, self._limits)
        self._running[asyncio.create_task(attempt.begin(), name="llm attempt")] = attempt

    def _hedge_s(self) -> float | None:
        """How long the only attempt has until it is late; None: there is no other to wait for."""
        attempt, *others = self._running.values()
        if others or attempt is self._alone:
            return None
        due_s = attempt.alive_s + self._limits.llm_hedge_ms / 1000
        return max(0.0, due_s - asyncio.get_running_loop().time())

    def _hedge(self) -> None:
        """Another choice begins beside the attempt that is late."""
        (attempt,) = self._running.values()
        beside = self._recovery.beside(attempt.place)
        if beside is None:
            self._alone = attempt
            return
        self._counts[f"{attempt.name}.hedged"] += 1
        self._begin(*beside)

    def _won(self, task: asyncio.Task[None]) -> None:
        self.winner = winner = self._running.pop(task)
        waited_s = asyncio.get_running_loop().time() - winner.asked_s
        self._waited_ms = round(waited_s * 1000)
        if self._last is not None:
            self._counts[f"{self.winner.name}.recovered"] += 1
        self._give_up()

    def _failed(self, attempt: LlmTry, error: ProviderError) -> None:
        self._counts[f"{error.where}.{error.code}"] += 1
        self._book.of(attempt.name, "llm").did_fail(error, attempt.model)
        self._recovery.failed(attempt.place, error)
        self._last = error
        self._spent += _used([attempt], wasted=True)

    def _give_up(self) -> None:
        """Cancel what runs; its closing is waited for at the end, so that it delays no token."""
        running, self._running = self._running, {}
        for task, attempt in running.items():
            self._spent += _used([attempt], wasted=True)
            self._closing.append(asyncio.create_task(_end(task, attempt), name="llm closing"))


def _used(attempts: Iterable[LlmTry], *, wasted: bool = False) -> list[Usage]:
    used = (attempt.used(wasted=wasted) for attempt in attempts)
    return [usage for usage in used if usage is not None]


async def _end(task: asyncio.Task[None], attempt: LlmTry) -> None:
    """Cancel an attempt; how it would have ended does not matter any more."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await attempt.close()
