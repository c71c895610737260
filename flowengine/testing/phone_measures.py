"""What a simulated caller notices: how soon he is answered, how fast he can interrupt, gaps. Pure.

Times are milliseconds of one monotonic clock. The caller's speech ends when his last audible
frame has been sent; the bot's begins when its first audible frame is played.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flowengine.testing.phone_audio import FRAME_BYTES, FRAME_MS

LONGEST_GAP_MS = 1000
"""A longer hole in the bot's speech is a pause, not a stutter."""

STILL_TALKING_MS = 200
"""The bot may be silent for so long between two words of one speech."""

JUST_HEARD_MS = 60
"""Who begins to speak so soon after the bot's last audible frame interrupts it."""


@dataclass(slots=True)
class BargeIn:
    """The caller spoke while the bot did; times count from his first audible frame."""

    at_ms: float
    clear_after_ms: float | None = None
    """When `clear` came; None: it never did."""
    last_audio_after_ms: float = 0.0
    """When the last audible audio of what was interrupted had been played."""


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call's measures."""

    opening_ms: float | None
    """From the stream's start to the first audible audio."""
    responses_ms: tuple[float, ...]
    """End of the caller's speech to the first audible bot audio, for each answered utterance."""
    key_responses_ms: tuple[float, ...]
    """The same from the last key of a `press`."""
    barge_ins: tuple[BargeIn, ...]
    gaps_ms: tuple[float, ...]
    """Holes over 20 ms inside a clause: nothing to play, and no mark stood there."""
    talk_over_ms: int
    bot_speech_ms: int
    caller_speech_ms: int
    faults: tuple[str, ...]
    """What the carrier would have warned of, by its error numbers where it has one."""


@dataclass(slots=True)
class Measures:
    """Watches one call, frame by frame."""

    bot_heard_at_ms: float | None = None
    """Last audible bot frame of all."""
    _talked_at_ms: float | None = None
    """Last audible bot frame that no `clear` has followed."""
    faults: list[str] = field(default_factory=list)
    barge_ins: list[BargeIn] = field(default_factory=list)
    _stream_at_ms: float | None = None
    _opening_ms: float | None = None
    _responses_ms: list[float] = field(default_factory=list)
    _key_responses_ms: list[float] = field(default_factory=list)
    _gaps_ms: list[float] = field(default_factory=list)
    _asked_at_ms: float | None = None
    _asked_by_key: bool = False
    _caller_heard_at_ms: float | None = None
    _open_barge_in: BargeIn | None = None
    _dry_since_ms: float | None = None
    _frames: dict[str, int] = field(default_factory=lambda: {"both": 0, "bot": 0, "caller": 0})

    @property
    def is_new_utterance(self) -> bool:
        """Whether the caller has made no sound yet in what he is saying."""
        return self._caller_heard_at_ms is None

    def stream_started(self, now_ms: float) -> None:
        if self._stream_at_ms is None:
            self._stream_at_ms = now_ms
        self._dry_since_ms = None

    def utterance_started(self) -> None:
        """The caller begins to say something; what he asked before counts no more."""
        self._caller_heard_at_ms = None
        self._asked_at_ms = None
        self._open_barge_in = None

    def utterance_ended(self) -> None:
        """He has said it, and waits for an answer, unless the bot never stopped talking."""
        asked_at_ms = self._caller_heard_at_ms
        self._asked_at_ms = None if self._was_heard(asked_at_ms, STILL_TALKING_MS) else asked_at_ms
        self._asked_by_key = False

    def key_pressed(self, now_ms: float) -> None:
        self._asked_at_ms = now_ms
        self._asked_by_key = True

    def cleared(self, now_ms: float) -> None:
        barge_in = self._open_barge_in
        if barge_in is not None:
            barge_in.clear_after_ms = now_ms - barge_in.at_ms
            self._open_barge_in = None
        self._talked_at_ms = None
        self._dry_since_ms = None

    def frame(self, now_ms: float, *, caller: bool, bot: bool, more: bool) -> None:
        """20 ms went by: was the caller audible, was the bot, and is more of its speech waiting."""
        if caller:
            self._caller_frame(now_ms, more=more)
        if bot:
            self._bot_frame(now_ms)
            self._frames["both"] += caller

    def played(self, now_ms: float, length: int, *, ends_at_mark: bool) -> None:
        """So many bytes were there to play in this frame: finds gaps."""
        if length and self._dry_since_ms is not None:
            gap_ms = now_ms - self._dry_since_ms
            if FRAME_MS < gap_ms <= LONGEST_GAP_MS:
                self._gaps_ms.append(gap_ms)
        if length:
            self._dry_since_ms = None
        if length < FRAME_BYTES:
            if ends_at_mark:
                self._dry_since_ms = None
            elif length:
                self._dry_since_ms = now_ms + length * FRAME_MS / FRAME_BYTES

    def report(self) -> CallReport:
        return CallReport(
            opening_ms=self._opening_ms,
            responses_ms=tuple(self._responses_ms),
            key_responses_ms=tuple(self._key_responses_ms),
            barge_ins=tuple(self.barge_ins),
            gaps_ms=tuple(self._gaps_ms),
            talk_over_ms=self._frames["both"] * FRAME_MS,
            bot_speech_ms=self._frames["bot"] * FRAME_MS,
            caller_speech_ms=self._frames["caller"] * FRAME_MS,
            faults=tuple(self.faults),
        )

    def _was_heard(self, at_ms: float | None, within_ms: int) -> bool:
        """Whether the bot was audible so shortly before, and no `clear` has come since."""
        talked_at_ms = self._talked_at_ms
        if at_ms is None or talked_at_ms is None:
            return False
        return at_ms - talked_at_ms <= within_ms

    def _caller_frame(self, now_ms: float, *, more: bool) -> None:
        self._frames["caller"] += 1
        if self._caller_heard_at_ms is None and (more or self._was_heard(now_ms, JUST_HEARD_MS)):
            self._open_barge_in = BargeIn(now_ms)
            self.barge_ins.append(self._open_barge_in)
        self._caller_heard_at_ms = now_ms

    def _bot_frame(self, now_ms: float) -> None:
        self._frames["bot"] += 1
        if not self._was_heard(now_ms, STILL_TALKING_MS):
            self._open_barge_in = None
        self.bot_heard_at_ms = self._talked_at_ms = now_ms
        if self._opening_ms is None and self._stream_at_ms is not None:
            self._opening_ms = now_ms - self._stream_at_ms
        if self._open_barge_in is not None:
            self._open_barge_in.last_audio_after_ms = now_ms + FRAME_MS - self._open_barge_in.at_ms
        if self._asked_at_ms is not None:
            target = self._key_responses_ms if self._asked_by_key else self._responses_ms
            target.append(now_ms - self._asked_at_ms)
            self._asked_at_ms = None
