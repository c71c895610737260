"""`flowengine journal`: every record of a call."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from flowengine.cli.stored import stored_call
from flowengine.events import type_field
from flowengine.ports import JournalRecord


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def journal(
        call: Annotated[str, typer.Argument(help="The call's id, or `last`.")],
        *,
        jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")] = False,
    ) -> None:
        """Print a call's journal: inputs, facts and effects, in order."""
        for record in stored_call(call).journal:
            print(orjson.dumps(asdict(record)).decode() if jsonl else _line(record))


def _line(record: JournalRecord) -> str:
    body = {name: value for name, value in record.body.items() if name != type_field}
    text = orjson.dumps(body).decode()
    shown = text if len(text) <= 160 else f"{text[:159]}…"
    kind = record.body.get(type_field, "")
    return f"{record.seq:6} {record.at_ms / 1000:9.3f} s  {record.family:<6} {kind} {shown}"
