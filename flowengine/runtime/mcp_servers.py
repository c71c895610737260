"""Tools of MCP servers: one session for each server, shared by all calls of the process.

The operator names the servers, as programs (stdio) or addresses (streamable HTTP); a flow names
only one of them and a tool. A session is opened at the start and held by a task of its own, since
the SDK's scopes must be left by the task that entered them. One that ended is opened again by the
next call; a call that was under way then has `dropped`, for nobody knows whether it acted.

API and behaviour are those of the package mcp 2.3 (`Client`, `stdio_client`,
`streamable_http_client`); it is imported here alone, on first use.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx2
import structlog

from flowengine.errors import ConfigError
from flowengine.events import Json
from flowengine.flow.tools import McpTool
from flowengine.ports import LlmTool, ToolResult
from flowengine.runtime.egress import GuardedBackend, GuardedTransport, TargetRefused
from flowengine.settings import McpServer

if TYPE_CHECKING:
    from mcp import Client

OPEN_S = 20.0
"""How long a server may take to start and to say what it offers."""
MOST_BYTES = 256 * 1024
MOST_PAGES = 20
KEY = "io.flowengine/idempotency-key"
"""Under this name a request's `_meta` holds the key that tells two acts from one tried twice."""
_CLOSED = -32000
"""JSON-RPC error of the SDK for a connection that ended."""
_FORGOTTEN = "Session terminated"
"""What the SDK makes of a server that knows the session no more: it did not look at the request."""
_UNREACHED = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    FileNotFoundError,
    PermissionError,
)
"""No connection was made, or no program was started."""

log = structlog.get_logger(__name__)


class McpServers:
    """The MCP servers that are set up."""

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        allow_private: bool = False,
        open_s: float = OPEN_S,
    ) -> None:
        self._sessions = {
            name: _Session(name, server, allow_private=allow_private, open_s=open_s)
            for name, server in servers.items()
        }

    def check(self, tool: McpTool, where: str) -> None:
        """Raise ConfigError when no server of the tool's is set up."""
        if tool.server not in self._sessions:
            known = ", ".join(self._sessions) or "none"
            raise ConfigError(
                "unknown_mcp_server",
                f"No MCP server {tool.server!r} is set up.",
                where=where,
                fix=f"Add it to FLOWENGINE_MCP_SERVERS, which has: {known}.",
            )

    async def start(self, tools: Iterable[tuple[McpTool, str]]) -> dict[str, LlmTool]:
        """Open the servers of these tools (each with its place in a flow).

        Returns what the servers say of them, by `McpTool.target`. Raises ConfigError:
        `unknown_mcp_server`, `missing_extra`, `mcp_not_opened`, `unknown_mcp_tool`.
        """
        wanted = list(tools)
        for tool, where in wanted:
            self.check(tool, where)
        names = list(dict.fromkeys(tool.server for tool, _ in wanted))
        if names:
            _require_sdk()
        listed = await asyncio.gather(*(self._sessions[name].offers() for name in names))
        by_server = dict(zip(names, listed, strict=True))
        found: dict[str, LlmTool] = {}
        for tool, where in wanted:
            offered = by_server[tool.server]
            if tool.name not in offered:
                raise ConfigError(
                    "unknown_mcp_tool",
                    f"The MCP server {tool.server!r} has no tool {tool.name!r}.",
                    where=where,
                    fix=f"It has: {', '.join(sorted(offered)) or 'none'}.",
                )
            found[tool.target] = offered[tool.name]
        return found

    async def call(
        self, server: str, tool: str, arguments: Mapping[str, Json], key: str
    ) -> ToolResult:
        """Call a tool; what goes wrong is a result. The caller bounds the time."""
        session = self._sessions.get(server)
        if session is None:
            return ToolResult("failed", error="unknown_mcp_server")
        given = {name: value for name, value in arguments.items() if value is not None}
        return await session.call(tool, given, key)

    async def close(self) -> None:
        """Close every session; programs are asked to end, then made to."""
        await asyncio.gather(*(session.close() for session in self._sessions.values()))


class _Down(Exception):
    """There is no session; `code` says why, as a tool's error does."""

    def __init__(self, code: str, kind: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.kind = kind


class _Held:
    """A session that is being opened, is open or has ended, with the task that holds it."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.task: asyncio.Task[_Down] | None = None

    async def client(self) -> Client:
        """The client, once the session is open. Raises _Down."""
        task = self.task
        if task is None:
            raise _Down("dropped")
        await asyncio.wait((self.ready, task), return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done():
            raise task.result()
        return self.ready.result()

    async def why(self) -> _Down:
        """End it; why it ended."""
        self.ended.set()
        if self.task is None:
            return _Down("dropped")
        await asyncio.wait((self.task,))
        return self.task.result()


class _Session:
    """The session with one server."""

    def __init__(self, name: str, server: McpServer, *, allow_private: bool, open_s: float) -> None:
        self._name = name
        self._server = server
        self._allow_private = allow_private or server.private
        self._open_s = open_s
        self._held: _Held | None = None

    async def offers(self) -> dict[str, LlmTool]:
        """The server's tools by name, with their own descriptions and schemas."""
        try:
            async with asyncio.timeout(self._open_s):
                return await self._listed(await self._holding().client())
        except _Down as down:
            code, kind = down.code, down.kind
        except TimeoutError:
            code, kind = "deadline", ""
        except Exception as error:  # noqa: BLE001 - whatever it answered, it is of no use
            code, kind = "protocol", _kind(error)
        fix = "See that its command or url is right and that it runs."
        if code == "target_refused":
            fix = 'It is in a private network; "private": true in its settings allows that.'
        raise ConfigError(
            "mcp_not_opened",
            f"The MCP server {self._name!r} cannot be used ({f'{code} {kind}'.strip()}).",
            where=f"FLOWENGINE_MCP_SERVERS: {self._name}",
            fix=fix,
        )

    async def call(self, tool: str, arguments: dict[str, Json], key: str) -> ToolResult:
        """Call a tool. Tried again once where the server surely did not look at the request."""
        result, may_retry = await self._attempt(tool, arguments, key)
        if may_retry:
            result, _ = await self._attempt(tool, arguments, key)
        return result

    async def close(self) -> None:
        """End the session."""
        if self._held is not None:
            await self._held.why()

    # --- inside ---

    def _holding(self) -> _Held:
        """The session, one that is just being opened if it has ended or never was."""
        before = self._held
        if before is None or before.ended.is_set():
            self._held = _Held()
            self._held.task = asyncio.create_task(self._hold(self._held, before))
        return self._held  # type: ignore[return-value]  # it was just made

    async def _hold(self, held: _Held, before: _Held | None) -> _Down:
        """Open a session and hold it until it ends or is to end; returns why."""
        from mcp import Client

        if before is not None:
            await before.why()
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._open_s):
                    client = await stack.enter_async_context(Client(self._transport(held.ended)))
                held.ready.set_result(client)
                await held.ended.wait()
        except TimeoutError:
            return _Down("deadline")
        except Exception as error:  # noqa: BLE001 - whatever it is, the session is over
            log.warning("mcp_session_over", server=self._name, error=_kind(error))
            return _Down(_code(error), _kind(error))
        finally:
            held.ended.set()
        return _Down("dropped")

    async def _attempt(
        self, tool: str, arguments: dict[str, Json], key: str
    ) -> tuple[ToolResult, bool]:
        """One try: its result, and whether another one may help and cannot act twice."""
        held = self._holding()
        try:
            client = await held.client()
            answer = await client.call_tool(tool, arguments, meta=_meta(key))
        except _Down as down:
            return ToolResult("failed", error=down.code), False
        except Exception as error:  # noqa: BLE001 - what an SDK may raise is not listed
            return await self._failed(error, held)
        return _result(answer), False

    async def _failed(self, error: Exception, held: _Held) -> tuple[ToolResult, bool]:
        from mcp import MCPError

        if not isinstance(error, MCPError):
            log.warning("mcp_answer_unread", server=self._name, error=_kind(error))
            return ToolResult("failed", error="protocol"), False
        if error.code == _CLOSED:
            # Whatever ended it, this call may have come through and acted.
            down = await held.why()
            return ToolResult("failed", error=down.code), False
        if error.message == _FORGOTTEN:
            held.ended.set()
            return ToolResult("failed", error="dropped"), True
        return ToolResult("failed", body=error.message[:2000], error="mcp_refused"), False

    @asynccontextmanager
    async def _transport(self, ended: asyncio.Event) -> AsyncIterator[tuple[Any, Any]]:
        """The SDK's transport; `ended` is set when the server's side of it ends."""
        from mcp import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        server = self._server
        if server.command:
            program = StdioServerParameters(
                command=server.command,
                args=list(server.args),
                env={name: value.get_secret_value() for name, value in server.env.items()},
            )
            # What a server writes to stderr may hold what a caller said.
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # noqa: ASYNC230 - no disk
                async with stdio_client(program, errlog=nowhere) as (read, write):
                    yield _Watched(read, ended), write
            return
        backend = GuardedBackend(allow_private=self._allow_private)
        async with (
            httpx2.AsyncClient(
                transport=GuardedTransport(backend),
                trust_env=False,
                headers={
                    "User-Agent": "flowengine",
                    **{name: value.get_secret_value() for name, value in server.headers.items()},
                },
                # An answer may be long in coming: the tool's own timeout bounds it.
                timeout=httpx2.Timeout(None, connect=5.0),
            ) as http,
            streamable_http_client(server.url, http_client=http) as (read, write),
        ):
            yield _Watched(read, ended), write

    async def _listed(self, client: Client) -> dict[str, LlmTool]:
        found: dict[str, LlmTool] = {}
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                found[tool.name] = LlmTool(tool.name, tool.description or "", tool.input_schema)
            cursor = page.next_cursor
            if cursor is None:
                break
        return found


class _Watched:
    """A transport's read stream that says when it has ended, before anybody asks in vain."""

    def __init__(self, inner: Any, ended: asyncio.Event) -> None:
        self._inner = inner
        self._ended = ended

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        return await self._inner.receive()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            self._ended.set()
            raise

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        left: bool | None = await self._inner.__aexit__(*error)
        return left


def _meta(key: str) -> Any:
    """An open map to the protocol; the SDK's type of it knows the names of its own only."""
    return {KEY: key}


def _require_sdk() -> None:
    try:
        import mcp  # noqa: F401 - whether it can be imported is what is asked
    except ImportError as error:
        raise ConfigError(
            "missing_extra",
            "Tools of MCP servers need a package that is not installed.",
            where="FLOWENGINE_MCP_SERVERS",
            fix="Install it with: pip install 'flowengine[mcp]'.",
        ) from error
    # At ERROR the SDK logs what it could not read, at DEBUG every message.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)


def _result(answer: Any) -> ToolResult:
    """A tool's answer: its structured content, else its texts; one text of JSON is read as such."""
    body: Json = answer.structured_content
    if body is None:
        body = _texts(answer.content)
    text = json.dumps(body, ensure_ascii=False)
    if len(text.encode()) > MOST_BYTES:
        return ToolResult("failed", error="too_large")
    if answer.is_error:
        return ToolResult("failed", body=body, error="tool_error")
    return ToolResult("done", body=body)


def _texts(content: Iterable[Any]) -> Json:
    found = []
    for block in content:
        text = getattr(block, "text", None)
        if text is None:
            text = getattr(getattr(block, "resource", None), "text", None)
        if isinstance(text, str):
            found.append(text)
    if len(found) == 1 and found[0].lstrip()[:1] in ("{", "["):
        with suppress(ValueError):
            return json.loads(found[0])
    return "\n".join(found) or None


def _causes(error: BaseException) -> Iterable[BaseException]:
    """The errors in a group of errors, and their causes."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error


def _code(error: BaseException) -> str:
    """Why a session is over, as a tool's error says it."""
    for cause in _causes(error):
        if isinstance(cause, TargetRefused):
            return "target_refused"
        if isinstance(cause, _UNREACHED):
            return "connect"
    return "dropped"


def _kind(error: BaseException) -> str:
    return "+".join(sorted({type(cause).__name__ for cause in _causes(error)}))
