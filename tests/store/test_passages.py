"""Passages in PostgreSQL: the same spoken questions find the same answers as in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowengine.ports import ToolResult
from flowengine.runtime.knowledge import Library
from flowengine.runtime.passages import Passage
from flowengine.store.database import Database
from flowengine.store.passages import PostgresIndex
from tests.databases import prepared_database
from tests.runtime.test_knowledge import LOADED, QUESTIONS

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with prepared_database("postgresql") as url:
        made = Database(url)
        yield made
        made.engine.dispose()


def texts(result: ToolResult) -> list[str]:
    return [" ".join(item["text"].split()) for item in result.body["passages"]]


def test_spoken_questions_find_their_passages(database: Database) -> None:
    library = Library.of_files(LOADED.flows, partial(PostgresIndex, database))
    search = library.tools("questions")["house"]
    found = [texts(search(query=question)) for question, _ in QUESTIONS]
    among = [
        any(answer in text for text in three)
        for three, (_, answer) in zip(found, QUESTIONS, strict=True)
    ]
    missed = [question for is_in, (question, _) in zip(among, QUESTIONS, strict=True) if not is_in]
    assert missed == []
    first = [answer in three[0] for three, (_, answer) in zip(found, QUESTIONS, strict=True)]
    assert sum(first) >= 0.7 * len(first)


def test_a_collection_is_made_once_and_a_changed_one_anew(database: Database) -> None:
    old = [Passage("a.txt", "Crème", "brûlée on Mondays"), Passage("a.txt", "", "a\0b tea")]
    first = PostgresIndex(database, old)
    again = PostgresIndex(database, old)
    assert [one.text for one in again.search("creme brulee", 3)] == ["brûlée on Mondays"]
    assert [one.text for one in again.search("TEA", 3)] == ["a b tea"]
    changed = PostgresIndex(database, [Passage("a.txt", "Crème", "brûlée on Fridays")])
    assert [one.text for one in changed.search("brulee", 3)] == ["brûlée on Fridays"]
    assert [one.text for one in first.search("brulee", 3)] == ["brûlée on Mondays"]


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_words_break_a_search(database: Database, question: str) -> None:
    index = PostgresIndex(database, [Passage("a.txt", "", "a refund for a kettle")])
    assert len(index.search(question, 3)) <= 1
