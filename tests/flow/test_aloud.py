"""Values read aloud, in five languages, and understood again in English."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.flow import aloud
from flowengine.flow.spoken import understand

pytestmark = pytest.mark.unit

TODAY = dt.date(2026, 11, 24)


@pytest.mark.parametrize(
    ("value", "text"),
    [("4729", "4 7 2 9"), ("555-0199", "5 5 5 0 1 9 9"), ("+33 6", "plus 3 3 6"), (42, "4 2")],
)
def test_digits(value: str | int, text: str) -> None:
    assert aloud.digits(value) == text


def test_spell() -> None:
    assert aloud.spell("Ann 4b") == "A, N, N. 4, B"
    assert aloud.spell("a_b@c.de") == "A, underscore, B, at, C, dot, D, E"
    assert aloud.spell("!") == ""


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en-US", "Saturday, January 31"),
        ("en-GB", "Saturday, 31 January"),
        ("de-DE", "Samstag, der 31. Januar"),
        ("fr-FR", "samedi 31 janvier"),
        ("es-ES", "sábado, 31 de enero"),
        ("nl-NL", "zaterdag 31 januari"),
        ("xx", "Saturday, January 31"),
    ],
)
def test_date(language: str, text: str) -> None:
    assert aloud.date("2026-01-31", language) == text


def test_date_forms() -> None:
    assert aloud.date(dt.date(2026, 1, 31)) == "Saturday, January 31"
    assert aloud.date("2026-01-31T18:00") == "Saturday, January 31"
    assert aloud.date("2027-01-31", today=TODAY) == "Sunday, January 31"
    assert aloud.date("2028-01-31", today=TODAY) == "Monday, January 31, 2028"
    assert aloud.date("2028-01-31", "de-DE", today=TODAY) == "Montag, der 31. Januar 2028"
    assert aloud.date("2027-03-01", "fr-FR") == "lundi 1er mars"


@pytest.mark.parametrize(
    ("value", "language", "text"),
    [
        ("15:30", "en-US", "3:30 PM"),
        ("15:00", "en-US", "3 PM"),
        ("09:05", "en-US", "9:05 AM"),
        ("00:30", "en-US", "12:30 AM"),
        ("12:00", "en-US", "noon"),
        ("00:00", "en-US", "midnight"),
        ("2026-01-31T18:00", "en-US", "6 PM"),
        ("15:30", "de-DE", "15 Uhr 30"),
        ("15:00", "de-DE", "15 Uhr"),
        ("15:30", "fr-FR", "15 heures 30"),
        ("01:00", "fr-FR", "1 heure"),
        ("15:30", "es-ES", "15:30"),
        ("15:00", "es-ES", "15 en punto"),
        ("15:30", "nl-NL", "15 uur 30"),
    ],
)
def test_time(value: str, language: str, text: str) -> None:
    assert aloud.time(value, language) == text


@pytest.mark.parametrize(
    ("value", "currency", "language", "text"),
    [
        (12.5, "USD", "en-US", "12 dollars and 50 cents"),
        (12, "USD", "en-US", "12 dollars"),
        (1, "USD", "en-US", "1 dollar"),
        (1.01, "USD", "en-US", "1 dollar and 1 cent"),
        (0.5, "USD", "en-US", "50 cents"),
        (0, "USD", "en-US", "0 dollars"),
        (-3, "USD", "en-US", "minus 3 dollars"),
        (12.5, "GBP", "en-US", "12 pounds and 50 pence"),
        (12.5, None, "en-GB", "12 pounds and 50 pence"),
        (12.5, None, "en-US", "12 dollars and 50 cents"),
        (12.5, "JPY", "en-US", "12.50 JPY"),
        (12.5, None, "de-DE", "12 Euro und 50 Cent"),
        (12.5, None, "fr-FR", "12 euros et 50 centimes"),
        (0, None, "fr-FR", "0 euro"),
        (12.5, "EUR", "es-ES", "12 euros con 50 céntimos"),
        (12.5, None, "nl-NL", "12 euro en 50 cent"),
        (0.29, "USD", "en-US", "29 cents"),
    ],
)
def test_money(value: float, currency: str | None, language: str, text: str) -> None:
    assert aloud.money(value, currency, language) == text


@given(st.text(alphabet="0123456789", min_size=1, max_size=16))
def test_digits_are_understood_again(value: str) -> None:
    assert understand("digits", aloud.digits(value), today=TODAY) == value


@given(st.dates(dt.date(1950, 1, 1), dt.date(2060, 1, 1)), st.dates(TODAY, dt.date(2040, 1, 1)))
def test_dates_are_understood_again(value: dt.date, today: dt.date) -> None:
    for language in ("en-US", "en-GB"):
        text = aloud.date(value, language, today=today)
        assert understand("date", text, today=today) == value.isoformat()


@given(st.times())
def test_times_are_understood_again(value: dt.time) -> None:
    text = aloud.time(value)
    assert understand("time", text, today=TODAY) == value.isoformat("minutes")


@given(st.integers(-10_000_000, 10_000_000), st.sampled_from(["USD", "EUR", "GBP"]))
def test_money_is_understood_again(cents: int, currency: str) -> None:
    text = aloud.money(cents / 100, currency)
    assert understand("money", text, today=TODAY) == pytest.approx(cents / 100)


@given(st.dates(TODAY, dt.date(2027, 11, 1)), st.times())
def test_moments_are_understood_again(date: dt.date, time: dt.time) -> None:
    text = f"{aloud.date(date, today=TODAY)} at {aloud.time(time)}"
    expected = f"{date.isoformat()}T{time.isoformat('minutes')}"
    assert understand("datetime", text, today=TODAY) == expected
