"""A real MCP server for tests, made with the official package: over stdio as a program, or as an
app over HTTP.
"""

from __future__ import annotations

import asyncio
import os

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel


class Account(BaseModel):
    id: int
    name: str


def book() -> MCPServer:
    server = MCPServer("book")

    @server.tool()
    def find(phone: str, limit: int = 1) -> Account:
        """Finds an account by its phone number."""
        if phone == "+10000000000":
            raise ToolError("no account has this number")
        return Account(id=limit, name="Ada")

    @server.tool(structured_output=False)
    def greet(name: str) -> str:
        """Greets somebody."""
        return f"Hello {name}"

    @server.tool(structured_output=False)
    def as_text() -> str:
        """Gives JSON as older servers do."""
        return '{"tables": [1, 2]}'

    @server.tool(structured_output=False)
    def large() -> str:
        """Gives too much."""
        return "x" * 300_000

    @server.tool()
    async def endless() -> str:
        """Never answers."""
        await asyncio.Event().wait()
        return ""

    @server.tool()
    def leave() -> str:
        """Ends the server in the middle of the call."""
        os._exit(3)

    @server.tool(structured_output=False)
    def whoami(ctx: Context) -> str:
        """Tells the process, and the key under which it was called."""
        meta = ctx.request_context.meta or {}
        return f"{os.getpid()} {meta.get('io.flowengine/idempotency-key')} {os.environ.get('BOOK')}"

    return server


if __name__ == "__main__":
    book().run("stdio")
