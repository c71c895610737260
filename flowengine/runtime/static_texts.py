"""What of a flow is said the same way in every call: its static prompts and its recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class StaticText:
    """A fragment without `{{ }}`, a node whose voice says it, and in which language."""

    text: str
    node: NodeId
    language: str


def static_texts(program: Program) -> list[StaticText]:
    """What is the same in every call, once for each node and language that says it."""
    flow = program.flow
    start = NodeId(flow.start)
    found: dict[StaticText, None] = {}
    for name, node in flow.nodes.items():
        if node.speaks or node.listens:
            for part in (node, flow.defaults):
                found |= dict.fromkeys(_fragments(program, part, NodeId(name)))
    for variable in flow.variables.values():
        found |= dict.fromkeys(_fragments(program, variable, start))
    languages = sorted({item.language for item in found})
    for name, node in flow.nodes.items():
        for language in languages if node.thinks else ():
            found[StaticText(phrases.one_moment(language), NodeId(name), language)] = None
    language = _language(program, start)
    for words in phrases.cut_off(language):
        if isinstance(words, Words):
            found[StaticText(words.text, start, language)] = None
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


def _language(program: Program, node: NodeId) -> str:
    return program.settings(node).language or "en-US"


def _fragments(program: Program, part: BaseModel, node: NodeId) -> Iterator[StaticText]:
    if isinstance(part, Defaults) and part.retry is None:
        return
    for found in references(part, ""):
        if found.marker.name == "text" and not _UNSPOKEN.search(found.path):
            for text, language in _said(found.value, _language(program, node)):
                for fragment in split(text):
                    if not fragment.is_expression and fragment.text.strip():
                        yield StaticText(fragment.text, node, language)


def _said(text: Json, language: str) -> Iterator[tuple[str, str]]:
    """The templates inside a Text that are said as they stand, each with its language."""
    if isinstance(text, str):
        yield text, language
    elif isinstance(text, Mapping):
        if "text" in text:
            yield from _said(text["text"], language)
        elif not text.keys() & {"audio", "prompt"}:
            for key, item in text.items():
                yield from _said(item, key)
    elif isinstance(text, (list, tuple)):
        for item in text:
            yield from _said(item, language)


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
