"""The composition root: settings in, everything built by name.

`Engine` opens the store and makes providers and carriers, and reads and checks the flow of a file
if it is given one; `warm` gets SDKs and prompts ready before the first call; `close` lets calls
end and closes it all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from flowengine.carriers.discovery import load_carriers
from flowengine.catalog import load_catalog
from flowengine.clock import Clock, RealClock
from flowengine.errors import ConfigError, FlowengineError, ProviderError, StoreError
from flowengine.events import Event, Json
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.flow.language import Language
from flowengine.flow.program import Program
from flowengine.flow.tools import McpTool, PythonTool
from flowengine.ids import DEFAULT_PROJECT, CallId, NodeId
from flowengine.nodes import load_kinds
from flowengine.ports import CallOffer, CallRow, CallStore, Carrier, Refuse
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.registry import offered
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.vendors import SupervisedVendors, server_defaults
from flowengine.runtime.audio_files import AudioFiles
from flowengine.runtime.call import Watch
from flowengine.runtime.dispatch import Dispatch
from flowengine.runtime.drafts import DraftChecker
from flowengine.runtime.flow_files import FlowFiles
from flowengine.runtime.functions import GROUP, is_offered
from flowengine.runtime.happenings import happening
from flowengine.runtime.knowledge import FilesIndex, Library
from flowengine.runtime.mcp_servers import McpServers
from flowengine.runtime.placing import Placing
from flowengine.runtime.prompts import PromptCache
from flowengine.runtime.published import PublishedFlows
from flowengine.runtime.services import Services
from flowengine.runtime.static_texts import audio_names, static_texts
from flowengine.runtime.supervisor import Begin, House, Supervisor
from flowengine.runtime.tools import ToolRunner
from flowengine.runtime.voices import open_voice, speaker_of
from flowengine.settings import Settings
from flowengine.store.calls import SqlStore
from flowengine.store.commands import Commands
from flowengine.store.database import Database
from flowengine.store.feed import Feed
from flowengine.store.finishing import finish_call, keep_left
from flowengine.store.passages import PostgresIndex
from flowengine.store.published import StoredFlows
from flowengine.store.recordings import Recordings
from flowengine.store.retention import Swept, sweep
from flowengine.store.s3 import S3Recordings
from flowengine.store.schema import prepare
from flowengine.store.tables import Recording
from flowengine.store.uploads import Uploads
from flowengine.store.waking import Bell
from flowengine.tokens import ValueCipher, random_secret

DRAIN_S = 30.0
"""How long running calls may go on after a stop was asked for."""

FIRST_CHORES_S = 60.0
"""How long after the start what is done daily is done first: calls come before it."""
DAY_S = 86_400.0

_Use = TypeVar("_Use", SttUse, LlmUse, TtsUse)

log = structlog.get_logger(__name__)


class Engine:
    """One process that answers calls: with one flow from a file, or with those of its store.

    Make it on the event loop that serves it.
    """

    def __init__(
        self,
        settings: Settings,
        flow: Path | None = None,
        *,
        others: Sequence[Path] = (),
        secrets: Mapping[str, str] | None = None,
        allow_private_tools: bool = False,
        store: CallStore | None = None,
        deadlines: Deadlines | None = None,
        watch: Watch | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises FlowError, ConfigError, StoreError: what is wrong, before anything listens.

        With a flow, every number gets it; without, calls go by the store's routing tables.
        """
        self.settings = settings
        self.clock = clock or RealClock()
        catalog = load_catalog(settings.catalog)
        self.language = Language(load_kinds())
        self._files = FlowFiles(self.language, catalog=catalog, providers=offered())
        self.flow = None if flow is None else self._files.load(flow, others)
        self._mcp = McpServers(settings.mcp_servers, allow_private=allow_private_tools)
        if self.flow is not None:
            self._accept(self.flow.program)
        values = settings.provider_settings()
        self.catalog = catalog
        self.server = server_defaults(values, catalog)
        self.vendors = SupervisedVendors(ProviderSettings(values), self.server, deadlines, catalog)
        self.database = Database(settings.database())
        prepare(self.database)
        self.store: CallStore = store or SqlStore(self.database)
        secret = settings.secret_key.get_secret_value() or random_secret()
        self.cipher = ValueCipher(secret)
        self._stored = StoredFlows(self.database, self.cipher)
        self.published = PublishedFlows(self._stored, self._accept, self.language)
        self.drafts = DraftChecker(
            self._stored,
            self._accept,
            self.language,
            catalog,
            offered(),
            lambda: self.clock.wall().date(),
        )
        self._watch = watch
        self.bell = Bell(self.database)
        self.feed = Feed(self.database, self.bell)
        self._finishing: set[asyncio.Task[None]] = set()
        self.recordings = recordings_of(settings)
        self._uploads = Uploads(self.database, self.recordings, self._tell_ready)
        self._chores: asyncio.Task[None] | None = None
        self.prompts = PromptCache(settings.data / "prompts")
        self._secrets = secrets or {}
        self._tools = ToolRunner(
            self._secrets,
            allow_private=allow_private_tools,
            mcp=self._mcp,
            library=Library.of_files(
                () if self.flow is None else self.flow.flows,
                FilesIndex
                if self.database.kind == "sqlite"
                else partial(PostgresIndex, self.database),
            ),
        )
        folders = () if self.flow is None else self.flow.folders
        self.services = Services(self.vendors, self.prompts, AudioFiles(folders), self._tools)
        self.supervisor = Supervisor(
            House(
                store=self.store,
                services_of=self._services_of,
                server=self.server,
                program_of=self._program_of,
                choose=self._choose,
                secret=secret,
                max_calls=settings.max_calls,
                recordings=self.recordings.local.folder,
                watch=self._watched,
                clock=self.clock,
                tell=self._tell,
                finished=self._finish,
                commands=Commands(self.database, self.clock),
            )
        )
        self.dispatch = Dispatch(
            self._stored,
            self.published,
            self.language,
            self._tools,
            self.supervisor.running,
            self.clock,
        )
        self.carriers: list[Carrier] = load_carriers(settings, self.supervisor)
        self.supervisor.carriers = [carrier.name for carrier in self.carriers]
        self.placing = Placing(self.supervisor, self.store, self.carriers)
        self._warming: dict[str, asyncio.Task[None]] = {}
        """By the version of the program that is made ready."""

    async def warm(self, *, prompts: bool = True) -> None:
        """Get ready: SDKs, connections, recordings; then prompts in the background.

        Raises ConfigError for a provider or a tool of an MCP server that the flow names and that
        is not there, FlowError for a recording that is missing. A stored flow that cannot be made
        ready is told of in the log: the others answer all the same.
        """
        await self.placing.warm()
        if self.flow is not None:
            await self._get_ready(self.flow.program, prompts=prompts)
            return
        for project_id, target in await self._stored.routed_flows():
            try:
                ready = await self.published.get(
                    project_id, target.flow, number=target.version, tag=target.tag or ""
                )
                await self._get_ready(ready.program, prompts=prompts)
            except FlowengineError as error:
                log.error("flow_not_ready", flow=target.flow, code=error.code, where=error.where)

    def begin_chores(self) -> None:
        """From now until the end, do daily what has to be done beside calls."""
        self._chores = asyncio.create_task(self._do_chores())

    async def sweep(self) -> Swept:
        """Delete what is older than its project keeps it. Raises StoreError."""
        return await sweep(self.database, self.recordings, self.clock.wall())

    async def warmed(self) -> None:
        """Wait until every static prompt was made or given up."""
        if self._warming:
            await asyncio.wait(self._warming.values())

    def not_ready(self) -> list[str]:
        """Why new calls cannot be taken now."""
        return self.supervisor.not_ready()

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Let calls end, then close everything."""
        await self.supervisor.drain(drain_s)
        await self.supervisor.reach.close()
        await self.placing.close()
        for task in self._warming.values():
            task.cancel()
        await asyncio.gather(*self._warming.values(), return_exceptions=True)
        if self._chores is not None:
            self._chores.cancel()
            await asyncio.gather(self._chores, return_exceptions=True)
        await asyncio.gather(*self._finishing)
        await self._uploads.close()
        await self.feed.close()
        await self.bell.close()
        await self._tools.close()
        await self.vendors.aclose()
        await self.store.close()
        await self.database.close()

    async def begin(
        self,
        project_id: str,
        flow_id: str,
        *,
        number: int | None = None,
        tag: str = "",
        variables: Mapping[str, Json] | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> Begin:
        """What a call with this flow runs: the file's, for who runs this server, or a stored one.

        Raises FlowError, StoreError.
        """
        served = self.flow if project_id == DEFAULT_PROJECT and not tag else None
        if served is not None and number is None and served.program.flow.id == flow_id:
            return Begin(
                served.program,
                served.document,
                variables=variables or {},
                metadata=metadata or {},
            )
        begin = await self.dispatch.published(
            project_id,
            flow_id,
            number=number,
            tag=tag,
            variables=variables,
            metadata=metadata,
        )
        self._warm_for_next(begin.program)
        return begin

    # --- inside ---

    def _watched(self, call_id: CallId, event: Event, at_ms: int) -> None:
        """Runs for every event of every call: what most of them cost is one look-up."""
        if self._watch is not None:
            self._watch(call_id, event, at_ms)
        told = happening(event)
        row = None if told is None else self.supervisor.held(call_id)
        if told is not None and row is not None:
            self._tell(row, *told)

    def _tell(self, row: CallRow, type_: str, data: Mapping[str, Json]) -> None:
        self.feed.tell(row.project_id, row.id, type_, self.clock.wall(), data)

    def _finish(self, row: CallRow) -> None:
        task = asyncio.create_task(self._finished(row))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finished(self, row: CallRow) -> None:
        for recording in await finish_call(self.database, self.store, row, self.recordings):
            self._uploads.add(recording)

    def _tell_ready(self, recording: Recording) -> None:
        data = {"size_bytes": recording.size_bytes, "length_ms": recording.length_ms}
        now = self.clock.wall()
        self.feed.tell(recording.project_id, recording.call_id, "recording.ready", now, data)

    async def _do_chores(self) -> None:
        """Once soon, then daily: uploads and recordings that were left, and the retention."""
        await asyncio.sleep(FIRST_CHORES_S)
        while True:
            try:
                await self._uploads.begin()
                now = self.clock.wall()
                for left in await keep_left(self.database, self.store, self.recordings, now):
                    self._uploads.add(left)
                swept = await self.sweep()
                log.info("retention_done", **swept.to_json())
            except StoreError as error:
                log.error("chores_failed", code=error.code)
            await asyncio.sleep(DAY_S)

    async def _choose(self, offer: CallOffer, call_id: CallId) -> Begin | Refuse:
        if self.flow is not None:
            return Begin(self.flow.program, self.flow.document)
        begin = await self.dispatch.choose(offer, call_id)
        if isinstance(begin, Begin):
            self._warm_for_next(begin.program)
        return begin

    def _warm_for_next(self, program: Program) -> None:
        """Make a flow ready; the call that begins goes on with what is ready when it needs it."""
        if program.version not in self._warming:
            self._warming[program.version] = asyncio.create_task(self._get_ready_or_log(program))

    async def _program_of(self, row: CallRow) -> Program:
        if self.flow is not None and row.flow_version is None:
            return self._files.program_of(row, self.flow)
        return await self.published.program_of(row)

    async def _services_of(self, row: CallRow) -> Services:
        secrets = await self._stored.secrets(row.project_id)
        if not secrets:
            return self.services
        return replace(self.services, tools=self._tools.knowing({**self._secrets, **secrets}))

    def _accept(self, program: Program) -> None:
        """Raises ConfigError for a program with tools that this server does not have."""
        for inner in _with_subflows(program):
            _refuse_unknown_functions(inner)
        for tool, where in mcp_tools(program):
            self._mcp.check(tool, where)

    async def _get_ready(self, program: Program, *, prompts: bool = True) -> None:
        offers = await self._mcp.start(mcp_tools(program))
        self.server.offers = {**self.server.offers, **offers}
        stts, llms, ttss = self._uses(program)
        try:
            await self.vendors.warm(stts, llms, ttss)
        except ProviderError as error:
            # It may be back when the first call comes; supervision tells the caller if not.
            log.warning("provider_not_warm", provider=error.where, code=error.code)
        for name in audio_names(program):
            await self.services.audio.load(name)
        if prompts:
            self._warming[program.version] = asyncio.create_task(self._warm_prompts(program))
            for key, _, _ in self._prompt_keys(program):
                # What is on disk, so that the first call has it at once.
                await self.prompts.load(key)

    async def _get_ready_or_log(self, program: Program) -> None:
        try:
            await self._get_ready(program)
        except FlowengineError as error:
            log.error("flow_not_ready", flow=program.flow.id, code=error.code, where=error.where)

    def _uses(self, program: Program) -> tuple[list[SttUse], list[LlmUse], list[TtsUse]]:
        """Every recogniser, LLM and voice that the flow's nodes use, once each."""
        stts: list[SttUse] = []
        llms: list[LlmUse] = []
        ttss: list[TtsUse] = []
        for inner in _with_subflows(program):
            for name, node in inner.flow.nodes.items():
                settings = inner.settings(NodeId(name))
                if node.listens:
                    stts.append(settings.stt or self.server.stt)
                llm = settings.llm or self.server.llm
                if node.thinks and llm is not None:
                    llms.append(llm)
                if node.speaks:
                    ttss.append(settings.tts or self.server.tts)
        return _once(stts), _once(llms), _once(ttss)

    def _prompt_keys(self, program: Program) -> list[tuple[str, str, tuple[TtsUse, str]]]:
        found = []
        for inner in _with_subflows(program):
            for static in static_texts(inner):
                tts = inner.settings(static.node).tts or self.server.tts
                key = speaker_of(tts, static.language).key(static.text)
                found.append((key, static.text, (tts, static.language)))
        return found

    async def _warm_prompts(self, program: Program) -> None:
        by_voice: dict[str, tuple[TtsUse, str, list[str]]] = {}
        for _, text, (tts, language) in self._prompt_keys(program):
            place = speaker_of(tts, language).key("")
            by_voice.setdefault(place, (tts, language, []))[2].append(text)
        for tts, language, texts in by_voice.values():
            opened = partial(open_voice, self.vendors, tts, language)
            await self.prompts.warm(texts, speaker_of(tts, language), opened)


def recordings_of(settings: Settings) -> Recordings:
    """Where these settings keep recordings. Raises ConfigError."""
    remote = None
    if settings.recordings_url:
        remote = S3Recordings(settings.recordings_url, settings.recordings_endpoint)
    return Recordings(settings.data / "recordings", remote)


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
