"""A journal that is driven again: equal, or where it differs and how."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from flowengine.assurance.replay import Replayed, replay, server_of
from flowengine.errors import CallError
from flowengine.flow.program import Program
from flowengine.ports import JournalRecord
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import (
    Caller,
    Responder,
    SimulatedCall,
    Transfer,
    World,
    setup_of,
    simulate,
)
from tests.runtime.small_flows import SHOP, desk, program, shop, talk

pytestmark = pytest.mark.conversation

LLM = Responder(notes={"day": {"monday": "monday"}}, takes={"done": "that is all"})
ORDER: list[Step] = [Caller.says("order"), Caller.says("seven"), Caller.says("yes")]


def journal_of(call: SimulatedCall) -> list[JournalRecord]:
    """The journal as a store gives it back."""
    return [
        replace(record, body=orjson.loads(orjson.dumps(record.body, default=dict)))
        for record in call.journal
    ]


def replayed(made: Program, journal: list[JournalRecord]) -> Replayed:
    setup = replace(setup_of(World()), server=server_of(journal, made))
    return replay(setup, made, journal)


@pytest.mark.parametrize(
    "script",
    [
        ORDER,
        [Caller.breaks_in("mhm", after_ms=400), Caller.coughs(), *ORDER],
        [Caller.silent(), Caller.hangs_up(after_ms=300)],
        [
            Caller.says("order"),
            Caller.loses_line(after_ms=200),
            Caller.says("two"),
            Caller.hangs_up(),
        ],
        [Caller.says("person"), Caller.says("goodbye")],
    ],
)
def test_a_call_is_equal_to_itself(script: list[Step]) -> None:
    call = simulate(shop(), script, transfers=[Transfer("busy")])
    journal = journal_of(call)
    result = replayed(shop(), journal)
    assert result.verdict == "equal", result.told()
    assert result.difference is None
    assert result.inputs == sum(record.family == "input" for record in journal)
    assert result.compared == len(journal) - result.inputs
    assert result.told().startswith(f"equal: {result.inputs} inputs")


def test_a_call_with_an_llm_and_tools_is_equal_to_itself() -> None:
    talked = simulate(
        talk(),
        [Caller.says("on monday"), Caller.hears("I see"), Caller.says("that is all")],
        llm=LLM,
    )
    result = replayed(talk(), journal_of(talked))
    assert result.verdict == "equal", result.told()
    waited = simulate(
        desk(),
        [Caller.says("five"), Caller.hears("holding")],
        tools={"account": {"tier": "gold"}, "order": {}},
    )
    result = replayed(desk(), journal_of(waited))
    assert result.verdict == "equal", result.told()


def test_what_was_decided_otherwise_is_found() -> None:
    journal = journal_of(simulate(shop(), ORDER))
    at = next(i for i, r in enumerate(journal) if r.body.get("to") == "how_many")
    journal[at] = replace(journal[at], body={**journal[at].body, "to": "desk"})
    result = replayed(shop(), journal)
    assert result.verdict == "differs"
    assert result.difference is not None
    assert result.difference.seq == journal[at].seq
    assert 'to: "desk" in the journal, "how_many" now' in result.told()


def test_a_record_too_many_is_found() -> None:
    journal = journal_of(simulate(shop(), ORDER))
    at = next(i for i, r in enumerate(journal) if r.body["type"] == "NodeEntered")
    journal.insert(at, replace(journal[at], body={"type": "Listen"}))
    told = replayed(shop(), journal).told()
    assert '{"type":"Listen"} was' in told
    journal = journal_of(simulate(shop(), ORDER))
    last = max(i for i, r in enumerate(journal) if r.family == "input")
    journal.insert(last, replace(journal[at], body={"type": "Listen"}))
    assert 'the replay does not give {"type":"Listen"}' in replayed(shop(), journal).told()


def test_a_record_that_is_missing_is_found() -> None:
    journal = journal_of(simulate(shop(), ORDER))
    at = next(i for i, r in enumerate(journal) if r.body["type"] == "TurnEnded")
    rest = [record for record in journal[at:] if record.family == "input"]
    result = replayed(shop(), journal[:at] + rest)
    assert result.verdict == "differs"
    assert "the replay also gives" in result.told()
    assert '"TurnEnded"' in result.told()


def test_another_version_of_the_flow_differs() -> None:
    changed: dict[str, Any] = orjson.loads(orjson.dumps(SHOP))
    changed["nodes"]["sold"]["say"] = "That is all."
    result = replayed(program(changed), journal_of(simulate(shop(), ORDER)))
    assert result.verdict == "differs"
    assert result.difference is not None
    assert result.difference.journalled is not None
    assert result.difference.journalled["type"] == "CallBegan"


def test_a_journal_that_ends_in_the_middle_is_equal_as_far_as_it_goes() -> None:
    journal = journal_of(simulate(shop(), ORDER))
    for end in range(1, len(journal), 7):
        result = replayed(shop(), journal[:end])
        assert result.verdict == "equal", result.told()


def test_a_crash_that_lost_the_newest_checkpoint_resumes_from_the_one_before() -> None:
    call = simulate(
        shop(),
        [Caller.says("order"), Caller.hears("How many"), Caller.loses_line(), Caller.hangs_up()],
    )
    journal = journal_of(call)
    assert replayed(shop(), journal).verdict == "equal"
    entries = [r for r in journal if r.body["type"] == "NodeEntered"]
    assert [record.body["node"] for record in entries][-1] == "how_many"


def test_digits_that_were_sensitive_are_not_known_any_more() -> None:
    script: list[Step] = [Caller.says("secret"), Caller.presses("4711"), Caller.hangs_up()]
    journal = journal_of(simulate(shop(), script))
    assert replayed(shop(), journal).verdict == "equal", "any four digits are a pin"
    strict: dict[str, Any] = orjson.loads(orjson.dumps(SHOP))
    strict["variables"]["pin"]["pattern"] = "47.*"
    result = replayed(program(strict), journal_of(simulate(program(strict), script)))
    assert result.verdict == "masked"
    assert result.told().startswith("equal up to what was sensitive")


def test_what_the_shell_counts_after_the_end_is_no_difference() -> None:
    journal = journal_of(simulate(shop(), ORDER))
    usage = {"type": "UsageCounted", "usage": {}}
    journal.append(replace(journal[-1], seq=len(journal) + 1, family="fact", body=usage))
    assert replayed(shop(), journal).verdict == "equal"


def test_there_must_be_something_to_replay() -> None:
    with pytest.raises(CallError) as caught:
        replayed(shop(), [])
    assert caught.value.code == "no_journal"


def test_a_resume_without_a_checkpoint_differs() -> None:
    journal = journal_of(simulate(shop(), [Caller.loses_line(after_ms=100), Caller.hangs_up()]))
    resumed = next(i for i, r in enumerate(journal) if r.body.get("resumed"))
    assert replayed(shop(), journal[resumed:]).verdict == "differs"
