"""Every fault at every provider, driven through its adapter inside its supervision.

`once`: the first connection fails and there is nobody else; `always`: each one does, and a fallback
stands behind. What comes of it is what docs/providers.md shows, for `table` writes it there. Waits
are the real ones, in time that passes only while nothing is on its way. No word may be lost or come
twice without somebody being told, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from flowengine.testing.providers.faults import (
    KINDS,
    Fault,
    close,
    cut,
    dead,
    garbage,
    late,
    stall,
    status,
    swap,
    trickle,
)
from tests.providers.fault_rows import (
    ANSWER,
    HEARING,
    SPEAKING,
    THINKING,
    Hearing,
    Outcome,
    Speaking,
    Thinking,
    hear,
    run_on_wires,
    speak,
    think,
)

pytestmark = pytest.mark.unit

DOCS: Final = Path(__file__).parents[2] / "docs" / "providers.md"
LONGEST_S: Final = 30.0
"""A whole call of the table, with everything that may fail in it."""
_OFTEN: Final = 30
_DEAD: Final = "dead from the start", "dead in the middle"


@dataclass(frozen=True, slots=True)
class Case:
    """A fault behind `at` messages: none, or as many as make the middle."""

    title: str
    fault: Callable[[int], Fault]
    in_middle: bool = False


CASES: Final = (
    Case("first byte a second late", lambda at: late(1000)),
    Case("silent from the start", lambda at: Fault("hang")),
    Case("silent in the middle", stall, in_middle=True),
    Case("half-dead TCP from the start", dead),
    Case("half-dead TCP in the middle", dead, in_middle=True),
    Case("cut at once", cut),
    Case("cut in the middle", cut, in_middle=True),
    Case("closed in good order (1011)", lambda at: close(1011, after=at), in_middle=True),
    Case("closed: policy (1008)", lambda at: close(1008, after=at), in_middle=True),
    Case("closed: try later (1013)", lambda at: close(1013, after=at), in_middle=True),
    Case("429, Retry-After 30 s", lambda at: status(429, 30)),
    Case("503, Retry-After 30 s", lambda at: status(503, 30)),
    Case("503", lambda at: status(503)),
    Case("500", lambda at: status(500)),
    Case("401", lambda at: status(401)),
    Case("404", lambda at: status(404)),
    Case("garbage first", garbage),
    Case("garbage in the middle", garbage, in_middle=True),
    Case("two messages exchanged", swap, in_middle=True),
    Case("everything in drips", lambda at: trickle(97)),
)

Ends = tuple[str, str]
WHOLE: Final[Ends] = ("whole", "whole")


def _again(code: str) -> Ends:
    """Failed before anything of it was used: the same once more, then the next one."""
    return f"again {code}", f"other {code}"


def _next(code: str) -> Ends:
    """Nothing is gained by asking the same again."""
    return f"told {code}", f"other {code}"


def _told(code: str) -> Ends:
    """Some of it was used: another one cannot go on from there."""
    return f"told {code}", f"told {code}"


_REFUSED: Final = {
    "429, Retry-After 30 s": _next("rate_limit"),
    "503, Retry-After 30 s": _next("overloaded"),
    "503": _again("overloaded"),
    "500": _again("unavailable"),
    "401": _next("auth"),
    "404": _next("bad_request"),
}
_UNNOTICED: Final = {"first byte a second late": WHOLE, "everything in drips": WHOLE}
_HEARD: Final[dict[str, Ends]] = {
    **_UNNOTICED,
    **_REFUSED,
    "silent from the start": _again("stalled"),
    "silent in the middle": _again("stalled"),
    "half-dead TCP from the start": _again("stalled"),
    "half-dead TCP in the middle": _again("stalled"),
    "cut at once": _again("dropped"),
    "cut in the middle": ("again dropped", "again dropped"),
    "closed in good order (1011)": ("again dropped", "again dropped"),
    "closed: policy (1008)": _next("bad_request"),
    "closed: try later (1013)": ("again overloaded", "again overloaded"),
    "garbage first": _again("protocol"),
    "garbage in the middle": ("again protocol", "again protocol"),
    "two messages exchanged": WHOLE,
}
_TRANSCRIBED: Final[dict[str, Ends]] = {
    **_UNNOTICED,
    **_REFUSED,
    "503": ("whole", "other overloaded"),
    "500": ("whole", "other unavailable"),
    "silent from the start": _again("deadline"),
    "silent in the middle": _again("deadline"),
    "half-dead TCP from the start": _again("deadline"),
    "half-dead TCP in the middle": _again("deadline"),
    "cut at once": ("whole", "other connect"),
    "cut in the middle": ("whole", "other dropped"),
    "closed in good order (1011)": ("whole", "other dropped"),
    "closed: policy (1008)": ("whole", "other dropped"),
    "closed: try later (1013)": ("whole", "other dropped"),
    "garbage first": ("whole", "other protocol"),
    "garbage in the middle": ("whole", "other protocol"),
    "two messages exchanged": WHOLE,
}
_THOUGHT: Final[dict[str, Ends]] = {
    **_UNNOTICED,
    **_REFUSED,
    "silent from the start": ("again deadline", "other hedged"),
    "silent in the middle": _told("stalled"),
    "half-dead TCP from the start": ("again deadline", "other hedged"),
    "half-dead TCP in the middle": _told("stalled"),
    "cut at once": _again("connect"),
    "cut in the middle": _told("dropped"),
    "closed in good order (1011)": _told("dropped"),
    "closed: policy (1008)": _told("dropped"),
    "closed: try later (1013)": _told("dropped"),
    "garbage first": _again("protocol"),
    "garbage in the middle": _told("protocol"),
    "two messages exchanged": ("as sent", "as sent"),
}
_SPOKEN: Final[dict[str, Ends]] = {
    **_UNNOTICED,
    **_REFUSED,
    "silent from the start": _again("deadline"),
    "silent in the middle": _told("stalled"),
    "half-dead TCP from the start": _again("deadline"),
    "half-dead TCP in the middle": _told("stalled"),
    "cut at once": _again("dropped"),
    "cut in the middle": _told("dropped"),
    "closed in good order (1011)": _told("dropped"),
    "closed: policy (1008)": _told("bad_request"),
    "closed: try later (1013)": _told("overloaded"),
    "garbage first": _again("protocol"),
    "garbage in the middle": _told("protocol"),
    "two messages exchanged": WHOLE,
}
_STREAMED: Final[dict[str, Ends]] = {
    **_SPOKEN,
    "closed: policy (1008)": _told("dropped"),
    "closed: try later (1013)": _told("dropped"),
}
COLUMNS: Final = {
    "hears over a socket": _HEARD,
    "hears by files": _TRANSCRIBED,
    "thinks": _THOUGHT,
    "speaks over a socket": _SPOKEN,
    "speaks over HTTP": _STREAMED,
}

_LIVE: Final = ("openai live", "openai vad")
_SILENT: Final = ("silent from the start", "half-dead TCP from the start")
_MIDDLE: Final = (
    ("cut in the middle", "dropped"),
    ("closed in good order (1011)", "dropped"),
    ("closed: try later (1013)", "overloaded"),
    ("garbage in the middle", "protocol"),
)
OTHERWISE: Final[dict[tuple[str, str], Ends]] = {
    # Their sessions are accepted by a message, so that a mute one does not even open.
    **{(row, case): _again("deadline") for row in _LIVE for case in _SILENT},
    # These say nothing of noise: their silence is suspicious at the second sound only.
    **{
        (row, case): _again("suspected")
        for row in ("elevenlabs scribe", "cartesia ink", "cartesia whisper")
        for case in _SILENT
    },
    # It breaks a second time before it told a word.
    **{("openai vad", case): _again(code) for case, code in _MIDDLE},
    # Whole transcripts come in one piece.
    ("whisper", "cut in the middle"): ("whole", "other connect"),
    ("whisper", "closed in good order (1011)"): ("whole", "other protocol"),
    ("whisper", "closed: policy (1008)"): ("whole", "other protocol"),
    ("whisper", "closed: try later (1013)"): ("whole", "other protocol"),
    # A socket that died before it was wanted is replaced unasked.
    **{
        (row, case): ("whole", f"other {code}")
        for row in ("aura", "flux voice")
        for case, code in (("cut at once", "dropped"), ("garbage first", "protocol"))
    },
    **{(row, "cut at once"): _again("connect") for row in ("openai voice", "openai plain")},
    # An endpoint that is refused may only be missing: the next best way is tried.
    **{(row, "404"): ("whole", "other bad_request") for row in ("elevenlabs", "elevenlabs single")},
    # Its adapter does not read Retry-After yet.
    ("google", "503, Retry-After 30 s"): _again("overloaded"),
    # In bare audio nobody can tell garbage from a sound.
    ("elevenlabs http", "garbage in the middle"): ("noise", "noise"),
    ("openai plain", "garbage in the middle"): ("noise", "noise"),
}


def _expected(kind: str, row: str, case: Case) -> Ends:
    return OTHERWISE.get((row, case.title), COLUMNS[kind][case.title])


def _agree(outcome: Outcome, expected: str) -> None:
    if expected in ("as sent", "noise"):
        assert not outcome.told
    else:
        assert outcome.verdict == expected, outcome
    assert outcome.took_s < LONGEST_S


def _named(cases: tuple[Case, ...]) -> list[str]:
    return [case.title.replace(" ", "_") for case in cases]


@pytest.mark.parametrize("case", CASES, ids=_named(CASES))
@pytest.mark.parametrize("row", HEARING, ids=[row.name for row in HEARING])
def test_a_recogniser(row: Hearing, case: Case) -> None:
    once, always = _expected(
        "hears by files" if row.over == "files" else "hears over a socket", row.name, case
    )
    fault = case.fault(row.middle if case.in_middle else 0)
    _agree(run_on_wires(hear(row, [fault], other=False)), once)
    _agree(run_on_wires(hear(row, [fault] * _OFTEN, other=True)), always)


@pytest.mark.parametrize("case", CASES, ids=_named(CASES))
@pytest.mark.parametrize("row", THINKING, ids=[row.name for row in THINKING])
def test_an_llm(row: Thinking, case: Case) -> None:
    once, always = _expected("thinks", row.name, case)
    fault = case.fault(4 if case.in_middle else 0)
    _agree(run_on_wires(think(row, [fault], other=False)), once)
    _agree(run_on_wires(think(row, [fault] * _OFTEN, other=True)), always)


@pytest.mark.parametrize("case", CASES, ids=_named(CASES))
@pytest.mark.parametrize("row", SPEAKING, ids=[row.name for row in SPEAKING])
def test_a_voice(row: Speaking, case: Case) -> None:
    once, always = _expected(f"speaks over {_over(row)}", row.name, case)
    fault = case.fault(row.greets + 1 if case.in_middle else 0)
    if fault.kind == "trickle":
        fault = trickle(1009)  # audio is long
    _agree(run_on_wires(speak(row, [fault], other=False)), once)
    _agree(run_on_wires(speak(row, [fault] * _OFTEN, other=True)), always)


def _over(row: Speaking) -> str:
    return "HTTP" if row.over == "HTTP" else "a socket"


# --- wrong order, wherever it is ---


@pytest.mark.parametrize("row", HEARING, ids=[row.name for row in HEARING])
def test_no_word_is_heard_twice_or_lost_whichever_messages_are_exchanged(row: Hearing) -> None:
    for at in range(max(0, row.middle - 3), row.middle + 4):
        outcome = run_on_wires(hear(row, [swap(at)], other=False))
        assert outcome.whole and not outcome.told, (at, outcome)


@pytest.mark.parametrize("row", SPEAKING, ids=[row.name for row in SPEAKING])
def test_all_is_spoken_or_the_fault_is_told_whichever_messages_are_exchanged(row: Speaking) -> None:
    for at in range(16):
        outcome = run_on_wires(speak(row, [swap(at)], other=False))
        assert not outcome.wrong and (outcome.whole or outcome.told), (at, outcome)


@pytest.mark.parametrize("row", THINKING, ids=[row.name for row in THINKING])
def test_words_that_an_llm_exchanges_are_said_as_they_came(row: Thinking) -> None:
    """Nothing numbers them; but none is lost, and what frames them may not be out of order."""
    for at in range(7):
        outcome = run_on_wires(think(row, [swap(at)], other=False))
        if not outcome.whole and not outcome.told:
            assert sorted(outcome.wrong.split()) == sorted(ANSWER.split()) or (
                len(outcome.wrong) == len(ANSWER)
            ), (at, outcome)


def test_every_fault_is_tried() -> None:
    tried = {case.fault(1).kind for case in CASES}
    assert tried == set(KINDS) - {"error"}, "the vendors' own errors stand in their own tests"


# --- the page ---

_MEANS: Final = {"again": "again", "told": "told", "other": "next", "whole": "unnoticed"}


def table() -> str:
    """The table of docs/providers.md: `once` / `always, with a fallback`."""
    lines = [
        f"| fault | {' | '.join(COLUMNS)} |",
        "| --- " * (len(COLUMNS) + 1) + "|",
    ]
    for case in CASES:
        cells = (_cell(*column[case.title]) for column in COLUMNS.values())
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(once: str, always: str) -> str:
    first, second = _words(once), _words(always)
    return first if first == second else f"{first} / {second}"


def _words(end: str) -> str:
    what, _, code = end.partition(" ")
    if what not in _MEANS:
        return end
    return f"{_MEANS[what]} `{code}`" if code else _MEANS[what]


def test_the_page_shows_the_table() -> None:
    assert table() in DOCS.read_text(encoding="utf-8"), f"write this into {DOCS.name}:\n{table()}"
