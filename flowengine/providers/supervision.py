"""Supervision of vendors; the actor speaks to these as to any `Stt`, `Llm` or `Tts`.

An attempt that fails before anything of it was used is repeated at once, then the fallbacks are
asked in order, all within `Deadlines.recovery_ms`; then the last `ProviderError` is raised and the
actor speaks. Errors that a second try cannot help (`auth`, `quota`, `rate_limit`, `bad_request`)
skip the repeat. Whatever is given up is closed, so nothing goes on at the vendor. The LLM's part
is here; the voice's is in `speaking`, the recogniser's in `hearing`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from flowengine.errors import ProviderError
from flowengine.events import Json
from flowengine.ports import Llm, LlmEvent, LlmRequest, LlmText, LlmUsage
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.faults import fault
from flowengine.providers.hearing import SttChoice, SupervisedStt
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


@dataclass(frozen=True, slots=True)
class LlmChoice:
    """An LLM to ask; an empty `model` (and options of None) is the request's own."""

    llm: Llm
    model: str = ""
    options: Mapping[str, Json] | None = None

    def request(self, asked: LlmRequest) -> LlmRequest:
        options = asked.options if self.options is None else self.options
        return replace(asked, model=self.model or asked.model, options=options)


class SupervisedLlm:
    """An `Llm` made of one or more, in order of preference."""

    def __init__(self, choices: Sequence[LlmChoice], deadlines: Deadlines | None = None) -> None:
        self._choices = tuple(choices)
        self._deadlines = deadlines or Deadlines()
        self.name = self._choices[0].llm.name
        self.counts: Counter[str] = Counter()
        """Failed attempts as `provider.code`, and `provider.recovered`."""

    async def warm(self) -> None:
        """Get every LLM ready."""
        for choice in self._choices:
            if isinstance(choice.llm, Warm):
                await choice.llm.warm()

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        limits = self._deadlines
        recovery = Recovery(len(self._choices), limits.llm_first_token_ms, limits.recovery_ms)
        last: ProviderError | None = None
        while (attempt := recovery.next()) is not None:
            place, first_s = attempt
            choice = self._choices[place]
            used = False
            try:
                async with aclosing(self._watched(choice, request, first_s)) as events:
                    async for event in events:
                        used = used or not isinstance(event, LlmUsage)
                        yield event
            except ProviderError as error:
                self.counts[f"{error.where}.{error.code}"] += 1
                if used:
                    raise
                recovery.failed(place, error)
                last = error
                continue
            if last is not None:
                self.counts[f"{choice.llm.name}.recovered"] += 1
            return
        raise last or fault("unavailable", "could not be asked", self.name)

    async def _watched(
        self, choice: LlmChoice, request: LlmRequest, first_s: float
    ) -> AsyncGenerator[LlmEvent, None]:
        between_s = self._deadlines.llm_between_tokens_ms / 1000
        now = asyncio.get_running_loop().time
        until, begun = now() + first_s, False
        async with aclosing(choice.llm.stream(choice.request(request))) as events:
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    code, what = (
                        ("stalled", "stopped in the middle of its answer")
                        if begun
                        else ("deadline", "gave no first token in time")
                    )
                    raise fault(code, what, choice.llm.name) from error
                if isinstance(event, LlmUsage):
                    yield event  # counted at the vendor, not yet answered: the limit stays
                    continue
                until, begun = now() + between_s, True
                if not (isinstance(event, LlmText) and not event.text):
                    yield event
