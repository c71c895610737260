"""A scripted stage: it drives one node's coroutine by hand and keeps what the node asked for.

`play` gives the answers to `ask`, `hear`, `think` and the like in order. What needs no script is
answered by itself: speech is heard to the end, a value is accepted unless the test refuses it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, cast

from flowengine.events import Json
from flowengine.flow.document import Retry
from flowengine.flow.kind import Node
from flowengine.flow.parts import Composed, Part, Pause, Words, spoken_text
from flowengine.flow.scope import CallFacts
from flowengine.flow.types import Text
from flowengine.nodes import load_kinds
from flowengine.nodes import stage as asked
from flowengine.nodes.stage import Behaviour, Expect, KeyPlan, Outcome, Request, Stage

KINDS = load_kinds()
CALL = CallFacts(id="c1", direction="inbound", from_="+33611111111", to="+33122222222")
KEYS = KeyPlan(least=1, most=20, finish="*")
EnteredBy = Literal[
    "start", "turn", "outcome", "key", "value", "back", "resume", "return", "operator"
]
Kind = TypeVar("Kind")
Answer = Any
"""What is sent back to the node: any answer of `nodes.stage`."""


def node(kind: str, **settings: Json) -> Node:
    """A node of a kind with the settings as written in JSON (`with_` for `with`)."""
    written = {name.rstrip("_"): value for name, value in settings.items()}
    return KINDS[kind].model_validate({"kind": kind, **written})


def words(text: str) -> tuple[Part, ...]:
    """What the scripted stage makes of a plain string."""
    return (Words(text, static=True),)


def sentence(parts: tuple[Part, ...]) -> str:
    """Parts as one readable string: `|` where there is a pause, `<…>` what the LLM is to say."""
    return " ".join(_shown(part) for part in parts)


def _shown(part: Part) -> str:
    if isinstance(part, Words):
        return part.text
    if isinstance(part, Composed):
        return f"<{part.prompt}>"
    return "|" if isinstance(part, Pause) else part.file


class _Awaited:
    """Hands a request out to whoever drives the coroutine, and returns what is sent back."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __await__(self) -> Generator[Request, Answer, Answer]:
        return (yield self._request)


@dataclass
class ScriptedStage:
    """What a node sees, set up by the test."""

    values: dict[str, Json] = field(default_factory=dict)
    retry: Retry = field(default_factory=lambda: Retry.model_validate({}))
    resumed: bool = False
    entered_by: EnteredBy = "outcome"
    direction: Literal["inbound", "outbound"] = "inbound"
    answered_by: str = ""
    call: CallFacts = CALL
    sensitive: frozenset[str] = frozenset()
    keys: KeyPlan | None = KEYS
    language: str | None = "en-US"

    def value(self, name: str) -> Json:
        return self.values.get(name)

    def known(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, text: Text | None, *, try_number: int = 1) -> tuple[Part, ...]:
        """`{try}` becomes the number of the try; of a list the last Text counts."""
        if text is None or text == "":
            return ()
        if isinstance(text, str):
            return words(self.string(text).replace("{try}", str(try_number)))
        if isinstance(text, list):
            return self.text(text[-1], try_number=try_number)
        if "prompt" in text:
            return (Composed(text["prompt"]),)
        return self.text(next(iter(text.values())), try_number=try_number)

    def string(self, text: Text) -> str:
        template = text if isinstance(text, str) else spoken_text(self.text(text))
        for name, value in self.values.items():
            template = template.replace("{{ " + name + " }}", str(value))
        return template

    def evaluate(self, expression: str, result: Mapping[str, Json] | None = None) -> Json:
        """A name, a path under `result`, or null."""
        if expression == "language":
            return self.language
        first, *path = expression.split(".")
        value: Json = result if first == "result" else self.values.get(first)
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def expect_variable(self, name: str, **changes: Json) -> Expect:
        expect = Expect(keys=self.keys, variable=name, sensitive=name in self.sensitive)
        return replace(expect, **changes)

    async def _await(self, request: Request) -> Answer:
        return await _Awaited(request)

    async def say(
        self, parts: tuple[Part, ...], *, interruptible: bool = True, is_notice: bool = False
    ) -> asked.Spoken:
        request = asked.Say(parts, interruptible, is_notice)
        return cast("asked.Spoken", await self._await(request))

    async def hear(self, expect: Expect) -> asked.Answer:
        return cast("asked.Answer", await self._await(asked.Ask((), expect)))

    async def ask(
        self, parts: tuple[Part, ...], expect: Expect, *, interruptible: bool = True
    ) -> asked.Answer:
        return cast("asked.Answer", await self._await(asked.Ask(parts, expect, interruptible)))

    async def think(self, request: asked.Think) -> asked.Reply:
        return cast("asked.Reply", await self._await(request))

    async def call_tool(
        self, name: str, arguments: Mapping[str, Json], meanwhile: tuple[Part, ...] = ()
    ) -> asked.ToolOutcome:
        request = asked.CallTool(name, arguments, meanwhile)
        return cast("asked.ToolOutcome", await self._await(request))

    async def extract(self, values: tuple[str, ...], prompt: str = "") -> asked.Extracted:
        return cast("asked.Extracted", await self._await(asked.Extract(values, prompt)))

    async def transfer(self, request: asked.Transfer) -> asked.Transferred:
        return cast("asked.Transferred", await self._await(request))

    async def send_digits(self, digits: str) -> asked.Spoken:
        return cast("asked.Spoken", await self._await(asked.SendDigits(digits)))

    async def answered(self, *, detect_machine: bool, beep: bool) -> asked.Answered:
        request = asked.AwaitAnswer(detect_machine, beep)
        return cast("asked.Answered", await self._await(request))

    async def send_message(self, to: str, text: str) -> asked.Sent:
        return cast("asked.Sent", await self._await(asked.SendMessage(to, text)))

    async def record(self, request: asked.Record) -> asked.Recorded:
        return cast("asked.Recorded", await self._await(request))

    async def wait(self, hold: tuple[Part, ...], longest_ms: int, resume: str = "") -> asked.Waited:
        return cast("asked.Waited", await self._await(asked.Wait(hold, longest_ms, resume)))

    async def call_flow(self, flow: str, inputs: Mapping[str, Json]) -> asked.SubflowEnded:
        return cast("asked.SubflowEnded", await self._await(asked.CallFlow(flow, inputs)))

    async def set(self, name: str, value: Json) -> asked.Accepted | asked.Rejected:
        answer = await self._await(asked.SetValue(name, value))
        if isinstance(answer, asked.Accepted):
            self.values[name] = answer.value
        return cast("asked.Accepted | asked.Rejected", answer)


@dataclass(frozen=True)
class Played:
    """What came of a node: its outcome, and all that it asked for, in order."""

    outcome: Outcome
    requests: tuple[Request, ...]

    @property
    def said(self) -> list[str]:
        """What was said or asked, in order; "" where the node only listened."""
        return [
            sentence(request.parts)
            for request in self.requests
            if isinstance(request, (asked.Say, asked.Ask))
        ]

    def all_of(self, kind: type[Kind]) -> list[Kind]:
        return [request for request in self.requests if isinstance(request, kind)]


def play(
    played: Node,
    stage: ScriptedStage | None = None,
    *answers: Answer,
    refused: Mapping[str, asked.Rejected] | None = None,
) -> Played:
    """Drive a node to its end; the answers must be exactly as many as it asks for.

    `refused`: values (as strings) that the variable does not take, with what it says.
    """
    view: Stage = stage or ScriptedStage()
    running = cast("Behaviour", played).run(view).__await__()
    requests: list[Request] = []
    left = list(answers)
    reply: Answer = None
    while True:
        try:
            request: Request = running.send(reply)
        except StopIteration as ended:
            assert not left, f"the node ended, but {left} were not asked for"
            return Played(ended.value, tuple(requests))
        requests.append(request)
        if isinstance(request, (asked.Say, asked.SendDigits)):
            reply = asked.Spoken("", cut=False)
        elif isinstance(request, asked.SetValue):
            reply = (refused or {}).get(str(request.value)) or asked.Accepted(request.value)
        else:
            assert left, f"the script has no answer to {request}"
            reply = left.pop(0)


SILENCE = asked.Silence()


def heard(value: Json = None, *, choice: str = "") -> asked.Heard:
    """A turn in words that fits; in a dialog nothing is made of it."""
    return asked.Heard(str(value or choice), 0.9, True, choice=choice, value=value)


def keyed(digits: str, value: Json = None, *, choice: str = "") -> asked.Digits:
    """An entry by key that fits."""
    return asked.Digits(digits, True, choice=choice, value=value)


def misfit(text: str = "blah", invalid: str = "") -> asked.Heard:
    """A turn in words that does not fit."""
    return asked.Heard(text, 0.5, False, invalid=words(invalid) if invalid else ())


def retry(**settings: Json) -> Retry:
    """A merged retry, as a stage gives it."""
    return Retry.model_validate(settings)
