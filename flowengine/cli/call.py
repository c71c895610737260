"""`flowengine call`: go through a flow in writing, as a caller, on a virtual clock.

What you type is what you say; a line of digits is keys. Nobody is called and no audio is made, but
tools are run, so that the flow answers as it would on the phone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import orjson
import typer

from flowengine.cli.microphone import talk
from flowengine.cli.rehearsal import Rehearsal
from flowengine.errors import ConfigError
from flowengine.events import Json
from flowengine.flow.program import Program
from flowengine.runtime.flow_files import FlowFiles, shown
from flowengine.runtime.knowledge import Library
from flowengine.settings import load_settings
from flowengine.testing.hops import told
from flowengine.testing.result import Said, SimulatedCall
from flowengine.testing.scripts import ScriptError, Step, read_script, read_step
from flowengine.testing.simulation import Simulation, SimulationError, World

_HELP = """You speak by typing; a line of digits (or #1) is keys; nothing is silence.
"! words after 800ms" breaks in, "hang up" hangs up; so does the end of the input."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=_HELP)
    def call(
        flow: Annotated[Path, typer.Argument(help="The flow's JSON file.")],
        *,
        text: Annotated[
            bool, typer.Option("--text", help="In writing; that is also what happens without it.")
        ] = True,
        microphone: Annotated[
            bool, typer.Option("--microphone", help="By voice, through this computer's own sound.")
        ] = False,
        script: Annotated[
            Path | None,
            typer.Option(help="A file with the caller's lines, instead of the keyboard."),
        ] = None,
        from_number: Annotated[
            str, typer.Option("--from", help="The caller's number.")
        ] = "+14155550100",
        at: Annotated[
            str, typer.Option(help="When it is: 2026-03-03T10:00, in the flow's time zone.")
        ] = "",
        inputs: Annotated[
            list[str] | None, typer.Option("--input", help="name=value, for each input.")
        ] = None,
        tool: Annotated[
            list[str] | None,
            typer.Option(help="name=JSON: a tool's answer, instead of running it."),
        ] = None,
    ) -> None:
        """Rehearse a call in writing; at the end, the way it took and why."""
        if microphone:
            asyncio.run(talk(flow, from_number))
            return
        loaded = FlowFiles().load(flow)
        for finding in loaded.warnings:
            print(shown(finding), file=sys.stderr)
        steps = _typed() if script is None else iter(list(_read(script)))
        library = Library.of_files(loaded.flows)
        with Rehearsal(loaded.program, load_settings(), library) as rehearsal:
            world = World(
                tools=_tools(tool or []),
                inputs=_inputs(loaded.program, inputs or []),
                from_number=from_number,
                wall=_wall(at, loaded.program),
                on_said=_print,
                server=rehearsal.server,
                ask_llm=rehearsal.ask_llm,
                run_tool=rehearsal.run_tool,
                is_live=script is None,
            )
            try:
                ended = Simulation(loaded.program, steps, world).run()
            except SimulationError as error:
                print(f"\n{error.what.partition(chr(10))[0]} ({error.where})", file=sys.stderr)
                raise typer.Exit(1) from None
        _report(ended)


def _print(said: Said) -> None:
    print(said, flush=True)


def _report(call: SimulatedCall) -> None:
    print("\nThe way:")
    for hop in call.path:
        print(told(hop))
    for name, value in call.outputs.items():
        print(f"output {name} = {orjson.dumps(value).decode()}")
    print(f"ended: {call.ending} after {call.duration_ms / 1000:.1f} s")


def _typed() -> Iterator[Step]:
    """Steps as they are typed."""
    is_tty = sys.stdin.isatty()
    while True:
        if is_tty:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            yield read_step("hang up")
            return
        try:
            yield read_step(line.strip() or "...")
        except ValueError as error:
            print(error, file=sys.stderr)


def _read(script: Path) -> Iterator[Step]:
    try:
        source = script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(
            "no_script",
            f"The script cannot be read ({type(error).__name__}).",
            where=str(script),
            fix="Give a text file with a line for each thing that the caller does.",
        ) from error
    yield from read_script(source)


def _inputs(program: Program, given: list[str]) -> Mapping[str, Json]:
    """Inputs by name; a value is read as JSON where it is JSON, else it is a string."""
    found: dict[str, Json] = {}
    known = {name for name, variable in program.flow.variables.items() if variable.input}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or name not in known:
            raise ConfigError(
                "unknown_input",
                f"{name!r} is no input of this flow." if equals else f"{item!r} has no '='.",
                where="--input",
                fix=f"Its inputs: {', '.join(sorted(known)) or 'none'}; write --input name=value.",
            )
        is_text = program.flow.variables[name].type not in ("integer", "number", "boolean", "money")
        found[name] = value if is_text and not value.startswith(("[", "{")) else _json(item, value)
    return found


def _tools(given: list[str]) -> Mapping[str, Json]:
    found: dict[str, Json] = {}
    for item in given:
        name, _, value = item.partition("=")
        found[name] = _json(item, value)
    return found


def _json(item: str, value: str) -> Json:
    try:
        return orjson.loads(value)
    except ValueError as error:
        raise ConfigError(
            "not_json", f"{item!r} holds no JSON.", fix='Write name=3 or name={"a": 1}.'
        ) from error


def _wall(at: str, program: Program) -> datetime:
    zone = ZoneInfo(program.settings().timezone or "UTC")
    if not at:
        return datetime.now(UTC)
    try:
        wall = datetime.fromisoformat(at)
    except ValueError as error:
        raise ConfigError(
            "bad_time", f"{at!r} is no time.", where="--at", fix="Write 2026-03-03T10:00."
        ) from error
    return (wall if wall.tzinfo else wall.replace(tzinfo=zone)).astimezone(UTC)
