"""`flowengine demo`: its callers still fit their flows, and what it prints and writes is right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from flowengine.cli import demo
from flowengine.cli.demo_callers import CALLERS, Act, DemoCaller, play
from flowengine.cli.demo_engines import DemoCall, SetClock, _opening_time
from flowengine.cli.demo_report import live_line, print_report, write_files
from flowengine.cli.shipped import flow_file
from flowengine.errors import ConfigError, ProviderError
from flowengine.events import CallEnded, Event, NodeEntered, TurnEnded, UtteranceSpoken
from flowengine.testing.calendar_service import Calendar
from flowengine.testing.phone import PhoneCall
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import Caller, SimulatedCall, Transfer
from tests.flows.lines import Line
from tests.flows.test_appointments import service

pytestmark = pytest.mark.unit

MS_ORTIZ, MR_LEE = CALLERS


def steps(acts: Sequence[Act]) -> list[Step]:
    """A caller's acts as a simulated caller does them."""
    found: list[Step] = []
    for act in acts:
        match act.does:
            case "says":
                found.append(Caller.says(act.what))
            case "breaks_in":
                found.append(Caller.breaks_in(act.what, after_ms=act.after_ms))
            case "presses":
                found.append(Caller.presses(act.what))
    return found


def demo_call(caller: DemoCaller, call: SimulatedCall) -> DemoCall:
    """A call of the demo, as if it had been spoken."""
    document = json.loads(flow_file(caller.flow).read_text(encoding="utf-8"))
    return DemoCall(caller, document=document, facts=list(call.facts), journal=list(call.journal))


def ring(caller: DemoCaller, **world: Any) -> SimulatedCall:
    document = json.loads(flow_file(caller.flow).read_text(encoding="utf-8"))
    wall = _opening_time(document).astimezone(UTC)
    return Line(caller.flow).ring(
        *steps(caller.acts), from_number=caller.number, wall=wall, **world
    )


def ms_ortiz() -> SimulatedCall:
    return ring(MS_ORTIZ, transfers=[Transfer("done", stays=False)])


def test_the_first_caller_is_handed_over_with_her_invoice() -> None:
    call = ms_ortiz()
    assert call.nodes[-2:] == ("invoice", "billing")
    assert call.values["invoice"] == "482915"
    shown = demo_call(MS_ORTIZ, call)
    assert (shown.ending, shown.is_complete) == ("handed over", True)


def test_the_second_caller_books_his_visit() -> None:
    calendar = Calendar()
    call = ring(MR_LEE, tools=service(calendar))
    assert call.disposition == "booked"
    (booking,) = calendar.bookings.values()
    assert booking.birth_date == "1984-05-05"
    assert demo_call(MR_LEE, call).is_complete


def test_a_call_that_ends_otherwise_is_not_complete() -> None:
    call = DemoCall(MS_ORTIZ)
    assert (call.ending, call.is_complete) == ("never answered", False)
    call.facts.append((1, CallEnded("silent", "flow", {}, 1)))
    assert (call.ending, call.is_complete) == ("silent", False)


def test_journal_and_drawing_are_written(tmp_path: Path) -> None:
    shown = demo_call(MS_ORTIZ, ms_ortiz())
    folder = write_files(shown, tmp_path)
    assert folder == tmp_path / "ivr"
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert {record["family"] for record in records} == {"input", "fact", "effect"}
    drawing = (folder / "path.svg").read_text(encoding="utf-8")
    assert drawing.startswith("<svg")
    assert "billing" in drawing
    assert not (folder / "recording.wav").exists()


def test_the_report_tells_the_way_with_reasons_and_the_latencies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ms_ortiz()
    print_report(demo_call(MS_ORTIZ, call), tmp_path)
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert lines[1] == "Ms. Ortiz calls a company's line: handed over"
    hops = [line for line in lines if "→" in line]
    assert len(hops) == len(call.path)
    assert any("who → department" in hop and "open('office')" in hop for hop in hops)
    answers = [said for said in call.facts_of(UtteranceSpoken) if said.response_ms is not None]
    assert answers
    for answer in answers:
        row = next(line for line in lines if line.strip().startswith(answer.text[:38].strip()))
        assert f"{answer.response_ms} ms" in row


def test_what_is_said_is_shown_as_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    show = live_line(DemoCall(MS_ORTIZ), 0)
    events: list[Event] = [
        TurnEnded(1, "my bill", 0.9, "stt", 300),
        NodeEntered("invoice", "collect", 1, "turn"),
        UtteranceSpoken(1, "invoice", "Your number, please.", "Your", cut=True),
        UtteranceSpoken(2, "invoice", "Your number, please.", "", cut=True),
        CallEnded("served", "flow", {}, 9),
    ]
    for event in events:
        show(event, 1500)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["ivr", "1.5", "s", "caller", "my", "bill"],
        ["ivr", "1.5", "s", "bot", "Your", "—"],
        ["ivr", "1.5", "s", "ended", "served"],
    ]


class SilentCall:
    """Stands for the phone: notes what a script does with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def hears(self) -> None:
        self.done.append("hears")

    async def hears_speech(self) -> None:
        self.done.append("hears speech")

    async def pause(self, duration_ms: float) -> None:
        self.done.append(f"pauses {duration_ms}")

    async def press(self, keys: str) -> None:
        self.done.append(f"presses {keys}")

    async def say(self, audio: bytes) -> None:
        self.done.append(f"says {audio.decode()}")

    async def over(self, limit_s: float) -> None:
        self.done.append("over")


def test_a_caller_listens_breaks_in_speaks_and_presses() -> None:
    acts = (Act("says", "a"), Act("breaks_in", "b", 700), Act("presses", "2"), Act("listens"))
    phone = SilentCall()
    caller = DemoCaller("Somebody", "ivr", "+12025550143", acts)
    asyncio.run(play(cast("PhoneCall", phone), caller, {"a": b"A", "b": b"B"}))
    assert phone.done == [
        *("hears", "says A"),
        *("hears speech", "pauses 700", "says B"),
        *("hears", "presses 2"),
        *("hears", "over"),
    ]


def test_the_clock_is_set_to_a_tuesday_at_ten_at_home_and_runs() -> None:
    start = _opening_time({"defaults": {"timezone": "America/Chicago"}})
    assert (start.weekday(), start.hour, str(start.tzinfo)) == (1, 10, "America/Chicago")
    assert start > datetime.now(UTC)
    clock = SetClock(start)
    first = clock.wall()
    assert start <= first <= clock.wall() < start + timedelta(minutes=5)


def test_a_machine_without_local_speech_is_told_what_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def fails(out: Path) -> int:
        raise ProviderError("local_speech_unavailable", "The extra is missing.")

    monkeypatch.setattr(demo, "_demo", fails)
    assert demo.run(tmp_path) == 1
    told = capsys.readouterr().out
    assert "local_speech_unavailable" in told
    assert "flowengine call flows/ivr/flow.json --text" in told


def test_a_flow_that_is_not_shipped_is_named() -> None:
    with pytest.raises(ConfigError, match="flow_not_shipped"):
        flow_file("nothing")
