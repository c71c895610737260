"""Which words the caller has heard: what was sent, against marks and a clock."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowengine.events import AudioSent, Word
from flowengine.runtime.playout import Playout, Position

pytestmark = pytest.mark.unit

HELLO = "Hello big world. "
WORDS = (Word(5, 0, 500), Word(9, 600, 900), Word(16, 1000, 1600))
HELLO_MS = 1700


def playout(*texts: str, ended: bool = True) -> Playout:
    """One utterance, of generation 1, with these clauses."""
    ledger = Playout()
    ledger.open(1)
    for number, text in enumerate(texts):
        ledger.add_clause(1, number, text)
    if ended:
        ledger.end(1)
    return ledger


def send(
    ledger: Playout,
    now_ms: int,
    clause: int = 0,
    *,
    generation: int = 1,
    from_ms: int = 0,
    audio_ms: int = HELLO_MS,
    words: tuple[Word, ...] = WORDS,
    last: bool = True,
) -> bool:
    return ledger.sent(AudioSent(generation, clause, from_ms, audio_ms, words, last), now_ms)


# --- what was heard ---


@pytest.mark.parametrize(
    ("at_ms", "heard"),
    [
        (0, ""),
        (499, ""),
        (500, "Hello"),
        (899, "Hello"),
        (900, "Hello big"),
        (1600, "Hello big world."),
        (1699, "Hello big world."),
        (1700, HELLO),
        (9999, HELLO),
    ],
)
def test_words_are_heard_by_their_alignment(at_ms: int, heard: str) -> None:
    ledger = playout(HELLO)
    assert send(ledger, 1000)
    assert ledger.heard(1, 1000 + at_ms) == heard


def test_without_alignment_words_are_heard_in_proportion() -> None:
    ledger = playout("one two three four")
    send(ledger, 0, audio_ms=1800, words=())
    assert ledger.heard(1, 0) == ""
    assert ledger.heard(1, 299) == ""
    assert ledger.heard(1, 300) == "one"
    assert ledger.heard(1, 699) == "one"
    assert ledger.heard(1, 700) == "one two"
    assert ledger.heard(1, 1799) == "one two three"
    assert ledger.heard(1, 1800) == "one two three four"


def test_a_clause_that_is_still_coming_is_heard_at_fifteen_characters_a_second() -> None:
    ledger = playout("one two three four")
    send(ledger, 0, audio_ms=1000, words=(), last=False)
    assert ledger.heard(1, 199) == ""
    assert ledger.heard(1, 200) == "one"
    assert ledger.heard(1, 467) == "one two"
    assert ledger.heard(1, 5000) == "one two three", "not more than was sent"


def test_what_is_sent_later_plays_behind_what_was_sent_before() -> None:
    ledger = playout(HELLO, "And more.")
    send(ledger, 0)
    send(ledger, 100, 1, audio_ms=900, words=(Word(3, 0, 300), Word(9, 400, 900)))
    assert ledger.heard(1, 1999) == HELLO
    assert ledger.heard(1, 2000) == HELLO + "And"
    assert ledger.heard(1, 2600) == HELLO + "And more."
    assert ledger.owed_ms(0) == 2600
    assert ledger.owed_ms(2500) == 100
    assert ledger.owed_ms(2700) == 0


def test_a_pause_of_the_voice_is_silence_on_the_line() -> None:
    ledger = playout(HELLO)
    send(ledger, 0, audio_ms=600, words=WORDS[:1], last=False)
    send(ledger, 2000, from_ms=600, audio_ms=1100, words=WORDS[1:])
    assert ledger.heard(1, 2299) == "Hello"
    assert ledger.heard(1, 2300) == "Hello big"
    assert ledger.owed_ms(2000) == 1100


def test_a_stretch_of_a_clause_carries_its_words_once() -> None:
    ledger = playout(HELLO)
    send(ledger, 0, audio_ms=600, words=WORDS[:1], last=False)
    send(ledger, 10, audio_ms=600, from_ms=0, words=(Word(9, 0, 10),), last=False)
    assert ledger.heard(1, 600) == "Hello", "words of what is sent again are not taken again"


def test_nobody_has_heard_what_does_not_exist() -> None:
    ledger = playout(HELLO)
    assert ledger.heard(2, 100) == ""
    assert ledger.text(2) == ""
    assert ledger.text(1) == HELLO
    assert not send(ledger, 0, generation=2)
    assert not send(ledger, 0, 7)
    assert not ledger.marked(1, 7, 0)
    assert ledger.owed_ms(0) == 0


# --- marks ---


def test_a_mark_says_that_its_clause_was_played() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    assert ledger.marked(1, 0, 400)
    assert ledger.heard(1, 400) == HELLO
    assert ledger.is_over(1)
    assert not ledger.marked(1, 0, 500), "once"


def test_a_mark_of_what_was_not_sent_whole_means_nothing() -> None:
    ledger = playout(HELLO)
    assert not ledger.marked(1, 0, 0)
    send(ledger, 0, last=False)
    assert not ledger.marked(1, 0, 5000)
    assert not ledger.is_over(1)


def test_a_late_mark_tells_how_late_the_line_is() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0)
    send(ledger, 0, 1)
    assert ledger.owed_ms(0) == 3400
    assert ledger.marked(1, 0, 2000)
    assert ledger.owed_ms(2000) == 1700
    assert ledger.heard(1, 2499) == HELLO
    assert ledger.heard(1, 2500) == HELLO + "Hello"


def test_an_early_mark_does_not_hurry_the_line() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0)
    send(ledger, 0, 1)
    ledger.marked(1, 0, 1000)
    assert ledger.owed_ms(1000) == 2400
    assert ledger.heard(1, 1600) == HELLO


def test_a_mark_covers_what_went_before_it() -> None:
    ledger = playout(HELLO, HELLO, HELLO)
    ledger.open(2)
    ledger.add_clause(2, 0, "More.")
    ledger.end(2)
    for clause in range(3):
        send(ledger, 0, clause)
    send(ledger, 0, generation=2, audio_ms=300, words=())
    assert ledger.marked(1, 1, 100)
    assert ledger.heard(1, 100) == HELLO * 2
    assert not ledger.is_over(1)
    assert ledger.marked(2, 0, 200)
    assert ledger.is_over(1)
    assert ledger.heard(1, 200) == HELLO * 3


def test_a_mark_does_not_cover_what_was_never_sent_whole() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0, last=False)
    send(ledger, 0, 1)
    assert ledger.marked(1, 1, 100)
    assert not ledger.is_over(1)


def test_an_utterance_is_over_when_all_of_it_was_played() -> None:
    ledger = playout(HELLO, "", ended=False)
    send(ledger, 0)
    send(ledger, 0, 1, audio_ms=200, words=())
    ledger.marked(1, 0, 1700)
    assert not ledger.is_over(1)
    ledger.marked(1, 1, 1900)
    assert not ledger.is_over(1), "more may come"
    ledger.end(1)
    assert ledger.is_over(1)
    assert ledger.is_over(7), "one that does not exist is"


def test_all_is_sent_when_each_clause_is_complete_and_no_more_come() -> None:
    ledger = playout(HELLO, HELLO, ended=False)
    assert ledger.all_sent(7)
    send(ledger, 0)
    send(ledger, 0, 1)
    assert not ledger.all_sent(1)
    ledger.end(1)
    assert ledger.all_sent(1)
    other = playout(HELLO, HELLO)
    send(other, 0)
    assert not other.all_sent(1)


def test_it_has_begun_when_audio_went_out() -> None:
    ledger = playout(HELLO, "")
    assert not ledger.has_begun(1)
    assert not ledger.has_begun(2)
    send(ledger, 0, audio_ms=0, words=(), last=False)
    assert not ledger.has_begun(1)
    send(ledger, 0, audio_ms=10)
    assert ledger.has_begun(1)


def test_an_empty_clause_has_begun_once_it_was_played() -> None:
    ledger = playout("")
    send(ledger, 0, audio_ms=0, words=())
    assert not ledger.has_begun(1)
    ledger.marked(1, 0, 5)
    assert ledger.has_begun(1)


# --- playing now ---


def test_it_plays_from_the_first_audio_to_the_mark() -> None:
    ledger = playout(HELLO)
    assert not ledger.is_playing(0)
    send(ledger, 100)
    assert not ledger.is_playing(99)
    assert ledger.is_playing(100)
    assert ledger.is_playing(9000), "its mark is owed"
    ledger.marked(1, 0, 9000)
    assert not ledger.is_playing(9000)


def test_it_does_not_play_before_its_turn() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0)
    send(ledger, 0, 1)
    ledger.marked(1, 0, 1000)
    assert not ledger.is_playing(1699)
    assert ledger.is_playing(1700)


# --- pause and resume ---


def test_a_pause_keeps_what_was_not_heard_from_the_cut_word_on() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    assert ledger.pause(700) == Position(1, 0, 600)
    assert ledger.is_paused
    assert not ledger.is_playing(800)
    assert ledger.owed_ms(700) == 0
    assert ledger.heard(1, 5000) == "Hello", "nothing is heard in a pause"
    assert not send(ledger, 800), "nor sent"
    assert not ledger.marked(1, 0, 800)
    ledger.resume(3000)
    assert not ledger.is_paused
    assert send(ledger, 3000, from_ms=600, audio_ms=1100, words=())
    assert ledger.heard(1, 3299) == "Hello"
    assert ledger.heard(1, 3300) == "Hello big"
    assert ledger.heard(1, 4100) == HELLO
    assert ledger.owed_ms(3000) == 1100


def test_a_pause_between_two_words_goes_on_with_what_comes() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    assert ledger.pause(550) == Position(1, 0, 550)


def test_a_pause_behind_the_last_word_goes_on_there() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    assert ledger.pause(1650) == Position(1, 0, 1650)


def test_a_pause_without_alignment_goes_back_to_a_words_end() -> None:
    ledger = playout("one two three four")
    send(ledger, 0, audio_ms=1800, words=())
    assert ledger.pause(650) == Position(1, 0, 300)


def test_a_pause_in_what_is_still_coming_goes_back_a_little() -> None:
    ledger = playout("one two three four")
    send(ledger, 0, audio_ms=1000, words=(), last=False)
    assert ledger.pause(650) == Position(1, 0, 350)
    early = playout("one two three four")
    send(early, 0, audio_ms=1000, words=(), last=False)
    assert early.pause(250) == Position(1, 0, 0)
    tones = playout("")
    send(tones, 0, audio_ms=1000, words=())
    assert tones.pause(650) == Position(1, 0, 350)


def test_a_pause_before_any_sound_begins_anew() -> None:
    ledger = playout(HELLO)
    assert ledger.pause(650) == Position(1, 0, 0)


def test_a_pause_skips_what_was_played() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0)
    send(ledger, 0, 1)
    assert ledger.pause(1800) == Position(1, 1, 0)
    ledger.resume(2000)
    assert not ledger.marked(1, 0, 2000), "it counts as played already"
    send(ledger, 2000, 1, words=())
    assert ledger.heard(1, 2500) == HELLO + "Hello"
    assert ledger.marked(1, 1, 3700)
    assert ledger.is_over(1)


def test_a_pause_when_all_was_played_has_no_place_to_go_on() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    assert ledger.pause(1700) is None
    assert ledger.is_over(1)


def test_what_was_queued_is_sent_again_after_a_pause() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0)
    send(ledger, 0, 1)
    ledger.pause(600)
    ledger.resume(1000)
    assert not ledger.is_playing(5000), "nothing was sent again yet"
    send(ledger, 1000, from_ms=600, audio_ms=1100, words=())
    send(ledger, 1000, 1, words=())
    assert ledger.heard(1, 2599) == HELLO
    assert ledger.heard(1, 2600) == HELLO + "Hello"


# --- cut, drop, finish ---


def test_what_was_heard_stands_when_the_rest_is_cut() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0)
    send(ledger, 0, 1)
    ledger.cut(950, 2)
    assert ledger.heard(1, 950) == "Hello big"
    assert ledger.heard(1, 9999) == "Hello big"
    assert ledger.is_over(1)
    assert ledger.owed_ms(950) == 0
    assert not ledger.is_playing(960)
    assert not send(ledger, 1000, 1)
    assert not ledger.marked(1, 0, 1700), "marks of what was cleared count for nothing"
    assert ledger.heard(1, 9999) == "Hello big"


def test_a_cut_in_a_pause_does_not_count_the_pause_as_heard() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    ledger.pause(600)
    ledger.cut(5000, 2)
    assert not ledger.is_paused
    assert ledger.heard(1, 5000) == "Hello"


def test_a_cut_spares_what_is_newer() -> None:
    ledger = playout(HELLO)
    ledger.open(2)
    ledger.add_clause(2, 0, "More.")
    ledger.end(2)
    ledger.cut(100, 2)
    assert ledger.is_over(1)
    assert not ledger.is_over(2)
    assert send(ledger, 100, generation=2, audio_ms=300, words=())
    assert ledger.heard(2, 400) == "More."
    assert ledger.owed_ms(100) == 300


def test_what_is_cut_twice_is_cut_once() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    ledger.cut(600, 2)
    ledger.cut(1700, 2)
    assert ledger.heard(1, 1700) == "Hello"


def test_clauses_of_which_nothing_was_sent_are_dropped() -> None:
    ledger = playout(HELLO, "More of it.", "And more.", ended=False)
    send(ledger, 0)
    send(ledger, 0, 1, audio_ms=100, words=(), last=False)
    ledger.drop_unsent(1)
    assert ledger.text(1) == HELLO + "More of it."
    assert not ledger.is_over(1)
    send(ledger, 100, 1, from_ms=100, audio_ms=400, words=())
    ledger.marked(1, 1, 2200)
    assert ledger.is_over(1), "no more come"
    ledger.drop_unsent(7)


def test_what_was_played_or_heard_is_not_dropped() -> None:
    ledger = playout("", HELLO, "More.")
    send(ledger, 0, audio_ms=0, words=())
    ledger.marked(1, 0, 0)
    send(ledger, 0, 1)
    ledger.pause(600)
    ledger.drop_unsent(1)
    assert ledger.text(1) == HELLO
    assert ledger.heard(1, 600) == "Hello"


def test_a_mark_that_never_came_can_be_taken_as_played() -> None:
    ledger = playout(HELLO, HELLO)
    send(ledger, 0)
    send(ledger, 0, 1, audio_ms=600, words=WORDS[:1], last=False)
    ledger.finish(1, is_played=True)
    assert ledger.heard(1, 0) == HELLO, "only what went out whole"
    assert ledger.is_over(1)
    ledger.finish(7, is_played=True)


def test_finishing_says_nothing_of_what_was_heard() -> None:
    ledger = playout(HELLO)
    send(ledger, 0)
    assert ledger.heard(1, 600) == "Hello"
    ledger.finish(1, is_played=False)
    assert ledger.heard(1, 9999) == "Hello"
    assert ledger.is_over(1)


def test_what_is_forgotten_is_gone() -> None:
    ledger = playout(HELLO)
    ledger.forget(1)
    assert ledger.text(1) == ""
    ledger.forget(1)


# --- whatever happens ---

OPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "mark", "pause", "resume", "cut", "drop"]),
        st.integers(0, 2),
        st.integers(0, 900),
        st.booleans(),
    ),
    max_size=40,
)


@given(OPS)
@example([("send", 0, 0, True), ("drop", 2, 0, False)])
def test_heard_is_a_prefix_that_never_shrinks(ops: list[tuple[str, int, int, bool]]) -> None:
    ledger = playout(HELLO, "And more of it. ", "Goodbye.")
    now_ms, before = 0, ""
    sent_ms = [0, 0, 0]
    for kind, clause, ms, flag in ops:
        now_ms += ms
        match kind:
            case "send":
                words = (Word(3, sent_ms[clause], sent_ms[clause] + ms),) if flag else ()
                if send(
                    ledger,
                    now_ms,
                    clause,
                    from_ms=sent_ms[clause],
                    audio_ms=ms,
                    words=words,
                    last=flag,
                ):
                    sent_ms[clause] += ms
            case "mark":
                ledger.marked(1, clause, now_ms)
            case "pause" if not ledger.is_paused:
                ledger.pause(now_ms)
            case "resume" if ledger.is_paused:
                ledger.resume(now_ms)
            case "cut" if flag and clause == 0:
                ledger.cut(now_ms, 2)
            case "drop" if clause == 2:
                ledger.drop_unsent(1)
        heard = ledger.heard(1, now_ms)
        assert ledger.text(1).startswith(heard)
        assert heard.startswith(before), "what was heard stays heard"
        before = heard
