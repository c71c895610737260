"""What flows can be made of here: tools of installed packages, MCP servers, node kinds, schemas."""

from __future__ import annotations

from pydantic import Field

from flowengine.api.access import Reader
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.events import Json
from flowengine.runtime.functions import offered_functions
from flowengine.runtime.route_reading import table_schema

router = group("tools")


class FunctionShown(Body):
    """A function of an installed package that a flow's `python` tool may name."""

    name: str
    package: str


class McpServerShown(Body):
    """An MCP server that a flow's `mcp` tools may name."""

    name: str
    kind: str = Field(description="`program` or `http`.")


class Tools(Body):
    """What tools may name."""

    functions: list[FunctionShown]
    mcp_servers: list[McpServerShown]


class KindShown(Body):
    """A kind of node."""

    kind: str
    description: str
    json_schema: dict[str, Json]


class Kinds(Body):
    """Every kind of node."""

    items: list[KindShown]


@router.get("/tools")
async def list_tools(service: TheService, by: Reader) -> Tools:
    """What a flow's tools may name on this server."""
    servers = service.engine.settings.mcp_servers
    return Tools(
        functions=[
            FunctionShown(name=name, package=package) for name, package in offered_functions()
        ],
        mcp_servers=[
            McpServerShown(name=name, kind="http" if server.url else "program")
            for name, server in sorted(servers.items())
        ],
    )


@router.get("/kinds")
async def list_kinds(service: TheService, by: Reader) -> Kinds:
    """The kinds of nodes, with the JSON Schema of each: forms are made of it."""
    return Kinds(
        items=[
            KindShown(
                kind=name,
                description=(kind.__doc__ or "").strip(),
                json_schema=kind.model_json_schema(by_alias=True),
            )
            for name, kind in service.engine.language.kinds.items()
        ]
    )


@router.get("/schema")
async def get_schema(service: TheService, by: Reader) -> dict[str, Json]:
    """The JSON Schema of a flow."""
    return service.engine.language.schema()


@router.get("/schema/routes")
async def get_routes_schema(service: TheService, by: Reader) -> dict[str, Json]:
    """The JSON Schema of a routing table."""
    return table_schema()
