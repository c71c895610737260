"""A line through this computer's microphone and loudspeaker, for trying a flow by voice.

No carrier stands behind it: the audio device calls `exchange` every 20 ms in its own thread with
what it heard, and plays what it is given. Marks come back when what was sent before them has been
handed to the device.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator

from flowengine.media.g711 import ULAW_SILENCE, linear_to_ulaw, ulaw_to_linear
from flowengine.ports import LineAudio, LineDigit, LineEvent, LineMark, LineStopped


class MicrophoneLine:
    """The media of a call, as the audio device carries it. Make it on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[LineEvent] = asyncio.Queue()
        self._waiting: deque[bytes | str] = deque()
        """Audio, and the names of marks between it."""
        self._lock = threading.Lock()
        self._is_closed = False

    # --- the audio device's thread ---

    def exchange(self, heard: bytes) -> bytes:
        """Take linear 16-bit audio at 8000 Hz; returns as much to play."""
        self._tell(LineAudio(linear_to_ulaw(heard)))
        return ulaw_to_linear(self._next_audio(len(heard) // 2))

    def _next_audio(self, length: int) -> bytes:
        played = b""
        with self._lock:
            while self._waiting and (len(played) < length or isinstance(self._waiting[0], str)):
                item = self._waiting.popleft()
                if isinstance(item, str):
                    self._tell(LineMark(item))
                    continue
                wanted = length - len(played)
                played += item[:wanted]
                if len(item) > wanted:
                    self._waiting.appendleft(item[wanted:])
        return played + ULAW_SILENCE * (length - len(played))

    def _tell(self, event: LineEvent) -> None:
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    # --- whoever sits at the computer ---

    def press(self, digit: str) -> None:
        """A key, typed."""
        self._events.put_nowait(LineDigit(digit))

    def hang_up(self) -> None:
        """The caller has had enough."""
        self._events.put_nowait(LineStopped("hung_up"))

    # --- the line, as the engine sees it ---

    async def events(self) -> AsyncIterator[LineEvent]:
        while not self._is_closed:
            event = await self._events.get()
            yield event
            if isinstance(event, LineStopped):
                return

    async def send_audio(self, audio: bytes) -> None:
        with self._lock:
            self._waiting.append(audio)

    async def send_mark(self, name: str) -> None:
        with self._lock:
            self._waiting.append(name)

    async def clear(self) -> None:
        """Throw away what was not played; its marks come back, as a carrier's do."""
        with self._lock:
            marks = [item for item in self._waiting if isinstance(item, str)]
            self._waiting.clear()
        for name in marks:
            self._events.put_nowait(LineMark(name))

    async def close(self) -> None:
        self._is_closed = True
