"""The way of a call, with the reason of every hop."""

from __future__ import annotations

import orjson
import pytest

from flowengine.assurance.why import facts_of, way, why
from flowengine.events import Considered, EdgeDecided, FaultMet
from flowengine.ports import JournalRecord
from flowengine.testing.hops import considered_line, reason_of
from flowengine.testing.simulation import Caller, Responder, simulate
from tests.runtime.small_flows import desk, shop, talk

pytestmark = pytest.mark.conversation


def test_facts_come_back_from_a_journal_as_they_were() -> None:
    call = simulate(shop(), [Caller.says("order"), Caller.says("three"), Caller.says("yes")])
    journal = [
        JournalRecord(r.seq, r.at_ms, r.family, orjson.loads(orjson.dumps(r.body)))
        for r in call.journal
    ]
    assert facts_of(journal) == call.facts


def test_each_edge_that_was_considered_has_its_verdict() -> None:
    call = simulate(
        desk(),
        [Caller.says("five"), Caller.hangs_up()],
        tools={"account": {"tier": "plain"}, "order": {}},
    )
    told = why(call.facts)
    assert "inbound call call_simulated, flow desk" in told
    assert "at look (tool), entered by start" in told
    assert "sort: outcome done → e3 to size, decided by engine" in told
    assert "· is_gold: guard false; if tier == 'gold' (tier = 'plain')" in told
    assert "✓ e3: taken" in told
    assert way(call.facts).startswith("look → sort → size → ask")


def test_who_decided_and_by_which_words() -> None:
    llm = Responder(takes={"human": "real person"})
    call = simulate(talk(), [Caller.says("a real person please")], llm=llm)
    told = why(call.facts)
    assert "talk: intent human → human to person, decided by llm" in told
    assert "the caller: “a real person please”" in told
    assert "ended: served (flow)" in told


def test_choices_without_an_edge_and_faults_are_told() -> None:
    refused = EdgeDecided(
        "a",
        {"intent": "x"},
        None,
        None,
        (Considered("x", "refused", reason="no evidence", score=0.5),),
        "llm",
        took_ms=12,
    )
    built_in = EdgeDecided("a", {"change": True}, None, None, (), "built_in")
    told = why([(0, refused), (5, built_in), (9, FaultMet("dropped", "tts", "twice"))])
    assert "a: intent x → no edge, decided by llm in 12 ms" in told
    assert "· x: refused; score 0.50; no evidence" in told
    assert "a: change → the built-in end, decided by built_in" in told
    assert "fault: tts dropped (twice)" in told


def test_a_reason_in_short() -> None:
    taken = Considered("e", "taken", "n > 3", {"n": 5})
    decision = EdgeDecided("a", {"outcome": "done"}, "e", "b", (taken,), "engine", "yes")
    assert reason_of(decision) == "outcome done; decided by engine; “yes”; n > 3 (n = 5)"
    assert considered_line(taken) == "e: taken; if n > 3 (n = 5)"
