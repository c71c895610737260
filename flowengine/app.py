"""The composition root: settings and a flow in, everything built by name.

`Engine` reads and checks the flow, opens the store and makes providers and carriers; `warm` gets
SDKs and prompts ready before the first call; `close` lets calls end and closes it all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from flowengine.carriers.discovery import load_carriers
from flowengine.catalog import load_catalog
from flowengine.clock import Clock, RealClock
from flowengine.errors import ConfigError, ProviderError
from flowengine.events import Json
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.flow.program import Program
from flowengine.flow.tools import McpTool, PythonTool
from flowengine.ids import NodeId
from flowengine.ports import CallRow, CallStore, Carrier
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.registry import offered
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.vendors import SupervisedVendors, server_defaults
from flowengine.runtime.audio_files import AudioFiles
from flowengine.runtime.call import Watch
from flowengine.runtime.flow_files import FlowFiles, LoadedFlow
from flowengine.runtime.functions import GROUP, is_offered
from flowengine.runtime.knowledge import Library
from flowengine.runtime.mcp_servers import McpServers
from flowengine.runtime.prompts import PromptCache
from flowengine.runtime.services import Services
from flowengine.runtime.static_texts import audio_names, static_texts
from flowengine.runtime.supervisor import House, Supervisor
from flowengine.runtime.tools import ToolRunner
from flowengine.runtime.voices import open_voice, speaker_of
from flowengine.settings import Settings
from flowengine.store.sqlite import SqliteStore
from flowengine.tokens import random_secret

DRAIN_S = 30.0
"""How long running calls may go on after a stop was asked for."""

_Use = TypeVar("_Use", SttUse, LlmUse, TtsUse)

log = structlog.get_logger(__name__)


class Engine:
    """One process that answers calls with one flow. Make it on the event loop that serves it."""

    def __init__(
        self,
        settings: Settings,
        flow: Path,
        *,
        others: Sequence[Path] = (),
        secrets: Mapping[str, str] | None = None,
        allow_private_tools: bool = False,
        store: CallStore | None = None,
        deadlines: Deadlines | None = None,
        watch: Watch | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises FlowError, ConfigError, StoreError: what is wrong, before anything listens."""
        self.settings = settings
        catalog = load_catalog(settings.catalog)
        self._files = FlowFiles(catalog=catalog, providers=offered())
        self.flow: LoadedFlow = self._files.load(flow, others)
        mcp = McpServers(settings.mcp_servers, allow_private=allow_private_tools)
        for program in _with_subflows(self.flow.program):
            _refuse_unknown_functions(program)
        for tool, where in mcp_tools(self.flow.program):
            mcp.check(tool, where)
        values = settings.provider_settings()
        self.server = server_defaults(values, catalog)
        self.vendors = SupervisedVendors(ProviderSettings(values), self.server, deadlines, catalog)
        self.store: CallStore = store or SqliteStore(_sqlite_path(settings.database()))
        self.prompts = PromptCache(settings.data / "prompts")
        self._tools = ToolRunner(
            secrets or {},
            allow_private=allow_private_tools,
            mcp=mcp,
            library=Library.of_files(self.flow.flows),
        )
        self.services = Services(
            self.vendors, self.prompts, AudioFiles(self.flow.folders), self._tools
        )
        self.supervisor = Supervisor(
            House(
                store=self.store,
                services=self.services,
                server=self.server,
                program_of=self._program_of,
                current=self._current,
                secret=settings.secret_key.get_secret_value() or random_secret(),
                max_calls=settings.max_calls,
                recordings=settings.data / "recordings",
                watch=watch,
                clock=clock or RealClock(),
            )
        )
        self.carriers: list[Carrier] = load_carriers(settings, self.supervisor)
        self.supervisor.carriers = [carrier.name for carrier in self.carriers]
        self._warming: asyncio.Task[None] | None = None

    async def warm(self, *, prompts: bool = True) -> None:
        """Get ready: SDKs, connections, recordings of the flow; then prompts in the background.

        Raises ConfigError for a provider or a tool of an MCP server that the flow names and that
        is not there, FlowError for a recording that is missing.
        """
        self.server.offers = await self._tools.mcp.start(mcp_tools(self.flow.program))
        stts, llms, ttss = self._uses()
        try:
            await self.vendors.warm(stts, llms, ttss)
        except ProviderError as error:
            # It may be back when the first call comes; supervision tells the caller if not.
            log.warning("provider_not_warm", provider=error.where, code=error.code)
        for name in audio_names(self.flow.program):
            await self.services.audio.load(name)
        if prompts:
            self._warming = asyncio.create_task(self._warm_prompts())
            await self._load_prompts()

    async def warmed(self) -> None:
        """Wait until every static prompt was made or given up."""
        if self._warming is not None:
            await asyncio.wait((self._warming,))

    def not_ready(self) -> list[str]:
        """Why new calls cannot be taken now."""
        return self.supervisor.not_ready()

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Let calls end, then close everything."""
        await self.supervisor.drain(drain_s)
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._tools.close()
        await self.vendors.aclose()
        await self.store.close()

    # --- inside ---

    def _program_of(self, row: CallRow) -> Program:
        return self._files.program_of(row, self.flow)

    def _current(self) -> tuple[Program, Mapping[str, Json]]:
        return self.flow.program, self.flow.document

    def _uses(self) -> tuple[list[SttUse], list[LlmUse], list[TtsUse]]:
        """Every recogniser, LLM and voice that the flow's nodes use, once each."""
        stts: list[SttUse] = []
        llms: list[LlmUse] = []
        ttss: list[TtsUse] = []
        for program in _with_subflows(self.flow.program):
            for name, node in program.flow.nodes.items():
                settings = program.settings(NodeId(name))
                if node.listens:
                    stts.append(settings.stt or self.server.stt)
                llm = settings.llm or self.server.llm
                if node.thinks and llm is not None:
                    llms.append(llm)
                if node.speaks:
                    ttss.append(settings.tts or self.server.tts)
        return _once(stts), _once(llms), _once(ttss)

    async def _load_prompts(self) -> None:
        """Read prompts that are on disk, so that the first call has them at once."""
        for key, _, _ in self._prompt_keys():
            await self.prompts.load(key)

    def _prompt_keys(self) -> list[tuple[str, str, tuple[TtsUse, str]]]:
        found = []
        for program in _with_subflows(self.flow.program):
            for static in static_texts(program):
                tts = program.settings(static.node).tts or self.server.tts
                key = speaker_of(tts, static.language).key(static.text)
                found.append((key, static.text, (tts, static.language)))
        return found

    async def _warm_prompts(self) -> None:
        by_voice: dict[str, tuple[TtsUse, str, list[str]]] = {}
        for _, text, (tts, language) in self._prompt_keys():
            place = speaker_of(tts, language).key("")
            by_voice.setdefault(place, (tts, language, []))[2].append(text)
        for tts, language, texts in by_voice.values():
            opened = partial(open_voice, self.vendors, tts, language)
            await self.prompts.warm(texts, speaker_of(tts, language), opened)


def _with_subflows(program: Program) -> list[Program]:
    found = [program]
    for inner in program.subflows.values():
        found += _with_subflows(inner)
    return found


def mcp_tools(program: Program) -> list[tuple[McpTool, str]]:
    """The tools of MCP servers that a flow and those that it calls use, each with its place."""
    return [
        (tool, f"{inner.flow.id}: /tools/{name}")
        for inner in _with_subflows(program)
        for name, tool in inner.flow.tools.items()
        if isinstance(tool, McpTool)
    ]


def _refuse_unknown_functions(program: Program) -> None:
    """A Python tool that no package offers would fail in every call."""
    for name, tool in program.flow.tools.items():
        if isinstance(tool, PythonTool) and not is_offered(tool.function):
            raise ConfigError(
                "unknown_function",
                f"No installed package offers the function {tool.function!r} to flows.",
                where=f"{program.flow.id}: /tools/{name}/function",
                fix=f"Install the package that has it under its entry points {GROUP!r}.",
            )


def _once(items: list[_Use]) -> list[_Use]:
    return [item for place, item in enumerate(items) if item not in items[:place]]


def _sqlite_path(url: str) -> Path:
    scheme, _, path = url.partition("://")
    if scheme != "sqlite" or not path.startswith("/"):
        raise ConfigError(
            "bad_database_url",
            f"No store speaks {scheme!r}.",
            where="FLOWENGINE_DATABASE_URL",
            fix="Set it like sqlite:///flowengine-data/flowengine.db.",
        )
    file = Path(path.removeprefix("/"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "no_data_folder",
            f"The folder of the calls' data cannot be made: {error.strerror}.",
            where="FLOWENGINE_DATA",
            fix="Name a folder that this user may write to.",
        ) from error
    return file
