"""What the caller does: speech and words through turn taking, keys through the key machine.

Pure part of the actor. A turn goes to an intent's edge, to the node that listens, or is kept for
the next node that does; so do keys.
"""

from __future__ import annotations

from flowengine.events import (
    EndpointForeseen,
    EndpointReached,
    EndpointRevoked,
    FaultMet,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
    TurnEnded,
)
from flowengine.flow.matcher import DEFAULT_THRESHOLD, Match, Matcher
from flowengine.flow.scope import TurnFacts
from flowengine.nodes.stage import KeyPlan
from flowengine.runtime.context import Context
from flowengine.runtime.conversation import Entry
from flowengine.runtime.foreseen import STABLE_WORDS, AskAhead, Foreseen, Foresight
from flowengine.runtime.journey import Journey
from flowengine.runtime.keys import Keyed, Keys
from flowengine.runtime.speaking import Ended, Speaking
from flowengine.runtime.turns import Confirm, Pause, Resume, TurnEffect, TurnOver, Turns
from flowengine.runtime.visit import Visit
from flowengine.runtime.walk import Walk

LONGEST_TYPE_AHEAD = 20

Hearing = SpeechStarted | SpeechStopped | InterimHeard | SegmentHeard | EndpointReached


class Listening:
    """Takes what the caller says and keys to where it belongs."""

    def __init__(
        self,
        context: Context,
        journey: Journey,
        parts: tuple[Speaking, Turns, Keys, Walk],
    ) -> None:
        self._context = context
        self._journey = journey
        self._speaking, self._turns, self._keys, self._walk = parts
        self._foresight = Foresight(context.waits)

    @property
    def _visit(self) -> Visit | None:
        return self._journey.visits[-1] if self._journey.visits else None

    # --- speech ---

    def hear(self, event: Hearing) -> None:
        """Take evidence of speech."""
        visit = self._visit
        if visit is None:
            return
        context = self._context
        self._turns.endpointing_ms = context.endpointing_ms
        self._turns.barge_in_ms = context.barge_in_ms
        if not isinstance(event, (SpeechStopped, EndpointReached)):
            visit.evidence()
        floor = self._speaking.floor(closed_question=visit.is_closed_question)
        self._follow(self._turns.receive(event, context.now_ms, floor))
        self._after_quiet()
        if isinstance(event, (SpeechStarted, SpeechStopped)) and event.source == "energy":
            is_quiet = isinstance(event, SpeechStopped)
            self._foresight.gate(is_quiet=is_quiet, now_ms=context.now_ms)
        self._look_ahead(event)

    def foresee(self, event: EndpointForeseen | EndpointRevoked) -> None:
        """The recogniser sees the end of the turn coming, or not any more."""
        now_ms, wanted = self._context.now_ms, self._may_ask_ahead
        self._answer_ahead(self._foresight.foresee(event, now_ms, wanted=wanted))

    def wait_passed(self, name: str) -> None:
        """A wait of turn taking, or of the keys, came to its limit."""
        if name == STABLE_WORDS:
            self._look_ahead(None)
        elif name != "inter_digit":
            self._follow(self._turns.wait_passed(name, self._context.now_ms))
        elif self._visit is not None:
            expect = self._visit.expect
            plan = expect.keys if expect is not None else None
            self._entry(self._keys.wait_passed(plan, self._edge_keys(plan)))
        self._after_quiet()

    def failed(self, code: str) -> None:
        """The recogniser is lost: keys still work, but who waits for a voice is told."""
        self._context.report(FaultMet(code, "stt"))
        visit = self._visit
        if visit is not None and (visit.expect is None or visit.expect.voice):
            visit.fail(code)

    @property
    def _may_ask_ahead(self) -> bool:
        return self._visit is not None and self._visit.replying.may_be_foreseen

    def _look_ahead(self, event: Hearing | None) -> None:
        words, now_ms = self._turns.partial_text, self._context.now_ms
        wanted = self._may_ask_ahead
        self._answer_ahead(self._foresight.heard(event, words, now_ms, wanted=wanted))

    def _answer_ahead(self, foreseen: Foreseen | None) -> None:
        visit = self._visit
        if visit is None or foreseen is None:
            return
        if isinstance(foreseen, AskAhead):
            number = self._journey.turn_count + 1
            visit.replying.ask_ahead(TurnFacts(foreseen.text, foreseen.confidence, number))
        else:
            visit.thinking.drop_ahead()

    def _follow(self, effects: list[TurnEffect]) -> None:
        for effect in effects:
            match effect:
                case Pause():
                    self._speaking.pause()
                case Resume():
                    self._resumed()
                case Confirm():
                    self._confirmed()
                case TurnOver():
                    self._turn_over(effect)

    def _confirmed(self) -> None:
        """The caller has the floor."""
        ended: list[Ended] = self._speaking.cut(by_caller=True)
        visit = self._visit
        if visit is not None:
            visit.interrupted()
            visit.spoken(ended)

    def _resumed(self) -> None:
        """It was nothing: the bot goes on."""
        ended = self._speaking.resume()
        if self._visit is not None:
            self._visit.spoken(ended)

    def _after_quiet(self) -> None:
        if self._visit is not None and not self._turns.is_caller_speaking:
            self._visit.quiet()

    def _turn_over(self, turn: TurnOver) -> None:
        visit = self._visit
        if visit is None:
            return
        context, journey = self._context, self._journey
        self._walk.caller_acted()
        self._foresight.turn_over()
        if visit.expect is not None and visit.is_sensitive and not visit.expect.voice:
            # Keypad only: what was said is not looked at and not kept.
            return
        journey.turn_count += 1
        shown = "" if visit.is_sensitive else turn.text
        context.turn = TurnFacts(shown, turn.confidence, journey.turn_count)
        context.report(
            TurnEnded(journey.turn_count, shown, turn.confidence, turn.by, turn.endpointing_ms)
        )
        context.conversation.add(
            Entry("caller", shown, context.node_entry, turn=journey.turn_count)
        )
        self._speaking.answer_next("turn", {"endpointing": turn.endpointing_ms})
        # What was said so far is not asked again after a crash.
        journey.checkpoint()
        self._place(visit, turn)

    def _place(self, visit: Visit, turn: TurnOver) -> None:
        """Give a turn to an intent's edge, to the node, or keep it for the next that listens."""
        own = visit.score(turn.text)
        if not visit.lets_llm_decide and own < 1.0:
            best = self._matched_intent(turn.text)
            if best is not None and best.score > own:
                move = self._walk.on_intent(best.name, "matcher", quote=turn.text, score=best.score)
                if self._journey.take(move):
                    return
        if not visit.turn(turn.text, turn.confidence):
            self._journey.pending_turn = turn.text

    def _matched_intent(self, text: str) -> Match | None:
        """The best intent by the local matcher; None when none is meant."""
        intents = self._walk.intents()
        if not intents:
            return None
        matcher = Matcher(
            {item.id: (item.intent, *item.examples) for item in intents},
            negatives={item.id: item.not_examples for item in intents if item.not_examples},
        )
        return matcher.best(text, DEFAULT_THRESHOLD)

    # --- keys ---

    def press(self, digit: str) -> None:
        """Take a key."""
        visit = self._visit
        if visit is None:
            return
        self._walk.caller_acted()
        visit.evidence()
        plan = visit.expect.keys if visit.expect is not None else None
        edges = self._edge_keys(plan)
        is_wanted = plan is not None or any(keys.startswith(digit) for keys in edges)
        if not is_wanted and not self._keys.entered:
            journey = self._journey
            journey.pending_keys = (journey.pending_keys + digit)[-LONGEST_TYPE_AHEAD:]
            visit.quiet()
            return
        if plan is not None:
            self._turns.forget()
            visit.cut_own_words()
            if self._speaking.is_paused:
                self._speaking.cut(by_caller=True)
        self._entry(self._keys.press(digit, self._context.now_ms, plan, edges))
        self._after_quiet()

    def _edge_keys(self, plan: KeyPlan | None) -> tuple[str, ...]:
        """The keys that edges wait for; while a value is keyed only the node's own do."""
        return self._walk.key_strings(own_only=plan is not None and not plan.strings)

    def _entry(self, entry: Keyed | None) -> None:
        visit = self._visit
        if entry is None or visit is None:
            return
        self._speaking.answer_next("key", {})
        if entry.to == "node":
            visit.keyed(entry.digits)
        elif not self._journey.take(self._walk.on_key(entry.digits)):
            visit.quiet()
