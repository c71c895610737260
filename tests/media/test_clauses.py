"""Where a reply is cut for the voice; above all, that nothing is lost and no number is torn."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.media.clauses import IDLE_MS, LONGEST_CHARS, ClauseCutter

pytestmark = pytest.mark.unit


def _cut(text: str, *, step: int = 4, language: str = "en-US") -> list[str]:
    """The parts of a text that comes in tokens of `step` characters, fast."""
    cutter = ClauseCutter(language)
    parts = []
    for at in range(0, len(text), step):
        parts += cutter.push(text[at : at + step], at)
    return parts + cutter.finish()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Hello.", ["Hello."]),
        ("Sure. I can help.", ["Sure. ", "I can help."]),
        ("Really? Yes! Good.", ["Really? ", "Yes! ", "Good."]),
        ("First this; then that.", ["First this; ", "then that."]),
        ("Of course I can, one moment. Bye.", ["Of course I can, ", "one moment. ", "Bye."]),
        ("Well, of course I can do that.", ["Well, of course I can do that."]),
        ("Here you are now: three, four.", ["Here you are now: ", "three, four."]),
        ("One moment please – thank you.", ["One moment please – ", "thank you."]),
        ("Yes. One thing, two things, all.", ["Yes. ", "One thing, two things, all."]),
        ('He said "no." Then he left.', ['He said "no." ', "Then he left."]),
        ("Wait... what? Fine.", ["Wait... ", "what? ", "Fine."]),
        ("您好。請問您需要什麼？謝謝！", ["您好。", "請問您需要什麼？", "謝謝！"]),
        (
            "Your options:\nOne\nTwo",
            ["Your options:\n", "One\n", "Two"],
        ),
    ],
)
def test_parts(text: str, parts: list[str]) -> None:
    assert _cut(text) == parts
    assert _cut(text, step=1) == parts


@pytest.mark.parametrize(
    "text",
    [
        "It is 1,000.50 now",
        "Only 3.5 of them",
        "Pay $12.50 today",
        "Ring 4, 7, 2, 9 now",
        "Mail john.smith@example.com today",
        "See https://a.example/b?c=1;d=2 there",
        "Ask Dr. Smith there",
        "Ask Mr. Jones there",
        "On Main St. Paul waits",
        "Fruit, e.g. apples",
        "At 3 p.m. today",
        "At 8 a.m. sharp",
        "It is No. 5 here",
        "J. R. Smith is in",
    ],
)
def test_no_sentence_ends_there(text: str) -> None:
    for step in (1, 3, 7, 100):
        parts = _cut("Yes. " + text + ". Bye.", step=step)
        assert parts == ["Yes. ", text + ". ", "Bye."]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de-DE", "Am 5. Juni um 15 Uhr"),
        ("de-DE", "Fragen Sie Fr. Meier"),
        ("de-DE", "Obst, z.B. Birnen"),
        ("fr-FR", "Voyez Mme. Dupont"),
        ("es-ES", "Hable con la Sra. García"),
        ("nl-NL", "Vraag het mevr. Jansen"),
    ],
)
def test_abbreviations_elsewhere(language: str, text: str) -> None:
    assert _cut("Ja. " + text + ". Gut.", language=language) == ["Ja. ", text + ". ", "Gut."]


def test_an_abbreviation_may_end_a_sentence() -> None:
    parts = _cut("We close at 5 p.m. Please come early.")
    assert parts == ["We close at 5 p.m. ", "Please come early."]


def test_said_no_ends_a_sentence() -> None:
    assert _cut("I said no. Then I left.") == ["I said no. ", "Then I left."]


def test_the_first_part_is_cut_at_a_space_after_60_characters() -> None:
    first, *_ = _cut("word " * 40)
    assert 60 <= len(first) <= 66
    assert first.endswith(" ")


def test_later_parts_are_at_most_120_characters() -> None:
    parts = _cut("Yes. " + "and so on it goes " * 30)
    assert max(map(len, parts[1:])) <= LONGEST_CHARS
    assert all(part.endswith(" ") for part in parts)


def test_the_space_cut_spares_numbers_and_amounts() -> None:
    lead = "we have looked at all that and the sum of it comes to just"
    for number in ("12 345 678 dollars", "$ 45 000", "3:30 p.m. sharp", "20 dollars", "45 €"):
        parts = _cut(f"{lead} {number} so there it is and nothing more")
        joined = [part for part in parts if number.split(" sharp")[0] in part]
        assert joined, parts


def test_idle_cuts_the_first_part_at_its_last_space() -> None:
    cutter = ClauseCutter()
    assert cutter.deadline_ms is None
    assert cutter.push("I can che", 1000) == []
    assert cutter.deadline_ms == 1000 + IDLE_MS
    assert cutter.tick(1119) == []
    assert cutter.tick(1120) == ["I can "]
    assert cutter.deadline_ms is None
    assert cutter.push("ck that for", 1300) == []
    assert cutter.deadline_ms is None
    assert cutter.finish() == ["check that for"]


def test_a_new_token_moves_the_deadline() -> None:
    cutter = ClauseCutter()
    cutter.push("I can", 0)
    cutter.push(" help", 100)
    assert cutter.deadline_ms == 220


def test_idle_releases_a_finished_sentence_later_too() -> None:
    cutter = ClauseCutter()
    assert cutter.push("Sure. Let me look that up.", 0) == ["Sure. "]
    assert cutter.deadline_ms == IDLE_MS
    assert cutter.tick(IDLE_MS) == ["Let me look that up."]
    assert cutter.finish() == []


@pytest.mark.parametrize("text", ["It costs 12", "It costs $", "Ask Dr.", "At 3 p"])
def test_idle_does_not_tear_what_may_go_on(text: str) -> None:
    cutter = ClauseCutter()
    cutter.push(text, 0)
    head = text.rsplit(" ", 1)[0]
    expected = ["At "] if text == "At 3 p" else [head + " "]
    assert cutter.tick(IDLE_MS) == expected


def test_text_without_a_place_to_cut_is_cut_in_the_end() -> None:
    parts = _cut("x" * 2500, step=100)
    assert max(map(len, parts)) <= 1100
    assert len(parts) >= 2


_TEXT = st.text(alphabet=st.sampled_from("ab1, .!?;:–。，$€@\n Dr"), max_size=200) | st.text(
    max_size=200
)


@given(st.lists(_TEXT, max_size=12), st.lists(st.integers(0, 400), max_size=12))
def test_joined_parts_are_the_text(tokens: list[str], pauses: list[int]) -> None:
    cutter = ClauseCutter()
    now, parts = 0, []
    for at, token in enumerate(tokens):
        parts += cutter.push(token, now)
        due = cutter.deadline_ms
        assert due is None or due > now or not token
        now += pauses[at % len(pauses)] if pauses else 10
        parts += cutter.tick(now)
    parts += cutter.finish()
    assert "".join(parts) == "".join(tokens)
    assert "" not in parts


_PIECES = st.sampled_from(
    ["1,000.50", "3.5", "$12.50", "€9,99", "john.smith@example.com", "https://x.example/a?b=1,2"]
    + ["Dr. Smith", "Mr. Ray", "e.g. tea", "word", "another", "so, then", "really?", "fine."]
)


@given(st.lists(_PIECES, min_size=1, max_size=30), st.integers(1, 9))
def test_no_part_tears_a_number_an_address_or_a_title(pieces: list[str], step: int) -> None:
    text = " ".join(pieces)
    parts = _cut(text, step=step)
    cuts, at = set(), 0
    for part in parts[:-1]:
        at += len(part)
        cuts.add(at)
    guarded = re.compile(r"\S*(?:\d[.,]\d|@|://)\S*|(?:Dr|Mr|e\.g)\. (?=\w)")
    for found in guarded.finditer(text):
        assert not cuts & set(range(found.start() + 1, found.end())), (text, parts)
        if found[0].endswith(" "):
            assert found.end() not in cuts


@given(st.text(max_size=300), st.integers(1, 5))
def test_the_size_of_tokens_does_not_matter_for_sentences(text: str, step: int) -> None:
    parts = _cut(text, step=step)
    assert "".join(parts) == text
