"""MCP servers as tools: real servers made with the official package, over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount

from flowengine.errors import ConfigError
from flowengine.events import Json
from flowengine.flow.tools import McpTool
from flowengine.ports import ToolJob, ToolResult
from flowengine.runtime.mcp_servers import McpServers
from flowengine.runtime.tools import McpToolSpec, ToolRunner
from flowengine.settings import McpServer
from flowengine.testing.providers.serving import FakeVendor

pytest.importorskip("mcp")
from tests.runtime.mcp_book import book

pytestmark = [pytest.mark.api, pytest.mark.anyio]

BOOK = {
    "command": sys.executable,
    "args": [str(Path(__file__).with_name("mcp_book.py"))],
    "env": {"BOOK": "red"},
}


def tool(name: str = "find", server: str = "book") -> tuple[McpTool, str]:
    written = {"kind": "mcp", "server": server, "name": name}
    return McpTool.model_validate(written), f"desk: /tools/{name}"


def servers(document: Mapping[str, Any] = BOOK, **more: Any) -> McpServers:
    return McpServers({"book": McpServer.model_validate(document)}, **more)


@asynccontextmanager
async def over_stdio() -> AsyncIterator[McpServers]:
    made = servers()
    try:
        yield made
    finally:
        await made.close()


class Web:
    """The server over HTTP on loopback."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def start(self) -> None:
        app = book().streamable_http_app(**self._settings)

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            self.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})
            await app(scope, receive, send)

        vendor = FakeVendor([Mount("/", noted)])
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        await self._stack.enter_async_context(vendor)
        self.url = f"{vendor.url}/mcp"

    async def stop(self) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def over_http(**settings: Any) -> AsyncIterator[McpServers]:
    web = Web(**settings)
    await web.start()
    made = servers({"url": web.url, "private": True, "headers": {"Authorization": "Bearer hush"}})
    try:
        yield made
        assert all(sent.get("authorization") == "Bearer hush" for sent in web.headers)
    finally:
        await made.close()
        await web.stop()


WAYS: dict[str, Callable[[], AbstractAsyncContextManager[McpServers]]] = {
    "stdio": over_stdio,
    "http": over_http,
    "http_json": lambda: over_http(json_response=True, stateless_http=True),
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_server_offers_and_answers(way: str) -> None:
    async with WAYS[way]() as made:
        offers = await made.start([tool(), tool("greet")])
        assert set(offers) == {"book/find", "book/greet"}
        find = offers["book/find"]
        assert find.description == "Finds an account by its phone number."
        assert set(find.parameters["properties"]) == {"phone", "limit"}
        assert find.parameters["required"] == ["phone"]
        found = [
            await made.call("book", name, arguments, "key-1")
            for name, arguments in (
                ("find", {"phone": "+14155550100", "limit": None}),
                ("greet", {"name": "Ada"}),
                ("as_text", {}),
            )
        ]
        assert found == [
            ToolResult("done", body={"id": 1, "name": "Ada"}),
            ToolResult("done", body="Hello Ada"),
            ToolResult("done", body={"tables": [1, 2]}),
        ]
        assert "key-1" in (await made.call("book", "whoami", {}, "key-1")).body


@pytest.mark.parametrize("way", ["stdio", "http"])
@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("find", {"phone": "+10000000000"}, "tool_error", "no account"),
        ("find", {"limit": "many"}, "tool_error", "phone"),
        ("nothing", {}, "", "nothing"),
        ("large", {}, "too_large", ""),
    ],
)
async def test_what_goes_wrong_is_the_tools_outcome(
    way: str, name: str, arguments: dict[str, Json], error: str, words: str
) -> None:
    async with WAYS[way]() as made:
        result = await made.call("book", name, arguments, "k")
        assert result.outcome == "failed"
        assert result.error == error or (
            not error and result.error in ("tool_error", "mcp_refused")
        )
        assert words in str(result.body or "")
        assert (await made.call("book", "greet", {"name": "Bo"}, "k")).body == "Hello Bo"


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_tool_that_does_not_answer_is_ended_by_its_own_time(way: str) -> None:
    async with WAYS[way]() as made:
        await made.start([tool()])
        runner = ToolRunner({}, mcp=made)
        job = ToolJob("k", "wait", {})
        result = await runner.run(job, McpToolSpec("book", "endless", timeout_ms=100))
        assert result == ToolResult("timeout", error="deadline")
        after = await runner.run(job, McpToolSpec("book", "as_text"))
        assert after.body == {"tables": [1, 2]}
        await runner.close()


async def test_calls_share_one_session_and_run_side_by_side() -> None:
    async with over_stdio() as made:
        slow = asyncio.create_task(made.call("book", "endless", {}, "k0"))
        told = await asyncio.gather(*(made.call("book", "whoami", {}, f"k{n}") for n in range(5)))
        words = [result.body.split() for result in told]
        assert len({pid for pid, _, _ in words}) == 1
        assert [key for _, key, _ in words] == [f"k{n}" for n in range(5)]
        assert {color for _, _, color in words} == {"red"}
        assert not slow.done()
        slow.cancel()


async def test_a_server_that_ended_is_started_again() -> None:
    async with over_stdio() as made:
        pid = int((await made.call("book", "whoami", {}, "k")).body.split()[0])
        dropped = await made.call("book", "leave", {}, "k")
        assert dropped == ToolResult("failed", error="dropped"), "it may have acted: no second try"
        again = int((await made.call("book", "whoami", {}, "k")).body.split()[0])
        assert again != pid
        session = made._sessions["book"]._held
        assert session is not None
        os.kill(again, signal.SIGKILL)
        await session.ended.wait()
        third = await made.call("book", "greet", {"name": "Ada"}, "k")
        assert third.body == "Hello Ada"


async def test_a_server_over_http_that_is_away_is_no_connection() -> None:
    web = Web()
    await web.start()
    made = servers({"url": web.url, "private": True})
    assert (await made.call("book", "greet", {"name": "Ada"}, "k")).outcome == "done"
    await web.stop()
    away = await made.call("book", "greet", {"name": "Ada"}, "k")
    assert away == ToolResult("failed", error="connect")
    await made.close()


async def test_a_session_that_the_server_forgot_is_opened_again() -> None:
    old, new = book().streamable_http_app(), book().streamable_http_app()
    served = [old]

    async def routed(scope: Any, receive: Any, send: Any) -> None:
        await served[0](scope, receive, send)

    async with (
        old.router.lifespan_context(old),
        new.router.lifespan_context(new),
        FakeVendor([Mount("/", routed)]) as vendor,
    ):
        made = servers({"url": f"{vendor.url}/mcp", "private": True})
        assert (await made.call("book", "greet", {"name": "Ada"}, "k")).outcome == "done"
        served[0] = new
        assert (await made.call("book", "greet", {"name": "Bo"}, "k")).body == "Hello Bo"
        await made.close()


async def test_nothing_is_left_of_a_program_after_the_end() -> None:
    made = servers()
    pid = int((await made.call("book", "whoami", {}, "k")).body.split()[0])
    await made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# --- what the start says ---


async def code_of(made: McpServers, *wanted: tuple[McpTool, str]) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        await made.start(wanted)
    await made.close()
    return caught.value.code, str(caught.value)


async def test_a_server_or_tool_that_there_is_not_is_named() -> None:
    code, words = await code_of(servers(), tool(server="crm"))
    assert code == "unknown_mcp_server"
    assert "'crm'" in words
    assert "book" in words
    code, words = await code_of(servers(), tool("finde"))
    assert code == "unknown_mcp_tool"
    assert "desk: /tools/finde" in words
    assert "find," in words


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"command": "there-is-no-such-program"}, "connect"),
        ({"command": sys.executable, "args": ["-c", "pass"]}, "dropped"),
        ({"url": "http://127.0.0.1:9/mcp", "private": True}, "connect"),
        ({"url": "http://127.0.0.1:9/mcp"}, "target_refused"),
        ({"url": "http://localhost:9/mcp"}, "target_refused"),
    ],
)
async def test_a_server_that_cannot_be_opened_is_named(
    document: dict[str, Any], reason: str
) -> None:
    code, words = await code_of(servers(document), tool())
    assert code == "mcp_not_opened"
    assert reason in words
    assert "FLOWENGINE_MCP_SERVERS: book" in words


async def test_a_server_that_says_nothing_is_given_up() -> None:
    silent = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    code, words = await code_of(servers(silent, open_s=0.3), tool())
    assert (code, "deadline" in words) == ("mcp_not_opened", True)


async def test_without_the_package_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    code, words = await code_of(servers(), tool())
    assert code == "missing_extra"
    assert "flowengine[mcp]" in words
