"""The fake Deepgram's Flux (`/v2/listen`): turns that begin, are foreseen to end, go on, and end.

Message shapes follow the types of Deepgram's SDK; when which is sent, its page on Flux' state
machine: `Update` for each quarter of a second of audio, words or not, unless the state changes.
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
_QUERY: Final = frozenset(
    [
        "eager_eot_threshold",
        "encoding",
        "eot_threshold",
        "eot_timeout_ms",
        "keyterm",
        "language_hint",
        "mip_opt_out",
        "model",
        "numerals",
        "profanity_filter",
        "sample_rate",
        "tag",
    ]
)


@dataclass(slots=True)
class FluxHabits:
    """When Flux is sure, and what it does that a client must bear."""

    eager_ms: int = 160
    """Quiet after which it foresees the end."""
    end_ms: int = 300
    """Quiet after which it is sure."""
    surer_ms: int = 900
    """The same when it is asked to be 0.9 sure or more."""
    foresees: deque[str] = field(default_factory=deque)
    """What it takes the words to be when it foresees an end, in place of what they are."""
    forgets_start: bool = False
    """A turn begins with an `Update`."""
    repeats_end: bool = False
    """Each `EndOfTurn` comes once more, too late."""
    forgets_end: bool = False
    """The end of a turn never comes; the next turn just begins."""
    refuses_configure: bool = False
    """`Configure` is answered by `ConfigureFailure` and changes nothing."""


def flux_violations(query: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What the vendor would not take in a query."""
    asked = dict(query)
    for name in asked:
        if name not in _QUERY:
            yield f"unknown query parameter {name}"
    if asked.get("model") not in ("flux-general-en", "flux-general-multi"):
        yield "no Flux model"
    if asked.get("encoding") == "mulaw" and "sample_rate" not in asked:
        yield "mulaw needs a sample_rate"
    eager, end = float(asked.get("eager_eot_threshold", 0.3)), asked.get("eot_threshold", "0.7")
    if not 0.3 <= eager <= min(0.9, float(end)):
        yield "eager_eot_threshold is out of range"
    if not 500 <= int(asked.get("eot_timeout_ms", "5000")) <= 60_000:
        yield "eot_timeout_ms is out of range"


class FluxStream(ListenStream):
    """One connection of `/v2/listen`."""

    def __init__(self, vendor: ListeningVendor, websocket: WebSocket, habits: FluxHabits) -> None:
        super().__init__(vendor, websocket)
        self._habits = habits
        asked = websocket.query_params
        self._thresholds: dict[str, Json] = {
            name: float(asked[name])
            for name in ("eager_eot_threshold", "eot_threshold", "eot_timeout_ms")
            if name in asked
        }
        self._sequence = 0
        self._turn = 0
        self._state = "ready"
        """`ready`, `speaking` (a turn began) or `awaiting` (its end is foreseen)."""
        self._loud_ms = 0
        self._quiet_ms = 0
        self._since_update_ms = 0

    async def run(self) -> None:
        await self._tell({"type": "Connected"})
        await super().run()

    async def _obey(self, kind: str, body: dict[str, Json]) -> bool:
        if kind == "CloseStream":
            await self._socket.close()
            return True
        if kind == "ForceEndTurn":
            if self._loud_ms:
                await self._end("manual")
            else:
                warning = {"code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "scripted"}
                await self._tell({"type": "Warning", **warning})
        elif kind == "Configure":
            await self._configure(body.get("thresholds") or {})
        else:
            self._vendor.violate(f"unknown command {kind}")
        return False

    async def _configure(self, thresholds: dict[str, Json]) -> None:
        if self._habits.refuses_configure:
            failure = {"code": "INVALID_THRESHOLDS", "description": "scripted"}
            await self._tell({"type": "ConfigureFailure", **failure})
            return
        if not 0.5 <= thresholds.get("eot_threshold", 0.7) <= 1.0:
            self._vendor.violate("eot_threshold is out of range")
        self._thresholds.update(thresholds)
        await self._tell(
            {"type": "ConfigureSuccess", "thresholds": self._thresholds, "keyterms": []}
        )

    async def _hear(self, frame: bytes) -> None:
        self._since_update_ms += 20
        if is_loud(frame):
            await self._hear_speech()
        elif self._loud_ms:
            self._quiet_ms += 20
            is_surer = self._thresholds.get("eot_threshold", 0.7) >= 0.9
            if self._quiet_ms >= (self._habits.surer_ms if is_surer else self._habits.end_ms):
                await self._end("model")
            elif self._quiet_ms >= self._habits.eager_ms and self._state == "speaking":
                await self._foresee()
        if self._since_update_ms >= _UPDATE_EVERY_MS:
            await self._update()

    async def _hear_speech(self) -> None:
        if not self._loud_ms:
            self._start_ms = self._done // BYTES_PER_MS - 20
        self._loud_ms += 20
        self._quiet_ms = 0
        if self._state == "awaiting":
            self._state = "speaking"
            await self._turn_info("TurnResumed", self._so_far())

    async def _update(self) -> None:
        words = self._so_far()
        begins = bool(words) and self._state == "ready"
        if begins:
            self._state = "speaking"
        starts = begins and not self._habits.forgets_start
        await self._turn_info("StartOfTurn" if starts else "Update", words)

    async def _foresee(self) -> None:
        if "eager_eot_threshold" not in self._thresholds:
            return
        wrong = self._habits.foresees
        words = wrong.popleft() if wrong else self._vendor.words(self._speech(), final=False)
        if words:
            self._state = "awaiting"
            await self._turn_info("EagerEndOfTurn", words)

    async def _end(self, trigger: str) -> None:
        words = self._vendor.words(self._speech(), final=True)
        self._loud_ms = self._quiet_ms = 0
        self._state = "ready"
        if not self._habits.forgets_end and words:
            for _ in range(2 if self._habits.repeats_end else 1):
                await self._turn_info("EndOfTurn", words, trigger=trigger)
        self._turn += 1 if words else 0

    def _so_far(self) -> str:
        """The words that can have been understood by now."""
        if not self._loud_ms:
            return ""
        words = self._vendor.words(self._speech(), final=False).split()
        return " ".join(words[: self._loud_ms // _WORD_MS])

    async def _turn_info(self, event: str, text: str, **more: Json) -> None:
        self._since_update_ms = 0
        words = [{"word": word.strip(".,?!"), "confidence": 0.96} for word in text.split()]
        sureness = {"EndOfTurn": 0.9, "EagerEndOfTurn": 0.6}
        await self._tell(
            {
                "type": "TurnInfo",
                "event": event,
                "turn_index": self._turn,
                "audio_window_start": self._start_ms / 1000,
                "audio_window_end": self._now_s(),
                "transcript": text,
                "words": words,
                "end_of_turn_confidence": sureness.get(event, 0.1),
                **more,
            }
        )

    async def _tell(self, body: dict[str, Json]) -> None:
        await self._send({"request_id": "fake", "sequence_id": self._sequence, **body})
        self._sequence += 1
