"""Whatever the table and the call: there is a target, and explanations agree with decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.runtime.route_explaining import explain
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.route_reading import parse_table_document
from flowengine.runtime.routes import AskTarget, RouteTable, SplitTarget
from flowengine.runtime.routing import NoAnswer, Router, answered
from tests.runtime.route_tables import BERLIN, LYON, PARIS, made, table

pytestmark = pytest.mark.unit

CALLERS = (PARIS, LYON, BERLIN, "", "anonymous", "+14165550100", "sip:a@b.example", "101")
YEAR = datetime(2026, 1, 1, tzinfo=UTC)

flows = st.sampled_from([{"flow": "a"}, {"flow": "b", "tag": "x"}, {"flow": "a", "version": 2}])
finals = st.one_of(flows, st.just({"forward": BERLIN}), st.sampled_from([{"refuse": "busy"}]))
asks = st.builds(lambda d: {"ask": "https://x.example/", "default": d}, finals)
splits = st.builds(
    lambda sides: {"split": [{"weight": w, "to": to} for w, to in sides]},
    st.lists(st.tuples(st.integers(0, 9), st.one_of(finals, asks)), min_size=1, max_size=4).filter(
        lambda sides: any(weight for weight, _ in sides)
    ),
)
targets = st.one_of(finals, asks, splits)

numbers = st.sampled_from([PARIS, LYON, BERLIN])
who: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "exact": st.lists(numbers, min_size=1, max_size=2),
        "prefix": st.sampled_from(["+33", "+331", "+4", ["+1", "+49"]]),
        "country": st.sampled_from(["FR", "DE", ["CA", "US"]]),
        "list": st.just("vip"),
        "anonymous": st.booleans(),
    },
).filter(bool)
callers = who | who.map(lambda inner: {"not": inner})
names = st.sampled_from(["office", "bar"])
calendars = st.fixed_dictionaries(
    {}, optional={"open": names, "closed": names, "holiday": names}
).filter(bool)
loads = st.one_of(
    st.builds(
        lambda of, n: {"of": of, "at_least": n},
        st.sampled_from(["all", "number"]),
        st.integers(1, 4),
    ),
    st.builds(lambda n: {"of": {"flow": "a"}, "below": n}, st.integers(1, 4)),
)  # fmt: skip
whens = st.fixed_dictionaries(
    {},
    optional={
        "caller": callers,
        "calendar": calendars,
        "header": st.dictionaries(
            st.sampled_from(["X-A", "x-b"]),
            st.sampled_from(["1", ["1", "2"], {"present": True}, {"prefix": "2"}]),
        ),
        "metadata": st.dictionaries(
            st.sampled_from(["m", "n"]), st.sampled_from([1, True, "1", {"present": False}])
        ),
        "load": loads,
        "share": st.builds(lambda p: {"percent": p}, st.integers(1, 100)),
    },
)
rules = st.lists(st.fixed_dictionaries({"when": whens, "to": targets}), max_size=8)
tables = st.builds(lambda rows, last: made(table(*rows, last=last)), rules, targets)
facts = st.builds(
    lambda caller, minutes, call_id, headers, metadata, load: RouteFacts(
        caller, "+33155555555", YEAR + timedelta(minutes=minutes), call_id, headers, metadata, load
    ),
    st.sampled_from(CALLERS),
    st.integers(0, 366 * 24 * 60),
    st.text(min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(["x-a", "X-B"]), st.sampled_from(["1", "2", ""])),
    st.dictionaries(st.sampled_from(["m", "n"]), st.sampled_from([1, True, "1", None, [], 1.0])),
    st.builds(
        lambda a, n, f: Load(a, n, {"a": f}),
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
)


@settings(max_examples=150, deadline=None)
@given(tables, st.lists(facts, min_size=1, max_size=5))
def test_every_call_gets_a_target_that_the_explanation_explains(
    routes: RouteTable, calls: list[RouteFacts]
) -> None:
    router = Router(routes)
    for call in calls:
        decision = router.decide(call)
        found = explain(router, call)
        assert found.decision == decision
        holding = [each.rule for each in found.rules if each.verdict != "failed"]
        assert decision.rule == (holding[0] if holding else "last")
        taken = [each.rule for each in found.rules if each.verdict == "taken"]
        assert taken == holding[:1]
        assert all(bool(each.failed) is (each.verdict == "failed") for each in found.rules)
        assert all(each.words for each in found.rules)
        written = {rule.name: rule.to for rule in routes.rules} | {"last": routes.last}
        to = written[decision.rule]
        if isinstance(to, SplitTarget):
            assert decision.target in [side.to for side in to.split if side.weight]
        else:
            assert decision.target == to
        if isinstance(decision.target, AskTarget):
            late = answered(decision, NoAnswer("deadline", "late"))
            assert late.target == decision.target.default


@settings(max_examples=60, deadline=None)
@given(tables, facts)
def test_a_decision_is_the_same_for_the_same_facts_in_another_router(
    routes: RouteTable, call: RouteFacts
) -> None:
    read_again = parse_table_document(routes.written()).table
    assert read_again is not None
    router = Router(routes)
    assert Router(read_again).decide(call) == router.decide(call) == router.decide(call)


@settings(max_examples=60, deadline=None)
@given(tables)
def test_a_rule_behind_one_that_is_never_reached_changes_nothing(routes: RouteTable) -> None:
    findings = parse_table_document(routes.written()).findings
    idle = {f.path for f in findings if f.code == "never_reached"}
    kept = tuple(r for i, r in enumerate(routes.rules) if f"$.rules[{i}]" not in idle)
    shorter = Router(routes.model_copy(update={"rules": kept}))
    router = Router(routes)
    for hours in range(0, 24 * 14, 5):
        for caller in CALLERS:
            call = RouteFacts(caller, "", YEAR + timedelta(hours=hours), "call_1")
            assert shorter.decide(call) == router.decide(call)
