"""What the fake LLM hosts share: planned answers, streamed as server-sent events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from flowengine.events import Json
from flowengine.testing.providers.serving import FakeVendor, Streamed


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

    def error_for(self, path: str, message: str | bytes) -> bytes:
        return self.error_event

    def check(self, body: Json) -> None:
        """Note what the vendor would not take."""
        raise NotImplementedError

    def messages(self, body: Json, answer: Answer) -> list[bytes]:
        """The events of an answer, as the vendor sends them."""
        raise NotImplementedError

    async def asked(self, request: Request) -> Json:
        """Note a request for an answer, also one that gets none; returns its body."""
        body = orjson.loads(await request.body())
        self.requests.append(body)
        if request.client is not None:
            self.peers.add((request.client.host, request.client.port))
        self.changed.set()
        return body

    async def reply(self, request: Request) -> Response:
        """Take a request for an answer."""
        body = await self.asked(request)
        if not self.has_key(request):
            return self.refusal(401)
        self.check(body)
        if self._answer is not None:
            answer = self._answer(body)
        else:
            answer = self.plan.popleft() if self.plan else saying("Yes.")
        return Streamed(self._stream(body, answer), media_type="text/event-stream")

    async def _stream(self, body: Json, answer: Answer) -> AsyncGenerator[bytes, None]:
        ended = False
        try:
            if answer.first_token_ms:
                await asyncio.sleep(answer.first_token_ms / 1000)
            for nth, message in enumerate(self.messages(body, answer)):
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


def retry_after(status: int) -> dict[str, str]:
    """The header of a refusal that says when to ask again."""
    return {"retry-after": "30"} if status == 429 else {}


def event(data: Json, name: str = "", end: str = "\n\n") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: ".encode() + orjson.dumps(data) + end.encode()
