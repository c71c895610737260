"""Whose turn it is: evidence of speech in, pause, confirm, resume and turns out."""

from __future__ import annotations

import pytest

from flowengine.events import (
    EndpointReached,
    InterimHeard,
    SegmentHeard,
    SpeechStarted,
    SpeechStopped,
)
from flowengine.runtime.turns import (
    ENDPOINT_CEILING_MS,
    Confirm,
    Floor,
    HearingEvent,
    Pause,
    Resume,
    TurnEffect,
    TurnOver,
    Turns,
    is_backchannel,
)
from flowengine.runtime.waits import Wait, Waits

pytestmark = pytest.mark.unit

QUIET = Floor(speaking=False, interruptible=True, left_ms=0, closed_question=False)
TALKING = Floor(speaking=True, interruptible=True, left_ms=5000, closed_question=False)
ENDING = Floor(speaking=True, interruptible=True, left_ms=1000, closed_question=False)
FIRM = Floor(speaking=True, interruptible=False, left_ms=5000, closed_question=False)
CLOSED = Floor(speaking=True, interruptible=True, left_ms=5000, closed_question=True)

ENERGY, HUSH = SpeechStarted("energy"), SpeechStopped("energy")


class Machine:
    """Turn taking with its waits, driven by hand."""

    def __init__(self, floor: Floor = QUIET) -> None:
        self.waits = Waits()
        self.turns = Turns(self.waits)
        self.floor = floor

    def hear(self, event: HearingEvent, now_ms: int = 0) -> list[TurnEffect]:
        return self.turns.receive(event, now_ms, self.floor)

    def passes(self, name: str, now_ms: int) -> list[TurnEffect]:
        """The wait that is due next must be this one, at this time."""
        passed = self.waits.passed(now_ms)
        assert passed is not None and passed.name == name
        assert passed.due_ms == now_ms
        return self.turns.wait_passed(name, now_ms)

    def wait(self, name: str) -> Wait:
        return self.waits._running[name]

    @property
    def names(self) -> set[str]:
        return set(self.waits.names)


def words(text: str, confidence: float = 0.9, *, endpoint: bool = False) -> SegmentHeard:
    return SegmentHeard(text, confidence, endpoint=endpoint)


# --- a turn, as the recogniser ends it ---


def test_a_turn_is_over_when_the_recogniser_says_so() -> None:
    machine = Machine()
    assert machine.hear(ENERGY, 0) == []
    assert machine.names == {"utterance"}
    assert machine.wait("utterance") == Wait("utterance", 30_000, 30_000)
    assert machine.turns.is_caller_speaking
    assert machine.hear(InterimHeard("I want"), 400) == []
    assert machine.turns.partial_text == "I want"
    assert machine.hear(HUSH, 900) == []
    assert machine.names == {"stt_final"}
    assert machine.wait("stt_final") == Wait("stt_final", 3900, 3000)
    assert machine.hear(words("I want to book.", endpoint=True), 1200) == [
        TurnOver("I want to book.", 0.9, "stt", 300)
    ]
    assert machine.names == set()
    assert not machine.turns.is_caller_speaking
    assert machine.turns.partial_text == ""


def test_segments_are_joined_and_the_least_sure_one_counts() -> None:
    machine = Machine()
    machine.hear(ENERGY)
    machine.hear(words(" one ", 0.9), 100)
    machine.hear(words("two", 0.4), 200)
    machine.hear(InterimHeard(" three "), 300)
    assert machine.turns.partial_text == "one two three"
    assert machine.hear(words("three", 0.8), 400) == []
    assert machine.hear(EndpointReached(), 500) == [TurnOver("one two three", 0.4, "stt", 0)]
    machine.hear(ENERGY, 10_000)
    assert machine.hear(words("again", 0.7, endpoint=True), 10_500) == [
        TurnOver("again", 0.7, "stt", 0)
    ]


def test_an_empty_final_does_not_lose_what_was_heard_before() -> None:
    machine = Machine()
    machine.hear(InterimHeard("hello there"), 0)
    assert machine.hear(words("", 0.3, endpoint=True), 200) == [
        TurnOver("hello there", 0.3, "stt", 0)
    ]


def test_an_empty_segment_that_is_no_end_takes_the_interim_back() -> None:
    machine = Machine()
    machine.hear(InterimHeard("hello"), 0)
    assert machine.hear(words("  "), 100) == []
    assert machine.turns.partial_text == ""
    assert machine.hear(EndpointReached(), 200) == []


def test_an_end_without_words_is_no_turn() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    assert machine.hear(EndpointReached(), 500) == []
    assert machine.hear(words("", endpoint=True), 600) == []
    assert machine.turns.is_caller_speaking, "the gate still hears somebody"


def test_the_endpoint_counts_from_when_it_became_quiet() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(words("hello"), 500)
    machine.hear(HUSH, 600)
    assert machine.hear(EndpointReached(), 1000) == [TurnOver("hello", 0.9, "stt", 400)]


def test_quiet_of_one_turn_does_not_count_for_the_next() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(HUSH, 600)
    machine.hear(words("hello", endpoint=True), 900)
    assert machine.hear(words("world", endpoint=True), 5000) == [TurnOver("world", 0.9, "stt", 0)]


# --- a turn that nobody ends ---


def test_final_words_after_quiet_end_by_our_own_endpoint() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(HUSH, 500)
    assert machine.hear(words("hello"), 700) == []
    assert machine.names == {"endpoint"}
    assert machine.wait("endpoint") == Wait("endpoint", 1700, 1000)
    assert machine.passes("endpoint", 1700) == [TurnOver("hello", 0.9, "silence", 1200)]


def test_quiet_after_final_words_ends_likewise() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(words("hello"), 400)
    assert machine.names == {"utterance"}
    machine.hear(HUSH, 500)
    assert machine.names == {"endpoint"}
    assert machine.wait("endpoint").due_ms == 1500


def test_a_long_endpointing_of_the_node_counts() -> None:
    machine = Machine()
    machine.turns.endpointing_ms = 1400
    machine.hear(words("hello"), 0)
    assert machine.wait("endpoint") == Wait("endpoint", 1400, 1400)


def test_interim_words_alone_become_the_turn_when_no_final_comes() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(InterimHeard("hello"), 300)
    assert machine.names == {"utterance"}
    machine.hear(HUSH, 500)
    assert machine.passes("stt_final", 3500) == [TurnOver("hello", 0.0, "silence", 3000)]
    assert machine.names == set()


def test_final_and_interim_words_wait_for_the_final_words() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(words("hello"), 300)
    machine.hear(InterimHeard("world"), 400)
    machine.hear(HUSH, 500)
    assert machine.names == {"stt_final"}
    assert machine.passes("stt_final", 3500) == [TurnOver("hello world", 0.9, "silence", 3000)]


def test_interim_words_without_any_speech_wait_for_their_final() -> None:
    machine = Machine()
    machine.hear(words("one"), 0)
    assert machine.hear(InterimHeard("two"), 500) == []
    assert machine.names == {"stt_final"}
    assert machine.wait("stt_final") == Wait("stt_final", 3500, 3000)


def test_an_empty_interim_changes_nothing() -> None:
    machine = Machine(TALKING)
    machine.hear(words("one"), 0)
    machine.turns.forget()
    assert machine.hear(InterimHeard("  "), 100) == []
    assert machine.names == set()


def test_noise_without_words_is_nothing() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(HUSH, 100)
    assert machine.passes("stt_final", 3100) == []
    assert machine.names == set()
    assert not machine.turns.is_caller_speaking


def test_speech_without_an_end_does_not_hold_the_floor_for_ever() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(words("I say"), 20_000)
    assert machine.passes("utterance", 30_000) == [TurnOver("I say", 0.9, "silence", 0)]
    assert not machine.turns.is_caller_speaking


def test_noise_without_an_end_gives_the_floor_back() -> None:
    machine = Machine(TALKING)
    assert machine.hear(ENERGY, 0) == [Pause()]
    assert machine.passes("barge_in", 200) == []
    assert machine.passes("utterance", 30_000) == [Resume()]
    assert not machine.turns.is_paused
    assert not machine.turns.is_caller_speaking
    assert machine.names == set()


def test_more_speech_takes_the_end_back() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(words("one"), 300)
    machine.hear(HUSH, 400)
    assert machine.names == {"endpoint"}
    machine.hear(ENERGY, 900)
    assert machine.names == {"utterance"}
    machine.hear(HUSH, 1000)
    machine.hear(InterimHeard("two"), 1100)
    assert machine.names == {"stt_final"}


def test_each_source_of_speech_counts_until_it_stops() -> None:
    machine = Machine()
    machine.hear(ENERGY, 0)
    machine.hear(SpeechStarted("stt"), 5000)
    assert machine.wait("utterance").due_ms == 30_000, "it began with the first of them"
    machine.hear(SpeechStopped("stt"), 6000)
    assert machine.turns.is_caller_speaking
    assert machine.names == {"utterance"}
    machine.hear(HUSH, 6500)
    assert machine.names == {"stt_final"}
    assert not machine.turns.is_caller_speaking


def test_the_gates_quiet_counts_for_the_recogniser_too() -> None:
    machine = Machine()
    machine.hear(SpeechStarted("stt"), 0)
    machine.hear(ENERGY, 100)
    machine.hear(HUSH, 600)
    assert not machine.turns.is_caller_speaking
    assert machine.names == {"stt_final"}


def test_forgetting_leaves_no_wait_and_no_words() -> None:
    machine = Machine(TALKING)
    machine.hear(ENERGY, 0)
    machine.hear(words("hello", 0.1), 100)
    machine.hear(InterimHeard("world"), 150)
    machine.turns.forget()
    assert machine.names == set()
    assert not machine.turns.is_caller_speaking
    assert not machine.turns.is_paused
    assert machine.turns.partial_text == ""
    assert machine.hear(words("again", endpoint=True), 300)[-1] == TurnOver("again", 0.9, "stt", 0)


def test_it_has_no_other_waits() -> None:
    with pytest.raises(ValueError, match="no wait 'hold'"):
        Machine().turns.wait_passed("hold", 0)


# --- the caller breaks in ---


def test_the_bot_stops_at_the_first_evidence_and_goes_on_after_nothing() -> None:
    machine = Machine(TALKING)
    assert machine.hear(ENERGY, 0) == [Pause()]
    assert machine.turns.is_paused
    assert machine.names == {"barge_in", "utterance"}
    assert machine.wait("barge_in") == Wait("barge_in", 200, 200)
    assert machine.hear(SpeechStarted("stt"), 50) == [], "it has stopped already"
    assert machine.wait("barge_in").due_ms == 200
    assert machine.hear(HUSH, 150) == []
    assert machine.names == {"resume", "stt_final"}
    assert machine.wait("resume") == Wait("resume", 2150, 2000)
    assert machine.passes("resume", 2150) == [Resume()]
    assert machine.names == set()
    assert not machine.turns.is_paused


def test_a_second_noise_begins_the_wait_anew() -> None:
    machine = Machine(TALKING)
    machine.hear(ENERGY, 0)
    machine.hear(HUSH, 100)
    assert machine.hear(ENERGY, 500) == []
    assert machine.names == {"barge_in", "utterance"}
    assert machine.wait("barge_in").due_ms == 700


def test_speech_of_some_length_holds_the_floor_until_the_words_are_known() -> None:
    machine = Machine(TALKING)
    machine.hear(ENERGY, 0)
    assert machine.passes("barge_in", 200) == []
    machine.hear(HUSH, 1000)
    assert machine.names == {"stt_final"}, "no resume: that was speech"
    assert machine.hear(words("excuse me", endpoint=True), 1300) == [
        Confirm(),
        TurnOver("excuse me", 0.9, "stt", 300),
    ]


def test_the_barge_in_time_of_the_node_counts() -> None:
    machine = Machine(TALKING)
    machine.turns.barge_in_ms = 350
    machine.hear(ENERGY, 0)
    assert machine.wait("barge_in") == Wait("barge_in", 350, 350)
    machine.hear(HUSH, 100)
    machine.hear(ENERGY, 500)
    assert machine.wait("barge_in") == Wait("barge_in", 850, 350)


def test_a_barge_in_time_that_passes_in_quiet_holds_nothing() -> None:
    machine = Machine(TALKING)
    machine.hear(ENERGY, 0)
    machine.turns.wait_passed("barge_in", 200)
    machine.hear(HUSH, 300)
    assert "resume" not in machine.names
    machine.turns.forget()
    machine.hear(ENERGY, 1000)
    machine.hear(HUSH, 1100)
    assert "resume" in machine.names, "what was held is forgotten"
    machine.turns.wait_passed("barge_in", 1200)
    machine.hear(HUSH, 1300)
    assert "resume" in machine.names


def test_words_take_the_floor_at_once() -> None:
    machine = Machine(TALKING)
    machine.hear(ENERGY, 0)
    assert machine.hear(InterimHeard("stop"), 120) == [Confirm()]
    assert not machine.turns.is_paused
    assert machine.names == {"utterance"}
    assert machine.hear(InterimHeard("stop it"), 300) == []
    assert machine.hear(ENERGY, 350) == []
    machine.hear(HUSH, 500)
    assert "resume" not in machine.names
    assert machine.hear(words("stop it", endpoint=True), 800) == [
        TurnOver("stop it", 0.9, "stt", 300)
    ]


def test_words_before_the_gate_pause_and_confirm_in_one() -> None:
    machine = Machine(TALKING)
    assert machine.hear(InterimHeard("stop that"), 100) == [Pause(), Confirm()]
    other = Machine(TALKING)
    assert other.hear(words("stop that", endpoint=True), 100) == [
        Pause(),
        Confirm(),
        TurnOver("stop that", 0.9, "stt", 0),
    ]


def test_a_backchannel_gives_the_floor_back() -> None:
    machine = Machine(TALKING)
    machine.hear(ENERGY, 0)
    assert machine.hear(InterimHeard("uh-huh"), 120) == []
    machine.hear(HUSH, 400)
    assert machine.hear(words("Mhm.", endpoint=True), 700) == [Resume()]
    assert machine.names == set()


def test_a_backchannel_before_the_gate_pauses_only() -> None:
    machine = Machine(TALKING)
    assert machine.hear(InterimHeard("yeah"), 100) == [Pause()]
    assert machine.hear(EndpointReached(), 400) == [Resume()]


def test_yeah_at_the_end_of_what_is_said_is_an_answer() -> None:
    machine = Machine(ENDING)
    machine.hear(ENERGY, 0)
    assert machine.hear(words("yeah", endpoint=True), 500) == [
        Confirm(),
        TurnOver("yeah", 0.9, "stt", 0),
    ]
    early = Machine(Floor(speaking=True, interruptible=True, left_ms=1001, closed_question=False))
    early.hear(ENERGY, 0)
    assert early.hear(words("yeah", endpoint=True), 500) == [Resume()]
    by_words = Machine(ENDING)
    by_words.hear(InterimHeard("yeah"), 0)
    assert by_words.hear(EndpointReached(), 500) == [Confirm(), TurnOver("yeah", 0.0, "stt", 0)]


def test_at_a_closed_question_every_word_counts() -> None:
    machine = Machine(CLOSED)
    machine.hear(ENERGY, 0)
    assert machine.hear(InterimHeard("yes"), 100) == [Confirm()]


def test_in_quiet_a_backchannel_is_an_answer() -> None:
    machine = Machine(QUIET)
    assert machine.hear(words("yeah", endpoint=True), 100) == [TurnOver("yeah", 0.9, "stt", 0)]


def test_nobody_breaks_into_what_cannot_be_interrupted() -> None:
    machine = Machine(FIRM)
    assert machine.hear(ENERGY, 0) == []
    assert machine.names == {"utterance"}
    assert machine.hear(InterimHeard("stop that"), 100) == []
    assert machine.hear(words("stop that", endpoint=True), 500) == [
        TurnOver("stop that", 0.9, "stt", 0)
    ]


def test_a_backchannel_that_no_final_confirms_gives_the_floor_back() -> None:
    machine = Machine(TALKING)
    machine.hear(ENERGY, 0)
    machine.hear(InterimHeard("mhm"), 100)
    machine.turns.wait_passed("barge_in", 200)
    machine.hear(HUSH, 400)
    assert machine.passes("stt_final", 3400) == [Resume()]


def test_resume_without_a_pause_is_nothing() -> None:
    assert Machine().turns.wait_passed("resume", 0) == []


@pytest.mark.parametrize("text", ["mhm", "Uh-huh.", "OK", "yeah, right", "I see", "d'accord"])
def test_backchannels(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["", "...", "no", "yes please", "okay stop"])
def test_no_backchannels(text: str) -> None:
    assert not is_backchannel(text)


# --- learning the caller's pauses ---


def turn(machine: Machine, at_ms: int, quiet_ms: int) -> None:
    """A turn that is taken as over `quiet_ms` after the caller became quiet."""
    machine.hear(ENERGY, at_ms - quiet_ms - 500)
    machine.hear(HUSH, at_ms - quiet_ms)
    machine.hear(words("hello", endpoint=True), at_ms)


def test_a_caller_who_was_cut_off_gets_a_longer_endpoint() -> None:
    machine = Machine()
    turn(machine, 1000, 300)
    machine.hear(ENERGY, 1500)
    # He paused for 800 ms in all; 200 ms more are left to him, of which 300 are the endpoint.
    assert machine.turns.learnt_endpointing_ms == 1000
    machine.hear(HUSH, 1800)
    assert machine.hear(words("world", endpoint=True), 2000) == []
    assert machine.names == {"stt_final", "endpoint"} or machine.names == {"endpoint"}
    assert machine.wait("endpoint") == Wait("endpoint", 2700, 700)
    assert machine.turns.wait_passed("endpoint", 2700) == [TurnOver("world", 0.9, "silence", 900)]


def test_the_longest_pause_is_kept() -> None:
    machine = Machine()
    turn(machine, 1000, 300)
    machine.hear(ENERGY, 1500)
    machine.turns.forget()
    machine.turns._over_at_ms, machine.turns._over_after_ms = 5000, 100
    machine.hear(ENERGY, 5100)
    assert machine.turns.learnt_endpointing_ms == 1000


def test_it_is_learnt_at_the_brink_and_not_beyond() -> None:
    brink = Machine()
    turn(brink, 1000, 300)
    brink.hear(ENERGY, 2200)
    assert brink.turns.learnt_endpointing_ms == 1700
    late = Machine()
    turn(late, 1000, 300)
    late.hear(ENERGY, 2201)
    assert late.turns.learnt_endpointing_ms == 300


def test_there_is_a_ceiling() -> None:
    machine = Machine()
    turn(machine, 10_000, 2400)
    machine.hear(ENERGY, 11_000)
    assert machine.turns.learnt_endpointing_ms == ENDPOINT_CEILING_MS == 2500
    machine.turns.endpointing_ms = 1000
    assert machine.turns.learnt_endpointing_ms == 2500


def test_what_was_learnt_fades_with_patience() -> None:
    machine = Machine()
    turn(machine, 1000, 300)
    machine.hear(ENERGY, 1500)
    machine.hear(HUSH, 1600)
    machine.hear(words("x", endpoint=True), 1700)
    machine.turns.wait_passed("endpoint", 2400)
    machine.hear(ENERGY, 9000)
    assert machine.turns.learnt_endpointing_ms == 300 + 630
    machine.hear(HUSH, 9100)
    machine.hear(ENERGY, 9200)
    assert machine.turns.learnt_endpointing_ms == 300 + 630, "once for each turn"


def test_a_backchannel_teaches_nothing() -> None:
    machine = Machine(TALKING)
    machine.hear(words("mhm", endpoint=True), 100)
    machine.floor = QUIET
    machine.hear(ENERGY, 300)
    assert machine.turns.learnt_endpointing_ms == 300
