"""What a node kind is: settings, outcomes and facts; the flow language knows no more of a node.

A kind is one pydantic model in `flowengine/nodes/`, a subclass of `Node` with
`kind: Literal["…"]`. What it does in a call (`async def run(self, stage)`) is the business of
`nodes` and `runtime`; nothing here knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from flowengine.flow.defaults import Retry, Use
from flowengine.flow.models import FlowModel
from flowengine.flow.tools import Tool
from flowengine.flow.types import ResultCel, VariableName
from flowengine.flow.variables import Variable

Family = Literal["talk", "decide", "act", "end"]


@dataclass(frozen=True, slots=True)
class OutcomeSpec:
    """An outcome that a node can end with.

    `result` maps the names under `result` to their types (a variable type or `any`).
    `needs_edge`: without an edge the flow is wrong (a transfer's `done` does not need one, nor
    does an outcome that has a fallback). `when`: it happens in every call, or in these only.
    """

    name: str
    result: Mapping[str, str] = field(default_factory=dict)
    needs_edge: bool = False
    when: Literal["always", "outbound", "inbound"] = "always"


class FlowFacts(Protocol):
    """What a node may ask about the flow around it."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """The flow's declared variables."""

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The flow's tools."""

    def returns(self, flow_id: str) -> tuple[OutcomeSpec, ...] | None:
        """The outcomes with which a sub-flow returns; None when it is not known."""


class Node(FlowModel):
    """Settings that every node has, and the facts that each kind states about itself."""

    speaks: ClassVar[bool] = False
    """May say something to the caller."""
    listens: ClassVar[bool] = False
    """May hear the caller, by voice or key."""
    thinks: ClassVar[bool] = False
    """May call an LLM."""
    needs_line: ClassVar[bool] = True
    """Cannot run after the caller hung up."""
    may_end: ClassVar[bool] = False
    """The call, or the sub-flow, can end here (hangup, transfer, return)."""
    family: ClassVar[Family] = "talk"
    """How it is drawn and where the editor offers it."""

    kind: str = Field(description="What the node does.")
    label: str | None = Field(None, description="Title shown in drawings and in the editor.")
    note: str | None = Field(None, description="A remark for those who read the flow.")
    use: Use | None = Field(None, description="Part of `defaults`, changed for this node.")
    save: dict[VariableName, ResultCel] = Field(
        default_factory=dict, description="Variables set from `result` when the node ends."
    )
    retry: Retry | None = Field(
        None, description="What happens after silence or words that do not fit, here."
    )
    interruptible: bool = Field(True, description="Whether the caller may break in.")

    def outcomes(self, flow: FlowFacts) -> tuple[OutcomeSpec, ...]:
        """The outcomes that this node can end with, beside `error` and `hung_up`."""
        raise NotImplementedError(f"{type(self).__name__} states no outcomes")

    def returns(self, flow: FlowFacts) -> OutcomeSpec | None:
        """The outcome with which this node ends a sub-flow; only `return` has one."""
        return None

    def is_private(self, flow: FlowFacts) -> bool:
        """Whether `*` edges on keys, intents and values are out of force (sensitive collects)."""
        return False

    def gathers_keys(self, flow: FlowFacts) -> bool:
        """Whether keys are gathered into a value, so that only the first may take an edge."""
        return False

    def needs_edge_for(self, outcome: str, flow: FlowFacts) -> bool:
        """Whether an outcome of this node must have an edge."""
        return any(spec.name == outcome and spec.needs_edge for spec in self.outcomes(flow))


fallback_outcomes = frozenset(
    {"failed", "timeout", "no_match", "no_input", "max_turns", "busy", "no_answer", "declined"}
)
"""Outcomes that go wrong: without an edge they take `error`, then apology and hangup."""

hangup_outcomes = frozenset({"voicemail", "unreached"})
"""Without an edge: hang up, with the disposition of that name."""

common_outcomes = frozenset({"error", "hung_up"})
"""Can happen in every node."""

NodeKinds = Mapping[str, type[Node]]


def kind_name(node: type[Node]) -> str:
    """The `kind` that a class of nodes stands for."""
    annotation: Any = node.model_fields["kind"].annotation
    name: str = annotation.__args__[0]
    return name
