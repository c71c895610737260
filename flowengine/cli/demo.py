"""`flowengine demo`: two spoken calls side by side on this machine, without a key.

Two simulated phones ring two engines over real sockets; speech is recognised and made by the local
models. Prints both conversations as they happen, then each path with its reasons and how long the
turns took, and writes recordings, journals and drawings.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import structlog
import typer

from flowengine.cli.demo_callers import CALLERS, DemoCaller, play, record_lines
from flowengine.cli.demo_engines import DemoCall, serving
from flowengine.cli.demo_report import live_line, print_report, write_files
from flowengine.errors import FlowengineError
from flowengine.testing.phone import DialPlan, Phone

CALL_LIMIT_S = 150.0


def register(app: typer.Typer) -> None:
    """Declare the command."""

    @app.command()
    def demo(
        out: Annotated[Path, typer.Option(help="Where the files go.")] = Path("demo-output"),
    ) -> None:
        """Two spoken calls on this machine, with local speech: no key, no account."""
        raise typer.Exit(run(out))


def run(out: Path) -> int:
    """Ring, talk, report; the exit code."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        return asyncio.run(_demo(out))
    except FlowengineError as error:
        print(f"\nThe demo stopped: {error}")
        if error.code == "local_speech_unavailable":
            print("Text calls work without it: flowengine call flows/ivr/flow.json --text")
        return 1


class _Phases:
    """Says what is going on, and how long it took."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._number = 0
        self._began_s = time.monotonic()

    def begin(self, what: str) -> None:
        self._number += 1
        passed = time.monotonic() - self._began_s
        print(f"\n[{self._number}/{self._count}] {what}  ({passed:.0f} s)", flush=True)


async def _demo(out: Path) -> int:
    from flowengine.providers.local import make_tts  # the extra may be missing
    from flowengine.providers.settings import ProviderSettings

    phases = _Phases(4)
    phases.begin("Loading local speech, and recording what the callers will say")
    tts = make_tts(ProviderSettings({}))
    lines = await record_lines(tts, CALLERS)
    calls = [DemoCall(caller) for caller in CALLERS]
    with tempfile.TemporaryDirectory(prefix="flowengine-demo-") as data:
        async with AsyncExitStack() as stack:
            phases.begin("Starting an engine for each flow, on this machine")
            for place, call in enumerate(calls):
                folder = Path(data) / str(place)
                await stack.enter_async_context(serving(call, folder, live_line(call, place)))
                print(f"  {call.caller.flow}: {call.url}, clock set to {call.shown_time}")
            phases.begin("Two calls, side by side")
            await asyncio.gather(*(_ring(call, lines) for call in calls))
        phases.begin("What happened")
        for call in calls:
            folder = write_files(call, out)
            print_report(call, folder)
    _print_what_next(out)
    return 0 if all(call.is_complete for call in calls) else 1


async def _ring(call: DemoCall, lines: Mapping[str, bytes]) -> None:
    phone = Phone(call.url, call.auth_token)
    caller: DemoCaller = call.caller
    dials = [DialPlan("completed", 1.0, 2.0)]
    async with phone.call(caller.number, "+12025550100", dials=dials) as line:
        call.phone = line
        async with asyncio.timeout(CALL_LIMIT_S):
            await play(line, caller, lines)


def _print_what_next(out: Path) -> None:
    print(
        f"""
Files: {out}/<call>/recording.wav (caller left, bot right), journal.jsonl, path.svg

Call it yourself:
  . .venv/bin/activate
  flowengine call flows/ivr/flow.json --text      # in this terminal
  flowengine serve --flow flows/ivr/flow.json     # for a Twilio number; README.md says how"""
    )
