"""What a routing table may know of a call, and a call while a table is asked about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flowengine.errors import RouteError
from flowengine.events import Json
from flowengine.runtime.caller import country, number


@dataclass(frozen=True, slots=True)
class Load:
    """Calls that run now, without the one that is routed."""

    all: int = 0
    number: int = 0
    """To the number that is called."""
    flows: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, running: Mapping[str, int]) -> Load:
        """From counts by `all`, `number` and the ids of flows."""
        flows = {name: count for name, count in running.items() if name not in ("all", "number")}
        return cls(running.get("all", 0), running.get("number", 0), flows)


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """What a routing table may know of a call. Its repr shows nothing of the caller.

    `caller` and `called` are addresses as the carrier gives them, `now` is aware, `headers` are
    those of the call (SIP), `metadata` is what else came with it. Raises RouteError(`naive_time`).
    """

    caller: str = field(repr=False)
    called: str
    now: datetime
    call_id: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    metadata: Mapping[str, Json] = field(default_factory=dict, repr=False)
    load: Load = field(default_factory=Load)

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            fix = "Give it with a time zone."
            raise RouteError("naive_time", "The time has no time zone.", where="now", fix=fix)


class Wall(NamedTuple):
    """What clock and calendar on the walls of a zone show."""

    local: datetime
    today: date
    yesterday: date


class Asked:
    """One call while the table is asked about it."""

    def __init__(self, facts: RouteFacts) -> None:
        self.facts = facts
        self.number = number(facts.caller)
        self._walls: dict[str, Wall] = {}

    @cached_property
    def country(self) -> str:
        return country(self.number)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case."""
        return {name.lower(): value for name, value in self.facts.headers.items()}

    @property
    def who(self) -> str:
        """Whom shares know again: the number, and where there is none, the call."""
        return self.number or self.facts.call_id

    def wall(self, timezone: str) -> Wall:
        """The time of the call in a zone."""
        found = self._walls.get(timezone)
        if found is None:
            local = self.facts.now.astimezone(ZoneInfo(timezone))
            found = Wall(local, local.date(), local.date() - timedelta(days=1))
            self._walls[timezone] = found
        return found
