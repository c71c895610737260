"""The flow document: one JSON object, and the pydantic models that are its one description.

`flowengine.flow.language.Language` reads a document with the node kinds it is given; the rest of
the engine works on `Flow`. All parts are frozen; `written()` gives a part back as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, PrivateAttr, ValidationInfo, field_validator

from flowengine.events import Json
from flowengine.flow.calendar_model import Calendar
from flowengine.flow.defaults import (
    Defaults,
    Limits,
    LlmUse,
    Retry,
    ServiceUse,
    SttUse,
    TtsUse,
    TurnTaking,
    Use,
    merge_use,
)
from flowengine.flow.edge_model import (
    Edge,
    OnDigits,
    OnIntent,
    OnOutcome,
    OnWhen,
    Trigger,
)
from flowengine.flow.kind import Node, OutcomeSpec
from flowengine.flow.models import FlowModel, as_part
from flowengine.flow.tools import AnyTool, HttpTool, KnowledgeTool, McpTool, PythonTool, Tool
from flowengine.flow.types import NodeName, PhoneNumber, VariableName, wrong
from flowengine.flow.variables import Variable, VariableType
from flowengine.ids import EdgeId, NodeId

__all__ = [
    "Calendar",
    "Defaults",
    "Edge",
    "Flow",
    "HttpTool",
    "KnowledgeTool",
    "Limits",
    "LlmUse",
    "McpTool",
    "OnDigits",
    "OnIntent",
    "OnOutcome",
    "OnWhen",
    "PythonTool",
    "Retry",
    "ServiceUse",
    "SttUse",
    "Surroundings",
    "Tool",
    "Trigger",
    "TtsUse",
    "TurnTaking",
    "Use",
    "Variable",
    "VariableType",
    "merge_use",
]


def _node(value: Any, info: ValidationInfo) -> Node:
    if isinstance(value, Node):
        return value
    kinds: Mapping[str, type[Node]] = (info.context or {}).get("kinds", {})
    if not isinstance(value, dict):
        raise wrong("wrong_type", "A node is an object.", 'Write {"kind": "say", …}.')
    name = value.get("kind")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        message = "The node has no 'kind'." if name is None else f"No node is of kind {name!r}."
        known = tuple(kinds)
        raise wrong("unknown_kind", message, "", known=known, at="kind", got=str(name or ""))
    return kind.model_validate(value, context=info.context)


AnyNode = Annotated[Node, PlainValidator(_node, json_schema_input_type=Node), as_part]


class Position(FlowModel):
    """Where a node is drawn."""

    x: float = Field(description="To the right.")
    y: float = Field(description="Downwards.")


class Flow(FlowModel):
    """A flow document."""

    flow: Literal["1"] = Field(description="The version of the flow language.")
    id: str = Field(
        description="The flow's id, unique among the flows of a server.",
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        max_length=100,
    )
    name: str = Field("", description="The flow's name for people.")
    label: str | None = Field(None, description="Title shown in drawings and in the editor.")
    note: str | None = Field(None, description="A remark for those who read the flow.")
    start: NodeName = Field(description="The node where a call begins.")
    variables: dict[VariableName, Variable] = Field(
        default_factory=dict, description="What the flow remembers during a call."
    )
    lists: dict[str, tuple[PhoneNumber, ...]] = Field(
        default_factory=dict, description="Lists of phone numbers, for `caller_in`."
    )
    calendars: dict[str, Calendar] = Field(
        default_factory=dict, description="Opening hours, for `open`, `open_on`, `next_open`."
    )
    tools: dict[str, AnyTool] = Field(
        default_factory=dict, description="What the flow may call outside itself."
    )
    defaults: Defaults = Field(
        default_factory=lambda: Defaults.model_validate({}),
        description="What holds for all nodes unless their `use` changes it.",
    )
    nodes: dict[NodeName, AnyNode] = Field(description="The nodes by name.", min_length=1)
    edges: tuple[Edge, ...] = Field((), description="How the call goes from node to node.")
    layout: dict[str, Position] = Field(
        default_factory=dict, description="Where nodes are drawn; changes nothing in a call."
    )

    _document: Mapping[str, Json] | None = PrivateAttr(default=None)

    @property
    def document(self) -> Mapping[str, Json]:
        """The JSON document as it was written, from which the version's hash is made."""
        return self.written() if self._document is None else self._document

    def came_from(self, document: Mapping[str, Json]) -> Flow:
        """Remember the document from which the flow was read; returns the flow."""
        self._document = document
        return self

    @field_validator("edges", mode="after")
    @classmethod
    def _with_ids(cls, edges: tuple[Edge, ...]) -> tuple[Edge, ...]:
        numbered = tuple(edge.numbered(index) for index, edge in enumerate(edges))
        seen: set[str] = set()
        for index, edge in enumerate(numbered):
            if edge.id in seen:
                message = f"Two edges have the id {edge.id!r}."
                fix = "Give one another id."
                raise wrong("duplicate_edge_id", message, fix, at=index, key="id")
            seen.add(edge.id)
        return numbered

    def node(self, node_id: NodeId) -> Node:
        """The node of that name; raises KeyError when there is none."""
        return self.nodes[node_id]

    def edge(self, edge_id: EdgeId) -> Edge:
        """The edge of that id; raises KeyError when there is none."""
        for edge in self.edges:
            if edge.id == edge_id:
                return edge
        raise KeyError(edge_id)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A flow with the flows that its `flow` nodes name: the `FlowFacts` that nodes ask."""

    flow: Flow
    subflows: Mapping[str, Flow] = field(default_factory=dict)

    @property
    def variables(self) -> Mapping[str, Variable]:
        """The flow's declared variables."""
        return self.flow.variables

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The flow's tools."""
        return self.flow.tools

    def returns(self, flow_id: str) -> tuple[OutcomeSpec, ...] | None:
        """The outcomes with which a sub-flow returns; None when it is not known."""
        inner = self.subflows.get(flow_id)
        if inner is None:
            return None
        around = Surroundings(inner, self.subflows)
        outputs: dict[str, str] = {
            name: variable.type for name, variable in inner.variables.items() if variable.output
        }
        specs: dict[str, OutcomeSpec] = {}
        for node in inner.nodes.values():
            spec = node.returns(around)
            if spec is None:
                continue
            before: Mapping[str, str] = specs[spec.name].result if spec.name in specs else {}
            result = {**outputs, **before, **spec.result}
            specs[spec.name] = OutcomeSpec(spec.name, result, needs_edge=True, when=spec.when)
        return tuple(specs.values())
