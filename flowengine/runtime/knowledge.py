"""The knowledge of a flow: files that its `knowledge` tools search, indexed before any call.

Each tool has an index of its own, an FTS5 table in memory: ranks are by bm25, and what is rare is
rare among the files of that tool. It is made when the flow is loaded. A server whose store is
PostgreSQL indexes there (`store.passages`). A search runs on a thread, so
that no call waits for another's.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from flowengine.flow.checks.codes import CODES
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_index, at_key, root
from flowengine.flow.tools import KnowledgeTool
from flowengine.ports import ToolResult
from flowengine.runtime.passages import KINDS, Passage, passages

MOST_FILE_BYTES = 2 * 1024 * 1024
MOST_FOUND = 3
MOST_QUERY_WORDS = 30
_SHORTEST_STEM = 4
_ENDING = 3
"""So many letters of a long word may be its ending ("delivery", "deliver")."""

_STOP_WORDS = frozenset(
    """
    a about also am an and any anything are as at be been but by can could did do does doing don for
    from get give go going got had has have having hello help hey hi how i if in into is it its just
    know let like ll m me might my need no not now of off oh ok okay on one or our out please
    possible re really s say see shall should so some someone something speak t take talk tell than
    thank thanks that the their them then there these they this those to too uh um us use ve very
    want wanted was we well were what whats when where which who whom whose why will with wonder
    wondering would yes yet you your yours
    aber am auch auf bei bin bis bitte da dass dem den der doch du ein eine einen einer eines er es
    für gibt habe haben ich ihr ihre im ist ja kann kannst können man mein meine mich mir mit möchte
    nach nicht noch nur oder sie sind um und uns von wann warum welche welcher wenn wer werden wie
    wieviel will wir wird wo zu zum zur
    au aux avec avez ce ces cette combien comment dans de des du elle est et êtes faire il ils je la
    le les leur ma mais mes mon nous ou où par pour pourquoi quand que quel quelle quelles quels qui
    quoi sa se ses sont sur un une vos votre vous y
    al como con cual cuál cuáles cuando cuándo cuanto cuánto del dónde donde el ella en esta está
    este hay las lo los mi mis nos o para pero porque qué quiero si su sus tengo tiene una usted
    een het hoe ik je kunnen maar met mijn naar niet te u uw van voor waar wanneer wat welke wie wil
    zijn
    """.split()
)
"""What a spoken question holds beside what it asks for, in English, German, French, Spanish, Dutch;
a word that means something in another of them ("die", "hat", "son") is not here."""


class Source(Protocol):
    """Passages that can be searched."""

    def search(self, question: str, most: int) -> list[Passage]:
        """The best passages for a question in a caller's words, best first; called on a thread."""
        ...


class FilesIndex:
    """A source in SQLite's FTS5."""

    def __init__(self, found: Iterable[Passage]) -> None:
        self._lock = threading.Lock()
        self._store = sqlite3.connect(":memory:", check_same_thread=False)
        self._store.execute(
            "CREATE VIRTUAL TABLE passage USING fts5(file UNINDEXED, heading, text,"
            " tokenize = 'porter unicode61 remove_diacritics 2', prefix = '3 4 5')"
        )
        rows = ((item.file, item.heading, item.text) for item in found)
        with self._store:
            self._store.executemany("INSERT INTO passage VALUES (?, ?, ?)", rows)
            self._store.execute("INSERT INTO passage(passage) VALUES ('optimize')")

    def search(self, question: str, most: int) -> list[Passage]:
        """Passages with all of the words first, then those with some."""
        words = words_of(question)
        if not words:
            return []
        whole = " AND ".join(_any_of([word]) for word in words)
        some = " OR ".join(_any_of(forms_of(word)) for word in words)
        found: dict[Passage, None] = {}
        with self._lock:
            for query in (whole, some):
                if len(found) < most:
                    found.update(dict.fromkeys(self._matching(query, most)))
        return list(found)[:most]

    def _matching(self, query: str, most: int) -> Iterator[Passage]:
        rows = self._store.execute(
            "SELECT file, heading, text FROM passage WHERE passage MATCH ?"
            " ORDER BY bm25(passage, 0.0, 2.0, 1.0), rowid LIMIT ?",
            (query, most),
        )
        return (Passage(*row) for row in rows)


class Library:
    """The sources of a flow and of those that it calls, by flow and tool."""

    def __init__(self, sources: Mapping[tuple[str, str], Source] | None = None) -> None:
        self._sources = dict(sources or {})

    @classmethod
    def of_files(
        cls,
        flows: Iterable[tuple[Flow, Path]],
        index: Callable[[Iterable[Passage]], Source] = FilesIndex,
    ) -> Library:
        """Index the files of flows, each with the folder that its files lie in.

        They were checked by `file_findings`; one that has gone since is left out.
        """
        return cls(
            {
                (flow.id, name): index(_passages_of(tool, folder))
                for flow, folder in flows
                for name, tool in knowledge_tools(flow)
            }
        )

    async def look_up(self, flow: str, tool: str, question: str) -> ToolResult:
        """What a tool found; to find nothing is an answer too."""
        source = self._sources.get((flow, tool))
        if source is None:
            return ToolResult("failed", error="no_such_tool")
        return await asyncio.to_thread(_found, source, question)

    def tools(self, flow: str) -> dict[str, Callable[..., ToolResult]]:
        """The tools of a flow as functions of `query`, for calls that are simulated."""
        return {
            name: lambda query="", source=source: _found(source, query)
            for (owner, name), source in self._sources.items()
            if owner == flow
        }


def knowledge_tools(flow: Flow) -> Iterator[tuple[str, KnowledgeTool]]:
    """The tools of a flow that search files, by name."""
    for name, tool in flow.tools.items():
        if isinstance(tool, KnowledgeTool):
            yield name, tool


def file_findings(flow: Flow, folder: Path) -> Iterator[Finding]:
    """What is wrong with the files of a flow's knowledge."""
    for name, tool in knowledge_tools(flow):
        path = f"{at_key(f'{root}.tools', name)}.files"
        for place, file in enumerate(tool.files):
            wrong = _wrong_with(file, folder)
            if wrong is not None:
                code, message, fix = wrong
                yield Finding(code, CODES[code].severity, at_index(path, place), message, fix)


def _wrong_with(file: str, folder: Path) -> tuple[str, str, str] | None:
    if not file.endswith(KINDS):
        message = f"Nothing can be read from {file!r}."
        fix = f"Give its text as one of {', '.join(KINDS)}."
        return "bad_knowledge_file", message, fix
    path = _inside(file, folder)
    if path is None:
        message = f"There is no file {file!r} in the flow's folder."
        return "no_knowledge_file", message, "Put it there; a path begins at the flow's file."
    if path.stat().st_size > MOST_FILE_BYTES:
        limit = MOST_FILE_BYTES // 1024 // 1024
        return "knowledge_too_large", f"{file!r} is larger than {limit} MiB.", "Split it."
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "bad_knowledge_file", f"{file!r} is not UTF-8.", "Save it as UTF-8."
    if next(passages(file, text), None) is None:
        return "bad_knowledge_file", f"{file!r} holds no words.", "Fill it, or drop it."
    return None


def _inside(file: str, folder: Path) -> Path | None:
    """A file of the flow's folder; what leads out of it, by whatever way, is none."""
    path = (folder / file).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _passages_of(tool: KnowledgeTool, folder: Path) -> Iterator[Passage]:
    for file in tool.files:
        path = _inside(file, folder)
        if path is not None:
            yield from passages(file, path.read_text(encoding="utf-8-sig"))


def _found(source: Source, question: str) -> ToolResult:
    found = source.search(question, MOST_FOUND)
    return ToolResult(
        "done",
        body={
            "passages": [
                {"file": item.file, "heading": item.heading, "text": item.text} for item in found
            ]
        },
    )


def words_of(question: str) -> Sequence[str]:
    """The words of a question that can be looked for; all of them if none is worth more."""
    words = list(dict.fromkeys(re.findall(r"\w+", question.casefold())))
    telling = [word for word in words if word not in _STOP_WORDS]
    return (telling or words)[:MOST_QUERY_WORDS]


def forms_of(word: str) -> list[str]:
    """A word, and what it begins with: endings are many, and the stemmer knows English alone."""
    if len(word) < _SHORTEST_STEM + _ENDING or not word.isalpha():
        return [word]
    return [word, word[: max(_SHORTEST_STEM, len(word) - _ENDING)]]


def _any_of(forms: Sequence[str]) -> str:
    """An FTS5 expression; words have letters, digits and _ only, so that quotes hold them."""
    terms = [f'"{form}"*' if len(form) >= _SHORTEST_STEM - 1 else f'"{form}"' for form in forms]
    return f"({' OR '.join(terms)})"
