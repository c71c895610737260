"""What the carrier does with audio that it was sent: plays it in real time. Pure.

As Twilio documents it: audio is played in the order it came; a mark comes back when what was sent
before it has been played, at once if nothing is waiting; `clear` drops what is waiting, and then
every waiting mark comes back too.
"""

from __future__ import annotations

from collections import deque

from flowengine.testing.phone_audio import FRAME_BYTES, is_audible

_AHEAD_BYTES = 16_000


class Playout:
    """One stream's buffer; `pull` is called once per 20 ms."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._taken = 0
        """Bytes that have left the buffer, played or cleared."""
        self._marks: deque[tuple[int, str]] = deque()
        self._last_mark = 0
        self._is_playing = False
        """A frame was pulled and its 20 ms are not over."""

    @property
    def has_speech(self) -> bool:
        """Whether something audible comes in the next two seconds of what is waiting."""
        return is_audible(bytes(self._waiting[:_AHEAD_BYTES]))

    @property
    def ends_at_mark(self) -> bool:
        """Whether a mark stands right behind the last byte that was taken."""
        return self._last_mark == self._taken

    def add(self, audio: bytes) -> None:
        self._waiting += audio

    def mark(self, name: str) -> bool:
        """Set a mark behind what is waiting; true if it comes back at once."""
        self._last_mark = self._taken + len(self._waiting)
        if self._waiting or self._is_playing:
            self._marks.append((self._last_mark, name))
            return False
        return True

    def clear(self) -> tuple[int, list[str]]:
        """Drop what is waiting; how many bytes that were, and the marks that come back."""
        dropped = len(self._waiting)
        self._taken += dropped
        self._waiting.clear()
        names = [name for _, name in self._marks]
        self._marks.clear()
        self._last_mark = self._taken
        return dropped, names

    def pull(self) -> tuple[bytes, list[str]]:
        """Begin one frame: its audio (shorter when there is not enough), and marks now passed."""
        names: list[str] = []
        while self._marks and self._marks[0][0] <= self._taken:
            names.append(self._marks.popleft()[1])
        frame = bytes(self._waiting[:FRAME_BYTES])
        if frame:
            del self._waiting[:FRAME_BYTES]
            self._taken += len(frame)
        self._is_playing = bool(frame)
        return frame, names
