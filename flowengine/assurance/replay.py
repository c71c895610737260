"""Drives a call's journal through the same machines again, and compares what they decide.

The journal's inputs are fed to a fresh actor at their times; its facts and effects must be those
of the journal, record by record. Nothing here talks to the world. What was sensitive is masked in
a journal: such digits are replayed as `1`s, and where the call then goes another way the verdict
is `masked`, not `differs`, because nobody can know any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Literal, cast

import orjson

from flowengine.errors import CallError
from flowengine.events import (
    DigitPressed,
    EndpointForeseen,
    Input,
    InterimHeard,
    Json,
    LineOpened,
    SegmentHeard,
    from_json,
    type_field,
)
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.flow.program import Program
from flowengine.flow.tools import McpTool
from flowengine.ports import JournalRecord, LlmTool
from flowengine.runtime.actor import Actor, CallSetup
from flowengine.runtime.context import ServerDefaults
from flowengine.runtime.effects import AskLlm, SaveCheckpoint
from flowengine.runtime.journal import MASK
from flowengine.testing.records import effect_record

Verdict = Literal["equal", "differs", "masked"]
Body = Mapping[str, Json]

STAND_IN = "1"
"""What a masked digit is replayed as."""
CHECKPOINTS_TRIED = 5
"""A crash may have lost the newest checkpoints: a resume is tried from so many."""
_SHELL_FACTS = frozenset({"UsageCounted"})
"""Facts that are journalled by whoever runs the actor, when its call is over."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first record in which journal and replay are not the same; None: there is none."""

    seq: int
    at_ms: int
    journalled: Body | None
    replayed: Body | None

    def told(self) -> str:
        """The difference as text for people."""
        head = f"record {self.seq}, at {self.at_ms / 1000:.3f} s"
        if self.journalled is None:
            return f"{head}: the replay also gives {_shown(self.replayed)}"
        if self.replayed is None:
            return f"{head}: the replay does not give {_shown(self.journalled)}"
        if self.journalled.get(type_field) != self.replayed.get(type_field):
            return f"{head}: {_shown(self.journalled)} was {_shown(self.replayed)} in the replay"
        lines = [f"{head}: {self.journalled.get(type_field)} differs in"]
        for name in sorted({*self.journalled, *self.replayed}):
            before, now = self.journalled.get(name), self.replayed.get(name)
            if before != now:
                lines.append(f"  {name}: {_shown(before)} in the journal, {_shown(now)} now")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay. `inputs`: those that were fed; `compared`: outputs that were equal."""

    verdict: Verdict
    inputs: int
    compared: int
    difference: Difference | None = None

    def told(self) -> str:
        """The verdict as text for people."""
        if self.difference is None:
            return f"equal: {self.inputs} inputs, {self.compared} facts and effects"
        if self.verdict == "masked":
            return (
                f"equal up to what was sensitive, after {self.compared} facts and effects: the "
                f"journal does not hold those digits, and the call depends on them\n"
                f"{self.difference.told()}"
            )
        return f"differs after {self.compared} facts and effects\n{self.difference.told()}"


@dataclass(slots=True)
class _Step:
    """An input of the journal, with the records that followed from it."""

    record: JournalRecord
    outputs: list[JournalRecord] = field(default_factory=list)
    is_cut: bool = False
    """The process may have died before the rest of its records was written."""


def replay(setup: CallSetup, program: Program, journal: Sequence[JournalRecord]) -> Replayed:
    """Replay a whole call, over all its media phases. Raises CallError for no journal."""
    steps = list(_steps(journal))
    if not steps:
        raise CallError(
            "no_journal",
            "There is nothing to replay: no input was journalled.",
            where=setup.call_id,
            fix="A call that never had a line has no journal.",
        )
    return _Replay(setup, program).run(steps)


def server_of(journal: Sequence[JournalRecord], program: Program) -> ServerDefaults:
    """The server's settings as far as they decide, from what was asked of the LLM."""
    asked = [r.body for r in journal if r.body.get(type_field) == AskLlm.__name__]
    first = asked[0] if asked else None
    llm = None
    if first is not None:
        use = {"provider": first["provider"], "model": first["request"]["model"]}
        llm = LlmUse.model_validate({name: value for name, value in use.items() if value})
    offers = _offers(asked, program)
    return ServerDefaults(SttUse.model_validate({}), llm, TtsUse.model_validate({}), offers)


def _offers(asked: Sequence[Body], program: Program) -> dict[str, LlmTool]:
    """What MCP servers said of their tools then, as the LLM was told it."""
    told = {tool["name"]: LlmTool(**tool) for body in asked for tool in body["request"]["tools"]}
    found = {
        tool.target: told[name]
        for name, tool in program.flow.tools.items()
        if isinstance(tool, McpTool) and name in told
    }
    for inner in program.subflows.values():
        found.update(_offers(asked, inner))
    return found


def _steps(journal: Sequence[JournalRecord]) -> Iterator[_Step]:
    step: _Step | None = None
    for record in journal:
        if record.family != "input":
            if step is not None:
                step.outputs.append(record)
            continue
        if step is not None:
            step.is_cut = record.body.get(type_field) == LineOpened.__name__
            yield step
        step = _Step(record)
    if step is not None:
        step.is_cut = True
        yield step


class _Replay:
    def __init__(self, setup: CallSetup, program: Program) -> None:
        self._setup = setup
        self._program = program
        self._actor = Actor(setup, program)
        self._checkpoints: list[Body] = []
        self._has_masked = False
        self._compared = 0

    def run(self, steps: Sequence[_Step]) -> Replayed:
        for count, step in enumerate(steps, 1):
            difference = self._replayed(step)
            if difference is not None:
                verdict: Verdict = "masked" if self._has_masked else "differs"
                return Replayed(verdict, count, self._compared, difference)
        return Replayed("equal", len(steps), self._compared)

    def _replayed(self, step: _Step) -> Difference | None:
        """Feed one input; the first difference of what follows from it."""
        event = self._unmasked(cast("Input", from_json(step.record.body)))
        if isinstance(event, LineOpened) and event.resumed:
            return self._resumed(event, step)
        return self._fed(self._actor, event, step)

    def _resumed(self, event: LineOpened, step: _Step) -> Difference | None:
        """Go on in a new actor from the newest checkpoint that leads to the same records."""
        first: tuple[Actor, Difference | None] | None = None
        for checkpoint in reversed(self._checkpoints[-CHECKPOINTS_TRIED:]):
            compared = self._compared
            saved = orjson.loads(orjson.dumps(checkpoint))
            actor = Actor.restore(self._setup, self._program, saved, saved["sensitive"])
            difference = self._fed(actor, event, step)
            if difference is None:
                self._actor = actor
                return None
            first = first or (actor, difference)
            self._compared = compared
        if first is None:
            return Difference(step.record.seq, step.record.at_ms, step.record.body, None)
        self._actor = first[0]
        return first[1]

    def _fed(self, actor: Actor, event: Input, step: _Step) -> Difference | None:
        was_over = actor.is_over
        effects = actor.receive(event, step.record.at_ms)
        self._checkpoints += [e.checkpoint for e in effects if isinstance(e, SaveCheckpoint)]
        if was_over:
            return None
        driven = [_as_read(effect_record(effect)[1]) for effect in effects]
        journalled = [record for record in step.outputs if not self._is_shells(actor, record)]
        if step.is_cut:
            driven = driven[: len(journalled)]
        for record, body in zip_longest(journalled, driven):
            if record is None:
                return Difference(step.record.seq, step.record.at_ms, None, body)
            if record.body != body:
                return Difference(record.seq, record.at_ms, record.body, body)
            self._compared += 1
        return None

    @staticmethod
    def _is_shells(actor: Actor, record: JournalRecord) -> bool:
        return actor.is_over and record.body.get(type_field) in _SHELL_FACTS

    def _unmasked(self, event: Input) -> Input:
        match event:
            case DigitPressed(digit) if digit == MASK:
                self._has_masked = True
                return DigitPressed(STAND_IN)
            case InterimHeard() | SegmentHeard() | EndpointForeseen() if MASK in event.text:
                self._has_masked = True
                return replace(event, text=event.text.replace(MASK, STAND_IN))
            case _:
                return event


def _as_read(body: Body) -> Body:
    """A body as it comes back from the store."""
    read: Body = orjson.loads(orjson.dumps(body, default=dict))
    return read


def _shown(value: Json) -> str:
    text = orjson.dumps(value, default=dict).decode()
    return text if len(text) <= 300 else f"{text[:297]}…"
