"""The recording of a call while it lasts: gathered on the loop, written by a thread.

The caller's side is laid down by the count of its own bytes, the bot's by when the line should
play it. Nothing is written for a call that is never recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import structlog

from flowengine.media.recording import Recorder
from flowengine.ports import BYTES_PER_MS

WRITE_S = 1.0
_DRIFT_MS = 400
"""Frames that are later than this were lost or held up: the caller's side is set anew."""

log = structlog.get_logger(__name__)


class CallRecording:
    """`<folder>/<name>.wav`, both sides. Methods but `run` and `close` only note."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._begin_ms = now_ms()
        self._file: BinaryIO | None = None
        self._recorder: Recorder | None = None
        self._is_wanted = False
        self._is_broken = False
        self._is_silent: bool | None = None
        self._notes: list[Callable[[Recorder], None]] = []
        self._caller = bytearray()
        self._caller_ms: float | None = None

    def want(self, *, on: bool, first: bool = False) -> None:
        """Record from now on, or write silence from now on; `first`: if nothing was said yet."""
        if first and self._is_silent is not None:
            return
        if on:
            self._is_wanted = True
        if self._is_silent is not (not on):
            self._is_silent = not on
            self._flush_caller()
            at_ms = self._at()
            self._notes.append(lambda recorder: recorder.silence(not on, at_ms=at_ms))

    def caller(self, audio: bytes) -> None:
        """The next audio of the caller."""
        if not self._is_wanted:
            return
        if self._caller_ms is None:
            self._caller_ms = max(0, self._at() - len(audio) / BYTES_PER_MS)
        self._caller += audio

    def bot(self, at_ms: int, audio: bytes) -> None:
        """Audio that the line plays from `at_ms` on."""
        if self._is_wanted:
            at_ms -= self._begin_ms
            self._notes.append(lambda recorder: recorder.bot(max(0, at_ms), audio))

    def bot_cut(self, at_ms: int) -> None:
        """The line was cleared."""
        if self._is_wanted:
            at_ms -= self._begin_ms
            self._notes.append(lambda recorder: recorder.bot_cut(max(0, at_ms)))

    async def run(self) -> None:
        """Write once a second until cancelled."""
        while True:
            await asyncio.sleep(WRITE_S)
            if self._is_wanted:
                await self._write()

    async def close(self) -> Path | None:
        """Write what is left and the true sizes; the file, if there is one."""
        if not self._is_wanted:
            return None
        await self._write(is_last=True)
        return None if self._is_broken else self._path

    def _at(self) -> int:
        return self._now_ms() - self._begin_ms

    def _flush_caller(self) -> None:
        if not self._caller or self._caller_ms is None:
            return
        audio, self._caller = bytes(self._caller), bytearray()
        at_ms = self._caller_ms
        length_ms = len(audio) / BYTES_PER_MS
        if abs(at_ms + length_ms - self._at()) > _DRIFT_MS:
            at_ms = max(0, self._at() - length_ms)
        self._caller_ms = at_ms + length_ms
        place_ms = round(at_ms)
        self._notes.append(lambda recorder: recorder.caller(place_ms, audio))

    async def _write(self, *, is_last: bool = False) -> None:
        self._flush_caller()
        notes, self._notes = self._notes, []
        if self._is_broken:
            return
        try:
            await asyncio.to_thread(self._apply, notes, self._at(), is_last)
        except OSError as error:
            # The call goes on without its recording.
            self._is_broken = True
            log.error("recording_not_written", file=self._path.name, error=type(error).__name__)

    def _apply(self, notes: list[Callable[[Recorder], None]], at_ms: int, is_last: bool) -> None:
        if self._recorder is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb")
            self._recorder = Recorder(self._file)
            self._recorder.silence(on=True, at_ms=0)
        for note in notes:
            note(self._recorder)
        self._recorder.advance(at_ms)
        if is_last and self._file is not None:
            self._recorder.close()
            self._file.close()
