"""What the simulated caller measures, on scripted frames with a clock of its own."""

from __future__ import annotations

import pytest

from flowengine.testing.phone_audio import FRAME_BYTES
from flowengine.testing.phone_group import Spread, spread, summarise
from flowengine.testing.phone_measures import BargeIn, CallReport, Measures

pytestmark = pytest.mark.unit


class Watch:
    """Feeds measures frame by frame: `C` the caller is loud, `B` the bot, `X` both, `.` none."""

    def __init__(self) -> None:
        self.measures = Measures()
        self.now_ms = 1000.0
        self.measures.stream_started(self.now_ms)

    def frames(self, script: str, *, more: bool = False) -> None:
        for letter in script:
            caller, bot = letter in "CX", letter in "BX"
            if caller or bot:
                self.measures.frame(self.now_ms, caller=caller, bot=bot, more=more)
            self.now_ms += 20

    def utterance(self, script: str) -> None:
        self.measures.utterance_started()
        self.frames(script)
        self.measures.utterance_ended()

    def report(self) -> CallReport:
        return self.measures.report()


def test_the_response_counts_from_the_last_audible_frame() -> None:
    watch = Watch()
    watch.frames("...BBB..........")
    watch.utterance("CCC..CC...")
    watch.frames("....BBBB..")
    report = watch.report()
    assert report.opening_ms == 60.0
    assert report.responses_ms == (160.0,)
    assert (report.bot_speech_ms, report.caller_speech_ms) == (140, 100)
    assert report.barge_ins == ()


def test_only_the_first_audio_after_an_utterance_answers_it() -> None:
    watch = Watch()
    watch.utterance("CC")
    watch.frames(".B....B")
    assert watch.report().responses_ms == (40.0,)


def test_an_utterance_that_is_followed_by_another_is_not_answered() -> None:
    watch = Watch()
    watch.utterance("CC")
    watch.frames("....")
    watch.utterance("CC")
    watch.frames("..B")
    assert watch.report().responses_ms == (60.0,)


def test_keys_are_answered_too() -> None:
    watch = Watch()
    watch.measures.key_pressed(watch.now_ms)
    watch.frames("..B")
    assert watch.report().key_responses_ms == (40.0,)
    assert watch.report().responses_ms == ()


def test_a_barge_in_counts_from_the_first_sound_to_the_clear() -> None:
    watch = Watch()
    watch.frames("BBBB")
    watch.measures.utterance_started()
    watch.frames(".XXX")
    watch.measures.cleared(watch.now_ms + 5)
    watch.frames("CCC")
    watch.measures.utterance_ended()
    watch.frames("....B")
    report = watch.report()
    assert report.barge_ins == (BargeIn(1100, 65, 60),)
    assert report.talk_over_ms == 60
    assert report.responses_ms == (100.0,)


def test_an_interruption_between_two_audible_pieces_counts_as_one() -> None:
    watch = Watch()
    watch.measures.utterance_started()
    watch.frames("C", more=True)
    assert len(watch.report().barge_ins) == 1


def test_who_speaks_after_the_bot_has_finished_interrupts_nobody() -> None:
    watch = Watch()
    watch.frames("BB...")
    watch.utterance("CC")
    assert watch.report().barge_ins == ()


def test_what_the_bot_says_later_is_not_what_was_interrupted() -> None:
    watch = Watch()
    watch.frames("BB")
    watch.utterance("XXCCC")
    watch.frames("..........BBB")
    (barge_in,) = watch.report().barge_ins
    assert barge_in.last_audio_after_ms == 40


def test_a_bot_that_never_stops_is_a_missed_barge_in_and_no_response() -> None:
    watch = Watch()
    watch.frames("BB")
    watch.utterance("XXX")
    watch.frames("BBBB")
    report = watch.report()
    assert report.barge_ins[0].clear_after_ms is None
    assert report.barge_ins[0].last_audio_after_ms == 140
    assert report.responses_ms == ()
    assert summarise([report]).missed_barge_ins == 1


@pytest.mark.parametrize(
    ("dry_frames", "ends_at_mark", "gaps"),
    [
        (0, False, ()),
        (2, False, (50.0,)),
        (2, True, ()),
        (60, False, ()),
    ],
)
def test_a_hole_inside_a_clause_is_a_gap(
    dry_frames: int, ends_at_mark: bool, gaps: tuple[float, ...]
) -> None:
    measures = Measures()
    lengths = [FRAME_BYTES, FRAME_BYTES // 2, *[0] * dry_frames, FRAME_BYTES]
    for number, length in enumerate(lengths):
        measures.played(number * 20.0, length, ends_at_mark=ends_at_mark)
    assert measures.report().gaps_ms == gaps


def test_what_a_clear_cut_off_leaves_no_gap() -> None:
    measures = Measures()
    measures.played(0, 80, ends_at_mark=False)
    measures.cleared(10)
    measures.played(100, FRAME_BYTES, ends_at_mark=False)
    assert measures.report().gaps_ms == ()


def test_percentiles_are_by_nearest_rank() -> None:
    assert spread([]) == Spread(0, 0.0, 0.0, 0.0)
    assert spread([7]) == Spread(1, 7, 7, 7)
    assert spread(list(range(100, 0, -1))) == Spread(100, 50, 95, 100)


def test_a_summary_takes_calls_together() -> None:
    one, two = Watch(), Watch()
    one.utterance("C")
    one.frames(".B")
    two.utterance("C")
    two.frames("...B")
    two.measures.faults.append("31951 bad JSON")
    summary = summarise([one.report(), two.report()], ["3: late"])
    assert summary.responses_ms == Spread(2, 40, 80, 80)
    assert (summary.calls, summary.failures) == (2, ("3: late",))
    assert summary.faults == ("31951 bad JSON",)
