"""Whose turn it is: endpointing, barge-in, pause and resume, backchannels.

Pure. It takes what was heard (from the energy gate and from the recogniser) and says what to do
about it. The bot stops at the first evidence of speech (`Pause`). A word that is no backchannel
takes the floor (`Confirm`). Speech of `barge_in_ms` holds it until the words are known: a mere
"mhm" gives it back, as 2 s of quiet after a shorter noise do (`Resume`). A turn is over when the
recogniser says so, or our own timers do (`TurnOver`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from flowengine.events import (
    EndpointReached,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.runtime.waits import Waits

RESUME_MS = 2000
STT_FINAL_MS = 3000
ENDPOINT_CEILING_MS = 2500
QUIET_ENDPOINT_MS = 1000
"""Own endpoint after final words when the recogniser sends none: noise keeps it waiting."""
ANSWER_MARGIN_MS = 1000
"""Near the end of what the bot says, "yeah" is an answer, not a backchannel."""
UTTERANCE_MS = 30_000
"""Speech without an end is noise: it does not hold the floor for ever."""
HURRIED_MS = 1200
"""A caller who goes on within this time of his turn's end was cut off by us."""

_BACKCHANNELS = frozenset(
    "mhm mmhm mm hmm hm uh huh uhhuh uhm um ah oh ok okay yeah yep yes right sure alright "
    "i see got it go on ja genau oui d'accord si vale".split()
)

HearingEvent = SpeechStarted | SpeechStopped | InterimHeard | SegmentHeard | EndpointReached


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop speaking at once; it may go on."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The caller has the floor: drop what was not heard."""


@dataclass(frozen=True, slots=True)
class Resume:
    """It was nothing: go on where the bot stopped."""


@dataclass(frozen=True, slots=True)
class TurnOver:
    """The caller's turn is over."""

    text: str
    confidence: float
    by: Literal["stt", "silence"]
    endpointing_ms: int


TurnEffect = Pause | Confirm | Resume | TurnOver


@dataclass(frozen=True, slots=True)
class Floor:
    """What the bot is doing while something is heard.

    `left_ms`: how much of its speech the caller has not heard; `closed_question`: a closed set or
    a value is expected, so every word counts.
    """

    speaking: bool
    interruptible: bool
    left_ms: int
    closed_question: bool


def is_backchannel(text: str) -> bool:
    """Whether words only say "I am listening"."""
    words = re.findall(r"[\w']+", text.lower().replace("-", " "))
    return bool(words) and all(word in _BACKCHANNELS for word in words)


class Turns:
    """Turn taking of one call. Its waits stand in the call's `Waits`."""

    def __init__(self, waits: Waits, *, endpointing_ms: int = 300, barge_in_ms: int = 200) -> None:
        self._waits = waits
        self.endpointing_ms = endpointing_ms
        self.barge_in_ms = barge_in_ms
        self._segments: list[str] = []
        self._interim = ""
        self._confidences: list[float] = []
        self._speaking_sources: set[str] = set()
        self._quiet_since_ms: int | None = None
        self._barge: Literal["none", "paused", "confirmed"] = "none"
        self._is_held = False
        self._kept_left_ms = 0
        self._extra_ms = 0
        self._over_at_ms: int | None = None
        self._over_after_ms = 0

    # --- what others ask ---

    @property
    def is_caller_speaking(self) -> bool:
        """Somebody speaks now, or words are waiting for their endpoint."""
        return bool(self._speaking_sources or self._segments or self._interim)

    @property
    def is_paused(self) -> bool:
        return self._barge == "paused"

    @property
    def learnt_endpointing_ms(self) -> int:
        """Endpointing as this caller needs it."""
        return min(ENDPOINT_CEILING_MS, self.endpointing_ms + self._extra_ms)

    @property
    def partial_text(self) -> str:
        """Words of the turn so far."""
        return " ".join([*self._segments, self._interim]).strip()

    def forget(self) -> None:
        """Drop what was heard: a key took the turn, or the node no longer listens."""
        self._segments.clear()
        self._confidences.clear()
        self._interim = ""
        # Somebody may go on speaking; but without the wait `utterance` nothing would end it.
        self._speaking_sources.clear()
        self._barge = "none"
        self._is_held = False
        self._waits.stop("endpoint", "stt_final", "barge_in", "resume", "utterance")

    # --- what comes in ---

    def receive(self, event: HearingEvent, now_ms: int, floor: Floor) -> list[TurnEffect]:
        """Take evidence of speech."""
        match event:
            case SpeechStarted(source):
                return self._started(source, now_ms, floor)
            case SpeechStopped(source):
                return self._stopped(source, now_ms)
            case InterimHeard(text):
                return self._interim_heard(text, now_ms, floor)
            case SegmentHeard(text, confidence, endpoint):
                return self._segment_heard(text, confidence, endpoint, now_ms, floor)
            case EndpointReached():
                return self._endpoint(now_ms, "stt")

    def wait_passed(self, name: str, now_ms: int) -> list[TurnEffect]:
        """One of this machine's waits came to its limit."""
        match name:
            case "barge_in":
                self._is_held = bool(self._speaking_sources)
                return []
            case "resume":
                return self._resume()
            case "endpoint":
                return self._over(now_ms, "silence")
            case "stt_final" | "utterance":
                self._speaking_sources.clear()
                return self._give_up_on_words(now_ms)
            case _:
                raise ValueError(f"turn taking has no wait {name!r}")

    # --- speech as such ---

    def _started(self, source: str, now_ms: int, floor: Floor) -> list[TurnEffect]:
        was_quiet = not self._speaking_sources
        self._speaking_sources.add(source)
        self._waits.stop("endpoint", "stt_final", "resume")
        if was_quiet:
            self._waits.start("utterance", now_ms, UTTERANCE_MS)
            self._learn(now_ms)
        if self._barge == "none" and floor.speaking and floor.interruptible:
            self._barge = "paused"
            self._kept_left_ms = floor.left_ms
            self._waits.start("barge_in", now_ms, self.barge_in_ms)
            return [Pause()]
        if self._barge == "paused" and "barge_in" not in self._waits:
            self._waits.start("barge_in", now_ms, self.barge_in_ms)
        return []

    def _stopped(self, source: str, now_ms: int) -> list[TurnEffect]:
        self._speaking_sources.discard(source)
        if source == "energy":
            # The recogniser's own "stopped" may never come; the gate's counts for both.
            self._speaking_sources.clear()
        if self._speaking_sources:
            return []
        self._quiet_since_ms = now_ms
        self._waits.stop("barge_in", "utterance")
        if self._barge == "paused" and not self._is_held:
            self._waits.start("resume", now_ms, RESUME_MS)
        if self._segments and not self._interim:
            self._waits.start(
                "endpoint", now_ms, max(QUIET_ENDPOINT_MS, self.learnt_endpointing_ms)
            )
        else:
            self._waits.start("stt_final", now_ms, STT_FINAL_MS)
        return []

    # --- words ---

    def _interim_heard(self, text: str, now_ms: int, floor: Floor) -> list[TurnEffect]:
        self._interim = text.strip()
        if not self._interim:
            return []
        self._waits.stop("endpoint")
        effects: list[TurnEffect] = []
        if self._barge == "none" and floor.speaking and floor.interruptible:
            self._barge = "paused"
            self._kept_left_ms = floor.left_ms
            effects.append(Pause())
        if self._barge == "paused" and self._counts(self._interim, floor):
            effects += self._confirm()
        if not self._speaking_sources:
            self._waits.start("stt_final", now_ms, STT_FINAL_MS)
        return effects

    def _segment_heard(
        self, text: str, confidence: float, endpoint: bool, now_ms: int, floor: Floor
    ) -> list[TurnEffect]:
        words = text.strip()
        if not words and self._interim and endpoint:
            # An empty final after a non-empty interim would lose what was said.
            words = self._interim
        effects: list[TurnEffect] = []
        if words:
            effects = self._interim_heard(words, now_ms, floor)
            self._segments.append(words)
            self._confidences.append(confidence)
        self._interim = ""
        if endpoint:
            return effects + self._endpoint(now_ms, "stt")
        if self._segments and not self._speaking_sources:
            self._waits.stop("stt_final")
            self._waits.start(
                "endpoint", now_ms, max(QUIET_ENDPOINT_MS, self.learnt_endpointing_ms)
            )
        return effects

    def _await_endpoint(self, now_ms: int) -> None:
        """Words are there and nobody speaks: our own endpoint, should the recogniser's not come."""
        limit_ms = max(QUIET_ENDPOINT_MS, self.learnt_endpointing_ms)
        self._waits.start("endpoint", now_ms, limit_ms)

    def _endpoint(self, now_ms: int, by: Literal["stt", "silence"]) -> list[TurnEffect]:
        if not self._segments and not self._interim:
            return []
        # The recogniser hears the end; the gate may lag, or hear noise for ever.
        self._speaking_sources.clear()
        if self._quiet_since_ms is None:
            self._quiet_since_ms = now_ms
        if self._extra_ms:
            self._waits.start("endpoint", now_ms, self._extra_ms)
            return []
        return self._over(now_ms, by)

    def _over(self, now_ms: int, by: Literal["stt", "silence"]) -> list[TurnEffect]:
        text = self.partial_text
        confidence = min(self._confidences, default=0.0)
        quiet_ms = now_ms - (now_ms if self._quiet_since_ms is None else self._quiet_since_ms)
        barge, left_ms = self._barge, self._kept_left_ms
        self.forget()
        self._quiet_since_ms = None
        if barge == "paused" and is_backchannel(text) and left_ms > ANSWER_MARGIN_MS:
            return [Resume()]
        self._over_at_ms, self._over_after_ms = now_ms, quiet_ms
        effects: list[TurnEffect] = [Confirm()] if barge == "paused" else []
        return [*effects, TurnOver(text, confidence, by, quiet_ms)]

    def _give_up_on_words(self, now_ms: int) -> list[TurnEffect]:
        if self._segments or self._interim:
            return self._over(now_ms, "silence")
        effects = self._resume()
        self.forget()
        return effects

    # --- barge-in ---

    @staticmethod
    def _counts(text: str, floor: Floor) -> bool:
        """Whether words take the floor."""
        return floor.closed_question or not is_backchannel(text)

    def _confirm(self) -> list[TurnEffect]:
        if self._barge != "paused":
            return []
        self._barge = "confirmed"
        self._waits.stop("barge_in", "resume")
        return [Confirm()]

    def _resume(self) -> list[TurnEffect]:
        if self._barge != "paused":
            return []
        self.forget()
        return [Resume()]

    # --- learning ---

    def _learn(self, now_ms: int) -> None:
        """A caller who goes on right after we took his turn as over needs a longer endpoint."""
        if self._over_at_ms is None:
            return
        pause_ms = self._over_after_ms + now_ms - self._over_at_ms
        if now_ms - self._over_at_ms <= HURRIED_MS:
            wanted_ms = pause_ms + 200 - self.endpointing_ms
            ceiling_ms = ENDPOINT_CEILING_MS - self.endpointing_ms
            self._extra_ms = max(self._extra_ms, min(wanted_ms, ceiling_ms))
        else:
            self._extra_ms = self._extra_ms * 9 // 10
        self._over_at_ms = None
