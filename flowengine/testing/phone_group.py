"""Many simulated callers side by side, and what they noticed taken together."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from flowengine.errors import FlowengineError
from flowengine.testing.phone import Phone, PhoneCall
from flowengine.testing.phone_audio import SILENT_FRAME
from flowengine.testing.phone_measures import CallReport
from flowengine.testing.phone_route import DialPlan

Script = Callable[[PhoneCall, int], Awaitable[None]]
"""What caller number n does."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the slow end of some measures."""

    count: int
    p50: float
    p95: float
    worst: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What many callers noticed."""

    calls: int
    failures: tuple[str, ...]
    """`number: error` of each script that did not get through."""
    faults: tuple[str, ...]
    openings_ms: Spread
    responses_ms: Spread
    key_responses_ms: Spread
    clears_ms: Spread
    """First sound of a caller who interrupts, to `clear`."""
    last_audio_ms: Spread
    """First sound of a caller who interrupts, to the end of what he interrupted."""
    missed_barge_ins: int
    gaps_per_bot_minute: float
    talk_over_ms: int


def spread(values: Sequence[float]) -> Spread:
    """Percentiles by nearest rank; zeros when there is nothing."""
    if not values:
        return Spread(0, 0.0, 0.0, 0.0)
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]

    return Spread(len(ordered), rank(0.5), rank(0.95), ordered[-1])


def summarise(reports: Sequence[CallReport], failures: Sequence[str] = ()) -> Summary:
    """Take the reports of many calls together."""
    barge_ins = [barge_in for report in reports for barge_in in report.barge_ins]
    met = [b for b in barge_ins if b.clear_after_ms is not None]
    bot_minutes = sum(report.bot_speech_ms for report in reports) / 60_000
    gaps = sum(len(report.gaps_ms) for report in reports)
    return Summary(
        calls=len(reports),
        failures=tuple(failures),
        faults=tuple(fault for report in reports for fault in report.faults),
        openings_ms=spread([r.opening_ms for r in reports if r.opening_ms is not None]),
        responses_ms=spread([ms for r in reports for ms in r.responses_ms]),
        key_responses_ms=spread([ms for r in reports for ms in r.key_responses_ms]),
        clears_ms=spread([b.clear_after_ms for b in met if b.clear_after_ms is not None]),
        last_audio_ms=spread([b.last_audio_after_ms for b in met]),
        missed_barge_ins=len(barge_ins) - len(met),
        gaps_per_bot_minute=gaps / bot_minutes if bot_minutes else 0.0,
        talk_over_ms=sum(report.talk_over_ms for report in reports),
    )


class Phones:
    """Rings the same number from many phones; one ticker drives them all."""

    def __init__(
        self, base_url: str, auth_token: str, *, background: Sequence[bytes] = (SILENT_FRAME,)
    ) -> None:
        self._phone = Phone(base_url, auth_token, background=background)
        self.calls: list[PhoneCall] = []
        """Every call that was begun, for its recording."""

    async def ring(
        self,
        count: int,
        script: Script,
        *,
        to: str = "+15550199",
        spacing_s: float = 0.0,
        dials: Sequence[DialPlan] = (),
    ) -> Summary:
        """Let `count` callers follow the script, begun `spacing_s` apart, until all are done."""
        reports: list[CallReport] = []
        failures: list[str] = []

        async def one(number: int) -> None:
            await asyncio.sleep(number * spacing_s)
            call: PhoneCall | None = None
            try:
                async with self._phone.call(f"+1555{number:07d}", to, dials=dials) as call:
                    self.calls.append(call)
                    await script(call, number)
            except FlowengineError as error:
                failures.append(f"{number}: {error}")
            if call is not None:
                reports.append(call.report())

        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(one(number))
        return summarise(reports, failures)
