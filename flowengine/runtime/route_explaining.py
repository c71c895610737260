"""Why a routing table sends a call where it does: every rule, every calendar, the decision.

For the one who keeps the table: unlike a decision's steps, this holds the caller's number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import orjson

from flowengine.events import Json
from flowengine.flow.calendar_words import why_open
from flowengine.flow.calendars import is_open, next_open
from flowengine.runtime.route_conditions import Hours
from flowengine.runtime.route_facts import Asked, RouteFacts
from flowengine.runtime.routes import AskTarget, FlowTarget, ForwardTarget, RefuseTarget
from flowengine.runtime.routing import Decision, ReadyRule, Router


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """One rule: `taken`, `late` (it holds, too, but a former one is taken) or `failed`.

    `failed` is the place of the first condition that does not hold, `words` how that is; of a rule
    that holds, how all of its conditions are.
    """

    rule: str
    verdict: Literal["taken", "late", "failed"]
    words: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class CalendarVerdict:
    """One calendar at the time of the call; `opens` is None when it is open, or never opens."""

    calendar: str
    timezone: str
    local: datetime
    is_open: bool
    words: str
    opens: datetime | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with everything that led to it."""

    facts: RouteFacts
    decision: Decision
    calendars: tuple[CalendarVerdict, ...]
    rules: tuple[RuleVerdict, ...]

    def to_json(self) -> dict[str, Json]:
        """For programs."""
        return {
            "caller": self.facts.caller,
            "called": self.facts.called,
            "at": self.facts.now.isoformat(),
            "rule": self.decision.rule,
            "to": self.decision.target.written(),
            "steps": [step.words for step in self.decision.steps],
            "calendars": [
                {
                    "calendar": each.calendar,
                    "timezone": each.timezone,
                    "local": each.local.isoformat(),
                    "open": each.is_open,
                    "why": each.words,
                    "opens": None if each.opens is None else each.opens.isoformat(),
                }
                for each in self.calendars
            ],
            "rules": [
                {
                    "rule": each.rule,
                    "verdict": each.verdict,
                    "failed": each.failed or None,
                    "why": each.words,
                }
                for each in self.rules
            ],
        }

    def to_text(self) -> str:
        """For people."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        facts = self.facts
        called = f" to {facts.called}" if facts.called else ""
        yield f"{facts.caller or 'a withheld number'}{called}, {facts.now:%a %Y-%m-%d %H:%M %z}"
        for state in self.calendars:
            opens = f"; opens {state.opens:%a %Y-%m-%d %H:%M}" if state.opens else ""
            where = f"{state.timezone}, {state.local:%a %Y-%m-%d %H:%M}"
            yield f"calendar {state.calendar} ({where}): {state.words}{opens}"
        width = max([len(each.rule) for each in self.rules], default=0)
        signs = {"taken": "->", "late": " +", "failed": "  "}
        for each in self.rules:
            place = f"{each.failed}: " if each.failed else ""
            late = "holds, but a former rule is taken: " if each.verdict == "late" else ""
            yield f"{signs[each.verdict]} {each.rule:<{width}}  {late}{place}{each.words}"
        for step in self.decision.steps:
            yield step.words
        yield f"to {told(self.decision.target)}"


def explain(router: Router, facts: RouteFacts) -> Explanation:
    """The decision of `router.decide` on the same facts, and the reasons for it."""
    decision = router.decide(facts)
    call = Asked(facts)
    return Explanation(
        facts,
        decision,
        tuple(_calendar(hours, facts.now) for hours in router.hours.values()),
        tuple(_rule(rule, call, decision.rule) for rule in router.rules),
    )


def told(target: FlowTarget | ForwardTarget | RefuseTarget | AskTarget) -> str:
    """A target in words."""
    match target:
        case FlowTarget(flow=flow, version=int(version)):
            return f"the flow {flow}, version {version}{_with(target.variables)}"
        case FlowTarget(flow=flow, tag=str(tag)):
            return f"the flow {flow}, tag {tag}{_with(target.variables)}"
        case FlowTarget(flow=flow):
            return f"the flow {flow}{_with(target.variables)}"
        case ForwardTarget(forward=number):
            return number
        case RefuseTarget(refuse=reason):
            return f"nobody: refused as {reason}"
        case AskTarget():
            default = told(target.default)
            return f"what {target.ask} answers within {target.timeout}; else {default}"


def _with(variables: Mapping[str, Json]) -> str:
    pairs = [f"{name} = {orjson.dumps(value).decode()}" for name, value in variables.items()]
    return f", with {', '.join(pairs)}" if pairs else ""


def _rule(rule: ReadyRule, call: Asked, taken: str) -> RuleVerdict:
    for condition in rule.conditions:
        if not condition.holds(call):
            return RuleVerdict(rule.name, "failed", condition.words(call), condition.key)
    words = "; ".join(each.words(call) for each in rule.conditions) or "it has no conditions"
    return RuleVerdict(rule.name, "taken" if rule.name == taken else "late", words)


def _calendar(hours: Hours, now: datetime) -> CalendarVerdict:
    calendar, timezone = hours.calendar, hours.timezone
    zone = ZoneInfo(timezone)
    opens = None if is_open(calendar, now, timezone) else next_open(calendar, now, timezone)
    return CalendarVerdict(
        hours.name,
        timezone,
        now.astimezone(zone),
        opens is None and is_open(calendar, now, timezone),
        why_open(calendar, now, timezone),
        None if opens is None else opens.astimezone(zone),
    )
