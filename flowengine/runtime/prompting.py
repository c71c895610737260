"""What the LLM is asked: the request of one dialog turn, and of an extraction.

Pure. The LLM gets persona, the node's prompt, the known values that are not sensitive, then the
heard conversation; and as tools `take_edge`, `note` and the tools of the node, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowengine.flow.cel_values import local
from flowengine.flow.tools import McpTool
from flowengine.flow.variables import Variable
from flowengine.nodes.stage import Extract, Think
from flowengine.ports import LlmMessage, LlmRequest, LlmTool
from flowengine.runtime.context import Context
from flowengine.runtime.tool_inputs import object_schema

TAKE_EDGE = "take_edge"
NOTE = "note"
DONE = "done"

_MANNERS = (
    "You are speaking with a caller on the telephone. What you write is read aloud: use short "
    "spoken sentences, no lists, no markup, no emoji. Ask one thing at a time. Never invent facts."
)
_EDGES = (
    f"Before you write any text, decide whether what the caller meant is one of the edges of "
    f"`{TAKE_EDGE}`. If it is, call `{TAKE_EDGE}` first, with the caller's own words as the quote, "
    f"and write no text. If it is not, do not call it."
)
_NOTES = f"As soon as the caller gives one of the values, call `{NOTE}` with it."


@dataclass(frozen=True, slots=True)
class IntentInForce:
    """An intent edge that may be taken now, under the id by which it is known to the LLM."""

    id: str
    intent: str
    examples: tuple[str, ...]
    not_examples: tuple[str, ...]
    depth: int
    """The frame that it belongs to, counted from the outermost."""


def dialog_request(
    context: Context,
    think: Think,
    intents: Sequence[IntentInForce],
    *,
    edges_allowed: bool,
    may_call: bool = True,
) -> LlmRequest:
    """The request of one dialog turn; `may_call` False: the answer is to be words."""
    settings = context.settings()
    llm = context.llm
    frame = context.frame
    names = (*think.collect, *think.also)
    variables = {name: frame.program.flow.variables[name] for name in names}
    tools = []
    with_edges = edges_allowed and (intents or think.until)
    if with_edges:
        tools.append(_take_edge(intents, think.until))
    if variables:
        tools.append(_note(variables))
    tools += [_flow_tool(context, name) for name in think.tools]
    persona = settings.persona and frame.program.render_string(settings.persona, context.scope())
    paragraphs = [
        persona or "",
        _MANNERS,
        think.prompt,
        f"Speak {context.spoken_language}. {_now(context)}",
        _wanted(context, think),
        _EDGES if with_edges else "",
        _NOTES if variables else "",
    ]
    if think.opening:
        paragraphs.append("Nobody has spoken yet: open the conversation.")
    system = LlmMessage("system", "\n\n".join(item for item in paragraphs if item))
    history = context.conversation.messages(think.memory, context.node_entry)
    if not history:
        history = (LlmMessage("user", "(The caller is on the line.)"),)
    return LlmRequest(
        model=(llm and llm.model) or "",
        messages=(system, *history),
        tools=tuple(tools),
        options=dict(llm.settings) if llm else {},
        may_call=may_call,
    )


def extract_request(context: Context, extract: Extract) -> LlmRequest:
    """The request that fills variables from the conversation so far."""
    variables = {name: context.frame.program.flow.variables[name] for name in extract.values}
    system = (
        f"Read this telephone conversation and call `{NOTE}` once with the values that it holds. "
        f"Leave out what was not said. {extract.prompt}"
    )
    llm = context.llm
    return LlmRequest(
        model=(llm and llm.model) or "",
        messages=(
            LlmMessage("system", system.strip()),
            LlmMessage("user", context.conversation.transcript() or "(Nothing was said.)"),
        ),
        tools=(_note(variables),),
        options=dict(llm.settings) if llm else {},
    )


def compose_request(context: Context, prompt: str) -> LlmRequest:
    """The request for words that a Text leaves to the LLM."""
    settings = context.settings()
    llm = context.llm
    persona = settings.persona and context.program.render_string(settings.persona, context.scope())
    system = "\n\n".join(
        item
        for item in (persona or "", _MANNERS, f"Speak {context.spoken_language}.", prompt)
        if item
    )
    history = context.conversation.messages("all", context.node_entry)
    return LlmRequest(
        model=(llm and llm.model) or "",
        messages=(LlmMessage("system", system), *history, LlmMessage("user", "(Say it now.)")),
        options=dict(llm.settings) if llm else {},
    )


def _now(context: Context) -> str:
    """The date and the hour where the flow is at home; no minutes, so that prompts stay cached."""
    now = local(context.wall, context.settings().timezone or "UTC")
    return f"Today is {now:%A, %Y-%m-%d}, about {now:%H} o'clock."


def _wanted(context: Context, think: Think) -> str:
    """Which values are known, and which are still to be found out."""
    frame = context.frame
    lines = []
    for name, variable in frame.program.flow.variables.items():
        value = frame.values.get(name)
        if value is not None and not variable.sensitive:
            lines.append(f"Known: {name} = {json.dumps(value, ensure_ascii=False)}")
    missing = [name for name in think.collect if frame.values.get(name) is None]
    if missing:
        lines.append("Still to find out: " + ", ".join(missing) + ".")
    if think.until:
        lines.append(f"The goal: {think.until}")
    return "\n".join(lines)


def _take_edge(intents: Sequence[IntentInForce], until: str) -> LlmTool:
    meanings = [f"{item.id}: {_meaning(item)}" for item in intents]
    ids = [item.id for item in intents]
    if until:
        ids.append(DONE)
        meanings.append(f"{DONE}: the goal is reached ({until}); needs no quote")
    return LlmTool(
        TAKE_EDGE,
        "Leave this part of the conversation by an edge. " + " | ".join(meanings),
        {
            "type": "object",
            "properties": {
                "edge": {"type": "string", "enum": ids},
                "quote": {
                    "type": "string",
                    "description": "The caller's own words that show it, copied exactly.",
                },
            },
            "required": ["edge", "quote"],
            "additionalProperties": False,
        },
    )


def _meaning(item: IntentInForce) -> str:
    meaning = item.intent
    if item.examples:
        meaning += f" (such as: {'; '.join(item.examples)})"
    if item.not_examples:
        meaning += f" (not: {'; '.join(item.not_examples)})"
    return meaning


def _note(variables: Mapping[str, Variable]) -> LlmTool:
    return LlmTool(
        NOTE,
        "Note values that the caller gave.",
        object_schema(variables, partial=True),
    )


def _flow_tool(context: Context, name: str) -> LlmTool:
    tool = context.frame.program.flow.tools[name]
    offer = context.server.offers.get(tool.target) if isinstance(tool, McpTool) else None
    if offer is None or not tool.describes_itself:
        said = tool.description or (offer and offer.description) or name
        return LlmTool(name, said, object_schema(tool.input))
    return LlmTool(name, tool.description or offer.description or name, offer.parameters)
