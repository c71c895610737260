"""What the demo prints and writes: the live transcript, each path with its reasons, latencies."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from flowengine.cli.demo_engines import DemoCall
from flowengine.events import CallEnded, Event, Fact, TurnEnded, UtteranceSpoken
from flowengine.flow.drawing import Step, draw_svg, families_of, graph_of
from flowengine.nodes import load_kinds
from flowengine.testing.hops import hops_of, told

_COLOURS = ("\033[36m", "\033[35m")
_PLAIN = "\033[0m"
_STAGES = ("endpointing", "llm", "tts")


def live_line(call: DemoCall, place: int) -> Callable[[Event, int], None]:
    """Prints what is said in a call as it is said, one colour a call."""
    colour = _COLOURS[place % len(_COLOURS)] if sys.stdout.isatty() else ""
    plain = _PLAIN if colour else ""

    def show(event: Event, at_ms: int) -> None:
        words = ""
        match event:
            case TurnEnded(_, text):
                words = f"caller  {text}"
            case UtteranceSpoken(heard=heard, cut=cut) if heard.strip():
                words = f"bot     {heard} —" if cut else f"bot     {heard}"
            case CallEnded(disposition):
                words = f"ended   {disposition}"
        if words:
            name = f"{call.caller.flow:<13}"
            print(f"  {colour}{name}{at_ms / 1000:6.1f} s  {words}{plain}", flush=True)

    return show


def write_files(call: DemoCall, out: Path) -> Path:
    """Write recording, journal and path of a call; returns their folder."""
    folder = out / call.caller.flow
    folder.mkdir(parents=True, exist_ok=True)
    if call.phone is not None:
        call.phone.save(folder / "recording.wav")
    with (folder / "journal.jsonl").open("w", encoding="utf-8") as file:
        for record in call.journal:
            line = {"seq": record.seq, "at_ms": record.at_ms, "family": record.family}
            file.write(json.dumps({**line, **record.body}, ensure_ascii=False) + "\n")
    steps = [Step(hop.node, hop.edge) for hop in hops_of(call.facts) if hop.node in call.nodes]
    graph = graph_of(call.document, families_of(load_kinds()))
    (folder / "path.svg").write_text(draw_svg(graph, steps=steps), encoding="utf-8")
    return folder


def print_report(call: DemoCall, folder: Path) -> None:
    """Print a call's path with its reasons, and its table of latencies."""
    print(f"\n{call.caller.name}: {call.ending}\n  {folder}")
    for hop in hops_of(call.facts):
        print(f"  {told(hop)}")
    rows = [fact for _, fact in call.facts if _answers(fact)]
    print(f"\n  {'turn':<40}{'response':>10}" + "".join(f"{name:>13}" for name in _STAGES))
    for fact in rows:
        if isinstance(fact, UtteranceSpoken):
            stages = fact.stages or {}
            cells = "".join(f"{_ms(stages.get(name)):>13}" for name in _STAGES)
            print(f"  {fact.text[:38]:<40}{_ms(fact.response_ms):>10}{cells}")
    if call.phone is not None:
        heard = sorted(call.phone.report().responses_ms)
        if heard:
            median = heard[len(heard) // 2]
            print(
                f"  As the caller hears it, from his last word to the bot's first: {median:.0f} ms"
            )


def _answers(fact: Fact) -> bool:
    return isinstance(fact, UtteranceSpoken) and fact.response_ms is not None


def _ms(value: int | None) -> str:
    return "–" if value is None else f"{value} ms"
