"""`flowengine route`: why a call would go where, the tests of a table, and its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flowengine.cli import build
from flowengine.errors import RouteError
from tests.runtime.route_tables import BERLIN, LAST, PARIS, table

pytestmark = pytest.mark.unit

RULES: list[dict[str, Any]] = [
    {"name": "vip", "when": {"caller": {"list": "vip"}, "calendar": {"open": "office"}}},
    {"name": "full", "when": {"load": {"of": "all", "at_least": 40}}},
    {"name": "desk-full", "when": {"load": {"of": {"flow": "desk"}, "at_least": 2}}},
    {"name": "gold", "when": {"header": {"X-Line": "gold"}, "metadata": {"n": 2, "s": "x=y"}}},
    {"name": "closed", "when": {"calendar": {"closed": "office"}}},
    {"name": "bar", "when": {"calendar": {"open": "bar"}}},
]


def written(folder: Path, *rules: dict[str, Any], **fields: Any) -> Path:
    path = folder / "routes.json"
    path.write_text(json.dumps(table(*(rules or RULES), timezone="Europe/Paris", **fields)))
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(build(), ["route", *(str(item) for item in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_says_why(tmp_path: Path) -> None:
    result = run(
        written(tmp_path), "--called", "+33155555555", "--caller", PARIS,
        "--at", "2026-12-24T10:00+01:00",
    )  # fmt: skip
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{PARIS} to +33155555555, Thu 2026-12-24 10:00 +0100"
    assert "closed, 2026-12-24 is a closed date; opens Sat 2026-12-26 09:00" in lines[1]
    assert "   vip        calendar.open: the calendar 'office' is closed" in lines
    assert "-> closed     the calendar 'office' is closed" in lines
    assert lines[-1] == "to the flow r4"


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--caller", PARIS], "vip"),
        (["--caller", BERLIN], "last"),
        ([], "last"),
        (["--running", "all=40"], "full"),
        (["--running", "all=39", "--running", "desk=2"], "desk-full"),
        (["--header", "x-line=gold", "--metadata", "n=2", "--metadata", "s=x=y"], "gold"),
        (["--header", "x-line=gold", "--metadata", 'n="2"', "--metadata", "s=x=y"], "last"),
    ],
)
def test_all_that_a_rule_asks_for_can_be_said(
    tmp_path: Path, arguments: list[str], rule: str
) -> None:
    # Without an offset the time is the table's own: 10:00 in Paris, where the office is open.
    found = run(written(tmp_path), "--at", "2026-12-23T10:00", "--json", *arguments)
    assert json.loads(found.stdout)["rule"] == rule


def test_without_a_time_it_is_now(tmp_path: Path) -> None:
    assert json.loads(run(written(tmp_path), "--json").stdout)["at"].endswith("+00:00")


def test_the_tests_of_a_table_are_run(tmp_path: Path) -> None:
    good = {"at": "2026-12-24T10:00", "rule": "closed"}
    result = run(written(tmp_path, tests=[good]), "--test")
    assert (result.exit_code, result.stdout) == (0, "1 of 1 tests hold.\n")
    bad = {"at": "2026-12-24T10:00", "rule": "last", "to": LAST}
    result = run(written(tmp_path, tests=[good, bad]), "--test")
    assert (result.exit_code, result.stdout) == (1, "1 of 2 tests hold.\n")
    assert "$.tests[1].rule: error[test_failed]" in result.stderr


def test_what_is_wrong_with_a_table_is_told(tmp_path: Path) -> None:
    result = run(written(tmp_path, {"when": {"caller": {"list": "vips"}}}))
    assert result.exit_code == 1
    assert "$.rules[0].when.caller.list: error[unknown_list]" in result.stderr
    assert result.stdout == ""
    doubtful = run(written(tmp_path, {}, {}), "--at", "2026-12-23T10:00")
    assert doubtful.exit_code == 0
    assert "$.rules[1]: warning[never_reached]" in doubtful.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--at", "noon"], "bad_time"),
        (["--header", "gold"], "bad_pair"),
        (["--metadata", "=3"], "bad_pair"),
        (["--running", "all=many"], "bad_number"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, arguments: list[str], code: str) -> None:
    with pytest.raises(RouteError) as refused:
        run(written(tmp_path), *arguments)
    assert refused.value.code == code


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RouteError) as refused:
        run(tmp_path / "none.json")
    assert refused.value.code == "no_routes_file"


def test_the_schema_of_a_table_is_printed() -> None:
    result = CliRunner().invoke(build(), ["schema", "--routes"])
    assert json.loads(result.stdout)["title"] == "RouteTable"
