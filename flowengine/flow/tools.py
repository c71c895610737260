"""Tools: what a flow may call outside itself (HTTP, Python, MCP), and files that it searches."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo

from flowengine.events import Json
from flowengine.flow.models import FlowModel, as_part
from flowengine.flow.types import (
    Duration,
    ResultCel,
    ToolJson,
    ToolTemplate,
    VariableName,
    wrong,
)
from flowengine.flow.variables import Variable


def _spelled_out(value: Json) -> Json:
    return {"type": value} if isinstance(value, str) else value


ToolInput: TypeAlias = Annotated[Variable, BeforeValidator(_spelled_out)]
"""A variable's declaration, or only its type in quotes."""


class _Tool(FlowModel):
    """What all tools have."""

    result: ClassVar[dict[str, str]] = {"body": "any"}
    """Names and types of `result` in the tool's `save`."""

    description: str = Field("", description="What the tool does, in words for the LLM.")
    input: dict[VariableName, ToolInput] = Field(
        default_factory=dict,
        description="What the tool is given, read as `input.x`; makes it callable by the LLM.",
    )
    timeout: Duration | None = Field(None, description="How long an answer may take.")
    save: dict[VariableName, ResultCel] = Field(
        default_factory=dict, description="Variables set from `result` after the tool is done."
    )

    @property
    def may_act(self) -> bool:
        """Whether using the tool may change something outside."""
        return True

    @property
    def describes_itself(self) -> bool:
        """Whether what the tool takes is known to its server only."""
        return False


class HttpTool(_Tool):
    """One HTTP request."""

    result: ClassVar[dict[str, str]] = {"status": "integer", "body": "any"}

    kind: Literal["http"] = Field(description="A request over HTTP.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(
        "GET", description="The request's method."
    )
    url: ToolTemplate = Field(description="Where the request goes.", min_length=1)
    query: dict[str, ToolJson] = Field(
        default_factory=dict, description="Parameters of the URL; null leaves one out."
    )
    headers: dict[str, ToolTemplate] = Field(
        default_factory=dict, description="Headers; a secret is written {{ secrets.NAME }}."
    )
    body: ToolJson | None = Field(None, description="The request's body, as JSON.")
    retry: int = Field(0, ge=0, le=5, description="How often a failed request is tried again.")

    @property
    def may_act(self) -> bool:
        return self.method != "GET"


class PythonTool(_Tool):
    """A function of an installed package."""

    kind: Literal["python"] = Field(description="A Python function.")
    function: str = Field(description="Its name under the entry points `flowengine.tools`.")


class McpTool(_Tool):
    """A tool of an MCP server."""

    kind: Literal["mcp"] = Field(description="A tool of an MCP server.")
    server: str = Field(description="The server, by its name in the settings.")
    name: str = Field(description="The tool's name on that server.")

    @property
    def describes_itself(self) -> bool:
        return not self.input

    @property
    def target(self) -> str:
        """Server and tool as one name."""
        return f"{self.server}/{self.name}"


class KnowledgeTool(FlowModel):
    """A search in files that belong to the flow."""

    result: ClassVar[dict[str, str]] = {"body": "any"}
    input: ClassVar[dict[str, Variable]] = {
        "query": Variable.model_validate(
            {"type": "text", "description": "what the caller wants to know, in his own words"}
        )
    }
    timeout: ClassVar[Duration | None] = None
    may_act: ClassVar[bool] = False
    describes_itself: ClassVar[bool] = False

    kind: Literal["knowledge"] = Field(description="A search in files of the flow.")
    description: str = Field("", description="What the files know, in words for the LLM.")
    files: tuple[str, ...] = Field(
        description="Text, Markdown or HTML files, by their paths from the flow's file.",
        min_length=1,
    )
    save: dict[VariableName, ResultCel] = Field(
        default_factory=dict, description="Variables set from `result` after the search."
    )


Tool: TypeAlias = HttpTool | PythonTool | McpTool | KnowledgeTool
_kinds: dict[str, type[HttpTool | PythonTool | McpTool | KnowledgeTool]] = {
    "http": HttpTool,
    "python": PythonTool,
    "mcp": McpTool,
    "knowledge": KnowledgeTool,
}


def _tool(value: Any, info: ValidationInfo) -> Tool:
    if isinstance(value, (HttpTool, PythonTool, McpTool, KnowledgeTool)):
        return value
    if not isinstance(value, dict):
        raise wrong("wrong_type", "A tool is an object.", 'Write {"kind": "http", …}.')
    kind = value.get("kind")
    model = _kinds.get(kind) if isinstance(kind, str) else None
    if model is None:
        known = tuple(_kinds)
        message = "The tool has no 'kind'." if kind is None else f"No tool is of kind {kind!r}."
        raise wrong("unknown_tool_kind", message, "", known=known, at="kind", got=str(kind))
    return model.model_validate(value, context=info.context)


AnyTool = Annotated[Tool, PlainValidator(_tool, json_schema_input_type=Tool), as_part]
