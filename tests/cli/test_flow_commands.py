"""The commands that look at a flow or rehearse it: call, check, draw, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flowengine.cli import build
from flowengine.errors import ConfigError, FlowError
from flowengine.testing.scripts import ScriptError
from tests.runtime.small_flows import DESK, INNER, SHOP, TALK

pytestmark = pytest.mark.conversation


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with flows in it, and no keys of any vendor."""
    for name in ("OPENAI_API_KEY", "DEEPGRAM_API_KEY", "ELEVENLABS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOWENGINE_DATA", str(tmp_path / "data"))
    for document in (SHOP, DESK, INNER, TALK):
        (tmp_path / f"{document['id']}.json").write_text(json.dumps(document))
    return tmp_path


def run(*arguments: object, typed: str = "") -> Result:
    result = CliRunner().invoke(build(), [str(item) for item in arguments], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# --- call ---


def test_a_call_from_a_script(folder: Path) -> None:
    script = folder / "caller.txt"
    script.write_text("< press one\norder\nthree\nyes\n")
    result = run("call", folder / "shop.json", "--text", "--script", script)
    assert result.exit_code == 0
    assert "caller  order" in result.stdout
    assert "You get 3. Goodbye." in result.stdout
    assert "welcome → choose  by e0: outcome done; decided by engine" in result.stdout
    assert "output count = 3" in result.stdout
    assert "ended: sold (flow)" in result.stdout


def test_a_script_that_is_not_met_fails(folder: Path) -> None:
    script = folder / "caller.txt"
    script.write_text("< What colour\n")
    result = run("call", folder / "shop.json", "--script", script)
    assert result.exit_code == 1
    assert "did not hear 'What colour'" in result.stderr


def test_a_call_from_the_keyboard(folder: Path) -> None:
    result = run("call", folder / "shop.json", "--text", typed="!\n1\n4#\n1\n")
    assert result.exit_code == 0
    assert "keys  4" in result.stdout
    assert "ended: sold (flow)" in result.stdout
    assert "What does the caller break in with?" in result.stderr


def test_the_end_of_the_input_hangs_up(folder: Path) -> None:
    result = run("call", folder / "shop.json", typed="\norder\n")
    assert "ended: hung_up (hung_up)" in result.stdout


def test_a_tools_answer_can_be_given(folder: Path) -> None:
    answer = '--tool=account={"tier": "gold"}'
    result = run("call", folder / "desk.json", answer, "--tool=order={}", typed="five\n")
    assert "Welcome, gold customer." in result.stdout


def test_a_dialog_without_a_key_ends(folder: Path) -> None:
    result = run("call", folder / "talk.json")
    assert "talk → bye  by e4: outcome failed" in result.stdout


GREETING: dict[str, Any] = {
    "flow": "1",
    "id": "greeting",
    "start": "hi",
    "defaults": {"timezone": "Europe/Paris"},
    "variables": {
        "who": {"type": "string", "input": True},
        "times": {"type": "integer", "input": True, "default": 1},
    },
    "nodes": {
        "hi": {
            "kind": "hangup",
            "say": "Hello {{ who }} from {{ call.from }}, {{ times }} at {{ now.time() }}.",
        }
    },
}


def test_inputs_the_callers_number_and_the_time(folder: Path) -> None:
    path = folder / "greeting.json"
    path.write_text(json.dumps(GREETING))
    result = run(
        "call", path, "--from", "+33611111111", "--at", "2026-03-03T10:30",
        "--input", "who=Ada", "--input", "times=3",
    )  # fmt: skip
    assert "Hello Ada from +33611111111, 3 at " in result.stdout
    assert "10" in result.stdout.partition("at ")[2].partition("\n")[0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--input", "nobody=1"], "unknown_input"),
        (["--input", "who"], "unknown_input"),
        (["--input", "who=A", "--input", "times=x"], "not_json"),
        (["--input", "who=A", "--at", "tomorrow"], "bad_time"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder: Path, arguments: list[str], code: str) -> None:
    path = folder / "greeting.json"
    path.write_text(json.dumps(GREETING))
    with pytest.raises(ConfigError) as caught:
        run("call", path, *arguments)
    assert caught.value.code == code


def test_a_script_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ScriptError) as caught:
        run("call", folder / "shop.json", "--script", folder / "none.txt")
    assert caught.value.code == "no_script"


# --- check ---


def test_a_flow_without_errors_passes(folder: Path) -> None:
    result = run("check", folder / "desk.json", folder / "shop.json")
    assert result.exit_code == 0
    assert "warning[variable_never_read]" in result.stdout


@pytest.fixture
def broken(folder: Path) -> Path:
    document = {**SHOP, "start": "nowhere"}
    path = folder / "broken.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def test_an_error_fails_the_check(broken: Path) -> None:
    result = run("check", broken)
    assert result.exit_code == 1
    assert "error[unknown_node]" in result.stdout
    assert f"{broken.as_posix()}:4:" in result.stdout


def test_findings_as_json_and_sarif(broken: Path) -> None:
    result = run("check", broken, "--format", "json")
    assert result.exit_code == 1
    (report,) = json.loads(result.stdout)
    assert report["file"] == broken.as_posix()
    assert report["errors"] >= 1
    result = run("check", broken, broken, "--format", "sarif")
    log = json.loads(result.stdout)
    assert log["version"] == "2.1.0"
    assert len(log["runs"]) == 2
    assert log["runs"][0]["results"][0]["level"] == "error"


def test_what_is_no_json_is_a_finding(folder: Path) -> None:
    path = folder / "bad.json"
    path.write_text('{"flow": ')
    result = run("check", path)
    assert result.exit_code == 1
    assert "error[" in result.stdout


def test_a_file_that_is_not_there(folder: Path) -> None:
    for command in ("check", "draw"):
        with pytest.raises(FlowError) as caught:
            run(command, folder / "none.json")
        assert caught.value.code == "no_flow_file"


# --- draw and schema ---


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ([], "<svg "),
        (["--format", "mermaid"], "flowchart TD"),
        (["--format", "dot"], "digraph"),
    ],
)
def test_a_flow_is_drawn(folder: Path, arguments: list[str], begins: str) -> None:
    result = run("draw", folder / "shop.json", *arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith(begins)
    assert "how_many" in result.stdout


@pytest.mark.parametrize(("name", "begins"), [("a.svg", "<svg "), ("a.mmd", "flowchart")])
def test_the_outputs_name_tells_the_format(folder: Path, name: str, begins: str) -> None:
    assert run("draw", folder / "shop.json", "-o", folder / name).exit_code == 0
    assert (folder / name).read_text().startswith(begins)


def test_what_is_no_flow_is_not_drawn(folder: Path) -> None:
    path = folder / "list.json"
    path.write_text("[]")
    with pytest.raises(FlowError) as caught:
        run("draw", path)
    assert caught.value.code == "no_flow"


def test_the_schema_knows_every_kind() -> None:
    schema = json.loads(run("schema").stdout)
    mapping = schema["properties"]["nodes"]["additionalProperties"]["discriminator"]["mapping"]
    assert len(mapping) == 15
