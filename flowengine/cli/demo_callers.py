"""The callers of `flowengine demo`: what each says, and a voice that is not the bot's.

A caller listens until the bot is quiet, or breaks in after a while, then speaks or presses keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from flowengine.media.g711 import linear_to_ulaw, silence, ulaw_to_linear
from flowengine.ports import Clause, Tts, TtsRequest
from flowengine.testing.phone import PhoneCall

_LOWER = 0.92
"""The callers speak with the bot's voice played this much slower: lower, and plainly another."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a caller does.

    `says` and `presses` come once the bot is quiet; `breaks_in` comes `after_ms` of its speech.
    """

    does: Literal["says", "presses", "breaks_in", "listens"]
    what: str = ""
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class DemoCaller:
    """Somebody who calls one of the flows."""

    name: str
    flow: str
    number: str
    acts: tuple[Act, ...]


CALLERS = (
    DemoCaller(
        "Ms. Ortiz calls a company's line",
        "ivr",
        "+12025550143",
        (
            Act("says", "what are your opening hours"),
            Act("breaks_in", "I have a question about my bill", 2500),
            Act("says", "four eight two, nine one five"),
            Act("listens"),
        ),
    ),
    DemoCaller(
        "Mr. Lee books a visit at a clinic",
        "appointments",
        "+13125550187",
        (
            Act("breaks_in", "I would like to book an appointment", 3500),
            Act("says", "a flu shot please"),
            Act("breaks_in", "next tuesday", 1500),
            Act("presses", "2"),
            Act("says", "may fifth nineteen eighty four"),
            Act("breaks_in", "yes please", 6000),
            Act("says", "no thank you"),
            Act("listens"),
        ),
    ),
)


async def record_lines(tts: Tts, callers: Sequence[DemoCaller]) -> Mapping[str, bytes]:
    """Everything that the callers say, as µ-law audio by text."""
    voice = await tts.open(TtsRequest("", "", "en-US"))
    lines: dict[str, bytes] = {}
    for caller in callers:
        for act in caller.acts:
            if act.does in ("says", "breaks_in"):
                spoken = [chunk.audio async for chunk in voice.speak(_one(act.what))]
                lines[act.what] = _lowered(b"".join(spoken)) + silence(40)
    await voice.close()
    return lines


def _lowered(ulaw: bytes) -> bytes:
    import numpy as np  # of the extra `local`, without which nobody comes here

    samples = np.frombuffer(ulaw_to_linear(ulaw), dtype="<i2").astype(np.float32)
    places = np.arange(0, len(samples) - 1, _LOWER, dtype=np.float32)
    slower = np.interp(places, np.arange(len(samples)), samples)
    return linear_to_ulaw(slower.astype("<i2").tobytes())


async def _one(text: str) -> AsyncIterator[Clause]:
    yield Clause(0, text)


async def play(call: PhoneCall, caller: DemoCaller, lines: Mapping[str, bytes]) -> None:
    """Do what the caller does, then stay until the call ends."""
    for act in caller.acts:
        if act.does == "breaks_in":
            await call.hears_speech()
            await call.pause(act.after_ms)
        else:
            await call.hears()
        if act.does == "presses":
            await call.press(act.what)
        elif act.does != "listens":
            await call.say(lines[act.what])
    await call.over(limit_s=60)
