"""`flowengine route`: where a routing table sends a call, and why; nobody is called or asked."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from flowengine.clock import RealClock
from flowengine.errors import RouteError
from flowengine.events import Json
from flowengine.flow.checks.report import to_text
from flowengine.runtime.route_explaining import explain
from flowengine.runtime.route_facts import Load, RouteFacts
from flowengine.runtime.route_reading import parse_table
from flowengine.runtime.route_testing import failed_tests
from flowengine.runtime.routes import RouteTable
from flowengine.runtime.routing import Router


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def route(
        table: Annotated[Path, typer.Argument(help="The routing table's JSON file.")],
        *,
        called: Annotated[str, typer.Option(help="The number that is called.")] = "",
        caller: Annotated[
            str, typer.Option(help="The caller's number; without it, it is withheld.")
        ] = "",
        at: Annotated[
            str,
            typer.Option(
                help="When it is: 2026-12-24T10:00+01:00, or without +01:00 in the table's time "
                "zone; now."
            ),
        ] = "",
        header: Annotated[
            list[str] | None, typer.Option(help="name=value, for each header of the call.")
        ] = None,
        metadata: Annotated[
            list[str] | None, typer.Option(help="name=value, a value in JSON or plain.")
        ] = None,
        running: Annotated[
            list[str] | None,
            typer.Option(help="Calls that run: all=3, number=2, or a flow's id and how many."),
        ] = None,
        call_id: Annotated[
            str, typer.Option(help="By which a caller without a number falls into shares.")
        ] = "call",
        test: Annotated[
            bool, typer.Option("--test", help="Run the table's own tests instead.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Say where a call would go: every rule, what of it does not hold, the calendars."""
        found, source = _table(table)
        if test:
            _test(found, source, table)
            return
        facts = RouteFacts(
            caller=caller,
            called=called,
            now=_time(at, found),
            call_id=call_id,
            headers=dict(_pairs(header, "--header")),
            metadata={name: _value(text) for name, text in _pairs(metadata, "--metadata")},
            load=_load(running),
        )
        explanation = explain(Router(found), facts)
        if as_json:
            print(json.dumps(explanation.to_json(), indent=2, ensure_ascii=False))
        else:
            print(explanation.to_text(), end="")


def _test(table: RouteTable, source: str, path: Path) -> None:
    """Run the table's tests; exit code 1 when one fails."""
    failed = tuple(failed_tests(Router(table)))
    print(f"{len(table.tests) - len(failed)} of {len(table.tests)} tests hold.")
    if failed:
        print(to_text(failed, file=path.as_posix(), source=source), end="", file=sys.stderr)
        raise typer.Exit(1)


def _table(path: Path) -> tuple[RouteTable, str]:
    """The table and its source; its findings go to stderr, and an error among them is the end."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RouteError(
            "no_routes_file",
            f"The routing table cannot be read ({type(error).__name__}).",
            where=str(path),
            fix="Give the path of a routing table's JSON file.",
        ) from error
    parsed = parse_table(source, path.name)
    if parsed.findings:
        print(to_text(parsed.findings, file=path.as_posix(), source=source), file=sys.stderr)
    if parsed.table is None:
        raise typer.Exit(1)
    return parsed.table, source


def _time(at: str, table: RouteTable) -> datetime:
    if not at:
        return RealClock().wall()
    try:
        return table.time_of(at)
    except ValueError as error:
        fix = "Write 2026-12-24T10:00+01:00."
        raise RouteError("bad_time", f"{at!r} is no time.", where="--at", fix=fix) from error


def _load(running: list[str] | None) -> Load:
    counts: dict[str, int] = {}
    for name, text in _pairs(running, "--running"):
        if not text.isdecimal():
            fix = "Write --running all=3."
            message = f"{text!r} is no number of calls."
            raise RouteError("bad_number", message, where="--running", fix=fix)
        counts[name] = int(text)
    return Load.of(counts)


def _pairs(items: list[str] | None, option: str) -> list[tuple[str, str]]:
    return [_pair(item, option) for item in items or []]


def _pair(item: str, option: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        fix = f"Write {option} name=value."
        raise RouteError("bad_pair", f"{item!r} is no name=value.", where=option, fix=fix)
    return name, value


def _value(text: str) -> Json:
    """A value as JSON where it is JSON, else the text itself."""
    try:
        return orjson.loads(text)
    except ValueError:
        return text
