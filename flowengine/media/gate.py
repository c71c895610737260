"""Finds out, at almost no cost, when somebody speaks on a phone line.

The first evidence for a barge-in and the filter in front of a model for voice activity: the mean
level of each 20 ms of µ-law against a noise floor that follows the line. Time is counted in bytes
of audio, not in a clock, so the same bytes always give the same changes.

The floor is the smallest level of the last two seconds. So it follows noise and hum that swell
slowly, and a tone that is held longer than that counts as line noise. A line that is louder than
`LOUDEST_START` from its first frame on is taken for speech until the floor has caught up.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowengine.media.g711 import ULAW_BYTES_PER_MS, ULAW_SAMPLES

HOP_MS = 20
HOP_BYTES = HOP_MS * ULAW_BYTES_PER_MS

LEVEL_TABLE = bytes(min(255, abs(sample) >> 4) for sample in ULAW_SAMPLES)
"""The level of each µ-law byte, in sixteenths of a 16-bit sample: summed up over a frame."""

ONSET_MS = 60
"""So much sound over the floor is speech."""

STARTS_OVER = 2.5
"""Speech begins this many times over the floor ..."""

HOLDS_OVER = 1.6
"""... and goes on while it is this many times over it."""

LEAST_LEVEL = 10 * HOP_BYTES
"""Below a mean sample of 160 (about -44 dBFS) nothing is speech: comfort noise is quieter."""

LOUDEST_START = 40 * HOP_BYTES
"""The highest floor that the first frame of a stream can set (about -31 dBFS)."""

_SPAN_HOPS = 25
_SPANS = 4


@dataclass(frozen=True, slots=True)
class GateChange:
    """Speech started or stopped; positions are ms since the stream began.

    `ended_ms` is None while speech goes on, otherwise where its last sound ended (the quiet that
    proved it lies behind that).
    """

    speaking: bool
    began_ms: int
    ended_ms: int | None = None


class _Floor:
    """The noise floor: the smallest level of the last `_SPANS` spans, in sums over one hop.

    What counts is the louder of two hops in a row, so that one lost packet is not a quiet line.
    """

    def __init__(self) -> None:
        self.level = 0
        self._earlier: list[int] = []
        self._lowest = 0
        self._last = 0
        self._hops = 0

    def feed(self, level: int) -> None:
        """Take the level of one more hop."""
        louder = max(level, self._last)
        if not self._hops:
            if not self._earlier and not self._last:
                louder = min(level, LOUDEST_START)
            self._lowest = louder
        self._last = level
        self._lowest = min(self._lowest, louder)
        self._hops += 1
        if self._hops == _SPAN_HOPS:
            self._earlier = [*self._earlier[-(_SPANS - 1) :], self._lowest]
            self._hops = 0
        self.level = min(self._lowest, *self._earlier) if self._earlier else self._lowest


class SpeechGate:
    """Tells speech from the line's own noise, frame by frame of µ-law at 8000 Hz."""

    def __init__(self, *, quiet_ms: int = 200) -> None:
        self.speaking = False
        self._quiet_hops = max(1, -(-quiet_ms // HOP_MS))
        self._floor = _Floor()
        self._rest = b""
        self._hops = 0
        self._over = 0
        self._quiet = 0
        self._began_hop = 0
        self._ended_hop = 0

    @property
    def heard_ms(self) -> int:
        """How much audio has been judged."""
        return self._hops * HOP_MS

    def feed(self, frame: bytes) -> GateChange | None:
        """Judge the next audio, of any length.

        A frame so long that several changes lie in it reports the last one; its positions tell
        the rest.
        """
        if not self._rest and len(frame) == HOP_BYTES:
            return self._hop(sum(frame.translate(LEVEL_TABLE)))
        change = None
        audio = self._rest + frame
        whole = len(audio) - len(audio) % HOP_BYTES
        for start in range(0, whole, HOP_BYTES):
            level = sum(audio[start : start + HOP_BYTES].translate(LEVEL_TABLE))
            change = self._hop(level) or change
        self._rest = audio[whole:]
        return change

    def _hop(self, level: int) -> GateChange | None:
        """Judge 20 ms by their summed level; the floor is that of the hops before."""
        floor = self._floor.level if self._hops else min(level, LOUDEST_START)
        self._floor.feed(level)
        self._hops += 1
        if self.speaking:
            return self._while_speaking(level, floor)
        if level <= LEAST_LEVEL or level <= floor * STARTS_OVER:
            self._over = max(0, self._over - 1)
            return None
        if not self._over:
            self._began_hop = self._hops - 1
        self._over += 1
        if self._over * HOP_MS < ONSET_MS:
            return None
        self.speaking = True
        self._over = 0
        self._quiet = 0
        self._ended_hop = self._hops
        return GateChange(speaking=True, began_ms=self._began_hop * HOP_MS)

    def _while_speaking(self, level: int, floor: int) -> GateChange | None:
        if level > LEAST_LEVEL and level > floor * HOLDS_OVER:
            self._quiet = 0
            self._ended_hop = self._hops
            return None
        self._quiet += 1
        if self._quiet < self._quiet_hops:
            return None
        self.speaking = False
        began_ms, ended_ms = self._began_hop * HOP_MS, self._ended_hop * HOP_MS
        return GateChange(speaking=False, began_ms=began_ms, ended_ms=ended_ms)
