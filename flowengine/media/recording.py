"""Writes both sides of a call to a WAV file while it lasts: caller left, bot right.

µ-law 8000 Hz, 8 bits, two channels (WAVE format tag 7). Both sides are laid on the call's one
timeline in ms; gaps are silence. What the bot says is sent ahead of time, and a barge-in takes it
back, so audio waits in memory until `advance` says that its time has passed. Memory is bounded:
bytes are kept only between the written part and `AHEAD_MS` after the present.

Until it is closed the header carries the length 0xFFFFFFFF, "up to the end of the file". So a file
that a crash cut short is read to its last whole sample by `read_wav` here and by players that take
streamed WAV (ffmpeg, sox, libsndfile); `close` writes the true sizes.
"""

from __future__ import annotations

import struct
from collections import deque
from pathlib import Path
from typing import BinaryIO

from flowengine.errors import CallError
from flowengine.media.g711 import ULAW_BYTES_PER_MS, ULAW_RATE, ULAW_SILENCE

AHEAD_MS = 60_000
"""Audio further in the future than this is not kept."""

LATE_MS = 200
"""How long written audio waits for a side that is late."""

_UNKNOWN = 0xFFFFFFFF
_HEADER = struct.Struct("<4sI4s4sIHHIIHHH4sII4sI")
HEADER_BYTES = _HEADER.size
_FORMAT_MULAW = 7
_WRITE_BYTES = 1 << 16


def _header(frames: int | None) -> bytes:
    """RIFF, `fmt `, `fact` and the head of `data`, for so many samples a channel."""
    size = _UNKNOWN if frames is None else 2 * frames
    riff = _UNKNOWN if frames is None else HEADER_BYTES - 8 + size
    count = _UNKNOWN if frames is None else frames
    form = (b"fmt ", 18, _FORMAT_MULAW, 2, ULAW_RATE, 2 * ULAW_RATE, 2, 8, 0)
    return _HEADER.pack(b"RIFF", riff, b"WAVE", *form, b"fact", 4, count, b"data", size)


class Track:
    """One side's bytes that are not written yet; the first one belongs to position `start`."""

    def __init__(self) -> None:
        self.start = 0
        self.audio = bytearray()

    @property
    def end(self) -> int:
        return self.start + len(self.audio)

    def put(self, at: int, audio: bytes, limit: int) -> int:
        """Lay audio at a position over what is there; how many bytes had no place."""
        late = max(0, min(len(audio), self.start - at))
        early = max(0, min(len(audio) - late, at + len(audio) - limit))
        kept = audio[late : len(audio) - early]
        if kept:
            offset = at + late - self.start
            if offset > len(self.audio):
                self.audio += ULAW_SILENCE * (offset - len(self.audio))
            self.audio[offset : offset + len(kept)] = kept
        return late + early

    def cut(self, at: int) -> None:
        """Forget what lies after a position."""
        del self.audio[max(0, at - self.start) :]

    def take(self, count: int) -> bytes:
        """The next so many bytes, filled up with silence."""
        taken = bytes(self.audio[:count])
        del self.audio[:count]
        self.start += count
        return taken + ULAW_SILENCE * (count - len(taken))


class Recorder:
    """Records one call to a seekable binary file. Positions are ms since the call began."""

    def __init__(self, file: BinaryIO) -> None:
        self.lost_bytes = 0
        """Audio that came too late or lay too far ahead to be written."""
        self._file = file
        self._caller = Track()
        self._bot = Track()
        self._now = 0
        self._is_silent = False
        self._switches: deque[tuple[int, bool]] = deque()
        self._is_closed = False
        file.write(_header(None))

    @property
    def written_ms(self) -> int:
        """Up to where the file is written."""
        return self._caller.start // ULAW_BYTES_PER_MS

    def caller(self, at_ms: int, audio: bytes) -> None:
        """Lay down what the caller said, µ-law, from `at_ms` on."""
        self._put(self._caller, at_ms, audio)

    def bot(self, at_ms: int, audio: bytes) -> None:
        """Lay down what the bot says, µ-law, from `at_ms` on; it may lie ahead of the present."""
        self._put(self._bot, at_ms, audio)

    def bot_cut(self, at_ms: int) -> None:
        """Take back what the bot would have said after `at_ms`, as far as it is not written."""
        self._bot.cut(at_ms * ULAW_BYTES_PER_MS)

    def silence(self, on: bool, *, at_ms: int | None = None) -> None:
        """Write both sides as silence from `at_ms` (default: the present) until switched off."""
        at = self._now if at_ms is None else at_ms * ULAW_BYTES_PER_MS
        latest = self._switches[-1][0] if self._switches else self._caller.start
        self._switches.append((max(at, latest), on))

    def advance(self, now_ms: int) -> None:
        """The present is `now_ms`: write what lies more than `LATE_MS` before it."""
        self._now = max(self._now, now_ms * ULAW_BYTES_PER_MS)
        self._write(self._now - LATE_MS * ULAW_BYTES_PER_MS)

    def close(self) -> None:
        """Write up to the present (what the bot had ahead was not heard) and the true sizes."""
        if self._is_closed:
            return
        self._is_closed = True
        self._write(max(self._now, self._caller.end))
        self._file.seek(0)
        self._file.write(_header(self._caller.start))
        self._file.flush()

    def _put(self, track: Track, at_ms: int, audio: bytes) -> None:
        limit = self._now + AHEAD_MS * ULAW_BYTES_PER_MS
        self.lost_bytes += track.put(at_ms * ULAW_BYTES_PER_MS, audio, limit)

    def _write(self, end: int) -> None:
        while (start := self._caller.start) < end:
            while self._switches and self._switches[0][0] <= start:
                self._is_silent = self._switches.popleft()[1]
            stop = min(end, start + _WRITE_BYTES)
            if self._switches:
                stop = min(stop, self._switches[0][0])
            sides = [track.take(stop - start) for track in (self._caller, self._bot)]
            both = bytearray(ULAW_SILENCE * (2 * (stop - start)))
            if not self._is_silent:
                both[0::2], both[1::2] = sides
            self._file.write(both)


def read_wav(path: Path | str) -> tuple[bytes, bytes]:
    """The caller's and the bot's µ-law bytes of a recording, complete or cut short."""
    data = Path(path).read_bytes()
    if len(data) < HEADER_BYTES:
        raise _not_ours(path, "it is shorter than a header")
    found = _HEADER.unpack_from(data)
    if found[0] != b"RIFF" or found[2:4] != (b"WAVE", b"fmt ") or found[15] != b"data":
        raise _not_ours(path, "its header is not that of a recording")
    if found[5:8] != (_FORMAT_MULAW, 2, ULAW_RATE):
        raise _not_ours(path, "it is not two channels of µ-law at 8000 Hz")
    end = min(len(data), HEADER_BYTES + found[16])
    end -= (end - HEADER_BYTES) % 2
    return data[HEADER_BYTES:end:2], data[HEADER_BYTES + 1 : end : 2]


def _not_ours(path: Path | str, why: str) -> CallError:
    return CallError(
        "recording_unreadable",
        f"The recording cannot be read: {why}.",
        where=str(path),
        fix="Give a recording.wav that flowengine wrote.",
    )
