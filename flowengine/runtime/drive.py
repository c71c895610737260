"""Drives a node's coroutine with `send()`: requests come out, answers go in, no event loop runs.

`StageOfNode` is the `Stage` that a node sees: it renders texts, reads values, and turns each
awaited method into one request.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any, Literal, TypeVar

from flowengine.events import Json
from flowengine.flow.defaults import Retry
from flowengine.flow.parts import Part
from flowengine.flow.scope import CallFacts
from flowengine.flow.types import Text
from flowengine.nodes.stage import (
    Accepted,
    Answer,
    Answered,
    Ask,
    AwaitAnswer,
    CallFlow,
    CallTool,
    Expect,
    Extract,
    Extracted,
    Outcome,
    Record,
    Recorded,
    Rejected,
    Reply,
    Request,
    Say,
    SendDigits,
    SendMessage,
    Sent,
    SetValue,
    Spoken,
    SubflowEnded,
    Think,
    ToolOutcome,
    Transfer,
    Transferred,
    Wait,
    Waited,
)
from flowengine.runtime.context import Context, Frame
from flowengine.runtime.expecting import expect_variable

EnteredBy = Literal[
    "start", "turn", "outcome", "key", "value", "back", "resume", "return", "operator"
]
T = TypeVar("T")


class _Awaited:
    """One request, awaited: yields it to the drive, returns what the drive sends back."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __await__(self) -> Generator[Request, Any, Any]:
        return (yield self._request)


async def _answer(request: Request, kind: type[T]) -> T:
    answer = await _Awaited(request)
    if not isinstance(answer, kind):
        raise TypeError(f"{type(request).__name__} was answered by {type(answer).__name__}")
    return answer


class StageOfNode:
    """The stage of one visit of one node."""

    def __init__(self, context: Context, *, entered_by: EnteredBy, resumed: bool) -> None:
        self._context = context
        self._frame: Frame = context.frame
        self.resumed = resumed
        self.entered_by: EnteredBy = entered_by
        self.answered_by = context.call.answered_by

    @property
    def direction(self) -> Literal["inbound", "outbound"]:
        return self._context.call.direction

    @property
    def call(self) -> CallFacts:
        return self._context.call

    @property
    def retry(self) -> Retry:
        return self._context.settings(self._frame).retry or Retry.model_validate({})

    def value(self, name: str) -> Json:
        return self._frame.values.get(name)

    def known(self, name: str) -> bool:
        return self._frame.values.get(name) is not None

    def text(self, text: Text | None, *, try_number: int = 1) -> tuple[Part, ...]:
        if text is None:
            return ()
        self._frame.tries = try_number
        return self._frame.program.render(text, self._context.scope(self._frame))

    def string(self, text: Text) -> str:
        return self._frame.program.render_text(text, self._context.scope(self._frame))

    def evaluate(self, expression: str, result: Mapping[str, Json] | None = None) -> Json:
        before, self._context.result = self._context.result, result
        scope = self._context.scope(self._frame)
        self._context.result = before
        return self._frame.program.evaluate(expression, scope).value

    def expect_variable(self, name: str, **changes: Json) -> Expect:
        return expect_variable(self._frame.program.flow.variables[name], name, changes)

    async def say(
        self, parts: tuple[Part, ...], *, interruptible: bool = True, is_notice: bool = False
    ) -> Spoken:
        return await _answer(Say(parts, interruptible, is_notice), Spoken)

    async def hear(self, expect: Expect) -> Answer:
        return await self.ask((), expect)

    async def ask(
        self, parts: tuple[Part, ...], expect: Expect, *, interruptible: bool = True
    ) -> Answer:
        answer: Answer = await _Awaited(Ask(parts, expect, interruptible))
        return answer

    async def think(self, request: Think) -> Reply:
        return await _answer(request, Reply)

    async def call_tool(
        self, name: str, arguments: Mapping[str, Json], meanwhile: tuple[Part, ...] = ()
    ) -> ToolOutcome:
        return await _answer(CallTool(name, arguments, meanwhile), ToolOutcome)

    async def extract(self, values: tuple[str, ...], prompt: str = "") -> Extracted:
        return await _answer(Extract(values, prompt), Extracted)

    async def transfer(self, request: Transfer) -> Transferred:
        return await _answer(request, Transferred)

    async def send_digits(self, digits: str) -> Spoken:
        return await _answer(SendDigits(digits), Spoken)

    async def answered(self, *, detect_machine: bool, beep: bool) -> Answered:
        return await _answer(AwaitAnswer(detect_machine, beep), Answered)

    async def send_message(self, to: str, text: str) -> Sent:
        return await _answer(SendMessage(to, text), Sent)

    async def record(self, request: Record) -> Recorded:
        return await _answer(request, Recorded)

    async def wait(self, hold: tuple[Part, ...], longest_ms: int, resume: str = "") -> Waited:
        return await _answer(Wait(hold, longest_ms, resume), Waited)

    async def call_flow(self, flow: str, inputs: Mapping[str, Json]) -> SubflowEnded:
        return await _answer(CallFlow(flow, inputs), SubflowEnded)

    async def set(self, name: str, value: Json) -> Accepted | Rejected:
        answer: Accepted | Rejected = await _Awaited(SetValue(name, value))
        return answer


class Drive:
    """One running node: its coroutine, and the request that it waits on."""

    def __init__(self, run: Callable[[StageOfNode], Coroutine[Any, Any, Outcome]]) -> None:
        self._run = run
        self._coroutine: Coroutine[Any, Any, Outcome] | None = None
        self.request: Request | None = None

    def start(self, stage: StageOfNode) -> Request | Outcome:
        """Run the node to its first request, or to its end."""
        self._coroutine = self._run(stage)
        return self._step(None)

    def answer(self, answer: object) -> Request | Outcome:
        """Give the answer of the present request; the next request, or the end."""
        return self._step(answer)

    def close(self) -> None:
        """Leave the node where it waits."""
        self.request = None
        if self._coroutine is not None:
            self._coroutine.close()
            self._coroutine = None

    def _step(self, answer: object) -> Request | Outcome:
        if self._coroutine is None:
            raise RuntimeError("the node is not running")
        try:
            request: Request = self._coroutine.send(answer)
        except StopIteration as end:
            self._coroutine, self.request = None, None
            outcome: Outcome = end.value
            return outcome
        self.request = request
        return request
