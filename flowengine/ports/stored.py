"""What the engine needs besides: tools that run, and a store for calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from flowengine.events import (
    Json,
)
from flowengine.ids import DEFAULT_PROJECT, CallId

# --- tools ---


@dataclass(frozen=True, slots=True)
class ToolJob:
    """One tool call, ready to run: everything in it is resolved but secrets."""

    key: str
    tool: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The one outcome of a tool call."""

    outcome: Literal["done", "failed", "timeout"]
    status: int | None = None
    body: Json = None
    error: str = ""


# --- the store ---


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call as the store keeps it."""

    id: CallId
    carrier: str
    carrier_sid: str
    direction: str
    from_number: str
    to_number: str
    flow_id: str
    version: str
    flow: Mapping[str, Json]
    """The flow's document as it was when the call began: calls pin their version."""
    status: str
    epoch: int
    created_at: str
    ended_at: str | None = None
    disposition: str = ""
    pending: Mapping[str, Json] | None = None
    """What `/next` answers from: the step that the call left its media phase for."""
    project_id: str = DEFAULT_PROJECT
    flow_version: int | None = None
    """The number under which the flow was published; None for one from a file."""
    variables: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)
    """The flow's inputs, and what whoever began the call wants to find again with it."""


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One line of a call's journal; `seq` counts from 1 over all epochs of the call.

    `family` is `input`, `fact` or `effect`; `at_ms` is the actor's time.
    """

    seq: int
    at_ms: int
    family: Literal["input", "fact", "effect"]
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class PostedCommand:
    """A command on its way to a call; `body` is the event as `events.to_json` gives it."""

    id: str
    project_id: str
    call_id: CallId
    body: Mapping[str, Json]


class CommandPost(Protocol):
    """Commands for calls that another process holds. Every method may raise StoreError."""

    async def put(self, posted: PostedCommand) -> None:
        """Lay a command out for whoever holds the call."""
        ...

    async def waiting(self) -> list[PostedCommand]:
        """Those that nobody has taken, oldest first."""
        ...

    async def take(self, command_id: str) -> bool:
        """Take a command, to act on it; False when it was taken or withdrawn before."""
        ...

    async def answer(self, command_id: str, refused: str) -> None:
        """Say what came of a command that was taken: "" or why it was refused."""
        ...

    async def answered(self, command_id: str) -> str | None:
        """The answer, which is then gone; None while there is none."""
        ...

    async def withdraw(self, command_id: str) -> bool:
        """Take a command back; False when it was taken before."""
        ...


class CallStore(Protocol):
    """Calls, their journals and their checkpoints. Every async method may raise StoreError."""

    async def add_call(self, row: CallRow) -> None: ...
    async def call(self, call_id: CallId) -> CallRow | None: ...
    async def call_by_sid(self, carrier: str, carrier_sid: str) -> CallRow | None: ...
    async def calls(self, limit: int) -> list[CallRow]:
        """The latest calls first."""
        ...

    async def set_sid(self, call_id: CallId, carrier_sid: str) -> bool:
        """Note the carrier's id of a call that was placed; False when it has another one."""
        ...

    async def issue_stream(self, call_id: CallId, nonce: str) -> None:
        """Allow one stream with this nonce; an older, unused nonce stops working."""
        ...

    async def claim_stream(self, call_id: CallId, nonce: str) -> int | None:
        """Use the nonce up and raise the epoch, in one conditional update.

        Returns the new epoch, or None when the nonce is wrong or used.
        """
        ...

    async def set_status(self, call_id: CallId, status: str, *, disposition: str = "") -> None: ...

    async def set_pending(
        self, call_id: CallId, epoch: int, pending: Mapping[str, Json] | None
    ) -> bool:
        """Store the next step; False when a newer epoch holds the call."""
        ...

    def append(self, call_id: CallId, epoch: int, records: Sequence[JournalRecord]) -> None:
        """Write behind, in batches; never blocks. Late records of an old epoch are dropped."""
        ...

    def save_checkpoint(self, call_id: CallId, epoch: int, checkpoint: Mapping[str, Json]) -> None:
        """Write behind, after all records appended before; an old epoch's is dropped."""
        ...

    async def written(self, call_id: CallId) -> None:
        """Return once everything appended so far is on disk.

        Raises StoreError: `journal_degraded` when it cannot be, `stale_epoch` when a newer epoch
        holds the call and what was appended was dropped.
        """
        ...

    async def checkpoint(self, call_id: CallId) -> Mapping[str, Json] | None: ...

    async def journal(self, call_id: CallId) -> list[JournalRecord]: ...

    async def close(self) -> None: ...
