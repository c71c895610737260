"""Does the LLM know what the caller heard? Random interruptions, compared with the phone's record.

Callers interrupt each reply at a random moment with their next words. What the LLM is then told it
said is read from the requests that the fake OpenAI got; what was really heard is counted in the
phone's own record of what it played, with the fake voice's timing (one character, so many ms). Both
must agree within one word. `clear` is timed from the evidence: the third loud frame of 20 ms.

Run from the repository's root: `python -m bench.barge_in --barge-ins 500 --calls 20`.
Exits 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bench import tickets
from bench.figures import Figure, machine, show
from bench.flows import ticket_desk
from bench.load import CALLED, warm_up
from bench.processes import AUTH_TOKEN, engine, vendors
from flowengine.errors import FlowengineError
from flowengine.testing.phone import Phone, PhoneCall
from flowengine.testing.phone_audio import FRAME_BYTES, FRAME_MS, comfort_noise, is_audible
from flowengine.testing.phone_group import spread
from flowengine.testing.providers.speech import MS_A_CHARACTER

EVIDENCE_MS = 40
"""From the sending of a first loud frame to that of the third, which makes 60 ms of speech."""
NOISE_EVERY = 10
NOISE_MS = 80
AGREES = 0.99


@dataclass(slots=True)
class Turn:
    """A reply, and how much of it the caller heard."""

    ticket: int
    call: int
    heard_ms: int = 0
    was_noise: bool = False
    """It was interrupted by a noise, and went on to its end."""


@dataclass(slots=True)
class Run:
    """What all callers did and noticed."""

    turns: list[Turn] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    clears_ms: list[float] = field(default_factory=list)
    """From the evidence to `clear`."""
    missed: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Interrupter:
    """One caller."""

    def __init__(self, run: Run, number: int, numbers: Sequence[int]) -> None:
        self._run = run
        self._number = number
        self._tickets = numbers
        self._chance = random.Random(number)

    async def ring(self, phone: Phone) -> None:
        call: PhoneCall | None = None
        try:
            async with phone.call(f"+1555{self._number:07d}", CALLED) as call:
                await call.hears(300, what="the greeting")
                await call.pause(self._chance.uniform(50, 1500))
                await self._talk(call)
        except FlowengineError as error:
            self._run.failures.append(f"call {self._number}: {error}")
        if call is not None:
            self._note(call)

    async def _talk(self, call: PhoneCall) -> None:
        last: tuple[Turn, int] | None = None
        for nth, ticket in enumerate(self._tickets):
            await call.say(tickets.sounding(ticket, self._chance.randrange(1000, 1700, 20)))
            place = len(call.played)
            self._close(call, last, place)
            turn = Turn(ticket, self._number)
            await call.hears_speech(what=f"the answer to {ticket}", limit_s=10)
            await call.pause(self._chance.uniform(60, 3300))
            if nth % NOISE_EVERY == NOISE_EVERY - 1:
                turn.was_noise = True
                await call.say(tickets.sounding(ticket, NOISE_MS))
                await call.pause(3500)
                await call.hears_speech(what="the bot to go on", limit_s=10)
                await call.hears(1500, what="the rest")
            last = turn, place
        await call.hears_speech(limit_s=1)
        self._close(call, last, len(call.played))

    def _close(self, call: PhoneCall, last: tuple[Turn, int] | None, until: int) -> None:
        """The next utterance is over, so all that was heard of the reply before was heard."""
        if last is None:
            return
        turn, place = last
        frames = range(place, until, FRAME_BYTES)
        loud = sum(is_audible(bytes(call.played[at : at + FRAME_BYTES])) for at in frames)
        turn.heard_ms = loud * FRAME_MS
        self._run.turns.append(turn)

    def _note(self, call: PhoneCall) -> None:
        for barge_in in call.report().barge_ins:
            if barge_in.clear_after_ms is None:
                self._run.missed += 1
            else:
                self._run.clears_ms.append(barge_in.clear_after_ms - EVIDENCE_MS)


async def interrupt(base_url: str, calls: int, barge_ins: int) -> Run:
    """Let so many callers interrupt so often, together."""
    run = Run()
    phone = Phone(base_url, AUTH_TOKEN, background=comfort_noise())
    each = -(-barge_ins // calls) + 1
    dealt = random.Random(7).sample(range(1, 2900), each * calls)
    async with asyncio.TaskGroup() as tasks:
        for number in range(calls):
            mine = dealt[number * each : (number + 1) * each]
            tasks.create_task(_later(number * 0.15, Interrupter(run, number, mine), phone))
    return run


async def _later(delay_s: float, caller: Interrupter, phone: Phone) -> None:
    await asyncio.sleep(delay_s)
    await caller.ring(phone)


@dataclass(frozen=True, slots=True)
class Compared:
    """One reply: the words that were heard and those that the LLM was told of."""

    turn: Turn
    heard: int
    told: int
    is_prefix: bool
    is_cut: bool

    @property
    def agrees(self) -> bool:
        return self.is_prefix and abs(self.heard - self.told) <= 1


def compare(run: Run) -> list[Compared]:
    """Every reply that some later request tells of."""
    told: dict[int, str] = {}
    for request in run.requests:
        told.update(_told(request["messages"]))
    found = []
    for turn in run.turns:
        if turn.ticket not in told:
            continue
        text = "".join(run.said.get(str(turn.ticket), ()))
        words, said = told[turn.ticket].split(), tickets.agent_says(turn.ticket).split()
        heard = _words_within(text, turn.heard_ms)
        if turn.was_noise:
            heard = len(said)
        is_cut = not turn.was_noise and turn.heard_ms < len(text) * MS_A_CHARACTER - FRAME_MS
        found.append(Compared(turn, heard, len(words), words == said[: len(words)], is_cut))
    return found


def _told(messages: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """By ticket, the answer that the messages tell of; empty when they tell of none."""
    found: dict[int, str] = {}
    for message, after in zip(messages, [*messages[1:], None], strict=True):
        ticket = tickets.named_in(str(message["content"])) if message["role"] == "user" else None
        if ticket is not None and after is not None:
            found[ticket] = str(after["content"]) if after["role"] == "assistant" else ""
    return found


def _words_within(text: str, heard_ms: int) -> int:
    """How many words of a text were over after so long."""
    count, at = 0, 0
    for word in text.split():
        at = text.index(word, at) + len(word)
        if at * MS_A_CHARACTER > heard_ms:
            break
        count += 1
    return count


def figures(run: Run, compared: Sequence[Compared]) -> list[Figure]:
    """The table."""
    cut = [item for item in compared if item.is_cut]
    noises = [item for item in compared if item.turn.was_noise]
    agree = sum(item.agrees for item in cut)
    exact = sum(item.agrees and item.heard == item.told for item in cut)
    early = sum(item.told > item.heard + 1 for item in cut)
    clears = spread(run.clears_ms)
    late = sum(ms > 20 for ms in run.clears_ms)
    share = 100 * agree / len(cut) if cut else 0.0
    return [
        Figure("replies cut by a barge-in", len(cut)),
        Figure("context within one word of what was heard", share, "%", 100 * AGREES, True),
        Figure("context exactly what was heard", 100 * exact / max(1, len(cut)), "%"),
        Figure("context tells of more than was heard", early),
        Figure("noises after which the bot went on", len(noises)),
        Figure("  of these with the whole reply as context", sum(i.agrees for i in noises)),
        Figure("failed calls", len(run.failures), "", 0),
        Figure("barge-ins without a clear", run.missed, "", 0),
        Figure("evidence to clear p50", clears.p50, "ms", 20),
        Figure("evidence to clear p95", clears.p95, "ms", 20),
        Figure("evidence to clear worst", clears.worst, "ms"),
        Figure("clears later than 20 ms", 100 * late / max(1, clears.count), "%"),
    ]


async def bench(calls: int, barge_ins: int) -> int:
    """Interrupt and compare; how many limits were missed."""
    async with vendors() as desk, engine(ticket_desk(), desk) as target:
        await warm_up(target.base_url)
        await desk.take()
        run = await interrupt(target.base_url, calls, barge_ins)
        taken = await desk.take()
        run.requests, run.said = taken["requests"], taken["said"]
    compared = compare(run)
    title = f"{barge_ins} barge-ins over {calls} calls. {machine()}"
    missed = show(title, figures(run, compared))
    for failure in run.failures[:10]:
        print(f"    {failure}")
    for item in [item for item in compared if not item.agrees][:10]:
        print(
            f"    call {item.turn.call}, ticket {item.turn.ticket}: heard {item.heard} words"
            f" ({item.turn.heard_ms} ms), told {item.told}, prefix {item.is_prefix},"
            f" noise {item.turn.was_noise}"
        )
    return missed


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--barge-ins", type=int, default=500)
    parser.add_argument("--calls", type=int, default=20, help="how many at a time")
    asked = parser.parse_args()
    sys.exit(1 if uvloop.run(bench(asked.calls, asked.barge_ins)) else 0)


if __name__ == "__main__":
    main()
