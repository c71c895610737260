"""The CRM flow's Python tools, as the engine calls them: by name, in a thread."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flowengine.ports import ToolResult
from flowengine.runtime.functions import Functions
from flowengine.testing import crm_book

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "visits.jsonl"
    monkeypatch.setenv(crm_book.FILE_VARIABLE, str(path))
    return path


def run(function: str, **arguments: object) -> ToolResult:
    name = f"crm.{function}"
    return asyncio.run(Functions().call(name, arguments, 10_000))


def test_known_numbers_are_found_and_others_fail() -> None:
    assert run("sign_in", number="4711").body == {"name": "Dana"}
    assert run("find_account", account="10204").body == {"company": "Hillside Bakery"}
    assert run("sign_in", number="0000").outcome == "failed"
    assert run("find_account", account="00000").outcome == "failed"


def test_visits_are_written_one_a_line_and_the_newest_is_read(file: Path) -> None:
    assert run("last_visit", account="10204").body == {}
    first = run("add_visit", account="10204", colleague="4711", upshot="interest")
    second = run(
        "add_visit", account="10204", colleague="4712", upshot="order", follow_up="2026-03-13"
    )
    run("add_visit", account="10204", colleague="4712", upshot="no interest", draft=True)
    assert (first.body, second.body) == ({"number": 1}, {"number": 2})
    assert len(file.read_text().splitlines()) == 3
    assert run("last_visit", account="10204").body == {
        "upshot": "order",
        "follow_up": "2026-03-13",
    }
    assert run("last_visit", account="10311").body == {}


def test_a_visit_to_nobody_is_not_written(file: Path) -> None:
    assert run("add_visit", account="00000", colleague="4711").outcome == "failed"
    assert not file.exists()
