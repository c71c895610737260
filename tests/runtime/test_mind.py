"""The thinking pipe: what an answer that was cancelled has used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, cast

import pytest

from flowengine.events import ClauseReady, Input, ReplyEnded, Usage
from flowengine.ports import (
    LlmEnd,
    LlmEvent,
    LlmMessage,
    LlmRequest,
    LlmText,
    LlmTool,
    LlmToolUse,
    LlmUsage,
)
from flowengine.runtime.effects import AskLlm
from flowengine.runtime.estimates import request_tokens, tokens_of
from flowengine.runtime.mind import Mind
from flowengine.runtime.services import Vendors

pytestmark = pytest.mark.unit

REQUEST = LlmRequest("m", (LlmMessage("user", "x" * 40),))


class Half:
    """An LLM that says some of its answer and then no more."""

    name = "half"

    def __init__(self, *events: LlmEvent) -> None:
        self.events = events
        self.is_closed = False

    def llm(self, provider: str, fallback: object) -> Half:
        return self

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        try:
            for event in self.events:
                yield event
            if self.events and isinstance(self.events[-1], LlmEnd):
                return
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


def reported(llm: Half, then: Callable[[Mind], None], provider: str = "half") -> list[Input]:
    """What the actor is told when, in the middle of an answer, this is done."""

    async def run() -> list[Input]:
        reports: list[Input] = []
        tasks: list[asyncio.Task[None]] = []

        def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
            tasks.append(asyncio.create_task(work, name=name))
            return tasks[-1]

        mind = Mind(cast("Vendors", llm), spawn, reports.append, lambda: 0)
        mind.ask(AskLlm(7, REQUEST, provider))
        for _ in range(20):
            await asyncio.sleep(0)
        then(mind)
        await asyncio.gather(*tasks, return_exceptions=True)
        return reports

    return asyncio.run(run())


def ends(reports: list[Input]) -> list[ReplyEnded]:
    return [event for event in reports if isinstance(event, ReplyEnded)]


def test_an_answer_that_is_cancelled_tells_what_it_used_by_estimate() -> None:
    llm = Half(LlmText("Hello, "), LlmToolUse("1", "note", "{}"), LlmText("you"))
    usage = Usage("half", "m", "tokens", 10, 4, estimated=True)
    assert ends(reported(llm, lambda mind: mind.cancel(7))) == [
        ReplyEnded(7, "cancelled", 0, usage)
    ]
    assert llm.is_closed


def test_what_the_vendor_said_so_far_counts() -> None:
    known = Usage("really", "n", "tokens", 123, 1, cached_in=100)
    llm = Half(LlmUsage(known), LlmText("12345678"))
    (ended,) = reported(llm, lambda mind: mind.cancel(7, wasted=True))
    assert isinstance(ended, ReplyEnded)
    assert ended.usage == Usage(
        "really", "n", "tokens", 123, 2, cached_in=100, estimated=True, wasted=True
    )


def test_an_answer_without_a_token_used_its_question() -> None:
    (ended,) = reported(Half(), Mind.close)
    assert ended == ReplyEnded(
        7, "cancelled", None, Usage("half", "m", "tokens", 10, 0, estimated=True)
    )


def test_a_whole_answer_is_told_once() -> None:
    usage = Usage("half", "m", "tokens", 5, 5)
    llm = Half(LlmText("Hello."), LlmEnd("stop", usage))
    assert ends(reported(llm, lambda mind: mind.cancel(7))) == [ReplyEnded(7, "stop", 0, usage)]


def test_nothing_was_used_where_nobody_was_asked() -> None:
    assert ends(reported(Half(), lambda mind: mind.cancel(7), provider="")) == []


def test_another_answer_goes_on() -> None:
    llm = Half(LlmText("Hello."), LlmEnd("stop", None))
    assert ends(reported(llm, lambda mind: mind.cancel(8))) == [ReplyEnded(7, "stop", 0)]


def test_tokens_are_estimated_from_all_that_is_sent() -> None:
    assert [tokens_of(count) for count in (0, 1, 4, 5)] == [0, 1, 1, 2]
    use = LlmToolUse("1", "look", "{12}")
    messages = (LlmMessage("system", "1234"), LlmMessage("assistant", "", (use,)))
    tool = LlmTool("look", "Looks", {"a": 1})
    assert request_tokens(LlmRequest("m", messages)) == 3
    assert request_tokens(LlmRequest("m", messages, (tool,))) == tokens_of(12 + 9 + 7)


def test_what_a_model_thinks_aloud_is_not_spoken() -> None:
    llm = Half(LlmText("<think>He is "), LlmText("early.</think>"), LlmText("Good morning."))
    llm.events = (*llm.events, LlmEnd("stop", None))
    assert reported(llm, lambda mind: None) == [
        ClauseReady(7, "Good morning."),
        ReplyEnded(7, "stop", 0, None),
    ]
