"""One attempt at an LLM: its limits, its beginning, and what it used if it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import Llm, LlmEvent, LlmRequest, LlmText, LlmToolUse, LlmUsage
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.faults import fault
from flowengine.runtime.estimates import request_tokens, tokens_of

_WORKED = frozenset({"deadline", "stalled", "dropped", "protocol"})
"""Errors of a vendor that had taken the request: it counts the input, whatever came of it."""


@dataclass(frozen=True, slots=True)
class LlmChoice:
    """An LLM to ask; an empty `model` (and options of None) is the request's own.

    `default_model` is asked for when the request names none either.
    """

    llm: Llm
    model: str = ""
    options: Mapping[str, Json] | None = None
    default_model: str = ""

    def request(self, asked: LlmRequest) -> LlmRequest:
        options = asked.options if self.options is None else self.options
        model = self.model or asked.model or self.default_model
        return replace(asked, model=model, options=options)


class LlmTry:
    """One attempt at an answer. `begin` waits for its first event, `rest` is all of it."""

    def __init__(
        self, place: int, choice: LlmChoice, request: LlmRequest, first_s: float, limits: Deadlines
    ) -> None:
        self.place = place
        self.name = choice.llm.name
        self._request = choice.request(request)
        self.model = self._request.model
        self._events = _watched(choice.llm, self._request, first_s, limits)
        self._head: list[LlmEvent] = []
        self.asked_s = self.alive_s = asyncio.get_running_loop().time()
        """When it last gave a token or a sign of life, in the loop's time."""
        self._usage: Usage | None = None
        """What the vendor said so far."""
        self._characters = 0
        self._error = ""

    async def begin(self) -> None:
        """Wait until the answer begins. Raises ProviderError."""
        try:
            async for event in self._events:
                if self._is_told(event):
                    self._head.append(event)
                    if not isinstance(event, LlmUsage):
                        return
            raise fault("dropped", "ended without an answer", self.name)
        except ProviderError as error:
            self._error = error.code
            raise

    async def rest(self) -> AsyncGenerator[LlmEvent, None]:
        """Everything that came and comes. Raises ProviderError."""
        for event in self._head:
            yield event
        async for event in self._events:
            if self._is_told(event):
                yield event

    async def close(self) -> None:
        """Give it up, also at the vendor. Idempotent."""
        await self._events.aclose()

    def used(self, *, wasted: bool = False) -> Usage | None:
        """What it used so far; None: nothing, for the vendor did not take it."""
        known = self._usage
        if known is None and self._error and self._error not in _WORKED:
            return None
        if known is None:
            asked = request_tokens(self._request)
            known = Usage(self.name, self._request.model, "tokens", asked)
        out = max(known.amount_out, tokens_of(self._characters))
        return replace(known, amount_out=out, estimated=True, wasted=wasted)

    def _is_told(self, event: LlmEvent) -> bool:
        """Count an event; whether it is passed on: a mere sign of life is not."""
        if isinstance(event, LlmUsage):
            self._usage = event.usage
            return True
        self.alive_s = asyncio.get_running_loop().time()
        match event:
            case LlmText(text):
                self._characters += len(text)
                return bool(text)
            case LlmToolUse():
                self._characters += len(event.name) + len(event.arguments)
        return True


async def _watched(
    llm: Llm, request: LlmRequest, first_s: float, limits: Deadlines
) -> AsyncGenerator[LlmEvent, None]:
    """The events of one attempt, each within its limit."""
    between_s = limits.llm_between_tokens_ms / 1000
    now = asyncio.get_running_loop().time
    until, begun = now() + first_s, False
    async with aclosing(llm.stream(request)) as events:
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
                raise fault(code, what, llm.name) from error
            if isinstance(event, LlmUsage):
                yield event  # counted at the vendor, not yet answered: the limit stays
                continue
            until, begun = now() + between_s, True
            yield event
