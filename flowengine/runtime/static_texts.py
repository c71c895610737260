"""What of a flow is said the same way in every call: its static prompts and its recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from flowengine.events import Json
from flowengine.flow.defaults import Defaults
from flowengine.flow.parts import Words
from flowengine.flow.paths import root
from flowengine.flow.program import Program
from flowengine.flow.references import references
from flowengine.flow.templates import split
from flowengine.ids import NodeId
from flowengine.runtime import phrases

_UNSPOKEN = re.compile(
    r"\.(prompt|persona|to|press|show|disposition|digits|resume|stt|llm|tts)(?=[.\[]|$)"
)
"""Settings that are templates, or hold them, and are not said to the caller."""


def static_texts(program: Program) -> list[tuple[str, NodeId]]:
    """Fragments without `{{ }}`, each with a node whose voice says it."""
    flow = program.flow
    start = NodeId(flow.start)
    found: dict[tuple[str, NodeId], None] = {}
    for name, node in flow.nodes.items():
        if node.speaks or node.listens:
            for text in (*_fragments(node), *_fragments(flow.defaults)):
                found[text, NodeId(name)] = None
    for variable in flow.variables.values():
        for text in _fragments(variable):
            found[text, start] = None
    for part in phrases.cut_off(program.settings(start).language or "en-US"):
        if isinstance(part, Words):
            found[part.text, start] = None
    return list(found)


def audio_names(program: Program) -> list[str]:
    """The recordings that a flow and its sub-flows play."""
    found: dict[str, None] = {}
    for part in (*program.flow.nodes.values(), program.flow.defaults):
        for reference in references(part, root):
            if reference.marker.name == "text":
                found.update(dict.fromkeys(_audio(reference.value)))
    for inner in program.subflows.values():
        found.update(dict.fromkeys(audio_names(inner)))
    return list(found)


def _fragments(part: BaseModel) -> Iterator[str]:
    if isinstance(part, Defaults) and part.retry is None:
        return
    for found in references(part, ""):
        if found.marker.name == "template" and not _UNSPOKEN.search(found.path):
            for fragment in split(found.value):
                if not fragment.is_expression and fragment.text.strip():
                    yield fragment.text


def _audio(text: Json) -> Iterator[str]:
    """The recordings inside a Text."""
    if isinstance(text, Mapping):
        if isinstance(text.get("audio"), str):
            yield text["audio"]
        else:
            for item in text.values():
                yield from _audio(item)
    elif isinstance(text, (list, tuple)):
        for item in text:
            yield from _audio(item)
