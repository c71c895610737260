"""Passages of a flow's files in PostgreSQL's full text: one index for all workers.

Beside the index in memory (`runtime.knowledge.FilesIndex`), which finds by the same rules: first
passages with all of the words, then those with some; a word finds what begins with it. A collection
of passages is named by what it holds, so a changed file makes a new one and workers share an old.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

import orjson
from sqlalchemy import text

from flowengine.runtime.knowledge import forms_of, words_of
from flowengine.runtime.passages import Passage
from flowengine.store.database import Database

_ADD = text(
    "INSERT INTO passage (collection, number, file, heading, text, lexemes) VALUES"
    " (:collection, :number, :file, :heading, :text,"
    " (setweight(to_tsvector('english', :plain_heading), 'A')"
    " || setweight(to_tsvector('english', :plain_text), 'B'))::text)"
    " ON CONFLICT DO NOTHING"
)
_FIND = text(
    "SELECT file, heading, text FROM passage, to_tsquery('english', :query) AS asked"
    " WHERE collection = :collection AND lexemes::tsvector @@ asked"
    " ORDER BY ts_rank_cd('{0, 0, 0.5, 1}', lexemes::tsvector, asked) DESC, number LIMIT :most"
)
_HAS = text("SELECT count(*) FROM passage WHERE collection = :collection")


class PostgresIndex:
    """A `knowledge.Source` in PostgreSQL. Making it blocks; raises what the driver raises."""

    def __init__(self, database: Database, found: Iterable[Passage]) -> None:
        self._database = database
        rows = [(item.file, item.heading, item.text) for item in found]
        self._collection = hashlib.sha256(orjson.dumps(rows)).hexdigest()
        with database.engine.begin() as connection:
            named = {"collection": self._collection}
            if connection.execute(_HAS, named).scalar() == len(rows):
                return
            connection.execute(
                _ADD,
                [
                    {
                        "collection": self._collection,
                        "number": number,
                        "file": file,
                        "heading": heading,
                        "text": body.replace("\0", " "),
                        "plain_heading": _plain(heading),
                        "plain_text": _plain(body),
                    }
                    for number, (file, heading, body) in enumerate(rows)
                ],
            )

    def search(self, question: str, most: int) -> list[Passage]:
        """Passages with all of the words first, then those with some; called on a thread."""
        words = words_of(_plain(question))
        if not words:
            return []
        whole = " & ".join(_any_of([word]) for word in words)
        some = " | ".join(_any_of(forms_of(word)) for word in words)
        found: dict[Passage, None] = {}
        with self._database.reader() as connection:
            for query in (whole, some):
                if len(found) < most:
                    asked = {"collection": self._collection, "query": query, "most": most}
                    rows = connection.execute(_FIND, asked)
                    found.update(dict.fromkeys(Passage(*row) for row in rows))
        return list(found)[:most]


def _any_of(forms: Iterable[str]) -> str:
    """Words have letters, digits and _ only, so nothing in them is an operator."""
    return "(" + " | ".join(f"{form}:*" if len(form) > 2 else form for form in forms) + ")"


def _plain(value: str) -> str:
    """Without accents and case, as the index in memory compares."""
    parts = unicodedata.normalize("NFKD", value.replace("\0", " "))
    return "".join(char for char in parts if not unicodedata.combining(char)).casefold()
