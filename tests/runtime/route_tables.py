"""Routing tables for tests, and calls to ask them about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.route_reading import parse_table_document
from flowengine.runtime.routes import FlowTarget, RouteTable
from flowengine.runtime.routing import Router

LAST = {"flow": "front-desk", "tag": "live"}
OFFICE = {
    "timezone": "Europe/Paris",
    "weekly": {"mon-fri": ["09:00-12:30", "14:00-18:00"], "sat": ["09:00-12:00"]},
    "holidays": "FR",
    "closed": ["2026-12-24"],
    "open": {"2026-12-31": ["09:00-12:00"]},
}
BAR = {"timezone": "America/New_York", "weekly": {"fri-sat": ["20:00-02:00"]}}
PARIS, LYON, BERLIN = "+33140506070", "+33478123456", "+4930123456"
WEDNESDAY = datetime(2026, 12, 23, 9, tzinfo=UTC)
"""10:00 in Paris, where the office is open."""


def table(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A table of rules `{name?, when?, to?}`: names are r0, r1, …, and so are the flows."""
    numbered = [
        {"name": f"r{index}", "to": {"flow": f"r{index}"}, **rule}
        for index, rule in enumerate(rules)
    ]
    return {
        "routes": "1",
        "calendars": {"office": OFFICE, "bar": BAR},
        "lists": {"vip": [PARIS, LYON]},
        "rules": numbered,
        "last": LAST,
        **fields,
    }


def made(document: dict[str, Any]) -> RouteTable:
    """The table, which must have no errors."""
    parsed = parse_table_document(document)
    assert parsed.table is not None, parsed.findings
    return parsed.table


def router(*rules: dict[str, Any], **fields: Any) -> Router:
    return Router(made(table(*rules, **fields)))


def flow(name: str, **more: Any) -> FlowTarget:
    return FlowTarget.model_validate({"flow": name, **more})


def call(caller: str = PARIS, at: datetime = WEDNESDAY, **fields: Any) -> RouteFacts:
    load = Load.of(fields.pop("running", {}))
    return RouteFacts(caller, "+33155555555", at, **{"call_id": "call_1", "load": load, **fields})
