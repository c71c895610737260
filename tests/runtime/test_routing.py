"""Routing of inbound calls: each condition, each target, shares, and why."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import pytest

from flowengine.errors import RouteError
from flowengine.flow.shares import bucket_of, place_of
from flowengine.runtime.route_explaining import explain
from flowengine.runtime.route_facts import RouteFacts
from flowengine.runtime.routes import AskTarget, FlowTarget, ForwardTarget, RefuseTarget
from flowengine.runtime.routing import NoAnswer, Router, answered, decide
from tests.runtime.route_tables import (
    BERLIN,
    LYON,
    PARIS,
    WEDNESDAY,
    call,
    flow,
    made,
    router,
    table,
)

pytestmark = pytest.mark.unit

CHRISTMAS = datetime(2026, 12, 25, 9, tzinfo=UTC)
NUMBERS = [f"+3361{index:07d}" for index in range(20_000)]


@pytest.mark.parametrize(
    ("caller", "condition", "holds"),
    [
        (PARIS, {"exact": PARIS}, True),
        (PARIS, {"exact": [LYON, PARIS]}, True),
        (PARIS, {"exact": LYON}, False),
        (PARIS, {"prefix": "+331"}, True),
        (PARIS, {"prefix": ["+49", "+3314"]}, True),
        (PARIS, {"prefix": "+3314050607001"}, False),
        (PARIS, {"prefix": "+334"}, False),
        (PARIS, {"country": "FR"}, True),
        (BERLIN, {"country": ["FR", "DE"]}, True),
        (BERLIN, {"country": "FR"}, False),
        ("+14165550100", {"country": "CA"}, True),
        ("+14165550100", {"country": "US"}, False),
        (LYON, {"list": "vip"}, True),
        (BERLIN, {"list": "vip"}, False),
        (PARIS, {"anonymous": False}, True),
        (PARIS, {"anonymous": True}, False),
        ("", {"anonymous": True}, True),
        ("Anonymous", {"anonymous": True}, True),
        ("sip:anonymous@anonymous.invalid", {"anonymous": True}, True),
        ("+266696687", {"anonymous": True}, True),
        ("+266696687", {"prefix": "+2"}, False),
        ("sip:desk@example.com", {"anonymous": True}, False),
        ("sip:desk@example.com", {"country": "FR"}, False),
        ("", {"country": "FR"}, False),
        ("", {"not": {"country": "FR"}}, True),
        ("", {"not": {"country": "FR"}, "anonymous": False}, False),
        (PARIS, {"country": "FR", "not": {"list": "vip"}}, False),
        ("+33199999999", {"country": "FR", "not": {"list": "vip"}}, True),
        (PARIS, {"not": {"country": "FR", "list": "vip"}}, False),
        (PARIS, {"not": {"country": "DE", "list": "vip"}}, True),
        (PARIS, {"not": {"not": {"list": "vip"}}}, True),
    ],
)
def test_who_calls(caller: str, condition: dict[str, Any], holds: bool) -> None:
    routes = router({"when": {"caller": condition}})
    assert routes.decide(call(caller)).rule == ("r0" if holds else "last")


@pytest.mark.parametrize(
    ("at", "condition", "holds"),
    [
        (WEDNESDAY, {"open": "office"}, True),
        (WEDNESDAY, {"closed": "office"}, False),
        (WEDNESDAY, {"open": "office", "closed": "bar"}, True),
        (WEDNESDAY, {"open": "office", "closed": "office"}, False),
        (CHRISTMAS, {"holiday": "office"}, True),
        (CHRISTMAS, {"closed": "office"}, True),
        (WEDNESDAY, {"holiday": "office"}, False),
        (datetime(2026, 4, 6, 9, tzinfo=UTC), {"holiday": "office"}, True),  # Easter Monday
        (datetime(2027, 3, 29, 9, tzinfo=UTC), {"holiday": "office"}, True),  # the year after
        (datetime(2026, 12, 24, 9, tzinfo=UTC), {"closed": "office"}, True),
        (datetime(2026, 12, 31, 10, 59, tzinfo=UTC), {"open": "office"}, True),
        (datetime(2026, 12, 31, 11, tzinfo=UTC), {"open": "office"}, False),
        (
            datetime(2026, 12, 24, 23, tzinfo=UTC),
            {"holiday": "office"},
            True,
        ),  # there it is the 25th
        (datetime(2026, 3, 29, 7, tzinfo=UTC), {"open": "office"}, False),  # Sunday
        (datetime(2026, 3, 30, 7, tzinfo=UTC), {"open": "office"}, True),  # summer time
        (datetime(2026, 3, 27, 7, 59, tzinfo=UTC), {"open": "office"}, False),
        (datetime(2026, 12, 27, 6, 59, tzinfo=UTC), {"open": "bar"}, True),  # 01:59 after Saturday
        (datetime(2026, 12, 27, 7, tzinfo=UTC), {"open": "bar"}, False),
    ],
)
def test_when_it_is(at: datetime, condition: dict[str, str], holds: bool) -> None:
    routes = router({"when": {"calendar": condition}})
    assert routes.decide(call(at=at)).rule == ("r0" if holds else "last")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"header": {"x-queue": "gold"}}, True),
        ({"header": {"X-Queue": ["silver", "gold"]}}, True),
        ({"header": {"X-Queue": "Gold"}}, False),
        ({"header": {"X-Queue": {"prefix": "go"}}}, True),
        ({"header": {"X-Queue": {"prefix": "old"}}}, False),
        ({"header": {"X-Queue": {"present": True}}}, True),
        ({"header": {"X-Other": {"present": True}}}, False),
        ({"header": {"X-Other": {"present": False}, "X-Queue": "gold"}}, True),
        ({"header": {"X-Other": "gold"}}, False),
        ({"metadata": {"tries": 1}}, True),
        ({"metadata": {"tries": 1.0}}, True),
        ({"metadata": {"tries": True}}, False),
        ({"metadata": {"tries": "1"}}, False),
        ({"metadata": {"tries": [0, 1]}}, True),
        ({"metadata": {"new": True}}, True),
        ({"metadata": {"new": 1}}, False),
        ({"metadata": {"tries": {"prefix": "1"}}}, False),
        ({"metadata": {"source": {"prefix": "ad-"}}}, True),
        ({"metadata": {"source": {"present": False}}}, False),
        ({"header": {"X-Queue": "gold"}, "metadata": {"tries": 2}}, False),
    ],
)
def test_what_came_with_the_call(condition: dict[str, Any], holds: bool) -> None:
    facts = call(headers={"X-QUEUE": "gold"}, metadata={"tries": 1, "new": True, "source": "ad-7"})
    assert router({"when": condition}).decide(facts).rule == ("r0" if holds else "last")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"at_least": 3}, True),
        ({"at_least": 4}, False),
        ({"below": 4}, True),
        ({"below": 3}, False),
        ({"of": "all", "at_least": 9, "below": 10}, True),
        ({"of": {"flow": "desk"}, "at_least": 2}, True),
        ({"of": {"flow": "desk"}, "below": 2}, False),
        ({"of": {"flow": "other"}, "at_least": 1}, False),
        ({"of": {"flow": "other"}, "below": 1}, True),
    ],
)
def test_how_busy_it_is(condition: dict[str, Any], holds: bool) -> None:
    facts = call(running={"number": 3, "all": 9, "desk": 2})
    routes = router({"when": {"load": condition}})
    assert routes.decide(facts).rule == ("r0" if holds else "last")


def test_the_first_rule_that_holds_decides() -> None:
    routes = router(
        {"when": {"caller": {"list": "vip"}}, "to": {"forward": BERLIN}},
        {"when": {"caller": {"country": "FR"}}, "to": {"refuse": "busy"}},
        {"when": {"caller": {"country": "DE"}}, "to": {"flow": "german", "version": 4}},
    )
    assert routes.decide(call(PARIS)).target == ForwardTarget(forward=BERLIN)
    assert routes.decide(call("+33199999999")).target == RefuseTarget(refuse="busy")
    german = routes.decide(call(BERLIN))
    assert german.target == flow("german", version=4)
    assert [step.words for step in german.steps] == ["the rule 'r2' holds"]
    nobody = routes.decide(call(""))
    assert (nobody.rule, nobody.target) == ("last", flow("front-desk", tag="live"))


def test_variables_come_with_the_target() -> None:
    routes = router(last={"flow": "desk", "variables": {"campaign": "tv", "tries": [1, 2]}})
    target = routes.decide(call()).target
    assert isinstance(target, FlowTarget)
    assert target.variables == {"campaign": "tv", "tries": [1, 2]}


# --- shares -----------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [1, 10, 12.5, 50, 99])
def test_a_share_takes_about_as_many_callers_and_always_the_same(percent: float) -> None:
    routes = router({"when": {"share": {"percent": percent}}})
    taken = {number for number in NUMBERS if routes.decide(call(number)).rule == "r0"}
    # Within five standard deviations of a fair draw; the numbers and the hash are fixed.
    part = percent / 100
    assert abs(len(taken) - len(NUMBERS) * part) < 5 * (len(NUMBERS) * part * (1 - part)) ** 0.5
    later = call(at=CHRISTMAS, call_id="call_2").now
    again = {n for n in NUMBERS if routes.decide(call(n, later, call_id="x")).rule == "r0"}
    assert again == taken


def test_a_hundred_percent_are_all() -> None:
    routes = router({"when": {"share": {"percent": 100}}})
    assert all(routes.decide(call(number)).rule == "r0" for number in NUMBERS[:2000])


def test_the_share_grows_without_losing_a_caller() -> None:
    small = router({"when": {"share": {"percent": 5, "salt": "trial"}}})
    large = router({"when": {"share": {"percent": 20, "salt": "trial"}}})
    for number in NUMBERS[:3000]:
        if small.decide(call(number)).rule == "r0":
            assert large.decide(call(number)).rule == "r0"


def test_another_salt_draws_other_callers() -> None:
    one = router({"when": {"share": {"percent": 50, "salt": "a"}}})
    other = router({"when": {"share": {"percent": 50, "salt": "b"}}})
    both = sum(
        one.decide(call(n)).rule == "r0" and other.decide(call(n)).rule == "r0" for n in NUMBERS
    )
    assert abs(both / len(NUMBERS) - 0.25) < 0.02


def test_a_share_and_the_bucket_of_a_flow_agree() -> None:
    routes = router({"when": {"share": {"percent": 30, "salt": "trial"}}})
    for number in NUMBERS[:2000]:
        assert (routes.decide(call(number)).rule == "r0") is (bucket_of("trial", number) < 30)
        assert place_of("trial", number) // 100 == bucket_of("trial", number)


def test_a_split_shares_callers_out_by_weight() -> None:
    sides = [{"weight": w, "to": {"flow": f"s{w}"}} for w in (5, 0, 3, 2)]
    routes = router(last={"split": sides})
    sides_of = {number: routes.decide(call(number)) for number in NUMBERS}
    counts = Counter(str(decision.target) for decision in sides_of.values())
    shares = sorted(count / len(NUMBERS) for count in counts.values())
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=0.02)
    assert "the last resort" in sides_of[NUMBERS[0]].steps[0].words
    assert "of 4" in sides_of[NUMBERS[0]].steps[1].words
    for number in NUMBERS[:500]:
        assert routes.decide(call(number, CHRISTMAS, call_id="x")) == sides_of[number]


def test_a_split_behind_a_share_is_not_drawn_by_the_same_word() -> None:
    sides = [{"weight": 1, "to": {"flow": "a"}}, {"weight": 1, "to": {"flow": "b"}}]
    routes = router({"when": {"share": {"percent": 20}}, "to": {"split": sides}})
    found = Counter(str(routes.decide(call(n)).target) for n in NUMBERS)
    small = sorted(count / len(NUMBERS) for count in found.values())[:2]
    assert small == pytest.approx([0.1, 0.1], abs=0.01)


def test_a_withheld_caller_falls_by_the_call() -> None:
    routes = router({"when": {"share": {"percent": 50}}})
    rules = {f"call_{n}": routes.decide(call("", call_id=f"call_{n}")).rule for n in range(2000)}
    assert Counter(rules.values())["r0"] == pytest.approx(1000, abs=120)
    assert rules == {key: routes.decide(call("anonymous", call_id=key)).rule for key in rules}


# --- a webhook decides --------------------------------------------------------------------------

ASK = {"ask": "https://crm.example/route", "timeout": "800ms", "default": {"flow": "desk"}}


def test_a_webhook_is_named_and_its_answer_or_default_taken() -> None:
    asked = router({"to": ASK}).decide(call())
    assert isinstance(asked.target, AskTarget)
    to = ForwardTarget(forward=BERLIN)
    good = answered(asked, to)
    assert (good.target, good.rule, len(good.steps)) == (to, "r0", 2)
    late = answered(asked, NoAnswer("deadline", "it was late"))
    assert late.target == flow("desk")
    assert late.steps[-1].words == "it was late, so its default (deadline)"
    with pytest.raises(TypeError):
        answered(late, to)


def test_a_side_of_a_split_may_be_asked() -> None:
    routes = router(last={"split": [{"weight": 1, "to": ASK}]})
    assert isinstance(routes.decide(call()).target, AskTarget)


# --- what a router refuses ------------------------------------------------------------------------


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(RouteError) as refused:
        RouteFacts(PARIS, "", WEDNESDAY.replace(tzinfo=None), "call_1")
    assert refused.value.code == "naive_time"


def test_a_table_with_errors_makes_no_router() -> None:
    good = made(table())
    bad = good.model_copy(update={"calendars": {}, "rules": made(table(
        {"when": {"calendar": {"open": "office"}}})).rules})  # fmt: skip
    with pytest.raises(RouteError) as refused:
        Router(bad)
    assert refused.value.code == "bad_routes"
    assert "unknown_calendar at $.rules[0].when.calendar.open" in refused.value.what


def test_preparing_changes_no_decision() -> None:
    routes = router({"when": {"caller": {"country": "FR"}, "calendar": {"closed": "office"}}})
    before = [routes.decide(call(at=at)) for at in (WEDNESDAY, CHRISTMAS)]
    routes.prepare(date(2026, 12, 1))
    assert [routes.decide(call(at=at)) for at in (WEDNESDAY, CHRISTMAS)] == before
    assert decide(routes.table, call(at=CHRISTMAS)) == before[1]


def test_no_number_of_the_caller_is_in_a_decision() -> None:
    routes = router({"when": {"caller": {"exact": PARIS}}})
    facts = call(PARIS, headers={"X-Id": "secret"}, metadata={"id": "secret"})
    assert PARIS not in str(routes.decide(facts).steps)
    assert PARIS not in repr(facts)
    assert "secret" not in repr(facts)


# --- why ------------------------------------------------------------------------------------------


def test_an_explanation_says_of_each_rule_why() -> None:
    routes = router(
        {"when": {"caller": {"list": "vip"}, "calendar": {"open": "office"}}},
        {"when": {"caller": {"not": {"country": ["FR", "BE"]}}}},
        {"when": {"calendar": {"holiday": "office"}}},
        {"when": {"header": {"X-Queue": "gold"}}},
        {"when": {"load": {"of": "all", "at_least": 2, "below": 5}}},
        {"when": {"caller": {"prefix": "+49"}}},
        {"when": {"caller": {"exact": [PARIS, LYON, BERLIN, "+1415550100", "+1415550101"]}}},
        {"when": {"metadata": {"tries": [1, "x"]}}},
        {"when": {"share": {"percent": 100}}},
        {"when": {"caller": {"anonymous": True}}},
        {"when": {}},
    )
    found = explain(routes, call(at=CHRISTMAS, running={"all": 1}))
    assert [(each.verdict, each.failed, each.words) for each in found.rules] == [
        ("failed", "calendar.open", "the calendar 'office' is closed"),
        ("failed", "caller.not", "the caller is from FR"),
        ("taken", "", "the date is a public holiday in the calendar 'office'"),
        ("failed", "header.X-Queue", "the header 'X-Queue' is not \"gold\""),
        ("failed", "load", "1 call runs (wanted: at least 2 and fewer than 5)"),
        ("failed", "caller.prefix", "the caller's number does not begin with +49"),
        ("late", "", "the caller is one of 5"),
        ("failed", "metadata.tries", "the metadata 'tries' is not 1 or \"x\""),
        ("late", "", "the caller is in the 100 % of 'r8'"),
        ("failed", "caller.anonymous", "the caller shows the number"),
        ("late", "", "it has no conditions"),
    ]
    assert found.decision == routes.decide(call(at=CHRISTMAS, running={"all": 1}))


@pytest.mark.parametrize(
    ("at", "office", "opens"),
    [
        ("2026-12-23T10:00+01:00", "open, 09:00-12:30 (mon-fri)", None),
        (
            "2026-12-23T13:00+01:00",
            "closed, outside 09:00-12:30 and 14:00-18:00 (mon-fri)",
            "23T14",
        ),
        ("2026-12-24T10:00+01:00", "closed, 2026-12-24 is a closed date", "26T09"),
        ("2026-12-25T10:00+01:00", "closed, public holiday Christmas Day", "26T09"),
        ("2026-12-27T10:00+01:00", "closed, no hours on sun", "28T09"),
        ("2026-12-31T10:00+01:00", "open, 09:00-12:00 on 2026-12-31", None),
        ("2026-12-31T13:00+01:00", "closed, outside 09:00-12:00 on 2026-12-31", "02T09"),
    ],
)
def test_an_explanation_tells_the_state_of_each_calendar(
    at: str, office: str, opens: str | None
) -> None:
    found = explain(router(), call(at=datetime.fromisoformat(at)))
    state = found.calendars[0]
    assert state.words == office
    assert state.is_open is office.startswith("open")
    assert (state.opens is None) is (opens is None)
    if opens is not None and state.opens is not None:
        assert f"{state.opens:%dT%H}" == opens


def test_hours_after_midnight_are_told_as_those_of_the_day_before() -> None:
    found = explain(router(), call(at=datetime.fromisoformat("2026-12-27T01:30-05:00")))
    assert found.calendars[1].words == "open, 20:00-02:00 (fri-sat), since the day before"


def test_an_explanation_is_json_and_text() -> None:
    found = explain(router({"when": {"caller": {"list": "vip"}}, "to": ASK}), call(BERLIN))
    told = found.to_json()
    assert told["caller"] == BERLIN
    assert told["to"] == {"flow": "front-desk", "tag": "live"}
    assert told["rules"] == [
        {
            "rule": "r0",
            "verdict": "failed",
            "failed": "caller.list",
            "why": "the caller is not in the list 'vip'",
        }
    ]
    assert told["calendars"][0]["open"] is True
    text = found.to_text()
    assert "   r0  caller.list: the caller is not in the list 'vip'\n" in text
    assert text.endswith("to the flow front-desk, tag live\n")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"flow": "a"}, "the flow a"),
        ({"flow": "a", "version": 3, "variables": {"x": "y", "n": 1}},
         'the flow a, version 3, with x = "y", n = 1'),
        ({"forward": BERLIN}, BERLIN),
        ({"refuse": "busy"}, "nobody: refused as busy"),
        (ASK, "what https://crm.example/route answers within 800ms; else the flow desk"),
    ],
)  # fmt: skip
def test_targets_in_words(target: dict[str, Any], words: str) -> None:
    assert explain(router(last=target), call()).to_text().endswith(f"\nto {words}\n")
