"""Both sides of a call while it lasts, for somebody who listens: frames a moment behind the call.

Whoever listens takes frames at his own pace; what he does not take in time is dropped with him
(`is_overrun`), so that memory is bounded and the call never waits. What the bot says is known ahead
of time and may be taken back; so frames come `LATE_MS` after the present.
"""

from __future__ import annotations

from collections.abc import Callable

from flowengine.media.g711 import ULAW_BYTES_PER_MS
from flowengine.media.recording import Track

FRAME_MS = 100
FRAME_BYTES = 2 * FRAME_MS * ULAW_BYTES_PER_MS
"""Of a frame: µ-law at 8000 Hz, caller and bot byte by byte in turn."""
LATE_MS = 200
MOST_BEHIND_MS = 5000
"""Whoever has not taken so much is too slow."""
_AHEAD_MS = 60_000
_DRIFT_MS = 400
"""A caller's frames that are further off than this were lost or held up: his side is set anew."""


class LiveMix:
    """One listener's view of a call. All of it runs on the call's event loop."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.is_over = False
        """The call's media phase is over: what is left may be taken."""
        self.is_overrun = False
        """The listener was too slow: nothing is kept for him any more."""
        self._now_ms = now_ms
        self._begin_ms = now_ms()
        self._caller, self._bot = Track(), Track()
        self._caller_ms: float | None = None
        self._is_silent = False

    # --- the call's side ---

    def caller(self, audio: bytes) -> None:
        """The next audio of the caller."""
        if self._may_keep():
            now_ms = self._at()
            length_ms = len(audio) / ULAW_BYTES_PER_MS
            at_ms = self._caller_ms
            if at_ms is None or abs(at_ms + length_ms - now_ms) > _DRIFT_MS:
                at_ms = max(0.0, now_ms - length_ms)
            self._caller_ms = at_ms + length_ms
            self._put(self._caller, round(at_ms * ULAW_BYTES_PER_MS), audio)

    def bot(self, at_ms: int, audio: bytes) -> None:
        """Audio that the line plays from `at_ms` of the call on."""
        if self._may_keep():
            at_ms = max(0, at_ms - self._begin_ms)
            self._put(self._bot, at_ms * ULAW_BYTES_PER_MS, audio)

    def bot_cut(self, at_ms: int) -> None:
        """The line was cleared."""
        self._bot.cut(max(0, at_ms - self._begin_ms) * ULAW_BYTES_PER_MS)

    def silence(self, *, on: bool) -> None:
        """From now on nothing of the call is heard, or all of it again."""
        if on and not self._is_silent:
            at = self._at() * ULAW_BYTES_PER_MS
            self._caller.cut(at)
            self._bot.cut(at)
            self._caller_ms = None
        self._is_silent = on

    # --- the listener's side ---

    def take(self) -> list[bytes]:
        """The frames whose time has come."""
        frames = []
        late_ms = 0 if self.is_over else LATE_MS
        count = FRAME_MS * ULAW_BYTES_PER_MS
        until = (self._at() - late_ms) * ULAW_BYTES_PER_MS
        while self._caller.start + count <= until:
            frame = bytearray(FRAME_BYTES)
            frame[0::2], frame[1::2] = self._caller.take(count), self._bot.take(count)
            frames.append(bytes(frame))
        return frames

    def _at(self) -> int:
        return self._now_ms() - self._begin_ms

    def _may_keep(self) -> bool:
        if self._at() - self._caller.start // ULAW_BYTES_PER_MS > MOST_BEHIND_MS:
            self.is_overrun = True
            self._caller.cut(0)
            self._bot.cut(0)
        return not (self.is_overrun or self._is_silent)

    def _put(self, track: Track, at: int, audio: bytes) -> None:
        track.put(at, audio, (self._at() + _AHEAD_MS) * ULAW_BYTES_PER_MS)
