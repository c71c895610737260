"""Which words of the caller are worth an answer before his turn is over, and when to ask for it.

Pure. Two things say that a turn is about to end: the recogniser (`EndpointForeseen`), and words
that do not change while the line is quiet. The answer is then asked for ahead, and counts only if
the turn does end with these words; whether it does is for `thinking` to see.

The limits: the energy gate needs 200 ms to call a line quiet, a recogniser waits for 300 ms of
quiet or more before its endpoint, and its words are 100 ms or more on their way. So words that came
more than `SETTLED_MS` before the gate's "quiet" cannot hold the last word; what came later and did
not change for `STABLE_MS` mostly does, and is asked for 200 to 300 ms after the last sound, 100 ms
or more before the turn is over. Shorter limits would mostly ask for sentences that lack an end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flowengine.events import EndpointForeseen, EndpointRevoked, InterimHeard, SegmentHeard
from flowengine.ports import LlmRequest
from flowengine.runtime.conversation import plain_words
from flowengine.runtime.turns import HearingEvent
from flowengine.runtime.waits import Waits

STABLE_MS = 100
SETTLED_MS = 100
MOST_A_TURN = 3
LONGEST_SPEECH_MS = 10_000
"""Who speaks for longer goes on: what seems to be his end mostly is none."""
STABLE_WORDS = "stable_words"
"""The name of the wait for words that stand still."""


@dataclass(frozen=True, slots=True)
class AskAhead:
    """Ask for an answer to these words now, in place of what was asked for ahead before."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class DropAhead:
    """What was asked for ahead does not hold any more."""


Foreseen = AskAhead | DropAhead


def same_words(one: str, other: str) -> bool:
    """Whether two texts are the same without case and punctuation."""
    return plain_words(one) == plain_words(other)


def is_same_question(asked: LlmRequest, wanted: LlmRequest) -> bool:
    """Whether a request that went out ahead asks what is to be asked now.

    The caller's last words are compared without case and punctuation, all else as it is.
    """
    if not asked.messages or not wanted.messages:
        return False
    last = wanted.messages[-1]
    if last.role != "user" or not same_words(asked.messages[-1].text, last.text):
        return False
    alike = replace(asked.messages[-1], text=last.text)
    return replace(asked, messages=(*asked.messages[:-1], alike)) == wanted


class Foresight:
    """Looks ahead in one call. Its wait is `stable_words`."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._words = ""
        self._confidence = 0.0
        self._changed_ms = 0
        self._heard_ms = 0
        """When words last came, new ones or the same."""
        self._quiet_ms = 0
        """Since when the line is quiet."""
        self._began_ms: int | None = None
        """When the first words of the turn came."""
        self._is_quiet = True
        self._open = ""
        """The words for which an answer is asked for ahead."""
        self._tried = ""
        self._count = 0

    def gate(self, *, is_quiet: bool, now_ms: int) -> None:
        """What the energy gate says of the line."""
        self._is_quiet, self._quiet_ms = is_quiet, now_ms

    def foresee(
        self, event: EndpointForeseen | EndpointRevoked, now_ms: int, *, wanted: bool
    ) -> Foreseen | None:
        """The recogniser sees the turn's end coming, or takes that back.

        `wanted`: an answer can be asked for ahead where the call stands.
        """
        if isinstance(event, EndpointRevoked) or not plain_words(event.text):
            return self._drop()
        if same_words(event.text, self._open):
            return None
        self._begin(now_ms)
        dropped = self._drop()
        return self._ask(event.text, event.confidence, now_ms, wanted=wanted) or dropped

    def heard(
        self, event: HearingEvent | None, words: str, now_ms: int, *, wanted: bool
    ) -> Foreseen | None:
        """After an event, or the wait, the words of the turn are these."""
        dropped = None
        if isinstance(event, (InterimHeard, SegmentHeard)):
            self._confidence = event.confidence
            self._heard_ms = now_ms
        if not same_words(words, self._words):
            self._changed_ms = now_ms
            if words:
                self._begin(now_ms)
            if not same_words(words, self._open):
                dropped = self._drop()
        self._words = words
        return self._look(now_ms, wanted=wanted) or dropped

    def turn_over(self) -> None:
        """The turn ended: the next one begins anew."""
        self._words = self._open = self._tried = ""
        self._began_ms = None
        self._count = 0
        self._waits.stop(STABLE_WORDS)

    # --- inside ---

    def _begin(self, now_ms: int) -> None:
        if self._began_ms is None:
            self._began_ms = now_ms

    def _look(self, now_ms: int, *, wanted: bool) -> AskAhead | None:
        """Ask for words that stand still, each but once; or wait until they do."""
        self._waits.stop(STABLE_WORDS)
        if not self._is_quiet or self._open or not plain_words(self._words):
            return None
        is_settled = self._heard_ms >= self._quiet_ms - SETTLED_MS
        if not is_settled or same_words(self._words, self._tried):
            return None
        left_ms = self._changed_ms + STABLE_MS - now_ms
        if left_ms <= 0:
            return self._ask(self._words, self._confidence, now_ms, wanted=wanted)
        if wanted:
            self._waits.start(STABLE_WORDS, now_ms, left_ms)
        return None

    def _ask(self, text: str, confidence: float, now_ms: int, *, wanted: bool) -> AskAhead | None:
        spoken_ms = now_ms - (now_ms if self._began_ms is None else self._began_ms)
        if not wanted or self._count >= MOST_A_TURN or spoken_ms > LONGEST_SPEECH_MS:
            return None
        self._count += 1
        self._open = self._tried = text
        self._waits.stop(STABLE_WORDS)
        return AskAhead(text, confidence)

    def _drop(self) -> DropAhead | None:
        was_open, self._open = self._open, ""
        return DropAhead() if was_open else None
