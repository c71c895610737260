"""Server-sent events, as far as LLM streams use them: the data of each event, in order.

Pure. Bytes may be split anywhere. Comments (keep-alives), `id`, `retry` and `event` lines are
skipped; several `data` lines of one event are joined by a line feed (WHATWG HTML, 9.2.6).
"""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseReader:
    """Collects bytes and hands out the data of complete events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def read(self, piece: bytes) -> list[bytes]:
        """Take bytes; returns the data of the events that they complete."""
        text = self._rest + piece
        lines = _LINE_END.split(text.removesuffix(b"\r")) if b"\r" in text else text.split(b"\n")
        self._rest = lines.pop()
        if text.endswith(b"\r"):
            self._rest += b"\r"
        return self._events(lines)

    def end(self) -> list[bytes]:
        """The body ended; returns the data of an event that no empty line followed."""
        lines = [self._rest.removesuffix(b"\r"), b""]
        self._rest = b""
        return self._events(lines)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        done: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                done.append(b"\n".join(self._data))
                self._data = []
        return done
