"""Reads routing tables and answers of webhooks, and says what is wrong with them.

A table is refused for its errors; a warning says what is surely not meant, such as a rule that a
former one never lets through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from flowengine.errors import RouteError
from flowengine.events import Json
from flowengine.flow.calendars import knows_region
from flowengine.flow.findings import Finding
from flowengine.flow.models import FlowModel
from flowengine.flow.paths import at_index, at_key, root
from flowengine.flow.reading import findings_of, read_json
from flowengine.runtime.route_when import CallerIs
from flowengine.runtime.routes import (
    LAST,
    Destination,
    FlowTarget,
    ForwardTarget,
    RefuseTarget,
    RouteTable,
    Rule,
    SplitTarget,
)

CODES: Mapping[str, str] = {
    "unknown_calendar": "A rule names a calendar that the table does not have.",
    "unknown_list": "A rule names a list that the table does not have.",
    "unknown_region": "A calendar names a region whose holidays are not known.",
    "missing_timezone": "A calendar has no time zone, nor has the table.",
    "duplicate_rule": "Two rules have the same name.",
    "unknown_rule": "A test names a rule that the table does not have.",
    "test_failed": "A test's call does not go where it must.",
    "bad_time": "No time of a test.",
    "bad_phone": 'No phone number such as "+33123456789".',
    "bad_prefix": 'No beginning of a phone number such as "+3312".',
    "bad_country": "No country.",
    "bad_url": "No URL to ask.",
    "bad_timeout": "A time limit for a webhook outside 1 ms to 10 s.",
    "bad_bounds": "Bounds between which nothing lies.",
    "empty_condition": "A condition that says nothing.",
    "empty_share": "A share in which nobody is.",
    "no_target": "A target that does not say where the call goes.",
    "two_targets": "A target that says it twice.",
    "two_versions": "A flow with both a version and a tag.",
    "reserved_name": "A rule called `last`.",
    "never_reached": "A rule that can never be taken: a former one takes all its calls (warning).",
    "never_holds": "A condition that can never hold (warning).",
    "same_salt": "A share and the split behind it draw by the same word (warning).",
    "unused": "A calendar or list that no rule names (warning).",
}
"""What can be wrong with a table, beside what can be wrong with any JSON of ours."""


@dataclass(frozen=True, slots=True)
class ParsedTable:
    """A table as read: `table` is None when it has an error."""

    name: str
    table: RouteTable | None
    findings: tuple[Finding, ...] = ()


def parse_table(source: str | bytes, name: str = "routes.json") -> ParsedTable:
    """Read a table; whatever is wrong with it comes back as findings."""
    document, findings = read_json(source)
    if document is None and findings:
        return ParsedTable(name, None, findings)
    return _parsed(document, name, findings)


def parse_table_document(document: Json, name: str = "routes.json") -> ParsedTable:
    """The same for a table that is JSON already (an API's body)."""
    return _parsed(document, name, ())


def load_table(source: str | bytes, name: str = "routes.json") -> RouteTable:
    """A table without errors. Raises RouteError(`bad_routes`) with every finding."""
    parsed = parse_table(source, name)
    _refuse(name, parsed.findings)
    if parsed.table is None:
        raise RouteError("bad_routes", "The file holds no table.", where=name)
    return parsed.table


def table_schema() -> dict[str, Json]:
    """The JSON Schema (2020-12) of a routing table, for editors and forms."""
    made = RouteTable.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def refuse_errors(table: RouteTable) -> None:
    """Raise RouteError(`bad_routes`) when a table has errors."""
    _refuse(table.name or root, tuple(table_findings(table)))


def read_reply(body: Json) -> FlowTarget | ForwardTarget | RefuseTarget | Finding:
    """Where a webhook sends the call, or what is wrong with its answer: the first error."""
    try:
        reply = _Reply.model_validate({"to": body})
    except ValidationError as error:
        found = findings_of(error, {"to": body}, {}, _Reply)[0]
        return replace(found, path=root + found.path.removeprefix("$.to"))
    return reply.to


class _Reply(FlowModel):
    to: Destination


def _parsed(document: Json, name: str, findings: tuple[Finding, ...]) -> ParsedTable:
    if not isinstance(document, dict):
        message = "A routing table is a JSON object."
        finding = Finding("wrong_type", "error", root, message, 'Begin with {"routes": "1", …}.')
        return ParsedTable(name, None, (finding,))
    try:
        table = RouteTable.model_validate(document)
    except ValidationError as error:
        return ParsedTable(name, None, (*findings, *findings_of(error, document, {}, RouteTable)))
    found = (*findings, *table_findings(table))
    has_error = any(finding.severity == "error" for finding in found)
    return ParsedTable(name, None if has_error else table, found)


def _refuse(name: str, findings: tuple[Finding, ...]) -> None:
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        lines = [f"  {item.code} at {item.path}: {item.message} {item.fix}" for item in errors]
        raise RouteError(
            "bad_routes",
            f"The routing table has {len(errors)} error{'s' if len(errors) != 1 else ''}:\n"
            + "\n".join(line.rstrip() for line in lines),
            where=name,
            fix="Correct them and load it again.",
        )


# --- what the models alone do not see -----------------------------------------------------------


def table_findings(table: RouteTable) -> Iterator[Finding]:
    """Errors and warnings of a table whose shape is good."""
    yield from _calendars(table)
    yield from _names(table)
    yield from _doubtful(table)
    yield from _shadowed(table.rules)
    yield from _unused(table)


def _calendars(table: RouteTable) -> Iterator[Finding]:
    for name, calendar in table.calendars.items():
        path = at_key(at_key(root, "calendars"), name)
        if calendar.timezone is None and table.timezone is None:
            message = f"The calendar {name!r} has no time zone."
            fix = "Give it a 'timezone', or give one to the table."
            yield Finding("missing_timezone", "error", path, message, fix)
        if calendar.holidays is not None and not knows_region(calendar.holidays):
            message = f"No public holidays are known of {calendar.holidays!r}."
            fix = 'Write a country, or a country and a part such as "US-CA".'
            yield Finding("unknown_region", "error", at_key(path, "holidays"), message, fix)


def _names(table: RouteTable) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, rule in _rules(table):
        if rule.name in seen:
            message = f"Two rules are called {rule.name!r}."
            fix = "Give one another name."
            yield Finding("duplicate_rule", "error", at_key(path, "name"), message, fix)
        seen.add(rule.name)
        for place, name in _named_calendars(path, rule):
            if name not in table.calendars:
                message = f"There is no calendar {name!r}."
                yield Finding("unknown_calendar", "error", place, message, _known(table.calendars))
        for place, name in _named_lists(path, rule):
            if name not in table.lists:
                message = f"There is no list {name!r}."
                yield Finding("unknown_list", "error", place, message, _known(table.lists))
    for index, test in enumerate(table.tests):
        if test.rule not in seen and test.rule != LAST:
            place = f"{at_index('$.tests', index)}.rule"
            message = f"There is no rule {test.rule!r}."
            yield Finding("unknown_rule", "error", place, message, f"Name a rule, or {LAST!r}.")


def _doubtful(table: RouteTable) -> Iterator[Finding]:
    for path, rule in _rules(table):
        calendar, share = rule.when.calendar, rule.when.share
        name = calendar.holiday if calendar is not None else None
        if name in table.calendars and table.calendars[str(name)].holidays is None:
            message = f"The calendar {name!r} keeps no public holidays."
            place = f"{path}.when.calendar.holiday"
            yield Finding("never_holds", "warning", place, message, "Give it 'holidays'.")
        if calendar is not None and calendar.open is not None and calendar.open == calendar.closed:
            message = f"The calendar {calendar.open!r} is never open and closed at once."
            place = f"{path}.when.calendar.closed"
            yield Finding("never_holds", "warning", place, message, "Remove one of them.")
        if share is not None and isinstance(rule.to, SplitTarget):
            drawn_by = share.salt or rule.name
            if rule.to.salt == drawn_by:
                message = f"Both the rule's share and its split draw callers by {drawn_by!r}."
                fix = "Give the split another 'salt'; else its sides get other shares than written."
                yield Finding("same_salt", "warning", f"{path}.to.salt", message, fix)


def _shadowed(rules: tuple[Rule, ...]) -> Iterator[Finding]:
    """Rules behind one whose every condition they have, too."""
    parts = [_parts(rule) for rule in rules]
    for index, mine in enumerate(parts):
        for before in range(index):
            if parts[before].items() <= mine.items():
                message = f"Every call that it could take is taken by {rules[before].name!r}."
                fix = "Put it before that rule, or remove it."
                path = at_index("$.rules", index)
                yield Finding("never_reached", "warning", path, message, fix)
                break


def _parts(rule: Rule) -> dict[str, str]:
    """The single conditions of a rule by place, in a form that can be compared."""
    when = rule.when
    share = when.share
    parts = {
        f"{key}.{name}": repr(value)
        for key, model in (("caller", when.caller), ("calendar", when.calendar))
        if model is not None
        for name, value in model
        if value is not None
    }
    parts |= {f"header.{name.lower()}": repr(value) for name, value in when.header.items()}
    parts |= {f"metadata.{name}": repr(value) for name, value in when.metadata.items()}
    if when.load is not None:
        parts["load"] = repr(when.load)
    if share is not None and share.percent < 100:
        parts["share"] = repr((share.percent, share.salt or rule.name))
    return parts


def _unused(table: RouteTable) -> Iterator[Finding]:
    calendars = {name for path, rule in _rules(table) for _, name in _named_calendars(path, rule)}
    lists = {name for path, rule in _rules(table) for _, name in _named_lists(path, rule)}
    for key, there, named in (
        ("calendars", table.calendars, calendars),
        ("lists", table.lists, lists),
    ):
        for name in there:
            if name not in named:
                message = f"No rule names {name!r}."
                path = at_key(at_key(root, key), name)
                yield Finding("unused", "warning", path, message, "Use it, or remove it.")


def _rules(table: RouteTable) -> Iterator[tuple[str, Rule]]:
    for index, rule in enumerate(table.rules):
        yield at_index("$.rules", index), rule


def _named_calendars(path: str, rule: Rule) -> Iterator[tuple[str, str]]:
    for key, name in rule.when.calendar or ():
        if name is not None:
            yield f"{path}.when.calendar.{key}", name


def _named_lists(path: str, rule: Rule) -> Iterator[tuple[str, str]]:
    caller: CallerIs | None = rule.when.caller
    place = f"{path}.when.caller"
    while caller is not None:
        if caller.list is not None:
            yield f"{place}.list", caller.list
        caller, place = caller.not_, f"{place}.not"


def _known(there: Mapping[str, object]) -> str:
    return f"Known are {', '.join(sorted(there))}." if there else "The table has none."
