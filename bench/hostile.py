"""Bad input and bad providers while calls are up: what is refused, and what callers notice.

`frames`: while callers talk, 10,000 hostile messages go into their own media streams and into
streams opened by strangers, and 1,000 forged or malformed webhooks to the HTTP routes. Nothing of
it may be taken, answered with a 5xx, or cost a turn.

`faults`: each provider hangs, breaks off, refuses or talks nonsense, for good. The caller must hear
speech within 3 s of the deadline or the error, the call must take the edge that the flow has for
it (its line sounds a number), and end. Then each fails once: the caller must not notice.

Run from the repository's root: `python -m bench.hostile --calls 50`. Exits 1 on a miss.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from bench import tickets
from bench.figures import Figure, machine, show
from bench.flows import ENDPOINTING_MS, FAILED_CODE, SORRY_CODE, ticket_desk
from bench.intruders import Tally, frames, webhooks
from bench.load import CALLED, Callers, Run, judge, warm_up
from bench.processes import AUTH_TOKEN, Engine, Vendors, engine, vendors
from bench.vendors import FIRST_AUDIO_MS, FIRST_TOKEN_MS, STT_MS
from flowengine.errors import FlowengineError
from flowengine.ports import BYTES_PER_MS
from flowengine.providers.deadlines import Deadlines
from flowengine.testing.phone import Phone, PhoneCall
from flowengine.testing.phone_audio import FRAME_BYTES, FRAME_MS, comfort_noise, is_audible
from flowengine.testing.phone_group import summarise

SPEECH_MS = 3000
"""From a deadline or an error to speech."""
SLACK_MS = 150
_LINE_BYTES = 300 * BYTES_PER_MS
HEARD_MS = ENDPOINTING_MS + STT_MS
STT_FINAL_MS = 3000
"""The engine's own limit for a transcript after the end of speech."""
_DEADLINES = Deadlines()


# --- bad input ---


async def intrude(target: Engine, desk: Vendors, calls: int, seconds: float) -> list[Figure]:
    """Callers talk; strangers do their worst."""
    run, tally = Run(calls, seconds, "nova-3"), Tally()
    phone = Phone(target.base_url, AUTH_TOKEN, background=comfort_noise())
    start_s = time.monotonic()
    callers = Callers(run, start_s + calls * 0.1 + seconds)
    open_calls: list[PhoneCall] = []
    async with asyncio.TaskGroup() as tasks:
        for number in range(calls):
            tasks.create_task(_ring(callers, phone, number, open_calls))
        await asyncio.sleep(calls * 0.1 + 3)
        async with asyncio.TaskGroup() as attacks:
            attacks.create_task(frames(target.base_url, open_calls, tally))
            attacks.create_task(webhooks(target.base_url, tally))
    judge(run)
    summary = summarise(run.reports, run.failures)
    failed = [turn.failure for turn in run.turns if turn.failure] + run.failures
    for reason in [*failed[:8], *tally.surprises[:8]]:
        print(f"    {reason}")
    lines = target.log.read_text().count("refused")
    return [
        Figure("turns", len(run.turns)),
        Figure("failed turns and calls", len(failed), "", 0),
        Figure("hostile frames in the callers' own streams", tally.frames_inside),
        Figure("hostile frames in strangers' streams", tally.frames_outside),
        Figure("strangers' streams that were let in", tally.let_in, "", 0),
        Figure("webhooks refused with a 4xx", tally.refused, "", tally.webhooks, True),
        Figure("webhooks answered with a 5xx or not at all", tally.broken, "", 0),
        Figure("webhooks that were taken", tally.taken, "", 0),
        Figure("log lines that say what was refused", lines, "", 1, True),
        Figure("gaps > 20 ms a minute of the bot's speech", summary.gaps_per_bot_minute, "", 0),
        Figure("the engine lives", float(target.is_alive), "", 1, True),
    ]


async def _ring(callers: Callers, phone: Phone, number: int, open_calls: list[PhoneCall]) -> None:
    await asyncio.sleep(number * 0.1)
    await callers.ring(phone, number, open_calls)


# --- bad providers ---


@dataclass(frozen=True, slots=True)
class Trouble:
    """A provider's misbehaviour, and by when speech is due after the end of the caller's."""

    vendor: str
    kind: str
    after: int = 0
    status: int = 500
    known_ms: int = HEARD_MS
    """When the deadline passes or the error comes, after the end of the caller's speech."""
    edges: tuple[int, ...] = (SORRY_CODE,)

    @property
    def title(self) -> str:
        what = f"{self.kind} {self.status}" if self.kind == "refuse" else self.kind
        return f"{self.vendor} {what}" + (f" after {self.after}" if self.after else "")


_ASKED = HEARD_MS + _DEADLINES.llm_first_token_ms
_SPOKEN = HEARD_MS + FIRST_TOKEN_MS + 100
_THINKS = (FAILED_CODE,)
TROUBLES = (
    Trouble("openai", "refuse", status=429, edges=_THINKS),
    Trouble("openai", "refuse", status=500, edges=_THINKS),
    Trouble("openai", "hang", known_ms=_ASKED, edges=_THINKS),
    Trouble("openai", "dead", known_ms=_ASKED, edges=_THINKS),
    Trouble("openai", "stall", 3, known_ms=_ASKED, edges=_THINKS),
    Trouble("openai", "cut", 3, edges=_THINKS),
    Trouble("openai", "garbage", 1, edges=_THINKS),
    Trouble("elevenlabs", "refuse", status=429, known_ms=_SPOKEN),
    Trouble("elevenlabs", "hang", known_ms=_SPOKEN + _DEADLINES.tts_first_audio_ms),
    Trouble("elevenlabs", "dead", known_ms=_SPOKEN + _DEADLINES.tts_first_audio_ms),
    Trouble("elevenlabs", "stall", 1, known_ms=_SPOKEN + _DEADLINES.tts_between_audio_ms),
    Trouble("elevenlabs", "cut", 1, known_ms=_SPOKEN + FIRST_AUDIO_MS),
    Trouble("elevenlabs", "garbage", 0, known_ms=_SPOKEN + FIRST_AUDIO_MS),
    Trouble("elevenlabs", "error", 0, known_ms=_SPOKEN + FIRST_AUDIO_MS),
    Trouble("deepgram", "refuse", status=429),
    Trouble("deepgram", "hang", known_ms=STT_FINAL_MS),
    Trouble("deepgram", "dead", known_ms=STT_FINAL_MS),
    Trouble("deepgram", "stall", 1, known_ms=STT_FINAL_MS),
    Trouble("deepgram", "cut", 1, known_ms=HEARD_MS),
    Trouble("deepgram", "garbage", 0, known_ms=HEARD_MS),
    Trouble("deepgram", "error", 0, known_ms=HEARD_MS),
)


@dataclass(slots=True)
class Outcome:
    """What the caller noticed of it."""

    trouble: Trouble
    speech_after_ms: float = -1
    silence_ms: int = 0
    """The longest silence between the end of his speech and the end of the call."""
    edge: int | None = None
    ended: bool = False
    failure: str = ""

    @property
    def verdict(self) -> str:
        limit_ms = self.trouble.known_ms + SPEECH_MS + SLACK_MS
        if self.failure:
            return self.failure
        if self.silence_ms > limit_ms:
            return f"MISSED: {self.silence_ms} ms of silence"
        if self.edge not in self.trouble.edges:
            return f"MISSED: wrong edge {self.edge}"
        return "ok" if self.ended else "MISSED: the call is stuck"


async def suffer(target: Engine, desk: Vendors, trouble: Trouble) -> Outcome:
    """One call with a provider that fails for good, from its second turn on where it can."""
    outcome = Outcome(trouble)
    phone = Phone(target.base_url, AUTH_TOKEN, background=comfort_noise())
    await desk.fault(trouble.vendor, trouble.kind, after=trouble.after, status=trouble.status)
    place = 0
    call: PhoneCall | None = None
    try:
        async with phone.call("+15550000001", CALLED) as call:
            await call.hears(300, what="the greeting")
            await call.pause(300)
            place = len(call.played)
            await call.say(tickets.sounding(77, 1200))
            place = len(call.played)
            await call.over(limit_s=30)
            outcome.ended = True
    except FlowengineError as error:
        if "call_over" in str(error):
            outcome.ended = True
        else:
            outcome.failure = f"MISSED: {error}"
    finally:
        await desk.fault(trouble.vendor, "")
    if call is not None:
        _note(outcome, bytes(call.played), place)
    return outcome


def _note(outcome: Outcome, played: bytes, place: int) -> None:
    """Read from the phone's record how long it was silent and what was said last."""
    frames = [
        is_audible(played[at : at + FRAME_BYTES]) for at in range(place, len(played), FRAME_BYTES)
    ]
    if True in frames:
        outcome.speech_after_ms = frames.index(True) * FRAME_MS
    silent = longest = 0
    for loud in frames:
        silent = 0 if loud else silent + FRAME_MS
        longest = max(longest, silent)
    outcome.silence_ms = longest
    outcome.edge = _coded(played, place)


def _coded(played: bytes, place: int) -> int | None:
    """The number of the line that was said behind `place`, or before it when there is none."""
    for begin in (place, 0):
        for at in range(begin, len(played), FRAME_BYTES):
            found = tickets.heard(played[at : at + _LINE_BYTES])
            if found in (SORRY_CODE, FAILED_CODE):
                return found
    return None


async def recover(target: Engine, desk: Vendors, trouble: Trouble) -> str:
    """One call with a provider that fails once: the answer must come all the same."""
    phone = Phone(target.base_url, AUTH_TOKEN, background=comfort_noise())
    try:
        await desk.fault(
            trouble.vendor, trouble.kind, after=trouble.after, status=trouble.status, times=1
        )
        async with phone.call("+15550000002", CALLED) as call:
            await call.hears(300, what="the greeting")
            await call.pause(400)
            await call.say(tickets.sounding(1234, 1200))
            place = len(call.played)
            await call.hears(900, what="the answer", limit_s=20)
            found = tickets.heard(bytes(call.played[place:]))
    except FlowengineError as error:
        return f"MISSED: {error}"
    finally:
        await desk.fault(trouble.vendor, "")
    return "ok" if found == 1234 else f"MISSED: heard {found}"


ONCE = (
    Trouble("openai", "refuse", status=500),
    Trouble("openai", "cut", 0),
    Trouble("elevenlabs", "refuse", status=500),
    Trouble("elevenlabs", "cut", 0),
    Trouble("deepgram", "refuse", status=500),
    Trouble("deepgram", "cut", 1),
)


PARTS = ("frames", "faults")
VENDORS = ("openai", "elevenlabs", "deepgram")


async def endure(target: Engine, desk: Vendors, named: Sequence[str]) -> int:
    """Every trouble, one call each; how many were missed."""
    missed = 0
    print(f"\nproviders that fail for good. {machine()}")
    print(f"  {'':<28} {'speech':>8} {'silence':>8} {'limit':>8}  edge")
    for trouble in (trouble for trouble in TROUBLES if trouble.vendor in named):
        outcome = await suffer(target, desk, trouble)
        missed += outcome.verdict != "ok"
        print(
            f"  {trouble.title:<28} {outcome.speech_after_ms:>8.0f} {outcome.silence_ms:>8}"
            f" {trouble.known_ms + SPEECH_MS:>8}  {outcome.edge} {outcome.verdict}",
            flush=True,
        )
    print("\nproviders that fail once")
    for trouble in (trouble for trouble in ONCE if trouble.vendor in named):
        verdict = await recover(target, desk, trouble)
        missed += verdict != "ok"
        print(f"  {trouble.title:<28} {verdict}", flush=True)
    return missed


async def bench(only: Sequence[str], calls: int, seconds: float, named: Sequence[str]) -> int:
    """Run what was asked for; how many limits were missed."""
    missed = 0
    async with vendors() as desk, engine(ticket_desk(), desk) as target:
        await warm_up(target.base_url)
        if "frames" in only:
            rows = await intrude(target, desk, calls, seconds)
            missed += show(f"bad input with {calls} calls up. {machine()}", rows)
        if "faults" in only:
            missed += await endure(target, desk, named)
        print(f"\nthe engine's log ends:\n{target.log.read_text()[-1500:]}")
    return missed


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--only", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    parser.add_argument("--vendors", default=",".join(VENDORS), help="of " + ", ".join(VENDORS))
    asked = parser.parse_args()
    only, named = asked.only.split(","), asked.vendors.split(",")
    unknown = ({*only} - {*PARTS}) | ({*named} - {*VENDORS})
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    sys.exit(1 if uvloop.run(bench(only, asked.calls, asked.seconds, named)) else 0)


if __name__ == "__main__":
    main()
