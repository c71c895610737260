"""Runs the tools of a flow: HTTP, Python functions, MCP servers, searches in files.

Each comes to exactly one outcome. The actor asks for a tool by `ToolJob`; its spec is rendered,
secrets included, just before it is run, and is neither journalled nor logged. Whatever goes
wrong becomes a `ToolResult` with a short code: `connect`, `deadline`, `target_refused`,
`redirect_refused`, `too_large`, `bad_request`, `bad_url`, `bad_json`, `bad_encoding`, `dropped`,
`http_status`, `missing_secret`, `not_rendered`, `no_such_function`, `not_json`, `raised`; of MCP
servers also `tool_error` (the tool says so), `mcp_refused` and `protocol`.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Literal

import httpx2
import orjson
import structlog

from flowengine.errors import FlowengineError
from flowengine.events import Json
from flowengine.ports import ToolJob, ToolResult
from flowengine.runtime.egress import GuardedBackend, GuardedTransport, TargetRefused
from flowengine.runtime.functions import Functions
from flowengine.runtime.knowledge import Library
from flowengine.runtime.mcp_servers import McpServers

TIMEOUT_MS = 5000
CONNECT_S = 2.0
MOST_BYTES = 256 * 1024
_MOST_REDIRECTS = 3
_SHORTEST_SECRET = 6
"""A shorter value is not searched for in answers: it would hit plain words."""
_RETRIED_STATUS = {502, 503, 504}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HttpToolSpec:
    """An HTTP request, fully rendered. Its repr shows nothing that a caller or a secret gave.

    `body` is JSON, or None for no body. `retry`: one more try where that cannot act twice.
    """

    method: str
    url: str = field(repr=False)
    query: Mapping[str, Json] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Json = field(default=None, repr=False)
    timeout_ms: int = TIMEOUT_MS
    retry: bool = True


@dataclass(frozen=True, slots=True)
class PythonToolSpec:
    """A Python function, called with the job's arguments by keyword.

    `function` is the name of an entry point `flowengine.tools`.
    """

    function: str
    timeout_ms: int = TIMEOUT_MS


@dataclass(frozen=True, slots=True)
class McpToolSpec:
    """A tool of an MCP server, called with the job's arguments."""

    server: str
    name: str
    timeout_ms: int = TIMEOUT_MS


@dataclass(frozen=True, slots=True)
class KnowledgeToolSpec:
    """A search in the files of a flow, for the job's `query`."""

    flow: str
    timeout_ms: int = TIMEOUT_MS


ToolSpec = HttpToolSpec | PythonToolSpec | McpToolSpec | KnowledgeToolSpec
RenderSpec = Callable[[Mapping[str, str]], ToolSpec]
"""Renders a tool's templates with the secrets; KeyError for a secret that there is not."""


class ToolRunner:
    """Runs tools for all calls of a process, over one HTTP client."""

    def __init__(
        self,
        secrets: Mapping[str, str],
        *,
        allow_private: bool = False,
        backend: GuardedBackend | None = None,
        functions: Functions | None = None,
        mcp: McpServers | None = None,
        library: Library | None = None,
    ) -> None:
        _keep_urls_out_of_logs()
        self._secrets = secrets
        self._functions = functions or Functions()
        self.mcp = mcp or McpServers({})
        self._library = library or Library()
        self._client = httpx2.AsyncClient(
            transport=GuardedTransport(backend or GuardedBackend(allow_private=allow_private)),
            trust_env=False,
            follow_redirects=False,
            # What a server sets for one caller must not be sent for the next.
            cookies=http.cookiejar.CookieJar(
                http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
            ),
            headers={"User-Agent": "flowengine", "Accept-Encoding": "gzip, deflate"},
        )

    async def run(self, job: ToolJob, spec: ToolSpec | RenderSpec) -> ToolResult:
        """Run a tool to its one outcome; never raises (but when cancelled)."""
        seen = _SeenSecrets(self._secrets)
        try:
            ready = spec(seen) if callable(spec) else spec
        except KeyError:
            return self._ended(job, ToolResult("failed", error="missing_secret"))
        except (FlowengineError, ValueError, TypeError):
            return self._ended(job, ToolResult("failed", error="not_rendered"))
        try:
            async with asyncio.timeout(ready.timeout_ms / 1000):
                match ready:
                    case HttpToolSpec():
                        result = await self._request(job, ready, seen.values_seen)
                    case PythonToolSpec(function):
                        result = await self._functions.call(function, job.arguments, MOST_BYTES)
                    case McpToolSpec(server, name):
                        result = await self.mcp.call(server, name, job.arguments, job.key)
                    case KnowledgeToolSpec(flow):
                        question = str(job.arguments.get("query") or "")
                        result = await self._library.look_up(flow, job.tool, question)
        except TimeoutError:
            result = ToolResult("timeout", error="deadline")
        except Exception as error:  # noqa: BLE001 - a tool's fault never ends a call, and its
            # traceback may hold what the caller said.
            log.error("tool_broke", tool=job.tool, key=job.key, error=type(error).__name__)
            result = ToolResult("failed", error="raised")
        return self._ended(job, result)

    def knowing(self, secrets: Mapping[str, str]) -> ToolRunner:
        """The same runner with other secrets; it shares everything else, and is not closed."""
        other = copy(self)
        other._secrets = secrets  # noqa: SLF001 - its own kind
        return other

    async def close(self) -> None:
        await self.mcp.close()
        await self._client.aclose()

    def _ended(self, job: ToolJob, result: ToolResult) -> ToolResult:
        if result.outcome != "done":
            log.warning(
                "tool_not_done",
                tool=job.tool,
                key=job.key,
                error=result.error,
                status=result.status,
            )
        return result

    async def _request(
        self, job: ToolJob, spec: HttpToolSpec, secrets: frozenset[str]
    ) -> ToolResult:
        try:
            request = self._built(job, spec)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            return ToolResult("failed", error="bad_url")
        except (ValueError, TypeError):
            return ToolResult("failed", error="bad_request")
        result, may_retry = await self._attempt(request, secrets)
        if spec.retry and may_retry:
            result, _ = await self._attempt(self._built(job, spec), secrets)
        return result

    def _built(self, job: ToolJob, spec: HttpToolSpec) -> httpx2.Request:
        url = httpx2.URL(spec.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise httpx2.UnsupportedProtocol("only http and https")
        method = spec.method.upper()
        headers = httpx2.Headers(dict(spec.headers))
        content: bytes | None = None
        if spec.body is not None:
            content = orjson.dumps(spec.body)
            headers.setdefault("Content-Type", "application/json")
        if method != "GET":
            headers.setdefault("Idempotency-Key", job.key)
        if spec.query:
            query = {name: _query_text(item) for name, item in spec.query.items()}
            url = url.copy_merge_params(query)
        return self._client.build_request(
            method,
            url,
            headers=headers,
            content=content,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
        )

    async def _attempt(
        self, request: httpx2.Request, secrets: frozenset[str]
    ) -> tuple[ToolResult, bool]:
        """One try: its result, and whether another one may help and cannot act twice."""
        is_get = request.method == "GET"
        try:
            result = await self._follow(request, secrets)
        except TargetRefused:
            return ToolResult("failed", error="target_refused"), False
        except httpx2.ConnectTimeout:
            return ToolResult("timeout", error="connect"), True
        except (httpx2.ConnectError, httpx2.PoolTimeout):
            return ToolResult("failed", error="connect"), True
        except httpx2.LocalProtocolError:
            return ToolResult("failed", error="bad_request"), False
        except httpx2.TransportError:
            return ToolResult("failed", error="dropped"), is_get
        return result, is_get and result.status in _RETRIED_STATUS

    async def _follow(self, request: httpx2.Request, secrets: frozenset[str]) -> ToolResult:
        for _ in range(_MOST_REDIRECTS + 1):
            response = await self._client.send(request, stream=True)
            try:
                following = response.next_request
                if following is None:
                    return await _read(response, secrets)
                if not _may_follow(request, response.status_code, following):
                    break
                request = following
            finally:
                await response.aclose()
        return ToolResult("failed", response.status_code, error="redirect_refused")


class _SeenSecrets(Mapping[str, str]):
    """The secrets, and which of their values a rendering took."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._values: set[str] = set()

    @property
    def values_seen(self) -> frozenset[str]:
        return frozenset(self._values)

    def __getitem__(self, name: str) -> str:
        value = self._secrets[name]
        if len(value) >= _SHORTEST_SECRET:
            self._values.add(value)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)


def _keep_urls_out_of_logs() -> None:
    # At INFO httpx2 logs each URL, at DEBUG httpcore2 the headers: a caller's number, a secret.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _query_text(value: Json) -> str | list[str]:
    if isinstance(value, (list, tuple)):
        return [str(_query_text(item)) for item in value]
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _may_follow(request: httpx2.Request, status: int, following: httpx2.Request) -> bool:
    """Only on the same host, never from https to http, and never a changed act."""
    before, after = request.url, following.url
    if before.host != after.host:
        return False
    is_upgrade = (before.scheme, after.scheme) == ("http", "https") and after.port is None
    if (before.scheme, before.port) != (after.scheme, after.port) and not is_upgrade:
        return False
    return request.method == "GET" or status in (303, 307, 308)


async def _read(response: httpx2.Response, secrets: frozenset[str]) -> ToolResult:
    """The answer as a result; at most 256 KiB, packed or not."""
    status = response.status_code
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > MOST_BYTES:
            return ToolResult("failed", status, error="too_large")
    try:
        content = _unpacked(bytes(raw), response.headers.get("Content-Encoding", ""))
    except (zlib.error, LookupError):
        return ToolResult("failed", status, error="bad_encoding")
    if content is None:
        return ToolResult("failed", status, error="too_large")
    body, error = _body(content, response, secrets)
    outcome: Literal["done", "failed"] = "done" if 200 <= status < 300 else "failed"
    return ToolResult(outcome, status, body, error or ("" if outcome == "done" else "http_status"))


def _unpacked(raw: bytes, encoding: str) -> bytes | None:
    """The content; None when it is too large unpacked."""
    match encoding.strip().lower():
        case "" | "identity":
            return raw
        case "gzip" | "x-gzip" | "deflate":
            # 47: zlib and gzip heads are told apart by zlib itself.
            unpacker = zlib.decompressobj(wbits=47)
            content = unpacker.decompress(raw, MOST_BYTES + 1)
            if not unpacker.eof and len(content) <= MOST_BYTES:
                raise zlib.error("cut off")
            return content if len(content) <= MOST_BYTES else None
        case other:
            raise LookupError(other)


def _body(content: bytes, response: httpx2.Response, secrets: frozenset[str]) -> tuple[Json, str]:
    """Body and error; a secret of ours that the server repeats does not come through."""
    if not content:
        return None, ""
    try:
        text = content.decode(response.charset_encoding or "utf-8", errors="replace")
    except LookupError:
        text = content.decode(errors="replace")
    for secret in secrets:
        text = text.replace(secret, "***")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return text, ""
    try:
        return orjson.loads(text), ""
    except ValueError:
        return text, "bad_json"
