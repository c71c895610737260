"""The caller of a simulated call: takes the steps of a script when their time has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flowengine.events import (
    CallResumed,
    DigitPressed,
    EndpointForeseen,
    EndpointRevoked,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.runtime.journal import MASK
from flowengine.testing.result import Said, plain
from flowengine.testing.scripts import (
    BreaksIn,
    Coughs,
    HangsUp,
    Hears,
    Hesitates,
    LosesLine,
    Presses,
    Says,
    Silent,
    Step,
    Webhook,
)
from flowengine.testing.simulated_line import MS_PER_CHARACTER

if TYPE_CHECKING:
    from flowengine.testing.simulation import Simulation

REACTION_MS = 400
"""Between the bot's last word and the caller's first."""
LOOK_MS = 20
INTERIM_EVERY_WORDS = 2
IMPATIENCE_MS = 1000
"""While the bot only holds him, a caller speaks after so long all the same."""

_BUSY_WAITS = frozenset(
    "endpoint stt_final resume barge_in inter_digit last_mark speech reply tool leave answer "
    "utterance transfer".split()
)
"""Waits of the actor with which it is still its turn."""


class Unmet(Exception):
    """The script expected something that did not happen."""


class SimulatedCaller:
    """Follows a script; one step at a time."""

    def __init__(self, script: Iterator[Step], call: Simulation) -> None:
        self._script = script
        self._call = call
        self._step: Step | None = None
        self._is_acting = False
        self._heard_from = 0
        """Where in all that was heard this step's listening begins."""
        self._spoken_from_ms = 0
        self._since_ms = 0
        self._was_quiet = False
        self._is_looking = False
        self.has_hung_up = False

    def look(self) -> None:
        """Take steps for which the time has come."""
        while not self._call.is_over and not self._is_acting:
            if self._step is None and not (self._call.is_line_open and self._next()):
                return
            if not self._try(self._step):
                return

    def call_over(self) -> None:
        """The call ended; raises Unmet when the script had more to do."""
        while True:
            step = self._step
            if isinstance(step, Hears) and not self._has_heard(step.text):
                raise Unmet(f"the call ended before the caller heard {step.text!r}")
            if step is not None and not isinstance(step, (Hears, HangsUp, Silent)):
                raise Unmet(f"the call ended before {shown(step)}")
            if not self._next():
                return

    # --- steps ---

    def _next(self) -> bool:
        self._step = next(self._script, None)
        self._since_ms = self._call.timeline.now_ms
        self._spoken_from_ms = self._call.line.heard_ms
        self._was_quiet = False
        return self._step is not None

    def _done(self) -> None:
        self._step = None
        self._is_acting = False

    def _try(self, step: Step | None) -> bool:
        """Take a step if its time has come; whether it is over."""
        match step:
            case Hears(text):
                return self._hear(text)
            case Says(text, confidence):
                return self._when_quiet(lambda: self._speak(text, confidence))
            case Hesitates():
                return self._when_quiet(lambda: self._hesitate(step))
            case BreaksIn(text, after_ms, after_words, confidence):
                ready = self._has_listened(after_ms, after_words)
                return self._now(lambda: self._speak(text, confidence)) if ready else False
            case Presses(keys, after_ms, between_ms):
                return self._at(after_ms, lambda: self._press(keys, between_ms))
            case Coughs(noise_ms, after_ms):
                return self._at(after_ms, lambda: self._cough(noise_ms))
            case Silent(for_ms):
                return self._be_silent(for_ms)
            case HangsUp(after_ms):
                return self._at(after_ms, self._hang_up)
            case LosesLine(after_ms):
                return self._at(after_ms, self._lose_line)
            case Webhook(name, body):
                event = CallResumed(name, body)
                return self._when_quiet(lambda: self._after_act(self._call.feed, event))
            case None:
                return False

    def _at(self, after_ms: int | None, act: Callable[[], None]) -> bool:
        if after_ms is None:
            return self._when_quiet(act)
        return self._now(act) if self._has_listened(after_ms, None) else False

    def _now(self, act: Callable[[], None]) -> bool:
        """Act at once."""
        self._is_acting = True
        act()
        return not self._is_acting

    def _when_quiet(self, act: Callable[[], None]) -> bool:
        """Act once the bot has finished, after a moment."""
        if not self.is_quiet:
            return False
        self._is_acting = True
        self._call.timeline.after(REACTION_MS, act)
        return False

    @property
    def is_quiet(self) -> bool:
        """Whether it is the caller's turn: nothing sounds, nothing is on its way."""
        call = self._call
        if not call.is_line_open:
            return False
        waits = call.actor.waits
        if "hold" in waits:
            waited_ms = call.timeline.now_ms - self._since_ms
            if waited_ms < IMPATIENCE_MS:
                self._look_again(IMPATIENCE_MS - waited_ms)
                return False
            return True
        return call.line.is_idle and not call.timeline.is_busy and not waits & _BUSY_WAITS

    # --- listening ---

    def _hear(self, text: str) -> bool:
        if self._has_heard(text):
            self._done()
            return True
        if self.is_quiet and "hold" not in self._call.actor.waits:
            raise Unmet(f"the bot has finished, and the caller did not hear {text!r}")
        if self._call.line.is_playing:
            self._look_again(LOOK_MS)
        return False

    def _has_heard(self, text: str) -> bool:
        heard = plain(self._call.line.heard_text)
        at = heard.find(plain(text), self._heard_from)
        if at < 0:
            return False
        self._heard_from = at + len(plain(text))
        return True

    def _has_listened(self, after_ms: int, after_words: int | None) -> bool:
        """Whether the bot has spoken so long since this step began."""
        line = self._call.line
        spoken_ms = line.heard_ms - self._spoken_from_ms
        if after_words is not None:
            words = len(line.heard_text.split()) - self._words_before()
            if words >= after_words:
                return True
        elif spoken_ms >= after_ms:
            return True
        if self.is_quiet:
            wanted = f"{after_words} words" if after_words is not None else f"{after_ms} ms"
            raise Unmet(f"the bot has finished before {wanted} ({spoken_ms} ms of speech)")
        if line.is_playing:
            self._look_again(LOOK_MS)
        return False

    def _words_before(self) -> int:
        if not self._was_quiet:
            self._was_quiet = True
            self._words_from = len(self._call.line.heard_text.split())
        return self._words_from

    def _be_silent(self, for_ms: int | None) -> bool:
        call = self._call
        if for_ms is not None:
            left_ms = self._since_ms + for_ms - call.timeline.now_ms
            if left_ms > 0:
                self._look_again(left_ms)
                return False
            self._done()
            return True
        if not self._was_quiet:
            self._was_quiet = self.is_quiet
            return False
        if call.line.is_idle:
            return False
        self._done()
        return True

    def _look_again(self, after_ms: int) -> None:
        """Wake the loop later, without keeping anybody waiting."""
        if self._is_looking:
            return
        self._is_looking = True
        self._call.timeline.after(after_ms, self._looked, is_background=True)

    def _looked(self) -> None:
        self._is_looking = False

    # --- acting ---

    def _after_act(self, act: Callable[..., None], *arguments: object) -> None:
        self._done()
        act(*arguments)

    def _speak(self, text: str, confidence: float) -> None:
        """Say words: energy at once, interims as they come, the final after endpointing."""
        self._begin_speech(text)
        length_ms = self._sound("", text, confidence)
        self._call.timeline.after(length_ms, lambda: self._finish_speech(text, confidence))

    def _hesitate(self, step: Hesitates) -> None:
        """Stop in the middle, and go on before the recogniser takes the turn as ended."""
        whole = f"{step.text} {step.rest}"
        self._begin_speech(whole)
        first_ms = self._sound("", step.text, step.confidence)
        self._quiet_after(step.text, step.confidence, first_ms, step.pause_ms)

        def go_on() -> None:
            foreseen_ms = self._call.foresees_after_ms
            if foreseen_ms is not None and foreseen_ms < step.pause_ms:
                self._feed(EndpointRevoked())
            self._feed(SpeechStarted("energy"))
            rest_ms = self._sound(step.text, step.rest, step.confidence)
            self._call.timeline.after(rest_ms, lambda: self._finish_speech(whole, step.confidence))

        self._call.timeline.after(first_ms + step.pause_ms, go_on)

    def _begin_speech(self, text: str) -> None:
        call = self._call
        shown_text = masked_text(text) if call.actor.hears_sensitive else text
        call.say(Said(call.timeline.now_ms, "caller", shown_text))
        call.feed(SpeechStarted("energy"))

    def _sound(self, before: str, text: str, confidence: float) -> int:
        """Words sound from now on, behind those before; returns how long, in ms."""
        words = text.split()
        said = ""
        for count, word in enumerate(words, 1):
            said = f"{said} {word}".strip()
            if count % INTERIM_EVERY_WORDS == 0 and count < len(words):
                interim = InterimHeard(f"{before} {said}".strip(), confidence)
                self._later(round(len(said) * MS_PER_CHARACTER), interim)
        length_ms = max(250, round(len(text) * MS_PER_CHARACTER))
        self._later(length_ms, SpeechStopped("energy"))
        return length_ms

    def _quiet_after(self, text: str, confidence: float, ends_ms: int, quiet_ms: int) -> None:
        """What a recogniser says in the quiet behind words."""
        interim_ms = self._call.last_interim_after_ms
        if interim_ms is not None and interim_ms < quiet_ms:
            self._later(ends_ms + interim_ms, InterimHeard(text, confidence))
        foreseen_ms = self._call.foresees_after_ms
        if foreseen_ms is not None and foreseen_ms < quiet_ms:
            self._later(ends_ms + foreseen_ms, EndpointForeseen(text, confidence))

    def _finish_speech(self, text: str, confidence: float) -> None:
        self._quiet_after(text, confidence, 0, self._call.endpointing_ms)
        segment = SegmentHeard(text, confidence, endpoint=True)
        self._call.timeline.after(
            self._call.endpointing_ms, lambda: self._after_act(self._feed, segment)
        )

    def _cough(self, noise_ms: int) -> None:
        self._call.feed(SpeechStarted("energy"))
        self._call.timeline.after(
            noise_ms, lambda: self._after_act(self._feed, SpeechStopped("energy"))
        )

    def _press(self, keys: str, between_ms: int) -> None:
        call = self._call
        key, rest = keys[:1], keys[1:]
        if not call.is_line_open:
            self._done()
            return
        shown_key = masked_text(key) if call.actor.hears_sensitive else key
        call.say(Said(call.timeline.now_ms, "keys", shown_key))
        if rest:
            call.timeline.after(between_ms, lambda: self._press(rest, between_ms))
        else:
            self._done()
        call.feed(DigitPressed(key))

    def _hang_up(self) -> None:
        self.has_hung_up = True
        self._done()
        self._call.hang_up()

    def _lose_line(self) -> None:
        self._done()
        self._call.lose_line()

    def _later(self, delay_ms: int, event: object) -> None:
        self._call.timeline.after(delay_ms, lambda: self._feed(event))

    def _feed(self, event: object) -> None:
        if self._call.is_line_open:
            self._call.feed(event)  # type: ignore[arg-type]  # one of the hearing events above


def shown(step: Step) -> str:
    """A step as words for a message."""
    return f"the caller's step {step!r}"


def masked_text(text: str) -> str:
    """Every letter and digit as a dot."""
    return "".join(MASK if char.isalnum() else char for char in text)
