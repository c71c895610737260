"""A caller who waits for an answer is told that it takes a moment, once, and by what is at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from flowengine.assurance.replay import replay, server_of
from flowengine.events import (
    AudioSent,
    ClauseReady,
    Input,
    LineOpened,
    MarkReached,
    SegmentHeard,
    SpeakingFailed,
    SpeechStarted,
    SpeechStopped,
    Ticked,
    UtteranceSpoken,
)
from flowengine.flow.defaults import TtsUse
from flowengine.ports import JournalRecord, LlmRequest
from flowengine.runtime.actor import Actor
from flowengine.runtime.covering import COVER, COVER_MS
from flowengine.runtime.effects import AskLlm, CoverSilence, Effect, Report, Speak
from flowengine.runtime.prompts import CachedSpeech
from flowengine.runtime.voices import speaker_of
from flowengine.testing.scripts import Step
from flowengine.testing.simulated_llm import Answer, LlmStalls, Proposes
from flowengine.testing.simulation import (
    Caller,
    SimulatedCall,
    World,
    setup_of,
    simulate,
)
from tests.runtime.small_flows import talk
from tests.runtime.test_mouth import Stand
from tests.runtime.test_properties import SETUP, WALL

pytestmark = pytest.mark.unit

ONE_MOMENT = "One moment, please."


# --- whole calls ---


def answers(*given: Answer) -> Callable[[LlmRequest], Answer]:
    rest = list(given)
    return lambda request: rest.pop(0)


def said(call: SimulatedCall) -> list[str]:
    return [fact.text.strip() for fact in call.facts_of(UtteranceSpoken)]


ASKS: list[Step] = [Caller.says("I would like to come"), Caller.hears("So")]


def test_an_answer_that_is_late_is_covered_once_and_the_llm_does_not_see_it() -> None:
    llm = answers([LlmStalls(6000), "So you would."], "So be it.")
    call = simulate(talk(), [*ASKS, Caller.says("on monday"), Caller.hears("So be")], llm=llm)
    assert said(call).count(ONE_MOMENT) == 1
    place = said(call).index(ONE_MOMENT)
    assert said(call)[place + 1] == "So you would."
    told = [message.text for request in call.llm_requests for message in request.messages]
    assert "So you would." in told
    assert ONE_MOMENT not in told
    journal: list[JournalRecord] = [
        replace(record, body=orjson.loads(orjson.dumps(record.body, default=dict)))
        for record in call.journal
    ]
    result = replay(replace(setup_of(World()), server=server_of(journal)), talk(), journal)
    assert result.verdict == "equal", result.told()


def test_an_answer_in_time_is_not_covered() -> None:
    call = simulate(talk(), ASKS, llm=answers([LlmStalls(1900), "So you would."]))
    assert ONE_MOMENT not in said(call)


def test_a_long_tool_is_covered_too() -> None:
    slow = answers(Proposes("look_up", {"who": "me"}), [LlmStalls(3000), "So I see."])
    call = simulate(talk(), ASKS, llm=slow, tools={"look_up": {"tier": "gold"}})
    assert said(call).count(ONE_MOMENT) == 1


def test_an_llm_that_never_answers_is_covered_and_then_leads_on_with_speech() -> None:
    call = simulate(talk(), [Caller.says("I would like to come")], llm=answers(LlmStalls()))
    place = said(call).index(ONE_MOMENT)
    assert said(call)[place + 1 :], "something is said after it"


def test_a_caller_may_break_into_the_phrase_as_into_any_speech() -> None:
    script: list[Step] = [
        Caller.says("I would like to come"),
        Caller.breaks_in("but not today", after_ms=400),
        Caller.hears("So"),
    ]
    call = simulate(talk(), script, llm=answers([LlmStalls(8000), "No."], "So you would."))
    (phrase,) = [fact for fact in call.facts_of(UtteranceSpoken) if fact.text == ONE_MOMENT]
    assert phrase.cut
    assert ONE_MOMENT.startswith(phrase.heard)
    assert "So you would." in said(call)


# --- the actor: words are there, but the voice is late ---


class Steps:
    """An actor that is talked to, up to the moment at which the LLM was asked."""

    def __init__(self) -> None:
        self.actor = Actor(SETUP, talk())
        self.now_ms = 0
        self.effects: list[Effect] = []
        self.feed(LineOpened(WALL))
        self.play()
        self.feed(SpeechStarted("energy"))
        self.pass_ms(600)
        self.feed(SpeechStopped("energy"))
        self.feed(SegmentHeard("I would like to come", 0.9, endpoint=True))
        self.pass_ms(400)
        (self.reply,) = [item.generation for item in self.effects if isinstance(item, AskLlm)]

    def feed(self, event: Input) -> list[Effect]:
        found = self.actor.receive(event, self.now_ms)
        self.effects += found
        return found

    def pass_ms(self, ms: int) -> list[Effect]:
        found: list[Effect] = []
        until_ms = self.now_ms + ms
        while (due_ms := self.actor.deadline_ms) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            found += self.feed(Ticked())
        self.now_ms = until_ms
        return found

    def play(self) -> None:
        """What was said so far is sent and played."""
        for effect in [item for item in self.effects if isinstance(item, Speak)]:
            for piece in effect.pieces:
                self.feed(AudioSent(effect.generation, piece.clause, 0, 500, (), last=True))
                self.pass_ms(500)
                self.feed(MarkReached(effect.generation, piece.clause))

    def covers(self) -> list[CoverSilence]:
        return [item for item in self.effects if isinstance(item, CoverSilence)]


def test_the_phrase_stands_before_words_whose_voice_is_late() -> None:
    steps = Steps()
    steps.feed(ClauseReady(steps.reply, "Very well. "))
    steps.pass_ms(COVER_MS)
    (cover,) = steps.covers()
    words = [item for item in steps.effects if isinstance(item, Speak)][-1]
    assert cover.generation < words.generation
    steps.feed(AudioSent(cover.generation, 0, 0, 900, (), last=True))
    steps.feed(AudioSent(words.generation, 0, 0, 700, (), last=True))
    steps.pass_ms(900)
    (fact,) = [
        item.fact
        for item in steps.feed(MarkReached(cover.generation, 0))
        if isinstance(item, Report) and isinstance(item.fact, UtteranceSpoken)
    ]
    assert (fact.text, fact.heard) == (ONE_MOMENT, ONE_MOMENT)
    assert [entry.text for entry in steps.actor.conversation if entry.by == "bot"][-1] != ONE_MOMENT


def test_words_that_sound_need_no_phrase() -> None:
    steps = Steps()
    steps.feed(ClauseReady(steps.reply, "Very well. "))
    words = [item for item in steps.effects if isinstance(item, Speak)][-1]
    steps.feed(AudioSent(words.generation, 0, 0, 700, (), last=True))
    assert COVER not in steps.actor.waits
    steps.pass_ms(COVER_MS)
    assert not steps.covers()


def test_a_phrase_that_is_not_at_hand_changes_nothing() -> None:
    steps = Steps()
    steps.pass_ms(COVER_MS)
    (cover,) = steps.covers()
    effects = steps.feed(SpeakingFailed(cover.generation, "not_at_hand"))
    assert effects == []
    assert "reply" in steps.actor.waits
    steps.feed(ClauseReady(steps.reply, "Very well. "))
    assert isinstance(steps.effects[-1], Speak)


# --- the mouth and the playback ---

USE = TtsUse.model_validate({"provider": "v"})


def covering(*effects: CoverSilence, begun: bool) -> tuple[bytes, list[SpeakingFailed]]:
    """What the line gets of a reply (8) and phrases, and which phrases were not said."""

    async def run() -> tuple[bytes, list[SpeakingFailed]]:
        stand = Stand()
        stand.prompts[speaker_of(USE, "en-US").key(ONE_MOMENT)] = CachedSpeech(b"c" * 800)
        stand.spawn(stand.playback.run(), "playback")
        stand.playback.open(8)
        if begun:
            stand.playback.feed(8, 0, b"r" * 800, last=True)
            await stand.turn()
        for effect in effects:
            stand.mouth.cover(effect)
        stand.playback.feed(8, 0, b"r" * 800 if not begun else b"", last=True)
        await stand.turn()
        await stand.over()
        return bytes(stand.line.audio), [
            event for event in stand.reports if isinstance(event, SpeakingFailed)
        ]

    return asyncio.run(run())


def test_what_is_at_hand_goes_to_the_line_before_what_has_not_begun() -> None:
    sent, failed = covering(CoverSilence(7, ONE_MOMENT, USE, "en-US"), begun=False)
    assert sent == b"c" * 800 + b"r" * 800
    assert failed == []


def test_a_phrase_is_too_late_behind_what_has_begun() -> None:
    sent, failed = covering(CoverSilence(7, ONE_MOMENT, USE, "en-US"), begun=True)
    assert sent == b"r" * 800
    assert failed == [SpeakingFailed(7, "not_at_hand")]


def test_a_phrase_that_was_never_made_is_not_waited_for() -> None:
    sent, failed = covering(CoverSilence(7, "Not made yet.", USE, "en-US"), begun=False)
    assert sent == b"r" * 800
    assert failed == [SpeakingFailed(7, "not_at_hand")]
