"""What is taken out of words, and what is left in them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowengine.runtime.redaction import redact, redacted_turns, regions_of
from flowengine.runtime.transcript import TranscriptTurn

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("My card is 4111 1111 1111 1111, thanks.", "My card is [card], thanks."),
        ("4-1-1-1 1111 1111 1111 and code 123", "[card] and code 123"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[card]"),
        ("378282246310005", "[card]"),
        ("Write to jane.doe+x@mail.example.com.", "Write to [email]."),
        ("It is jane dot doe at example dot com", "It is [email]"),
        ("GB29 NWBK 6016 1331 9268 19 please", "[iban] please"),
        ("de89370400440532013000", "[iban]"),
        ("AB12 DE89 3704 0044 0532 0130 00", "AB12 [iban]"),
        ("Call +33 6 12 34 56 78 or 415 555 0132", "Call [phone] or [phone]"),
        ("415 555 0132 and 415 555 0199", "[phone] and [phone]"),
        # Two numbers that are a card's when they are read as one.
        ("415 555 0132, 415 555 0199", "[card]"),
    ],
)
def test_what_tells_who_somebody_is_goes(text: str, left: str) -> None:
    assert redact(text, ("US",)) == left


@pytest.mark.parametrize(
    "text",
    [
        "Order 4111 1111 1111 1112, in 2026-11-26 at 10:30.",
        "GB28 NWBK 6016 1331 9268 19",
        "I am at home, dot com.",
        "It costs 1,234,567 dollars.",
        "415 555 0132",
        "ZZ89370400440532013000",
    ],
)
def test_what_does_not_stays(text: str) -> None:
    assert redact(text) == text


def with_luhn(digits: str) -> str:
    """The digits with the one that makes them a card's."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(sum(divmod(value, 10)) for value in doubled) % 10)


def with_iban_check(country: str, rest: str) -> str:
    """An IBAN whose checksum is right."""
    value = int("".join(str(int(char, 36)) for char in f"{rest}{country}00"))
    return f"{country}{98 - value % 97:02d}{rest}"


cards = st.text("0123456789", min_size=12, max_size=18).map(with_luhn)
ibans = st.text("0123456789ABCXYZ", min_size=18, max_size=18).map(
    lambda rest: with_iban_check("DE", rest)
)
emails = st.emails(domains=st.sampled_from(["example.com", "mail.example.org"])).filter(
    lambda mail: all(char.isalnum() or char in "._+-@" for char in mail)
)
phones = st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)).map(
    lambda region: phonenumbers.format_number(
        phonenumbers.example_number(region) or phonenumbers.parse("+14155550132"),
        phonenumbers.PhoneNumberFormat.E164,
    )
)
words = st.text("abcdefghij klmno,.", max_size=20)


def spaced(number: str, cuts: list[int]) -> str:
    """The number with a space at each of these places."""
    return "".join(
        f" {char}" if place in cuts and place else char for place, char in enumerate(number)
    )


@given(words, st.one_of(cards, ibans), st.lists(st.integers(1, 33), max_size=8), words)
def test_a_number_goes_however_it_is_spaced(
    before: str, number: str, cuts: list[int], after: str
) -> None:
    told = redact(f"{before} {spaced(number, cuts)} {after}")
    assert not any(char.isdigit() for char in told)


@given(words, st.one_of(emails, phones), words)
def test_an_address_goes_among_any_words(before: str, address: str, after: str) -> None:
    assert address not in redact(f"{before} {address} {after}")


@given(st.lists(st.one_of(cards, ibans, emails, phones), min_size=1, max_size=4))
def test_neighbours_leave_nothing_of_each_other(found: list[str]) -> None:
    told = redact(" ".join(found))
    assert not any(one in told for one in found)


@given(st.text())
@example("a@b.co4111111111111111")
@example("٤١١١١١١١١١١١١١١١")
@example("+" * 50 + "1" * 400)
def test_any_text_can_be_redacted_and_is_then_done(text: str) -> None:
    told = redact(text, ("US", "FR"))
    assert redact(told, ("US", "FR")) == told


@given(words)
def test_words_alone_are_left_alone(text: str) -> None:
    assert redact(text) == text


def test_a_transcript_knows_the_countries_of_its_call() -> None:
    turn = TranscriptTurn(0, "bot", "Is it 06 12", "n", whole="Is it 06 12 34 56 78?")
    (told,) = redacted_turns([turn], "anonymous", "+33123456789")
    assert (told.text, told.whole, told.node) == ("Is it 06 12", "Is it [phone]?", "n")
    assert regions_of("+33123456789", "sip:x", "+33123456788", "+4930123456") == ("FR", "DE")
