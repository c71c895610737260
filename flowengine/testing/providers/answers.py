"""What the fake LLM hosts share: planned answers, streamed as server-sent events, with faults."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from flowengine.events import Json
from flowengine.testing.providers.serving import FakeVendor, Fault, forever


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: text in `pieces`, then tool calls as (name, JSON of the arguments).

    `tokens_in` are all of the input, those from the cache and those written to it included.
    `reason` is why it ends, in the vendor's word; "": by what it holds.
    """

    pieces: tuple[str, ...] = ()
    tools: tuple[tuple[str, str], ...] = ()
    first_token_ms: int = 0
    between_tokens_ms: int = 0
    tokens_in: int = 100
    tokens_cached: int = 0
    tokens_written: int = 0
    reason: str = ""


def saying(text: str) -> Answer:
    """An answer that says a text, word by word."""
    words = text.split(" ")
    return Answer(tuple(word if nth == 0 else f" {word}" for nth, word in enumerate(words)))


class FakeLlm(FakeVendor):
    """A host of an LLM. Without a plan left it just agrees."""

    error_event = b""
    """The vendor's error in the middle of a stream."""
    end_event = b""
    """What follows the last message."""

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        plan: Iterable[Answer],
        answer: Callable[[Json], Answer] | None,
    ) -> None:
        super().__init__(routes)
        self.plan = deque(plan)
        self._answer = answer
        self.requests: list[Json] = []
        self.peers: set[tuple[str, int]] = set()
        """Where requests for answers came from: one for each connection."""
        self.aborted = 0
        """Streams that the client gave up."""

    def has_key(self, request: Request) -> bool:
        """Whether the request carries the test's key."""
        raise NotImplementedError

    def refusal(self, status: int) -> Response:
        """The vendor's answer to a request that it does not take."""
        raise NotImplementedError

    def check(self, body: Json) -> None:
        """Note what the vendor would not take."""
        raise NotImplementedError

    def messages(self, body: Json, answer: Answer) -> list[bytes]:
        """The events of an answer, as the vendor sends them."""
        raise NotImplementedError

    async def reply(self, request: Request) -> Response:
        """Take a request for an answer."""
        fault = self.next_fault()
        body = orjson.loads(await request.body())
        self.requests.append(body)
        if request.client is not None:
            self.peers.add((request.client.host, request.client.port))
        self.changed.set()
        if not self.has_key(request):
            return self.refusal(401)
        self.check(body)
        if fault is not None and fault.kind == "refuse":
            return self.refusal(fault.status)
        if fault is not None and fault.kind == "hang":
            await forever()
        if self._answer is not None:
            answer = self._answer(body)
        else:
            answer = self.plan.popleft() if self.plan else saying("Yes.")
        stream = self._stream(request, body, answer, fault)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _stream(
        self, request: Request, body: Json, answer: Answer, fault: Fault | None
    ) -> AsyncGenerator[bytes, None]:
        ended = False
        delay_ms = fault.delay_ms if fault is not None else 0
        try:
            if answer.first_token_ms + delay_ms:
                await asyncio.sleep((answer.first_token_ms + delay_ms) / 1000)
            for nth, message in enumerate(self.messages(body, answer)):
                if fault is not None and nth >= fault.after:
                    async for misdeed in self._misbehave(request, fault):
                        yield misdeed
                if nth and answer.between_tokens_ms:
                    await asyncio.sleep(answer.between_tokens_ms / 1000)
                yield message
            ended = True
            if self.end_event:
                yield self.end_event
        finally:
            if not ended:
                self.aborted += 1
                self.changed.set()

    async def _misbehave(self, request: Request, fault: Fault) -> AsyncGenerator[bytes, None]:
        if fault.kind == "stall":
            await forever()
        if fault.kind == "cut":
            self.cut(request.scope)
            await forever()
        if fault.kind == "nonsense":
            yield b'data: {"choices": [{"delta"\n\n'
        if fault.kind == "error":
            yield self.error_event


def event(data: Json, name: str = "", end: str = "\n\n") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: ".encode() + orjson.dumps(data) + end.encode()
