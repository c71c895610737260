"""Python functions as tools: found by name, called off the loop, their results as plain JSON.

Only what an installed package offers as an entry point `flowengine.tools` is a tool: a flow may
come from somebody who must not run code of his choice here.

An async function is awaited on the event loop; any other runs in a thread of its own, so that one
that hangs keeps no other from running and does not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

import orjson
import structlog

from flowengine.events import Json
from flowengine.ports import ToolResult

GROUP = "flowengine.tools"
AT_ONCE = 32
"""Threads that run functions at the same time; more wait, within their own time limit."""

log = structlog.get_logger(__name__)


class Functions:
    """The functions that flows call, looked up once each."""

    def __init__(
        self, at_once: int = AT_ONCE, *, find: Callable[[str], Callable[..., Any]] | None = None
    ) -> None:
        self._find = find or installed
        self._found: dict[str, Callable[..., Any]] = {}
        self._places = asyncio.Semaphore(at_once)

    async def call(self, name: str, arguments: Mapping[str, Json], most_bytes: int) -> ToolResult:
        """Call a function with keyword arguments; its fault is a result, not an exception."""
        function = self._found.get(name)
        if function is None:
            try:
                function = await self._in_thread(lambda: _callable(self._find(name)))
            except _Raised as raised:
                log.warning("tool_not_found", function=name, error=raised.kind)
                return ToolResult("failed", error="no_such_function")
            self._found[name] = function
        try:
            if inspect.iscoroutinefunction(function):
                value = await _awaited(function, arguments)
            else:
                value = await self._in_thread(lambda: function(**arguments))
        except _Raised as raised:
            # Neither the message nor the traceback: they may hold what the caller said.
            log.warning("tool_raised", function=name, error=raised.kind)
            return ToolResult("failed", error="raised")
        return _as_json(value, most_bytes)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """Run `work` in a daemon thread; raises _Raised for whatever it raises."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def settle(value: Any, raised: _Raised | None) -> None:
            self._places.release()
            if answer.done():
                return
            if raised is None:
                answer.set_result(value)
            else:
                answer.set_exception(raised)

        def run() -> None:
            value: Any = None
            raised: _Raised | None = None
            try:
                value = context.run(work)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - any fault is the function's
                raised = _Raised(type(error).__name__)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, value, raised)

        try:
            threading.Thread(target=run, name="flowengine-tool", daemon=True).start()
        except RuntimeError as error:
            self._places.release()
            raise _Raised("no thread") from error
        return await answer


def offered_functions() -> list[tuple[str, str]]:
    """Name and package of every function that installed packages offer; imports nothing."""
    return sorted(
        (found.name, found.dist.name if found.dist is not None else "")
        for found in entry_points(group=GROUP)
    )


def is_offered(name: str) -> bool:
    """Whether an installed package offers a function of this name; imports nothing."""
    return bool(name and entry_points(group=GROUP, name=name))


def installed(name: str) -> Callable[..., Any]:
    """The function of an entry point `flowengine.tools`; raises as imports do."""
    if not is_offered(name):
        raise LookupError("no such entry point")
    return _callable(next(iter(entry_points(group=GROUP, name=name))).load())


def _callable(target: Any) -> Callable[..., Any]:
    if not callable(target):
        raise TypeError("not a function")
    found: Callable[..., Any] = target
    return found


class _Raised(Exception):
    """A function raised an exception of this kind."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


async def _awaited(function: Callable[..., Any], arguments: Mapping[str, Json]) -> Any:
    try:
        return await function(**arguments)
    except (Exception, SystemExit) as error:
        raise _Raised(type(error).__name__) from error


def _as_json(value: Any, most_bytes: int) -> ToolResult:
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return ToolResult("failed", error="not_json")
    if len(text) > most_bytes:
        return ToolResult("failed", error="too_large")
    return ToolResult("done", body=orjson.loads(text))
