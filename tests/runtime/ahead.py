"""A ledger of what was asked for ahead in a call, which holds the actor to the rules of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from flowengine.events import (
    Input,
    ReplyEnded,
    ReplyFailed,
    SpeakingFailed,
    TurnEnded,
    Usage,
    UsageCounted,
)
from flowengine.runtime.effects import (
    AskLlm,
    CancelLlm,
    ConfirmReply,
    DropClauses,
    Effect,
    Report,
    Speak,
)

MOST_A_TURN = 3
BESIDE = Usage("beside", "m", "tokens", 10, estimated=True, wasted=True)
"""What an attempt used that was not the answer."""


@dataclass
class AheadLedger:
    """Is shown every step of an actor: `came` first, then each effect by `check`."""

    tentative: int | None = None
    """The reply that was asked for ahead, until it is confirmed or dropped."""
    in_turn: int = 0
    """How many were asked for in this turn."""
    held: int | None = None
    """Its utterance, once it has one."""
    has_ended: bool = False
    """The LLM has said all of it: then nothing has to be cancelled to drop it."""
    dropped: set[int] = field(default_factory=set)
    """Replies and utterances that were dropped."""
    counts: Counter[str] = field(default_factory=Counter)

    def is_silent(self, generation: int) -> bool:
        """Whether the line may not have this utterance."""
        return generation == self.held or generation in self.dropped

    def came(self, event: Input, effects: Sequence[Effect]) -> None:
        """What comes of a tentative reply is neither heard, set, called nor taken."""
        generation = getattr(event, "generation", None)
        if generation is None or generation not in (self.tentative, self.held):
            return
        is_failure = isinstance(event, (ReplyFailed, SpeakingFailed))
        for effect in effects:
            if is_failure:
                is_quiet = isinstance(effect, (CancelLlm, DropClauses)) or (
                    isinstance(effect, Report) and isinstance(effect.fact, UsageCounted)
                )
            else:
                is_quiet = isinstance(effect, Speak) and effect.held
            assert is_quiet, f"{effect} came of {event}, which is tentative"
        if isinstance(event, ReplyFailed) and generation == self.tentative:
            self._drop()
        self.has_ended = self.has_ended or isinstance(event, ReplyEnded)

    def check(self, effect: Effect) -> None:
        match effect:
            case Speak(generation):
                assert generation not in self.dropped, "nothing is spoken after its drop"
                if effect.held and generation != self.held:
                    assert self.tentative is not None
                    assert self.held is None, "one at a time"
                    self.held = generation
                assert effect.held is (generation == self.held), "held until it is confirmed"
                is_known_dropped = self.has_ended and self.held is None
                assert effect.held or self.tentative is None or is_known_dropped, "one voice"
            case AskLlm(generation, tentative=is_tentative):
                if self.has_ended and self.held is None:
                    self._drop()
                assert self.tentative is None, "what is tentative is confirmed or dropped first"
                if is_tentative:
                    self.tentative = generation
                    self.in_turn += 1
                    self.counts["asked"] += 1
                    assert self.in_turn <= MOST_A_TURN
            case CancelLlm(generation, wasted):
                assert wasted is (generation == self.tentative)
                if wasted:
                    self._drop()
            case ConfirmReply(generation, utterance):
                assert generation == self.tentative
                assert utterance == self.held
                self.tentative = self.held = None
                self.has_ended = False
                self.counts["confirmed"] += 1
            case DropClauses(generation, wasted):
                assert wasted is (generation == self.held)
                if wasted:
                    self.held = None
                    self.dropped.add(generation)
            case Report(UsageCounted(usage)) if usage.wasted and usage != BESIDE:
                self._drop()
            case Report(TurnEnded()):
                self.in_turn = 0

    def _drop(self) -> None:
        self.has_ended = False
        assert self.tentative is not None, "only what is tentative is wasted"
        self.dropped.add(self.tentative)
        self.tentative = None
        self.counts["dropped"] += 1
