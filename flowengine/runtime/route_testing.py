"""Runs the tests of a routing table: do its calls go where their author says?

Whoever publishes a table runs them first; a table that fails its own tests goes to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_index
from flowengine.runtime.route_explaining import RuleVerdict, explain, told
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.routes import LAST, RouteTable, RouteTest, SplitTarget
from flowengine.runtime.routing import Router


def failed_tests(router: Router) -> Iterator[Finding]:
    """An error for each test whose call goes elsewhere, with the reason."""
    for index, test in enumerate(router.table.tests):
        path = at_index("$.tests", index)
        found = explain(router, facts_of(test, router.table, index))
        decision = found.decision
        named = f"The test {test.name!r}" if test.name else f"Test {index + 1}"
        if decision.rule != test.rule:
            reason = _why_not(test.rule, found.rules)
            message = f"{named} wants {test.rule!r} and gets {decision.rule!r}: {reason}."
            yield Finding("test_failed", "error", f"{path}.rule", message)
        elif test.to is not None and decision.target != test.to:
            wanted = "a split" if isinstance(test.to, SplitTarget) else told(test.to)
            message = f"{named} wants {wanted} and gets {told(decision.target)}."
            yield Finding("test_failed", "error", f"{path}.to", message)


def facts_of(test: RouteTest, table: RouteTable, index: int = 0) -> RouteFacts:
    """The call of a test."""
    return RouteFacts(
        caller=test.caller or "",
        called="",
        now=table.time_of(test.at),
        call_id=f"test_{index}",
        headers=test.header,
        metadata=test.metadata,
        load=Load.of(test.running),
    )


def _why_not(wanted: str, rules: tuple[RuleVerdict, ...]) -> str:
    taken = next((each for each in rules if each.verdict == "taken"), None)
    verdict = next((each for each in rules if each.rule == wanted), None)
    if verdict is not None and verdict.verdict == "failed":
        return f"{verdict.failed}: {verdict.words}"
    before = "" if wanted == LAST else ", and it stands before"
    return f"{taken.words}{before}" if taken is not None else "no rule holds"
