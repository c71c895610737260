"""The fake Cartesia's Ink: turns (`/stt/turns/websocket`), and words made final on demand.

Message shapes and ranges follow the types of Cartesia's SDK. Time is the audio's own, 20 ms a
frame: whenever loud audio was followed by enough quiet, a turn of the plan ends; on
`/stt/websocket` the plan's next utterance is final when it is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from starlette.websockets import WebSocket

from flowengine.events import Json
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.providers.deepgram_stream import ListeningVendor, ListenStream
from flowengine.testing.providers.speech import is_loud

_UPDATE_EVERY_MS: Final = 240
_WORD_MS: Final = 240
_BOTH: Final = frozenset(
    ["access_token", "cartesia_version", "encoding", "keyterm", "model", "sample_rate"]
)
_RANGES: Final = {
    "turn_start_threshold": (0.5, 0.9),
    "turn_eager_end_threshold": (0.3, 0.6),
    "turn_end_threshold": (0.05, 0.5),
    "turn_end_timeout_ms": (640.0, 11_200.0),
}
_MANUAL: Final = frozenset({"language", "max_silence_duration_secs", "min_volume"})
_SURE_BELOW: Final = 0.1


@dataclass(slots=True)
class InkHabits:
    """When Ink is sure, and what it does that a client must bear."""

    eager_ms: int = 160
    """Quiet after which it foresees the end."""
    end_ms: int = 300
    """Quiet after which it is sure."""
    surer_ms: int = 800
    """The same with a low `end_threshold`."""
    foresees: deque[str] = field(default_factory=deque)
    """What it takes the words to be when it foresees an end, in place of what they are."""
    forgets_end: bool = False
    """The end of a turn never comes; the next turn just begins."""
    ignores_finalize: bool = False
    loses_final: bool = False
    """An empty final after interims."""
    error_code: str = "internal_error"
    error_status: int = 500


def ink_violations(query: Sequence[tuple[str, str]], *, turns: bool) -> Iterator[str]:
    """What the vendor would not take in a query."""
    asked = dict(query)
    for name in sorted(asked.keys() - _BOTH - (set(_RANGES) if turns else _MANUAL)):
        yield f"unknown query parameter {name}"
    models = ("ink-2",) if turns else ("ink-2", "ink-whisper", "ink-whisper-2025-06-04")
    if asked.get("model") not in models:
        yield f"no such model: {asked.get('model')}"
    if (asked.get("encoding"), asked.get("sample_rate")) != ("pcm_mulaw", "8000"):
        yield "the audio is not announced as pcm_mulaw at 8000"
    terms = [value for name, value in query if name == "keyterm"]
    if len(terms) > 100 or sum(map(len, terms)) > 1200:
        yield "too many key terms"
    yield from _out_of_range({name: float(asked[name]) for name in _RANGES if name in asked})


def _out_of_range(thresholds: dict[str, float]) -> Iterator[str]:
    for name, value in thresholds.items():
        least, most = _RANGES[name]
        if not least <= value <= most:
            yield f"{name} is out of range"
    eager = thresholds.get("turn_eager_end_threshold", 0.4)
    if not thresholds.get("turn_end_threshold", 0.2) < eager:
        yield "turn_end_threshold is not below the eager one"


class _InkStream(ListenStream):
    """One connection."""

    def __init__(self, vendor: ListeningVendor, websocket: WebSocket, habits: InkHabits) -> None:
        super().__init__(vendor, websocket)
        self._habits = habits
        self._loud_ms = 0
        self._quiet_ms = 0

    def _so_far(self) -> str:
        """The words that can have been understood by now."""
        words = self._vendor.words(self._speech(), final=False).split()
        return " ".join(words[: self._loud_ms // _WORD_MS])

    async def _tell(self, kind: str, **body: Json) -> None:
        await self._send({"type": kind, "request_id": "fake", **body})


class TurnsStream(_InkStream):
    """One connection of `/stt/turns/websocket`."""

    def __init__(self, vendor: ListeningVendor, websocket: WebSocket, habits: InkHabits) -> None:
        super().__init__(vendor, websocket, habits)
        asked = websocket.query_params
        self._thresholds = {name: float(asked[name]) for name in _RANGES if name in asked}
        self._is_foreseen = False
        self._told = ""

    async def run(self) -> None:
        await self._tell("connected")
        await super().run()

    async def _obey(self, kind: str, body: dict[str, Json]) -> bool:
        if kind == "close":
            if self._loud_ms:
                await self._end()
            await self._socket.close()
            return True
        if kind != "config" or body.keys() - {"type", "turn"}:
            self._vendor.violate(f"unknown command {kind}")
            return False
        changed = {f"turn_{name}": value for name, value in (body.get("turn") or {}).items()}
        for name in sorted(changed.keys() - set(_RANGES)):
            self._vendor.violate(f"unknown setting {name}")
        self._thresholds.update({name: changed[name] for name in _RANGES if name in changed})
        for what in _out_of_range(self._thresholds):
            self._vendor.violate(what)
        return False

    async def _hear(self, frame: bytes) -> None:
        if is_loud(frame):
            await self._hear_speech()
        elif self._loud_ms:
            await self._hear_quiet()

    async def _hear_speech(self) -> None:
        if not self._loud_ms:
            self._start_ms = self._done // BYTES_PER_MS - 20
            await self._tell("turn.start")
        self._loud_ms += 20
        self._quiet_ms = 0
        if self._is_foreseen:
            self._is_foreseen = False
            await self._tell("turn.resume")
        if self._loud_ms % _UPDATE_EVERY_MS == 0:
            await self._update(self._so_far())

    async def _hear_quiet(self) -> None:
        self._quiet_ms += 20
        habits = self._habits
        is_surer = self._thresholds.get("turn_end_threshold", 0.2) <= _SURE_BELOW
        if self._quiet_ms >= (habits.surer_ms if is_surer else habits.end_ms):
            await self._end()
        elif self._quiet_ms >= habits.eager_ms and not self._is_foreseen:
            wrong = habits.foresees
            words = wrong.popleft() if wrong else self._vendor.words(self._speech(), final=False)
            if words:
                self._is_foreseen = True
                await self._tell("turn.eager_end", transcript=words)

    async def _update(self, words: str) -> None:
        if words and words != self._told:
            self._told = words
            await self._tell("turn.update", transcript=words)

    async def _end(self) -> None:
        words = self._vendor.words(self._speech(), final=True)
        self._loud_ms = self._quiet_ms = 0
        self._is_foreseen, self._told = False, ""
        if not self._habits.forgets_end:
            await self._tell("turn.end", transcript=words)


class ManualStream(_InkStream):
    """One connection of `/stt/websocket`, whose commands are plain words."""

    def __init__(self, vendor: ListeningVendor, websocket: WebSocket, habits: InkHabits) -> None:
        super().__init__(vendor, websocket, habits)
        asked = websocket.query_params
        self._language = asked.get("language", "en")
        silence = asked.get("max_silence_duration_secs")
        self._most_quiet_ms = None if silence is None else float(silence) * 1000

    async def _command(self, text: str) -> bool:
        self._vendor.commands.append(text)
        self._vendor.changed.set()
        if text == "finalize":
            if not self._habits.ignores_finalize:
                await self._final()
                await self._tell("flush_done")
            return False
        if text != "close":
            self._vendor.violate(f"unknown command {text}")
            return False
        await self._final()
        await self._tell("done")
        await self._socket.close()
        return True

    async def _hear(self, frame: bytes) -> None:
        if is_loud(frame):
            if not self._loud_ms:
                self._start_ms = self._done // BYTES_PER_MS - 20
            self._loud_ms += 20
            self._quiet_ms = 0
            if self._loud_ms % _UPDATE_EVERY_MS == 0:
                await self._transcript(self._so_far(), is_final=False)
        elif self._loud_ms:
            self._quiet_ms += 20
            if self._most_quiet_ms is not None and self._quiet_ms >= self._most_quiet_ms:
                await self._final()

    async def _final(self) -> None:
        if self._loud_ms:
            words = self._vendor.words(self._speech(), final=True)
            await self._transcript("" if self._habits.loses_final else words, is_final=True)
            self._loud_ms = self._quiet_ms = 0

    async def _transcript(self, text: str, *, is_final: bool) -> None:
        begin_s = self._start_ms / 1000
        words = [
            {"word": word, "start": begin_s + nth * 0.24, "end": begin_s + nth * 0.24 + 0.2}
            for nth, word in enumerate(text.split())
        ]
        await self._tell(
            "transcript",
            text=text,
            is_final=is_final,
            duration=round(self._now_s() - begin_s, 3),
            language=self._language,
            words=words,
        )
