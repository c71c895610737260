"""The tools of a simulated call: results by name, or the functions themselves."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from flowengine.events import Json, ToolEnded
from flowengine.ports import ToolResult
from flowengine.runtime.effects import RunTool
from flowengine.testing.timeline import Timeline

TOOL_MS = 200


@dataclass(frozen=True, slots=True)
class ToolStalls:
    """The tool never answers; the engine's own limit ends it."""


Tools = Mapping[str, Any]
"""By name: a `ToolResult`, `ToolStalls()`, a plain value (the result's body), or a function that
is given the arguments by keyword and returns one of these; it may be async. What a function
raises is the tool's failure `raised`."""


class SimulatedTools:
    """Runs tools, each to its one outcome, after a moment of virtual time."""

    def __init__(
        self, timeline: Timeline, report: Callable[[ToolEnded], None], tools: Tools
    ) -> None:
        self._timeline = timeline
        self._report = report
        self._tools = tools

    def run(self, effect: RunTool) -> None:
        result = self._result(effect)
        if isinstance(result, ToolStalls):
            return
        event = ToolEnded(
            effect.key, result.outcome, result.status, result.body, result.error, TOOL_MS
        )
        self._timeline.after(TOOL_MS, lambda: self._report(event))

    def _result(self, effect: RunTool) -> ToolResult | ToolStalls:
        if effect.tool not in self._tools:
            known = ", ".join(sorted(self._tools)) or "none"
            message = f"the tool {effect.tool!r} was called and is not scripted (there is: {known})"
            raise LookupError(message)
        found = self._tools[effect.tool]
        if callable(found) and not isinstance(found, (ToolResult, ToolStalls)):
            try:
                found = _called(found, effect.arguments)
            except Exception as error:  # noqa: BLE001 - any fault is the function's own outcome
                return ToolResult("failed", error=f"raised {type(error).__name__}")
        if isinstance(found, (ToolResult, ToolStalls)):
            return found
        return ToolResult("done", 200, orjson.loads(orjson.dumps(found)))


def _called(function: Callable[..., Any], arguments: Mapping[str, Json]) -> Any:
    value = function(**arguments)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value
