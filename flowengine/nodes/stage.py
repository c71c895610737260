"""The one interface of what a node may do, with its requests and answers.

A node is `async def run(self, stage: Stage) -> Outcome`. It awaits one request at a time; no
event loop runs it: `runtime/drive.py` drives the coroutine with `send()`. What a node awaits is a
frozen, JSON-able request; what comes back is a frozen, JSON-able answer. So a node is pure, and a
call can be replayed. When an edge fires, the walk closes the node where it waits; a node
therefore never awaits in `finally` or `except` and catches no `BaseException`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from flowengine.events import Json
from flowengine.flow.document import Retry
from flowengine.flow.parts import Part
from flowengine.flow.scope import CallFacts
from flowengine.flow.types import Text

# --- requests ---


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """How keys are gathered into one entry.

    The entry ends at `most` digits, at the `finish` key, or after the inter-digit time when it
    has at least `least`. `strings`: the entries that mean something (menu keys); an entry that
    equals one and begins no longer one ends at once.
    """

    least: int = 1
    most: int = 1
    finish: str = ""
    strings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice that works by key (any of `keys`) and by voice (`words`, and its name)."""

    name: str
    keys: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expect:
    """What a node listens for.

    `choices`: a closed set, by key and voice. `variable`: a value in that variable's own grammar.
    Neither: any words (a dialog). `voice=False`: keys only. `sensitive`: nothing of it may reach
    log, transcript, LLM or recording.
    """

    voice: bool = True
    keys: KeyPlan | None = None
    choices: tuple[Choice, ...] = ()
    variable: str = ""
    sensitive: bool = False
    after_ms: int = 7000
    """How long silence may last before it is `Silence`."""
    is_answered: bool = False
    """Whatever the caller says, the node (an `Answering` one) then asks for its `answer`. So that
    may be asked for ahead, when his turn is about to end."""


@dataclass(frozen=True, slots=True)
class Say:
    """Speak parts to the end, or until the caller breaks in."""

    parts: tuple[Part, ...]
    interruptible: bool = True
    is_notice: bool = False
    """A recording notice: meanwhile no `*` edge is in force."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Speak parts and listen from their start; with no parts, only listen."""

    parts: tuple[Part, ...]
    expect: Expect
    interruptible: bool = True


@dataclass(frozen=True, slots=True)
class Think:
    """One LLM turn over the conversation, spoken clause by clause as it comes.

    `collect` and `also` are variables that the LLM may note; `until`: the goal in words, which
    gives the LLM the choice `done`; `tools`: names of the flow's tools. `opening`: nobody has
    spoken yet, the LLM opens.
    """

    prompt: str
    collect: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    until: str = ""
    tools: tuple[str, ...] = ()
    memory: Literal["all", "none", "summary"] | int = "all"
    opening: bool = False


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool of the flow; `meanwhile` is spoken while it runs."""

    name: str
    arguments: Mapping[str, Json]
    meanwhile: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Extract:
    """Fill variables from the conversation so far by the LLM."""

    values: tuple[str, ...]
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Hand the caller over to the first of `to` that answers."""

    to: tuple[str, ...]
    mode: Literal["bridge", "warm", "refer", "queue"]
    ring_ms: int
    longest_ms: int
    caller_id: str = ""
    """`caller`, `own` or a number."""
    press: str = ""


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Send keypad tones to the far end."""

    digits: str


@dataclass(frozen=True, slots=True)
class AwaitAnswer:
    """Outbound: wait until somebody or something answers."""

    detect_machine: bool
    beep: bool


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send a text message; `to` is E.164, "" = the other party."""

    to: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """Record the caller."""

    beep: bool
    silence_ms: int
    longest_ms: int
    finish: str
    transcribe: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Hold with `hold` for `longest_ms`, or until a webhook resumes the call by `resume`."""

    hold: tuple[Part, ...]
    longest_ms: int
    resume: str = ""


@dataclass(frozen=True, slots=True)
class CallFlow:
    """Run another flow as a sub-flow with these inputs."""

    flow: str
    inputs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class SetValue:
    """Set a variable (None forgets it). Its own grammar and `valid` decide."""

    name: str
    value: Json


Request = (
    Say
    | Ask
    | Think
    | CallTool
    | Extract
    | Transfer
    | SendDigits
    | AwaitAnswer
    | SendMessage
    | Record
    | Wait
    | CallFlow
    | SetValue
)

# --- answers ---


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the caller heard of it; `cut` when he broke in."""

    heard: str
    cut: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """A caller's turn in words.

    `choice` or `value` is what the expectation made of it; `matched` is False when it made
    nothing of it (for an expectation of any words it is always True). `reason`: the variable's
    `invalid` text is to be said instead of the usual "no match".
    """

    text: str
    confidence: float
    matched: bool
    choice: str = ""
    value: Json = None
    invalid: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Digits:
    """A caller's entry by keypad, understood likewise."""

    digits: str
    matched: bool
    choice: str = ""
    value: Json = None
    invalid: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing was said or pressed in time."""


Answer = Heard | Digits | Silence


@dataclass(frozen=True, slots=True)
class Reply:
    """An LLM turn is over and spoken.

    `done`: the LLM says that `until` holds, and everything of `collect` is valid. `complete`:
    everything of `collect` is valid. `failed`: reason, when the LLM could not answer.
    """

    heard: str
    cut: bool
    done: bool = False
    complete: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """The one outcome of a tool call; its `save` has already run."""

    outcome: Literal["done", "failed", "timeout"]
    status: int | None = None
    body: Json = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """Which variables the LLM could fill; `failed` is a reason."""

    filled: tuple[str, ...]
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Transferred:
    """How a transfer went."""

    outcome: Literal["done", "busy", "no_answer", "declined", "failed", "not_supported"]
    to: str = ""
    seconds: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """Who or what answered an outbound call; `unreached` with its reason."""

    by: Literal["human", "machine", "unknown", "unreached"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A text message was sent, or failed for a reason."""

    failed: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording, or why there is none: `silence`, `not_supported`."""

    recording: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Waited:
    """A wait is over: its time passed, or a webhook resumed the call with `body`."""

    resumed: bool
    body: Json = None


@dataclass(frozen=True, slots=True)
class SubflowEnded:
    """A sub-flow returned with an outcome and its outputs, or failed."""

    outcome: str
    outputs: Mapping[str, Json] = field(default_factory=dict)
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The value was set."""

    value: Json = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The value was not set; `invalid` is the variable's own text, rendered (may be empty)."""

    invalid: tuple[Part, ...] = ()


# --- the stage ---


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a node ended; `result` is what its `save` and its edges may read."""

    name: str
    result: Mapping[str, Json] = field(default_factory=dict)
    disposition: str = ""
    """Of a hang-up."""


class Stage(Protocol):
    """What a node may do and know. Texts are rendered when the request is made."""

    resumed: bool
    """The node is entered again after a crash or a hand-over; its opening was replaced."""
    entered_by: Literal[
        "start", "turn", "outcome", "key", "value", "back", "resume", "return", "operator"
    ]
    answered_by: str
    """Outbound: `human`, `machine`, `unknown`, or "" while nobody answered."""

    @property
    def retry(self) -> Retry:
        """The node's own retry, merged with the flow's and the server's."""
        ...

    @property
    def direction(self) -> Literal["inbound", "outbound"]: ...

    @property
    def call(self) -> CallFacts: ...

    def value(self, name: str) -> Json:
        """A variable's value; None when it is not set."""
        ...

    def known(self, name: str) -> bool: ...

    def text(self, text: Text | None, *, try_number: int = 1) -> tuple[Part, ...]:
        """Render a Text; None gives no parts."""
        ...

    def string(self, text: Text) -> str:
        """Render a Text that is not spoken (a number to dial, a prompt, a message)."""
        ...

    def evaluate(self, expression: str, result: Mapping[str, Json] | None = None) -> Json:
        """Evaluate an expression; None when it cannot be (a value is unset)."""
        ...

    def expect_variable(self, name: str, **changes: Json) -> Expect:
        """What listening for a value of this variable means (its keys, its sensitivity)."""
        ...

    async def say(
        self, parts: tuple[Part, ...], *, interruptible: bool = True, is_notice: bool = False
    ) -> Spoken: ...

    async def hear(self, expect: Expect) -> Answer: ...

    async def ask(
        self, parts: tuple[Part, ...], expect: Expect, *, interruptible: bool = True
    ) -> Answer:
        """Say, and hear from its start."""
        ...

    async def think(self, request: Think) -> Reply: ...

    async def call_tool(
        self, name: str, arguments: Mapping[str, Json], meanwhile: tuple[Part, ...] = ()
    ) -> ToolOutcome: ...

    async def extract(self, values: tuple[str, ...], prompt: str = "") -> Extracted: ...

    async def transfer(self, request: Transfer) -> Transferred: ...

    async def send_digits(self, digits: str) -> Spoken: ...

    async def answered(self, *, detect_machine: bool, beep: bool) -> Answered: ...

    async def send_message(self, to: str, text: str) -> Sent: ...

    async def record(self, request: Record) -> Recorded: ...

    async def wait(self, hold: tuple[Part, ...], longest_ms: int, resume: str = "") -> Waited: ...

    async def call_flow(self, flow: str, inputs: Mapping[str, Json]) -> SubflowEnded: ...

    async def set(self, name: str, value: Json) -> Accepted | Rejected:
        """Set a variable; the walk then looks at `when` edges before the node goes on."""
        ...


@runtime_checkable
class Answering(Protocol):
    """What a kind adds whose `Expect` may say `is_answered`."""

    def answer(self, stage: Stage) -> Think:
        """The LLM turn that answers the caller's last words; nothing is asked of the stage."""
        ...


class Behaviour(Protocol):
    """What every kind adds to its settings."""

    async def run(self, stage: Stage) -> Outcome: ...
