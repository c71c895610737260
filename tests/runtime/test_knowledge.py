"""Knowledge of a flow: passages, what a spoken question finds, calls that use it, the checks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.assurance.replay import replay, server_of
from flowengine.assurance.why import facts_of, why
from flowengine.catalog import shipped
from flowengine.cli.check import _checked
from flowengine.errors import FlowError
from flowengine.events import PassagesFound, ToolCalled, ToolEnded, UtteranceSpoken
from flowengine.flow.language import Language
from flowengine.nodes import load_kinds
from flowengine.ports import ToolJob
from flowengine.runtime.flow_files import FlowFiles
from flowengine.runtime.knowledge import MOST_FILE_BYTES, FilesIndex, Library
from flowengine.runtime.passages import FEWEST_WORDS, MOST_WORDS, Passage, passages
from flowengine.runtime.tools import KnowledgeToolSpec, ToolRunner
from flowengine.testing.phone_audio import babble
from flowengine.testing.providers.answers import Answer, saying
from flowengine.testing.simulation import (
    Caller,
    Proposes,
    SimulatedCall,
    World,
    setup_of,
    simulate,
)
from tests.runtime.house import CALLED, CALLER, running, vendors

pytestmark = pytest.mark.conversation

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "questions"
LOADED = FlowFiles().load(EXAMPLE / "flow.json")
LIBRARY = Library.of_files(LOADED.flows)
SEARCH = LIBRARY.tools("questions")

# --- what a spoken question finds ---

QUESTIONS = [
    ("when do you close on a saturday", "open from nine to eight"),
    ("are you open at christmas on the 24th", "close at two in the afternoon"),
    ("how do I get there by tram", "Tram line 4"),
    ("do I have to pay for the parking garage", "first two hours are free"),
    ("can I charge my electric car somewhere", "four charging stations"),
    ("my daughter is five, can she learn how to swim with you", "from the age of five"),
    ("what does a swimming course for kids cost", "120 euros for twelve lessons"),
    ("my boy was ill and missed his lesson, is it lost", "made up within the same term"),
    ("I am a grown up and I never learned swimming", "Adults who never learnt"),
    ("which day is the sauna only for women", "which is for women only"),
    ("do I need a towel for the sauna and can I borrow one", "a large towel is required"),
    ("I left my goggles in the changing room yesterday", "kept at the cash desk"),
    ("is there a lift for people in a wheelchair", "A lift chair brings"),
    ("can my boy wear his shorts in the pool", "Shorts that were worn in the street"),
    ("we would like to celebrate my kid's birthday", "Up to twelve children"),
    ("how much is a ticket for a family", "18 euros"),
    ("can I get my money back for a ticket I bought online", "can be returned until the day"),
    ("can I pay by card", "machines take cards only"),
    ("what do I pay as a member of the club", "14 euros a month"),
    ("uh hello yes I wanted to ask um when is the diving board open", "three metre board"),
    ("wann ist die Sauna only for women", "which is for women only"),
    ("DELIVERY of a robe rental", "of a robe"),
]


def found(question: str) -> list[dict[str, str]]:
    result = SEARCH["house"](query=question)
    assert result.outcome == "done"
    passages_found: list[dict[str, str]] = result.body["passages"]
    return passages_found


@pytest.mark.parametrize(("question", "answer"), QUESTIONS, ids=[q for q, _ in QUESTIONS])
def test_a_spoken_question_finds_its_passage_among_three(question: str, answer: str) -> None:
    three = found(question)
    assert len(three) <= 3
    assert any(answer in " ".join(item["text"].split()) for item in three)


def test_the_example_has_no_finding() -> None:
    assert LOADED.warnings == ()


def test_most_are_found_first() -> None:
    first = [answer in " ".join(found(q)[0]["text"].split()) for q, answer in QUESTIONS]
    assert sum(first) >= 0.7 * len(first)


@pytest.mark.parametrize(
    "question", ["", "   ", "?!", "uh", "xyzzy plugh", '" OR * NEAR(', "a" * 9999]
)
def test_what_finds_nothing_is_an_answer_too(question: str) -> None:
    assert len(found(question)) <= 3


@given(st.text(max_size=200))
def test_no_words_break_a_search(question: str) -> None:
    found(question)


def test_what_has_all_the_words_comes_first() -> None:
    index = FilesIndex(
        [
            Passage("a.txt", "", "refund refund refund of anything"),
            Passage("a.txt", "", "a refund for a broken kettle"),
            Passage("a.txt", "Kettles", "we sell kettles and pans"),
        ]
    )
    order = [item.text for item in index.search("a refund for my kettle please", 3)]
    assert order[0] == "a refund for a broken kettle"
    assert len(order) == 3
    assert [item.heading for item in index.search("kettles", 1)] == ["Kettles"]


# --- passages ---


def test_a_document_is_cut_at_headings_and_paragraphs() -> None:
    way = [(item.heading, item.text) for item in passages("x.md", MARKDOWN)]
    assert way == [
        ("Top", "Before all."),
        ("Top > One", "First line, second line with a link and bold words."),
        ("Top > One > Deep", "Down here.\n# no heading in code"),
        ("Top > Two", "- an item"),
    ]


MARKDOWN = """
Top
===

Before all. <!-- not
this -->

## One

First line,
second line with a [link](https://x.example) and **bold** words.

### Deep ###

Down here.

```
# no heading in code
```

Two
---
- an item
"""


def test_html_is_read_without_what_nobody_reads() -> None:
    page = (EXAMPLE / "club.html").read_text(encoding="utf-8")
    read = list(passages("club.html", page))
    assert [item.heading.rpartition(" > ")[2] for item in read] == [
        "Training",
        "Becoming a member",
        "Competitions",
    ]
    assert "14 euros a month" in read[1].text
    assert not any(word in item.text for item in read for word in ("Home", "teal"))


@given(
    st.lists(
        st.tuples(st.sampled_from(["\n\n", " ", ". ", "\n# H\n"]), st.integers(1, 450)), max_size=12
    )
)
def test_passages_hold_every_word_and_none_is_long(parts: list[tuple[str, int]]) -> None:
    words = iter(f"w{number}" for number in range(10_000))
    text = "".join(cut + " ".join(next(words) for _ in range(count)) for cut, count in parts)
    for name in ("x.md", "x.txt"):
        read = list(passages(name, text))
        kept = [word for item in read for word in item.text.replace(".", "").split()]
        wanted = text.replace(".", "").split()
        marks = ("#", "H")
        assert [w for w in kept if w not in marks] == [w for w in wanted if w not in marks]
        assert all(len(item.text.split()) <= FEWEST_WORDS + MOST_WORDS for item in read)


# --- calls ---


class Llm:
    """Looks every question up, then answers with the first passage's first words."""

    def __call__(self, request: Any) -> list[Any]:
        last = request.messages[-1]
        if last.role != "tool":
            return [Proposes("house", {"query": last.text})]
        three = orjson.loads(last.text)["body"]["passages"]
        return [three[0]["text"].split(". ")[0] + "."] if three else ["I do not know that."]


def asked(*questions: str) -> SimulatedCall:
    script = [step for words in questions for step in (Caller.says(words), Caller.hears("."))]
    return simulate(
        LOADED.program,
        [Caller.hears("what would you like to know"), *script, Caller.hangs_up()],
        llm=Llm(),
        tools=SEARCH,
    )


def test_a_call_is_answered_from_the_files_and_why_says_from_where() -> None:
    call = asked("is there a tram", "xyzzy")
    said = [fact.text for _, fact in call.facts if isinstance(fact, UtteranceSpoken)]
    assert said[1:] == [
        "Tram line 4 and bus 62 stop at Riverside, two minutes from the entrance.",
        "I do not know that.",
    ]
    told = why(call.facts)
    assert "house: 1 passage found" in told
    assert "· house.md, “Riverside Pool > Getting here > By public transport”" in told
    assert "house: 0 passages found" in told
    tool = next(item for item in call.llm_requests[0].tools if item.name == "house")
    assert tool.parameters["required"] == ["query"]
    assert tool.description.startswith("What the pool's own pages say")
    assert len(call.llm_requests) == 4


def test_a_search_needs_no_record_first_and_a_replay_finds_the_same() -> None:
    call = asked("is there a tram")
    runs = [record.body for record in call.journal if record.body.get("type") == "RunTool"]
    assert [body["barrier"] for body in runs] == [False]
    journal = [
        replace(record, body=orjson.loads(orjson.dumps(record.body, default=dict)))
        for record in call.journal
    ]
    setup = replace(setup_of(World()), server=server_of(journal, LOADED.program))
    assert replay(setup, LOADED.program, journal).verdict == "equal"
    assert "By public transport" in why(facts_of(journal))


def test_a_tool_node_searches_without_an_llm(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    (tmp_path / "hours.md").write_text("# Hours\n\nWe open at nine.\n")
    document = {
        "flow": "1",
        "id": "plain",
        "start": "ask",
        "variables": {"question": {"type": "text"}, "found": {"type": "text"}},
        "tools": {
            "files": {
                "kind": "knowledge",
                "files": ["hours.md"],
                "save": {"found": "string(result.body.passages[0].text)"},
            }
        },
        "nodes": {
            "ask": {"kind": "collect", "var": "question", "say": "What?"},
            "look": {"kind": "tool", "tool": "files", "with": {"query": "question"}},
            "bye": {"kind": "hangup", "say": "{{ found }}"},
            "sorry": {"kind": "hangup", "say": "Sorry."},
        },
        "edges": [
            {"from": "ask", "to": "look"},
            {"from": "look", "to": "bye", "if": "known(found)"},
            {"from": "*", "on": "error", "to": "sorry"},
            {"from": "look", "on": "else", "to": "sorry"},
        ],
    }
    path.write_bytes(orjson.dumps(document))
    loaded = FlowFiles().load(path)
    call = simulate(
        loaded.program,
        [Caller.says("when do you open")],
        tools=Library.of_files(loaded.flows).tools("plain"),
    )
    assert call.said("We open at nine.")


@pytest.mark.anyio
async def test_on_the_phone(tmp_path: Path) -> None:
    for name in ("house.md", "prices.txt", "club.html"):
        (tmp_path / name).write_bytes((EXAMPLE / name).read_bytes())
    flow = orjson.loads((EXAMPLE / "flow.json").read_bytes())
    async with vendors() as behind:
        behind.deepgram.plan.extend(["is there a tram", "that is all"])
        behind.openai.plan += [
            Answer(tools=(("house", '{"query": "is there a tram"}'),)),
            saying("Tram line four."),
            Answer(tools=(("take_edge", '{"edge":"enough","quote":"that is all"}'),)),
        ]
        async with running(tmp_path, flow, behind) as run:
            async with run.phone.call(CALLER, CALLED) as call:
                await call.hears()
                await call.say(babble(700))
                await call.hears()
                await call.say(babble(700, seed=2))
                await call.over()
            await run.settled()
    assert [fact.tool for fact in run.facts(ToolCalled)] == ["house"]
    assert [len(fact.body["passages"]) for fact in run.facts(ToolEnded)] == [1]
    (fact,) = run.facts(PassagesFound)
    assert [item["file"] for item in fact.passages] == ["house.md"]
    assert b"Tram line 4" in orjson.dumps(behind.openai.requests[1])


@pytest.mark.anyio
async def test_searches_run_side_by_side_and_an_unknown_tool_has_failed() -> None:
    runner = ToolRunner({}, library=LIBRARY)
    spec = KnowledgeToolSpec("questions")
    jobs = [ToolJob(f"k{n}", "house", {"query": q}) for n, (q, _) in enumerate(QUESTIONS)]
    results = await asyncio.gather(*(runner.run(job, spec) for job in jobs))
    assert [result.body["passages"] for result in results] == [found(q) for q, _ in QUESTIONS]
    nothing = await runner.run(ToolJob("k", "house", {"query": None}), spec)
    assert nothing.body == {"passages": []}
    unknown = await runner.run(ToolJob("k", "attic", {}), spec)
    assert (unknown.outcome, unknown.error) == ("failed", "no_such_tool")
    await runner.close()


# --- checks ---


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("gone.md", None, "no_knowledge_file"),
        ("../outside.md", b"# Secret\n\nwords", "no_knowledge_file"),
        ("/etc/hostname.txt", None, "no_knowledge_file"),
        ("book.pdf", b"%PDF", "bad_knowledge_file"),
        ("latin.txt", "Schlüssel".encode("latin-1"), "bad_knowledge_file"),
        ("empty.md", b"# Only a heading\n", "bad_knowledge_file"),
        ("big.txt", b"word " * (MOST_FILE_BYTES // 5 + 1), "knowledge_too_large"),
    ],
)
def test_files_that_cannot_be_searched_are_errors(
    tmp_path: Path, file: str, content: bytes | None, code: str
) -> None:
    folder = tmp_path / "flow"
    folder.mkdir()
    if content is not None:
        (folder / file).write_bytes(content)
    (folder / "good.md").write_text("# Good\n\nWords.\n")
    document = orjson.loads((EXAMPLE / "flow.json").read_bytes())
    document["tools"]["house"]["files"] = ["good.md", file]
    path = folder / "flow.json"
    path.write_bytes(orjson.dumps(document))
    with pytest.raises(FlowError, match=code) as caught:
        FlowFiles().load(path)
    assert "$.tools.house.files[1]" in str(caught.value)
    _, _, findings = _checked(path, Language(load_kinds()), shipped())
    assert [(item.code, item.path) for item in findings] == [(code, "$.tools.house.files[1]")]


@pytest.mark.parametrize(
    ("tool", "code"),
    [
        ({"kind": "knowledge"}, "missing_key"),
        ({"kind": "knowledge", "files": []}, "bad_value"),
        ({"kind": "knowledge", "files": ["a.md"], "input": {"q": "text"}}, "unknown_key"),
        ({"kind": "knowlege", "files": ["a.md"]}, "unknown_tool_kind"),
    ],
)
def test_a_tool_that_is_written_wrong_is_named(tool: dict[str, Any], code: str) -> None:
    document = orjson.loads((EXAMPLE / "flow.json").read_bytes())
    document["tools"]["house"] = tool
    parsed = Language(load_kinds()).parse_document(document)
    assert [(item.code, item.path.startswith("$.tools.house")) for item in parsed.findings] == [
        (code, True)
    ]
