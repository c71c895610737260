"""How many calls one core carries, and how fast: `flowengine serve` rung by many phones.

Three processes: the engine as a user starts it, the vendors, and the phones (this one). Each reply
is tied to its utterance by a ticket, so a stale or swapped answer is a failed turn. Every third
utterance breaks into the reply before. Words of the figures:

    v2v       end of the caller's speech to the first audible audio of the reply, at the phone
    excess    v2v less what the vendors were set to: endpoint and transcript, first token, first
              audio
    own       v2v less the recogniser's, the LLM's and the voice's own latencies
    residue   own less the endpointing asked for, the time from the first token to the one that
              ends the first clause, and 20 ms of framing

The recogniser hears in one of three ways (`--stt`). `nova-3`: an interim has all the words 200 ms
after the last sound, the end comes after 400. `flux-general-en`: the end is foreseen after 160 ms
and sure after 300. In both the reply is asked for ahead, so that part of the engine's own time
lies behind the wait for the end. `nova-3-late`: no interim is ever complete, and nothing can be
asked ahead; only so the residue means something.

Run from the repository's root: `python -m bench.load --calls 1,10,50 --seconds 60`.
Exits 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

from bench import tickets
from bench.figures import Figure, machine, show
from bench.flows import ENDPOINTING_MS, ticket_desk
from bench.processes import AUTH_TOKEN, Engine, Load, Vendors, engine, vendors
from bench.vendors import FIRST_AUDIO_MS, FIRST_TOKEN_MS, FLUX_END_MS, HEARS_OUT_MS, STT_MS
from flowengine.errors import FlowengineError
from flowengine.testing.phone import Phone, PhoneCall
from flowengine.testing.phone_audio import comfort_noise
from flowengine.testing.phone_group import spread, summarise
from flowengine.testing.phone_measures import CallReport

SPACING_S = 0.1
SETTLE_S = 3.0
REPLY_S = 8.0
FRAMING_MS = 20
ENDS_MS = {"nova-3": ENDPOINTING_MS, "nova-3-late": ENDPOINTING_MS, "flux-general-en": FLUX_END_MS}
"""Quiet that ends a turn, by the way of hearing."""
OWN_MS = {"flux-general-en": 200}
"""The limit of `own` p50, by the way of hearing."""
INTERRUPTS_EVERY = 3
CALLED = "+15550199"


@dataclass(slots=True)
class Turn:
    """One utterance and what answered it."""

    ticket: int
    said_at_ms: float = 0.0
    v2v_ms: float | None = None
    reply: bytes = b""
    failure: str = ""


@dataclass(slots=True)
class Run:
    """What came of one number of calls."""

    calls: int
    seconds: float
    stt: str
    turns: list[Turn] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reports: list[CallReport] = field(default_factory=list)
    stamps: dict[str, dict[str, float]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    before: Load | None = None
    begin: Load | None = None
    end: Load | None = None


class Callers:
    """The scripts of many callers; tickets are dealt so that no two calls share one."""

    def __init__(self, run: Run, until_s: float) -> None:
        self._run = run
        self._until_s = until_s
        self._next = random.Random(run.calls).sample(range(1, 2900), 2899)

    async def ring(self, phone: Phone, number: int, begun: list[PhoneCall] | None = None) -> None:
        """One call, with its place in `begun` for those who want to disturb it."""
        call: PhoneCall | None = None
        try:
            async with phone.call(f"+1555{number:07d}", CALLED) as call:
                if begun is not None:
                    begun.append(call)
                await self._talk(call, random.Random(number))
        except FlowengineError as error:
            self._run.failures.append(f"call {number}: {error}")
        if call is not None:
            self._run.reports.append(call.report())

    async def _talk(self, call: PhoneCall, chance: random.Random) -> None:
        await call.hears(300, what="the greeting")
        await call.pause(chance.uniform(100, 1500))
        turns = 0
        while time.monotonic() < self._until_s:
            turns += 1
            interrupts_next = turns % INTERRUPTS_EVERY == 1
            await self._turn(call, chance, is_heard_out=not interrupts_next)
        await call.hears(300)

    async def _turn(self, call: PhoneCall, chance: random.Random, *, is_heard_out: bool) -> None:
        turn = Turn(self._next.pop())
        self._run.turns.append(turn)
        answered = len(call.measures.report().responses_ms)
        await call.say(tickets.sounding(turn.ticket, chance.randrange(1000, 2000, 20)))
        turn.said_at_ms = time.monotonic() * 1000
        place = len(call.played)
        try:
            await call.hears_speech(what=f"the answer to {turn.ticket}", limit_s=REPLY_S)
            responses = call.measures.report().responses_ms
            turn.v2v_ms = responses[answered] if len(responses) > answered else None
            await call.pause(chance.uniform(700, 2500))
            turn.reply = bytes(call.played[place:])
            if is_heard_out:
                await call.hears(300)
                await call.pause(chance.uniform(200, 900))
        except FlowengineError as error:
            turn.failure = str(error)
            if call.ended.is_set():
                raise


async def warm_up(base_url: str) -> CallReport:
    """One call before the measuring: what is loaded once is not a call's cost."""
    async with Phone(base_url, AUTH_TOKEN).call("+15550000000", CALLED) as call:
        await call.hears(300)
        await call.say(tickets.sounding(0, 1000))
        await call.hears(300)
    return call.report()


async def measure(target: Engine, desk: Vendors, calls: int, seconds: float, stt: str) -> Run:
    """Ring with so many phones for so long."""
    run = Run(calls, seconds, stt)
    phone = Phone(target.base_url, AUTH_TOKEN, background=comfort_noise())
    await desk.take()
    run.before = target.load()
    start_s = time.monotonic()
    begins_s = start_s + calls * SPACING_S + SETTLE_S
    callers = Callers(run, begins_s + seconds)
    async with asyncio.TaskGroup() as tasks:
        for number in range(calls):
            tasks.create_task(_later(number * SPACING_S, callers, phone, number))
        await asyncio.sleep(begins_s - time.monotonic())
        run.begin = target.load()
        await asyncio.sleep(begins_s + seconds - time.monotonic())
        run.end = target.load()
    taken = await desk.take()
    run.stamps = taken["stamps"]
    run.violations = [
        f"{name}: {what}" for name, all_ in taken["violations"].items() for what in all_
    ]
    return run


async def _later(delay_s: float, callers: Callers, phone: Phone, number: int) -> None:
    await asyncio.sleep(delay_s)
    await callers.ring(phone, number)


def judge(run: Run) -> None:
    """Say of each turn whether its own answer was heard."""
    for turn in run.turns:
        if turn.failure:
            continue
        heard = tickets.heard(turn.reply)
        if heard != turn.ticket:
            turn.failure = f"ticket {turn.ticket} was answered with {heard}"


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the time of an answered turn went, in ms."""

    v2v: float
    own: float
    residue: float
    hearing: float
    thinking: float
    speaking: float
    playing: float


def parts(run: Run) -> list[Parts]:
    """The parts of every turn that was answered in full."""
    found = []
    for turn in run.turns:
        at = run.stamps.get(str(turn.ticket), {})
        if turn.failure or turn.v2v_ms is None or len(at) < len(_STAMPS):
            continue
        first_token = at["first_token"] - at["asked"]
        own = turn.v2v_ms - STT_MS - first_token - FIRST_AUDIO_MS
        clause = at["clause"] - at["first_token"]
        found.append(
            Parts(
                v2v=turn.v2v_ms,
                own=own,
                residue=own - ENDPOINTING_MS - clause - FRAMING_MS,
                hearing=at["final"] - turn.said_at_ms - ENDS_MS[run.stt] - STT_MS,
                thinking=at["asked"] - at["final"],
                speaking=at["audio"] - at["clause"] - FIRST_AUDIO_MS,
                playing=turn.said_at_ms + turn.v2v_ms - at["audio"],
            )
        )
    return found


_STAMPS = ("final", "asked", "first_token", "clause", "audio")


def figures(run: Run) -> list[Figure]:
    """The table of one run."""
    judge(run)
    failed = [turn for turn in run.turns if turn.failure]
    found = parts(run)
    summary = summarise(run.reports, run.failures)
    v2v = spread([part.v2v for part in found])
    own = spread([part.own for part in found])
    set_ms = ENDS_MS[run.stt] + STT_MS + FIRST_TOKEN_MS + FIRST_AUDIO_MS
    return [
        Figure("turns", len(run.turns)),
        Figure("failed turns and calls", len(failed) + len(run.failures), "", 0),
        Figure("warnings a carrier or vendor would give", _warnings(run), "", 0),
        Figure("v2v p50", v2v.p50, "ms"),
        Figure("v2v p95", v2v.p95, "ms"),
        Figure("excess p50", v2v.p50 - set_ms, "ms"),
        Figure("excess p95", v2v.p95 - set_ms, "ms"),
        Figure("own p50", own.p50, "ms", OWN_MS.get(run.stt)),
        Figure("own p95", own.p95, "ms"),
        *(_residue(found) if run.stt == "nova-3-late" else ()),
        Figure("barge-ins", summary.clears_ms.count),
        Figure("barge-ins without a clear", summary.missed_barge_ins, "", 0),
        Figure("barge-in: first sound to clear p50", summary.clears_ms.p50, "ms", 120),
        Figure("barge-in: first sound to clear p95", summary.clears_ms.p95, "ms", 120),
        Figure("barge-in: first sound to last bot audio p50", summary.last_audio_ms.p50, "ms"),
        Figure("barge-in: first sound to last bot audio p95", summary.last_audio_ms.p95, "ms"),
        Figure("gaps > 20 ms a minute of the bot's speech", summary.gaps_per_bot_minute, "", 0),
        Figure("static prompt after the stream opens p50", summary.openings_ms.p50, "ms", 60),
        Figure("static prompt after the stream opens p95", summary.openings_ms.p95, "ms", 60),
        *_costs(run),
    ]


def _residue(found: Sequence[Parts]) -> list[Figure]:
    """The residue and where it lies, with its framing; hearing holds the batching of audio."""
    residue = spread([part.residue for part in found])
    rows = [
        Figure("residue p50", residue.p50, "ms", 10),
        Figure("residue p95", residue.p95, "ms", 30),
    ]
    for name in ("hearing", "thinking", "speaking", "playing"):
        values = spread([float(getattr(part, name)) for part in found])
        rows.append(Figure(f"  of it {name} p50", values.p50, "ms"))
        rows.append(Figure(f"  of it {name} p95", values.p95, "ms"))
    return rows


def _costs(run: Run) -> list[Figure]:
    if run.before is None or run.begin is None or run.end is None:
        return []
    call_seconds = run.calls * (run.end.at_s - run.begin.at_s)
    rss_mib = (run.end.rss_kib - run.before.rss_kib) / 1024 / run.calls
    waited = 100 * (run.end.waited_s - run.begin.waited_s) / (run.end.at_s - run.begin.at_s)
    return [
        Figure("CPU per call-second", (run.end.cpu_ms - run.begin.cpu_ms) / call_seconds, "ms", 10),
        Figure("memory per call", rss_mib, "MiB", 2),
        Figure("of the time, the engine waited for a core", waited, "%"),
    ]


def _warnings(run: Run) -> int:
    return sum(len(report.faults) for report in run.reports) + len(run.violations)


def explain(run: Run) -> None:
    """Name what went wrong."""
    reasons = [turn.failure for turn in run.turns if turn.failure] + run.failures
    reasons += run.violations + [fault for report in run.reports for fault in report.faults]
    for reason in reasons[:12]:
        print(f"    {reason}")
    if len(reasons) > 12:
        print(f"    and {len(reasons) - 12} more")


async def bench(counts: Sequence[int], seconds: float, stt: str) -> int:
    """Measure one number of calls after the other; how many limits were missed."""
    missed = 0
    flow = ticket_desk(stt.removesuffix("-late"))
    async with vendors() as desk, engine(flow, desk) as target:
        await desk.hear_as(stt)
        cold = await warm_up(target.base_url)
        print(f"first prompt of the first call: {cold.opening_ms} ms after its stream opened")
        for calls in counts:
            run = await measure(target, desk, calls, seconds, stt)
            missed += show(f"{calls} calls, {seconds:g} s, {stt}. {machine()}", figures(run))
            explain(run)
        log = target.log.read_text()
        if log:
            print(f"\nthe engine's log ({len(log)} characters) ends:\n{log[-1500:]}")
    return missed


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--calls", default="1,10,50", help="how many at a time, such as 1,10,50")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long all are up")
    parser.add_argument("--stt", choices=sorted(HEARS_OUT_MS), default="nova-3-late")
    asked = parser.parse_args()
    counts = [int(count) for count in asked.calls.split(",")]
    sys.exit(1 if uvloop.run(bench(counts, asked.seconds, asked.stt)) else 0)


if __name__ == "__main__":
    main()
