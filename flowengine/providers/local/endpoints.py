"""When a caller's utterance begins, pauses, goes on and ends. Pure; time is counted in windows.

Fed with the probability of speech of each window (32 ms). Speech begins after two likely windows,
seems to stop after 200 ms of unlikely ones, and the utterance ends when those last as long as the
endpoint asks.
"""

from __future__ import annotations

from enum import Enum

ONSET = 0.25
"""From this probability on a window is speech. Low, because the energy gate stands in front: at
the usual 0.5 lone words on a phone line are lost ("two", "e", "u": a fifth of letters and digits),
while tones, ringing, noise and breath stay below 0.25 in nearly every window."""

OFFSET = 0.2
"""Speech goes on down to this probability."""

PATIENT = 0.1
"""The same within a string of digits, where a "two" that is overheard would end the string."""

ONSET_WINDOWS = 2
STOP_MS = 200
LEAST_VOICED_MS = 96
"""Less speech than this is a click or a breath."""


class Change(Enum):
    """What a window brought about."""

    BEGUN = "begun"
    PAUSED = "paused"
    RESUMED = "resumed"
    ENDED = "ended"


class Endpoints:
    """Follows one call, window by window."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._onset = 0
        self._is_voiced = False
        self._is_paused = False
        self.speaking = False
        """An utterance is open, perhaps in a pause."""
        self.quiet_ms = 0
        """How long the open utterance has been quiet."""
        self.voiced_ms = 0
        """How much of the open utterance is speech."""

    @property
    def is_speech(self) -> bool:
        """The open utterance has enough speech to hold a word."""
        return self.voiced_ms >= LEAST_VOICED_MS

    def feed(
        self, probability: float, *, endpointing_ms: int, is_patient: bool = False
    ) -> Change | None:
        """Take the next window; `is_patient`: a string of digits is expected."""
        if not self.speaking:
            return self._while_quiet(probability)
        least = OFFSET if self._is_voiced else ONSET
        self._is_voiced = probability >= (PATIENT if is_patient else least)
        if self._is_voiced:
            self.voiced_ms += self._window_ms
            self.quiet_ms = 0
            was_paused, self._is_paused = self._is_paused, False
            return Change.RESUMED if was_paused else None
        self.quiet_ms += self._window_ms
        if self.quiet_ms >= endpointing_ms:
            self.speaking = False
            return Change.ENDED
        if not self._is_paused and self.quiet_ms >= STOP_MS:
            self._is_paused = True
            return Change.PAUSED
        return None

    def taken(self) -> None:
        """The words so far were asked for: what comes now is counted anew."""
        self.voiced_ms = 0

    def _while_quiet(self, probability: float) -> Change | None:
        self._onset = self._onset + 1 if probability >= ONSET else 0
        if self._onset < ONSET_WINDOWS:
            return None
        self.voiced_ms = self._onset * self._window_ms
        self._onset = 0
        self.quiet_ms = 0
        self._is_voiced, self._is_paused = True, False
        self.speaking = True
        return Change.BEGUN
