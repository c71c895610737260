"""From a flow's tool and the actor's `RunTool` to what the tool runner runs.

Templates are rendered only when the runner asks, with the secrets, so that nothing of a request is
kept anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flowengine.flow.program import Program
from flowengine.flow.tools import HttpTool, KnowledgeTool, PythonTool
from flowengine.flow.types import duration_ms
from flowengine.ports import ToolJob, ToolResult
from flowengine.runtime.effects import RunTool
from flowengine.runtime.tools import (
    TIMEOUT_MS,
    HttpToolSpec,
    KnowledgeToolSpec,
    McpToolSpec,
    PythonToolSpec,
    ToolRunner,
)


async def run_tool(runner: ToolRunner, program: Program, effect: RunTool) -> ToolResult:
    """Run a tool of the flow, or of the sub-flow, that asked for it."""
    owner = program if effect.flow == program.flow.id else _subflow(program, effect.flow)
    tool = None if owner is None else owner.flow.tools.get(effect.tool)
    job = ToolJob(effect.key, effect.tool, effect.arguments)
    if owner is None or tool is None:
        return ToolResult("failed", error="no_such_tool")
    timeout_ms = duration_ms(tool.timeout) if tool.timeout else TIMEOUT_MS
    if isinstance(tool, HttpTool):
        return await runner.run(
            job, lambda secrets: _request(owner, tool, effect, timeout_ms, secrets)
        )
    if isinstance(tool, PythonTool):
        return await runner.run(job, PythonToolSpec(tool.function, timeout_ms))
    if isinstance(tool, KnowledgeTool):
        return await runner.run(job, KnowledgeToolSpec(effect.flow, timeout_ms))
    return await runner.run(job, McpToolSpec(tool.server, tool.name, timeout_ms))


def _subflow(program: Program, flow_id: str) -> Program | None:
    """A flow below this one, at any depth."""
    for name, inner in program.subflows.items():
        if name == flow_id:
            return inner
        found = _subflow(inner, flow_id)
        if found is not None:
            return found
    return None


def _request(
    program: Program, tool: HttpTool, effect: RunTool, timeout_ms: int, secrets: Mapping[str, str]
) -> HttpToolSpec:
    scope = replace(effect.scope, tool_input=effect.arguments, secrets=secrets)

    def text(template: str) -> str:
        value = program.render_request(effect.tool, template, scope)
        return "" if value is None else str(value)

    query = program.render_request(effect.tool, tool.query, scope)
    return HttpToolSpec(
        method=tool.method,
        url=text(tool.url),
        query={name: value for name, value in query.items() if value is not None},
        headers={name: text(value) for name, value in tool.headers.items()},
        body=None if tool.body is None else program.render_request(effect.tool, tool.body, scope),
        timeout_ms=timeout_ms,
        retry=tool.retry > 0 or tool.method == "GET",
    )
