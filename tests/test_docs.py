"""The pages in docs/: what is made from the code is fresh, examples run, names and links exist."""

from __future__ import annotations

import json
import re
import types
from datetime import datetime
from pathlib import Path

import pytest
import typer.main

from flowengine.cli import build
from flowengine.flow.checks import check_source
from flowengine.flow.language import Language
from flowengine.nodes import load_kinds
from flowengine.runtime.route_asking import question
from flowengine.runtime.route_explaining import explain
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.route_reading import parse_table
from flowengine.runtime.route_testing import failed_tests
from flowengine.runtime.routing import Router
from flowengine.settings import PREFIX, Settings
from scripts import make_docs

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?: {4}|.*`)(?:FLOWENGINE_\w+=\S+ )*flowengine (?P<words>[a-z][^`#\n]*)")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def example(name: str, mark: str) -> str:
    """The code block behind `<!-- example: … -->`."""
    _, found, rest = page(name).partition(f"<!-- example: {mark} -->\n")
    assert found
    block = BLOCK.match(rest)
    assert block is not None
    return block["text"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_fresh(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert make_docs.renewed(text) == text, "run `python scripts/make_docs.py`"


def test_a_stale_page_is_noticed_and_made_anew() -> None:
    stale = "Before.\n<!-- made: limits -->\nold\n<!-- end -->\nAfter.\n"
    fresh = make_docs.renewed(stale)
    assert "old" not in fresh
    assert "`node_visits`" in fresh
    assert fresh.startswith("Before.\n") and fresh.endswith("<!-- end -->\nAfter.\n")
    assert make_docs.renewed(fresh) == fresh


def test_every_part_has_its_place_on_a_page() -> None:
    placed = {name for path in PAGES for name in make_docs.parts_of(path.read_text("utf-8"))}
    wanted = set(make_docs.PARTS) | {f"kind {name}" for name in make_docs.EXAMPLES}
    assert placed == wanted - {"llm"}


@pytest.mark.parametrize("kind", sorted(load_kinds()))
def test_every_kind_of_node_has_a_paragraph_and_its_settings(kind: str) -> None:
    _, found, rest = page("flow-language.md").partition(f"\n### {kind}\n\n")
    assert found, f"docs/flow-language.md has no section on {kind}"
    paragraph, made, _ = rest.partition(f"<!-- made: kind {kind} -->")
    assert made
    assert len(paragraph.split()) >= 8


def test_the_whole_flow_of_the_language_page_passes_every_check() -> None:
    source = example("flow-language.md", "checked").encode()
    assert check_source(Language(load_kinds()), source) == []


def test_the_example_of_the_testing_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    module = types.ModuleType("example")
    code = compile(example("testing.md", "run"), "docs/testing.md", "exec")
    exec(code, module.__dict__)  # noqa: S102 - the page's own example
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_table_of_the_routing_page_does_what_the_page_says() -> None:
    parsed = parse_table(example("routing.md", "routes"))
    assert parsed.findings == ()
    assert parsed.table is not None
    assert len(parsed.table.tests) > 3
    router = Router(parsed.table)
    assert list(failed_tests(router)) == []
    at = datetime.fromisoformat("2026-12-24T10:00+01:00")
    told = explain(router, RouteFacts("+33612345678", "+33155555555", at, "call")).to_text()
    assert told == example("routing.md", "told")


def test_the_question_of_the_routing_page_is_what_a_webhook_is_asked() -> None:
    facts = RouteFacts(
        "+33612345678",
        "+33155555555",
        datetime.fromisoformat("2026-12-23T10:00+01:00"),
        "call_1",
        headers={"X-Partner": "acme"},
        load=Load(all=3, number=1, flows={"front-desk": 2}),
    )
    assert json.loads(example("routing.md", "question")) == question(facts, "partner")


def test_every_command_on_the_pages_exists_with_its_options() -> None:
    group = typer.main.get_command(build())
    commands = getattr(group, "commands", {})
    named = 0
    for path in PAGES:
        for line in path.read_text(encoding="utf-8").splitlines():
            found = COMMAND.match(line)
            if found is None:
                continue
            name, *words = found["words"].split()
            assert name in commands, (path.name, line)
            options = {option for param in commands[name].params for option in param.opts}
            for word in words:
                assert not word.startswith("-") or word in options, (path.name, line)
            named += 1
    assert named >= 8


def test_every_variable_of_ours_on_the_pages_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for path in PAGES:
        for name in re.findall(rf"{PREFIX}[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8")):
            assert name in known or name.startswith(f"{PREFIX}SECRET_"), (path.name, name)


def test_every_link_between_pages_leads_somewhere() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
            for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
            file, _, anchor = target.partition("#")
            if file:
                assert (path.parent / file).exists(), (path.name, target)
            else:
                assert anchor in headings, (path.name, target)
