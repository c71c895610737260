"""What the parts of a call's actor share: time, waits, effects of this step, values, settings.

Pure. One `Context` lives as long as the actor; `begin` opens a step at its time, `take_effects`
hands over what the step decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flowengine.events import Fact, Json, MoveRefused
from flowengine.flow.defaults import Defaults, LlmUse, SttUse, TtsUse
from flowengine.flow.program import Program
from flowengine.flow.scope import CallFacts, Scope, TurnFacts
from flowengine.flow.types import duration_ms
from flowengine.ids import CallId, NodeId
from flowengine.ports import LlmTool
from flowengine.runtime.conversation import Conversation, Entry
from flowengine.runtime.effects import Effect, Report
from flowengine.runtime.operated import Operated
from flowengine.runtime.waits import Waits

DEFAULTS = Defaults.model_validate(
    {
        "language": "en-US",
        "timezone": "UTC",
        "recording": True,
        "turn_taking": {"endpointing": "300ms", "barge_in": "200ms"},
        "retry": {"after": "7s", "at_most": 2},
        "limits": {"call": "30m", "node_visits": 20},
    }
)
"""What holds where neither the flow nor the server's settings say anything."""


@dataclass(slots=True)
class Frame:
    """One running flow: the call's own, or a sub-flow above it."""

    program: Program
    values: dict[str, Json] = field(default_factory=dict)
    node: NodeId = NodeId("")
    visits: dict[str, int] = field(default_factory=dict)
    fired_ms: dict[str, int] = field(default_factory=dict)
    """When each edge was last taken, for its cooldown."""
    back: NodeId | None = None
    """Where the last intent, key or `when` edge left."""
    tries: int = 1


@dataclass(slots=True)
class ServerDefaults:
    """Settings of the server for what a flow leaves out."""

    stt: SttUse
    llm: LlmUse | None
    tts: TtsUse
    offers: Mapping[str, LlmTool] = field(default_factory=dict)
    """What MCP servers say of their own tools, by `McpTool.target`."""


class Context:
    """The state that speaking, listening, thinking and walking have in common."""

    def __init__(
        self, call: CallFacts, program: Program, server: ServerDefaults, call_id: CallId
    ) -> None:
        self.call = call
        self.call_id = call_id
        self.server = server
        self.frames = [Frame(program)]
        self.conversation = Conversation()
        self.waits = Waits()
        self.turn: TurnFacts | None = None
        self.language: str | None = None
        self.recording: bool | None = None
        self.node_entry = 0
        """Counts entries of nodes over the whole call."""
        self.now_ms = 0
        self.result: Json = None
        self.stars_in_force = True
        """False while a recording notice is said."""
        self.operated = Operated()
        self._generation = 0
        self._began_ms = 0
        self._wall = datetime(2000, 1, 1, tzinfo=UTC)
        self._effects: list[Effect] = []

    # --- steps ---

    def begin(self, now_ms: int) -> None:
        """Open a step. Time never runs backwards, whatever a caller's clock says."""
        self.now_ms = max(self.now_ms, now_ms)

    def set_wall(self, wall: datetime) -> None:
        self._wall, self._began_ms = wall, self.now_ms

    @property
    def wall(self) -> datetime:
        """The time of day now, aware, in UTC."""
        return self._wall + timedelta(milliseconds=self.now_ms - self._began_ms)

    def do(self, *effects: Effect) -> None:
        self._effects.extend(effects)

    def report(self, fact: Fact) -> None:
        self._effects.append(Report(fact))

    def take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def skip_generations(self, generation: int) -> None:
        """Give out none up to this one: they belong to an earlier epoch of the call."""
        self._generation = max(self._generation, generation)

    @property
    def generation(self) -> int:
        """The newest generation given out."""
        return self._generation

    @contextmanager
    def supposing(self, turn: TurnFacts) -> Iterator[None]:
        """See everything as it will be when this is the caller's turn."""
        frame, before = self.frame, (self.turn, self.conversation)
        tries = frame.tries
        said = Entry("caller", turn.text, self.node_entry, turn=turn.number)
        self.turn, self.conversation = turn, Conversation((*before[1].entries, said))
        try:
            yield
        finally:
            self.turn, self.conversation = before
            frame.tries = tries

    # --- flow ---

    @property
    def frame(self) -> Frame:
        """The flow that runs now: the innermost."""
        return self.frames[-1]

    @property
    def program(self) -> Program:
        return self.frame.program

    def scope(self, frame: Frame | None = None, *, try_number: int | None = None) -> Scope:
        """What expressions see now, in the running flow or in an outer one."""
        at = frame or self.frame
        settings = self.settings(at)
        return Scope(
            values=dict(at.values),
            call=self.call,
            now=self.wall,
            timezone=settings.timezone or "UTC",
            language=self.language or settings.language or "en-US",
            recording=self.is_recording,
            turn=self.turn,
            result=self.result,
            visits=dict(at.visits),
            visit=at.visits.get(at.node, 1),
            try_number=at.tries if try_number is None else try_number,
        )

    # --- settings ---

    def settings(self, frame: Frame | None = None) -> Defaults:
        """The running node's settings: its own, the flow's, then ours."""
        at = frame or self.frame
        return at.program.settings(at.node)

    @property
    def spoken_language(self) -> str:
        return self.language or self.settings().language or "en-US"

    @property
    def is_recording(self) -> bool:
        if self.recording is not None:
            return self.recording
        return self.settings().recording is not False

    @property
    def stt(self) -> SttUse:
        return self.settings().stt or self.server.stt

    @property
    def tts(self) -> TtsUse:
        return self.settings().tts or self.server.tts

    @property
    def llm(self) -> LlmUse | None:
        return self.settings().llm or self.server.llm

    @property
    def endpointing_ms(self) -> int:
        turn_taking = self.settings().turn_taking
        return duration_ms((turn_taking and turn_taking.endpointing) or "300ms")

    @property
    def barge_in_ms(self) -> int:
        turn_taking = self.settings().turn_taking
        return duration_ms((turn_taking and turn_taking.barge_in) or "200ms")

    @property
    def call_limit_ms(self) -> int:
        limits = self.frames[0].program.flow.defaults.limits
        return duration_ms((limits and limits.call) or "30m")

    @property
    def visit_limit(self) -> int:
        limits = self.settings().limits
        return (limits and limits.node_visits) or 20


def masked(frame: Frame, name: str, value: Json) -> Json:
    """A variable's value as journal and records may hold it."""
    variable = frame.program.flow.variables.get(name)
    if variable is not None and variable.sensitive and value is not None:
        return {"sensitive": True, "length": len(str(value))}
    return value


def masked_arguments(frame: Frame, arguments: Mapping[str, Json]) -> dict[str, Json]:
    """A tool's arguments as records may hold them: nothing that holds a sensitive value."""
    secret = [
        str(value)
        for name, value in frame.values.items()
        if frame.program.flow.variables[name].sensitive and value not in (None, "")
    ]
    return {
        name: {"sensitive": True} if any(item in str(value) for item in secret) else value
        for name, value in arguments.items()
    }


def evaluated(
    context: Context, assignments: Mapping[str, str], result: Mapping[str, Json]
) -> Iterator[tuple[str, Json]]:
    """The values of a `save` over a result; what cannot be evaluated is reported and left out."""
    before, context.result = context.result, result
    scope = context.scope()
    context.result = before
    for name, expression in assignments.items():
        evaluation = context.program.evaluate(expression, scope)
        if evaluation.error:
            context.report(MoveRefused("save", f"{name}: {evaluation.error}"))
        else:
            yield name, evaluation.value


def outputs(frame: Frame) -> Mapping[str, Json]:
    """The flow's declared outputs that are set."""
    return {
        name: masked(frame, name, frame.values[name])
        for name, variable in frame.program.flow.variables.items()
        if variable.output and frame.values.get(name) is not None
    }
