"""Decides where an inbound call goes: the first rule of its number's table that holds.

Pure: what it may know of a call is in `RouteFacts`, the time too, so that the same facts always
give the same decision. A webhook that is to decide is only named here;
`flowengine.runtime.route_asking` asks it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from flowengine.flow.shares import place_of, places
from flowengine.runtime.caller import prepare_countries
from flowengine.runtime.route_conditions import Condition, Conditions
from flowengine.runtime.route_facts import Asked, Load, RouteFacts
from flowengine.runtime.route_index import RuleIndex
from flowengine.runtime.route_reading import refuse_errors
from flowengine.runtime.routes import (
    LAST,
    AskTarget,
    FlowTarget,
    ForwardTarget,
    RefuseTarget,
    RouteTable,
    SplitTarget,
    Target,
)

__all__ = ["Decision", "Destination", "Load", "NoAnswer", "RouteFacts", "Router", "Step", "decide"]

Destination = FlowTarget | ForwardTarget | RefuseTarget


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to a decision, in words that name no caller."""

    what: Literal["rule", "split", "asked"]
    words: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a call goes, by which rule (`last`: none), and how that came about.

    As long as `target` is an `AskTarget`, a webhook is still to be asked.
    """

    target: Destination | AskTarget
    rule: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a webhook did not decide: a code and a sentence."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """A rule made ready."""

    name: str
    conditions: tuple[Condition, ...]
    to: Target

    def holds(self, call: Asked) -> bool:
        # A plain loop: this is where a decision spends its time.
        for condition in self.conditions:  # noqa: SIM110
            if not condition.holds(call):
                return False
        return True


class Router:
    """A routing table made ready to decide. Raises RouteError for one that has errors.

    Deciding reads nothing but the facts; what it remembers (a calendar's days) changes no decision.
    """

    def __init__(self, table: RouteTable) -> None:
        refuse_errors(table)
        conditions = Conditions(table)
        self.table = table
        self.hours = conditions.hours
        self.rules = tuple(ReadyRule(r.name, conditions.of(r), r.to) for r in table.rules)
        self._index = RuleIndex(table, conditions.lists)

    def prepare(self, day: date) -> None:
        """Work out ahead what decisions of a day and the next would else work out first.

        That is the days' hours, with the holidays of their year, and the tables of countries. The
        first time it may take 0.1 s: not for an event loop that carries audio.
        """
        for hours in self.hours.values():
            for offset in (-1, 0, 1, 2):
                hours.day(day + timedelta(days=offset))
        if any(rule.when.caller is not None for rule in self.table.rules):
            prepare_countries()

    def decide(self, facts: RouteFacts) -> Decision:
        """Where the call goes."""
        call = Asked(facts)
        for place in self._index.candidates(call.number):
            rule = self.rules[place]
            if rule.holds(call):
                return self._to(rule.to, call, rule.name)
        return self._to(self.table.last, call, LAST)

    def _to(self, target: Target, call: Asked, rule: str) -> Decision:
        words = "no rule holds: the last resort" if rule == LAST else f"the rule {rule!r} holds"
        steps = (Step("rule", words),)
        if not isinstance(target, SplitTarget):
            return Decision(target, rule, steps)
        index = _side(target, target.salt or f"{rule}/to", call.who)
        side, total = target.split[index], sum(side.weight for side in target.split)
        words = f"side {index + 1} of {len(target.split)}, {side.weight} of {total} callers"
        return Decision(side.to, rule, (*steps, Step("split", words)))


def decide(table: RouteTable, facts: RouteFacts) -> Decision:
    """The decision of a table that is asked once; for many calls make a `Router`."""
    return Router(table).decide(facts)


def answered(decision: Decision, answer: Destination | NoAnswer) -> Decision:
    """The decision after its webhook was asked: the answer, or else its default."""
    asked = decision.target
    if not isinstance(asked, AskTarget):
        raise TypeError("the decision asks nobody")
    if isinstance(answer, NoAnswer):
        step = Step("asked", f"{answer.words}, so its default ({answer.code})")
        return replace(decision, target=asked.default, steps=(*decision.steps, step))
    step = Step("asked", "the webhook decides")
    return replace(decision, target=answer, steps=(*decision.steps, step))


def _side(target: SplitTarget, salt: str, who: str) -> int:
    """The side on which somebody falls."""
    total = sum(side.weight for side in target.split)
    place, reached = place_of(salt, who) * total, 0
    for index, side in enumerate(target.split):
        reached += side.weight * places
        if place < reached:
            return index
    raise AssertionError("a place is always below the sum of all sides")
