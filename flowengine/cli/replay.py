"""`flowengine replay`: drive a call's journal through the same machines again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowengine.assurance.replay import replay as replayed
from flowengine.assurance.replay import server_of
from flowengine.cli.stored import StoredCall, stored_call
from flowengine.errors import FlowError
from flowengine.flow.language import Language
from flowengine.flow.program import Program
from flowengine.nodes import load_kinds
from flowengine.nodes.flow import SubFlow
from flowengine.runtime.actor import CallSetup
from flowengine.runtime.caller import facts_of
from flowengine.runtime.flow_files import FlowFiles
from flowengine.runtime.inputs import opened_inputs


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def replay(
        call: Annotated[str, typer.Argument(help="The call's id, or `last`.")],
        flow: Annotated[
            Path | None,
            typer.Option(
                help="The flow's file: for flows that it calls, or to try another version."
            ),
        ] = None,
    ) -> None:
        """Compare what is decided now with what was decided then; exit code 1 if it differs."""
        stored = stored_call(call)
        row = stored.row
        program = _program(stored, flow)
        server = server_of(stored.journal, program)
        inputs = opened_inputs(program, row.variables, None)
        setup = CallSetup(row.id, facts_of(row), server, row.carrier, inputs)
        result = replayed(setup, program, stored.journal)
        print(f"{row.id}: {result.told()}")
        if result.verdict != "equal":
            raise typer.Exit(1)


def _program(stored: StoredCall, flow: Path | None) -> Program:
    """The version that the call was pinned to; the flows that it calls are read from files."""
    row = stored.row
    if flow is not None:
        files = FlowFiles()
        return files.program_of(row, files.load(flow))
    language = Language(load_kinds())
    parsed = language.parse_document(dict(row.flow), row.flow_id)
    if parsed.flow is None:
        raise FlowError("no_flow", "The call's flow cannot be read any more.", where=row.id)
    if any(isinstance(node, SubFlow) for node in parsed.flow.nodes.values()):
        raise FlowError(
            "no_subflows",
            "The call's flow calls other flows, which the store does not hold.",
            where=row.id,
            fix="Add --flow with the flow's file; theirs are found beside it.",
        )
    return language.compile(parsed.flow)
