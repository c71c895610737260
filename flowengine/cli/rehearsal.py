"""The real LLM and the real tools for a call in writing, where they are set up."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import orjson

from flowengine.app import mcp_tools
from flowengine.catalog import load_catalog
from flowengine.cli.serve import tool_secrets
from flowengine.errors import ConfigError, ProviderError
from flowengine.flow.program import Program
from flowengine.flow.tools import McpTool
from flowengine.ports import LlmText, LlmToolUse, ToolResult
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.vendors import SupervisedVendors, server_defaults
from flowengine.runtime.effects import AskLlm, RunTool
from flowengine.runtime.knowledge import Library
from flowengine.runtime.mcp_servers import McpServers
from flowengine.runtime.tool_requests import run_tool
from flowengine.runtime.tools import ToolRunner
from flowengine.settings import Settings
from flowengine.testing.simulated_llm import Answer, Item, LlmFails, Proposes


class Rehearsal:
    """Asks providers and runs tools while the virtual clock stands still."""

    def __init__(
        self, program: Program, settings: Settings, library: Library | None = None
    ) -> None:
        """`library`: what the flow's knowledge tools search."""
        self._program = program
        self._library = library
        self._settings = settings
        values = settings.provider_settings()
        catalog = load_catalog(settings.catalog)
        self.server = server_defaults(values, catalog)
        self._vendors = SupervisedVendors(ProviderSettings(values), self.server, catalog=catalog)
        self._tools: ToolRunner | None = None
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        """Raises ConfigError for a tool of an MCP server that is not there."""
        wanted = mcp_tools(self._program)
        if wanted:
            self._runner.run(self._open(wanted))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._close())
        self._runner.close()

    def run_tool(self, effect: RunTool) -> ToolResult:
        """Run a tool of the flow for real."""
        return self._runner.run(self._run_tool(effect))

    def ask_llm(self, effect: AskLlm) -> Answer:
        """The LLM's whole answer."""
        return self._runner.run(self._ask(effect))

    async def _open(self, wanted: list[tuple[McpTool, str]]) -> None:
        self.server.offers = await self._made_tools().mcp.start(wanted)

    async def _run_tool(self, effect: RunTool) -> ToolResult:
        return await run_tool(self._made_tools(), self._program, effect)

    def _made_tools(self) -> ToolRunner:
        if self._tools is None:
            allow_private = self._settings.allow_private_tools
            mcp = McpServers(self._settings.mcp_servers, allow_private=allow_private)
            self._tools = ToolRunner(
                tool_secrets(), allow_private=allow_private, mcp=mcp, library=self._library
            )
        return self._tools

    async def _ask(self, effect: AskLlm) -> Answer:
        items: list[Item] = []
        try:
            llm = self._vendors.llm(effect.provider, effect.fallback)
            async for event in llm.stream(effect.request):
                match event:
                    case LlmText(text):
                        items.append(text)
                    case LlmToolUse(_, name, arguments):
                        items.append(Proposes(name, _object(arguments)))
        except (ProviderError, ConfigError) as error:
            items.append(LlmFails(error.code))
        return _joined(items)

    async def _close(self) -> None:
        if self._tools is not None:
            await self._tools.close()
        await self._vendors.aclose()


def _object(text: str) -> dict[str, object] | None:
    try:
        value = orjson.loads(text or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _joined(items: list[Item]) -> list[Item]:
    """Tokens that follow each other as one text: they may end inside a word."""
    joined: list[Item] = []
    for item in items:
        if isinstance(item, str) and joined and isinstance(joined[-1], str):
            joined[-1] += item
        else:
            joined.append(item)
    return joined
