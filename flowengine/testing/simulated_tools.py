"""The tools of a simulated call: results by name, or the functions themselves."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from flowengine.errors import FlowengineError
from flowengine.events import Json, ToolEnded
from flowengine.ports import ToolResult
from flowengine.runtime.effects import RunTool
from flowengine.testing.timeline import Timeline

TOOL_MS = 200


@dataclass(frozen=True, slots=True)
class ToolStalls:
    """The tool never answers; the engine's own limit ends it."""


class ToolNotScripted(FlowengineError):
    """A simulated call wanted a tool that the test does not have."""


Tools = Mapping[str, Any]
"""By name: a `ToolResult`, `ToolStalls()`, a plain value (the result's body), or a function that
is given the arguments by keyword and returns one of these; it may be async. What a function
raises is the tool's failure `raised`."""


class SimulatedTools:
    """Runs tools, each to its one outcome, after a moment of virtual time."""

    def __init__(
        self,
        timeline: Timeline,
        report: Callable[[ToolEnded], None],
        tools: Tools,
        others: Callable[[RunTool], ToolResult],
    ) -> None:
        """`others` runs the tools that are not among `tools`."""
        self._timeline = timeline
        self._report = report
        self._tools = tools
        self._others = others

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
            return self._others(effect)
        found = self._tools[effect.tool]
        if callable(found) and not isinstance(found, (ToolResult, ToolStalls)):
            try:
                found = _called(found, effect.arguments)
            except Exception as error:  # noqa: BLE001 - any fault is the function's own outcome
                return ToolResult("failed", error=f"raised {type(error).__name__}")
        if isinstance(found, (ToolResult, ToolStalls)):
            return found
        return ToolResult("done", 200, orjson.loads(orjson.dumps(found)))


def not_scripted(effect: RunTool) -> ToolResult:
    """What a tool that a test forgot does: fail the test, not the call."""
    raise ToolNotScripted(
        "tool_not_scripted",
        f"The tool {effect.tool!r} was called and the simulation has none of that name.",
        where=effect.flow,
        fix=f"Give simulate(…, tools={{{effect.tool!r}: …}}).",
    )


def _called(function: Callable[..., Any], arguments: Mapping[str, Json]) -> Any:
    value = function(**arguments)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value
