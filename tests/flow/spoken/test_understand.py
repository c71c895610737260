"""What callers say and what recognisers write, type by type, against the one value it means."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import FlowError
from flowengine.flow.spoken import TYPES, keyed, understand

pytestmark = pytest.mark.unit

TODAY = dt.date(2026, 11, 24)
"""A Tuesday."""

Rows = list[tuple[str, object | None]]


def _said(type_name: str, text: str, **options: str) -> object | None:
    return understand(type_name, text, today=TODAY, **options)


DIGITS: Rows = [
    ("four seven two nine", "4729"),
    ("472916", "472916"),
    ("4 7 2, 9 1", "47291"),
    ("4-7-2", "472"),
    ("four. Seven. Two.", "472"),
    ("my number is 472916", "472916"),
    ("my account number is zero zero seven", "007"),
    ("um it's 555-123-4567 please", "5551234567"),
    ("(555) 123-4567", "5551234567"),
    ("double five oh triple nine", "550999"),
    ("oh one two", "012"),
    ("o one two", "012"),
    ("forty two", "42"),
    ("forty two seventeen", "4217"),
    ("four forty two nine", "4429"),
    ("twenty twenty", "2020"),
    ("thirty", "30"),
    ("one eight hundred five five five one two", "180055512"),
    ("three thousand", "3000"),
    ("four 7 two 9", "4729"),
    ("1,234", "1234"),
    ("eh four uh seven", "47"),
    ("one hundred twenty three", None),
    ("eight hundred five", None),
    ("four banana", None),
    ("double", None),
    ("double banana", None),
    ("please", None),
    ("four or five", None),
    ("", None),
]

NUMBERS: Rows = [
    ("forty two", 42),
    ("twenty-one", 21),
    ("minus three point five", -3.5),
    ("negative ten", -10),
    ("-5", -5),
    ("3.5", 3.5),
    ("1,234.50", 1234.5),
    ("zero", 0),
    ("zero point zero five", 0.05),
    ("three point one four", 3.14),
    ("the twenty first", 21),
    ("21st", 21),
    ("third", 3),
    ("a dozen", 12),
    ("a hundred", 100),
    ("one hundred and five", 105),
    ("two thousand and twenty six", 2026),
    ("one hundred thousand", 100_000),
    ("one million two hundred thousand", 1_200_000),
    ("1.5 million", 1_500_000),
    ("two and a half", 2.5),
    ("ninety nine percent", 99),
    ("for five people please", 5),
    ("party of six", 6),
    ("there are four of us", 4),
    ("it's three", 3),
    ("five six", None),
    ("nineteen ninety", None),
    ("two hundred three hundred", None),
    ("3 apples", None),
    ("banana", None),
    ("many", None),
    ("1,23", None),
]

MONEY: Rows = [
    ("twelve dollars fifty", 12.5),
    ("twelve dollars and fifty cents", 12.5),
    ("12 dollars and 50 cents", 12.5),
    ("$12.50", 12.5),
    ("$ 20", 20),
    ("$1,234.56", 1234.56),
    ("€12,50", 12.5),
    ("12,50 €", 12.5),
    ("1.234,56 €", 1234.56),
    ("1,000", 1000),
    ("45", 45),
    ("fifty cents", 0.5),
    ("a dollar", 1),
    ("a hundred bucks", 100),
    ("twelve hundred dollars", 1200),
    ("1.5 million dollars", 1_500_000),
    ("two grand", 2000),
    ("twelve and a half dollars", 12.5),
    ("five pounds twenty", 5.2),
    ("it's about twenty euros please", 20),
    ("minus five dollars", -5),
    ("-$5", -5),
    ("one dollar and one cent", 1.01),
    ("twelve fifty", None),
    ("12 dollars 5", None),
    ("12.505", None),
    ("five dollars ten euros", None),
    ("a lot of money", None),
]

DATES: Rows = [
    ("today", "2026-11-24"),
    ("tomorrow", "2026-11-25"),
    ("the day after tomorrow", "2026-11-26"),
    ("yesterday", "2026-11-23"),
    ("monday", "2026-11-30"),
    ("on Monday, please.", "2026-11-30"),
    ("tuesday", "2026-12-01"),
    ("this friday", "2026-11-27"),
    ("next friday", "2026-12-04"),
    ("next tuesday", "2026-12-01"),
    ("how about next thursday please", "2026-12-03"),
    ("a week from friday", "2026-12-04"),
    ("in two weeks", "2026-12-08"),
    ("in 3 days", "2026-11-27"),
    ("ten days from now", "2026-12-04"),
    ("in a month", "2026-12-24"),
    ("three days ago", "2026-11-21"),
    ("the fifth of june", "2027-06-05"),
    ("june fifth", "2027-06-05"),
    ("June 5th", "2027-06-05"),
    ("june the fifth", "2027-06-05"),
    ("5 june", "2027-06-05"),
    ("june 5 2027", "2027-06-05"),
    ("June 5, 2027", "2027-06-05"),
    ("5th of june 2028", "2028-06-05"),
    ("june fifth twenty twenty eight", "2028-06-05"),
    ("january first two thousand and twenty seven", "2027-01-01"),
    ("april third nineteen eighty five", "1985-04-03"),
    ("the third of may nineteen oh five", "1905-05-03"),
    ("saturday june 5th", "2027-06-05"),
    ("the 21st", "2026-12-21"),
    ("on the thirtieth", "2026-11-30"),
    ("november twenty fourth", "2026-11-24"),
    ("november twenty third", "2027-11-23"),
    ("february twenty ninth", "2028-02-29"),
    ("2026-12-31", "2026-12-31"),
    ("01/31/2027", "2027-01-31"),
    ("1/31", "2027-01-31"),
    ("31/1", "2027-01-31"),
    ("31.01.2027", "2027-01-31"),
    ("12/25/26", "2026-12-25"),
    ("7/4/85", "1985-07-04"),
    ("friday june 5th", None),
    ("february 30", None),
    ("june", None),
    ("next week", None),
    ("five", None),
    ("someday", None),
    ("monday or tuesday", None),
]

TIMES: Rows = [
    ("half past three", "15:30"),
    ("quarter past twelve", "12:15"),
    ("quarter to five in the afternoon", "16:45"),
    ("quarter to nine", "08:45"),
    ("quarter to eight", "19:45"),
    ("twenty to six", "17:40"),
    ("five past nine", "09:05"),
    ("ten minutes past four", "16:10"),
    ("half three", "15:30"),
    ("three thirty pm", "15:30"),
    ("three thirty", "15:30"),
    ("3:30 p.m.", "15:30"),
    ("3:30", "15:30"),
    ("3.30pm", "15:30"),
    ("3 p. m.", "15:00"),
    ("3pm", "15:00"),
    ("330 pm", "15:30"),
    ("03:30", "03:30"),
    ("15:30", "15:30"),
    ("1530", "15:30"),
    ("0900", "09:00"),
    ("fifteen hundred", "15:00"),
    ("fifteen thirty", "15:30"),
    ("noon", "12:00"),
    ("midnight", "00:00"),
    ("twelve noon", "12:00"),
    ("twelve thirty", "12:30"),
    ("12 am", "00:00"),
    ("12 pm", "12:00"),
    ("10 o'clock", "10:00"),
    ("ten o'clock in the morning", "10:00"),
    ("ten at night", "22:00"),
    ("two in the morning", "02:00"),
    ("six thirty in the morning", "06:30"),
    ("eight in the evening", "20:00"),
    ("seven", "19:00"),
    ("eight", "08:00"),
    ("three oh five", "15:05"),
    ("at around 4 pm please", "16:00"),
    ("nine forty five a m", "09:45"),
    ("18", "18:00"),
    ("seven am in the evening", None),
    ("15:30 am", None),
    ("25:00", None),
    ("3:75", None),
    ("twenty five past", None),
    ("soon", None),
    ("three or four", None),
]

DATETIMES: Rows = [
    ("tomorrow at three", "2026-11-25T15:00"),
    ("june fifth 6 pm", "2027-06-05T18:00"),
    ("monday at six pm", "2026-11-30T18:00"),
    ("at noon on friday", "2026-11-27T12:00"),
    ("tonight at eight", "2026-11-24T20:00"),
    ("tomorrow morning at nine", "2026-11-25T09:00"),
    ("this afternoon at three", "2026-11-24T15:00"),
    ("next tuesday half past three", "2026-12-01T15:30"),
    ("june 5 2027 at 10:30 am", "2027-06-05T10:30"),
    ("in two weeks at noon", "2026-12-08T12:00"),
    ("2026-01-31T18:00", "2026-01-31T18:00"),
    ("2026-13-31T18:00", None),
    ("tomorrow", None),
    ("at three", None),
    ("whenever", None),
]

BOOLEANS: Rows = [
    ("yes", True),
    ("Yeah, that's right.", True),
    ("uh huh", True),
    ("mm hmm", True),
    ("sure, of course", True),
    ("Yes, please.", True),
    ("that is correct", True),
    ("no problem", True),
    ("no", False),
    ("No, thanks.", False),
    ("nope", False),
    ("not really", False),
    ("uh-uh", False),
    ("no that's wrong", False),
    ("I don't think so", False),
    ("that is not correct", False),
    ("of course not", False),
    ("yes and no", None),
    ("yes but on monday", None),
    ("i don't know", None),
    ("maybe", None),
    ("um", None),
]

EMAILS: Rows = [
    ("john dot smith at gmail dot com", "john.smith@gmail.com"),
    ("John.Smith@Gmail.com", "john.smith@gmail.com"),
    ("john.smith at gmail.com.", "john.smith@gmail.com"),
    ("john smith at gmail dot com", "johnsmith@gmail.com"),
    ("my email is j o h n at example dot com please", "john@example.com"),
    ("j-o-h-n at example.com", "john@example.com"),
    ("mary underscore jones ninety nine at yahoo dot co dot uk", "mary_jones99@yahoo.co.uk"),
    ("anna dash lena at web dot de", "anna-lena@web.de"),
    ("b as in boy ob at x dot org", "bob@x.org"),
    ("joe plus news at example dot org", "joe+news@example.org"),
    ("sure you can reach me on john at gmail dot com", None),
    ("john at smith at gmail dot com", None),
    ("john at gmail", None),
    ("gmail dot com", None),
    ("I have none", None),
]

NAMES: Rows = [
    ("my name is john smith", "John Smith"),
    ("It's Anne-Marie O'Neil, thanks.", "Anne-Marie O'Neil"),
    ("this is McDonald", "McDonald"),
    ("um my last name is o'brien", "O'Brien"),
    ("JOHN SMITH", "John Smith"),
    ("ludwig van beethoven", "Ludwig van Beethoven"),
    ("Call me Bob.", "Bob"),
    ("yes", None),
    ("i don't know", None),
    ("12345", None),
    ("I want to speak to a person", None),
]

TABLES = {
    "digits": DIGITS,
    "number": NUMBERS,
    "money": MONEY,
    "date": DATES,
    "time": TIMES,
    "datetime": DATETIMES,
    "boolean": BOOLEANS,
    "email": EMAILS,
    "name": NAMES,
}


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [(type_name, text, value) for type_name, rows in TABLES.items() for text, value in rows],
)
def test_said(type_name: str, text: str, value: object | None) -> None:
    understood = _said(type_name, text)
    assert understood == value
    assert type(understood) is type(value)


@pytest.mark.parametrize(
    ("text", "region", "value"),
    [
        ("five five five one two three four five six seven", "US", "+15551234567"),
        ("my number is (415) 555-2671", "US", "+14155552671"),
        ("1-800-555-0199", "US", "+18005550199"),
        ("+33 6 11 11 11 11", "US", "+33611111111"),
        ("06 11 11 11 11", "FR", "+33611111111"),
        ("zero six eleven eleven eleven eleven", "FR", "+33611111111"),
        ("plus four nine one seven zero one two three four five six seven", "US", "+491701234567"),
        ("one two three", "US", None),
        ("415-555-2671 extension 5", "US", None),
        ("banana", "US", None),
    ],
)
def test_phone(text: str, region: str, value: str | None) -> None:
    assert _said("phone", text, region=region) == value


@pytest.mark.parametrize(
    ("text", "language", "value"),
    [
        ("ja genau", "de-DE", True),
        ("nein danke", "de-DE", False),
        ("das stimmt nicht", "de", False),
        ("oui", "fr-FR", True),
        ("non merci", "fr-FR", False),
        ("sí, claro", "es-ES", True),
        ("para nada", "es-ES", False),
        ("dat klopt", "nl-NL", True),
        ("nee", "nl-NL", False),
        ("ja", "en-US", None),
    ],
)
def test_yes_and_no_elsewhere(text: str, language: str, value: bool | None) -> None:
    assert _said("boolean", text, language=language) is value


def test_regions_and_languages_of_written_forms() -> None:
    assert _said("date", "3/4", region="US") == "2027-03-04"
    assert _said("date", "3/4", region="GB") == "2027-04-03"
    assert _said("number", "1.234,5", language="de-DE") == 1234.5
    assert _said("number", "1,234.5", language="de-DE") is None


def test_integers_are_whole() -> None:
    assert _said("integer", "forty two") == 42
    assert _said("integer", "3.5") is None


@pytest.mark.parametrize("type_name", ["string", "text", "address"])
def test_words_are_kept_as_they_are(type_name: str) -> None:
    assert _said(type_name, "  12 Main  Street, please ") == "12 Main Street, please"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("billing", "billing"),
        ("it's about my order status", "order_status"),
        ("biling", "billing"),
        ("the other one", "other"),
        ("not billing", None),
        ("elephants", None),
    ],
)
def test_members_of_an_enum(text: str, value: str | None) -> None:
    enum = ["billing", "order_status", "other"]
    assert understand("string", text, today=TODAY, enum=enum) == value


def test_an_enum_of_other_types_admits_only_its_members() -> None:
    assert understand("digits", "one", today=TODAY, enum=["1", "2"]) == "1"
    assert understand("digits", "three", today=TODAY, enum=["1", "2"]) is None


@pytest.mark.parametrize("type_name", ["recording", "list", "object", "nonsense"])
def test_other_types_are_refused(type_name: str) -> None:
    with pytest.raises(FlowError) as said:
        _said(type_name, "x")
    with pytest.raises(FlowError) as pressed:
        keyed(type_name, "1", today=TODAY)
    assert said.value.code == pressed.value.code == "type_not_spoken"


@pytest.mark.parametrize(
    ("type_name", "keys", "region", "value"),
    [
        ("digits", "0042", "US", "0042"),
        ("digits", "4*2", "US", None),
        ("integer", "0042", "US", 42),
        ("number", "12*5", "US", 12.5),
        ("money", "12*50", "US", 12.5),
        ("money", "12", "US", 12),
        ("money", "*50", "US", 0.5),
        ("money", "1*2*3", "US", None),
        ("money", "*", "US", None),
        ("boolean", "1", "US", True),
        ("boolean", "2", "US", False),
        ("boolean", "3", "US", None),
        ("date", "06052027", "US", "2027-06-05"),
        ("date", "05062027", "DE", "2027-06-05"),
        ("date", "0605", "US", "2027-06-05"),
        ("date", "0506", "DE", "2027-06-05"),
        ("date", "1301", "US", None),
        ("date", "605", "US", None),
        ("time", "1530", "US", "15:30"),
        ("time", "2460", "US", None),
        ("time", "930", "US", None),
        ("datetime", "060520271530", "US", "2027-06-05T15:30"),
        ("datetime", "06051530", "US", "2027-06-05T15:30"),
        ("phone", "4155552671", "US", "+14155552671"),
        ("phone", "0611111111", "FR", "+33611111111"),
        ("phone", "12", "US", None),
        ("string", "12", "US", "12"),
        ("name", "12", "US", None),
        ("email", "12", "US", None),
        ("digits", "", "US", None),
    ],
)
def test_keyed(type_name: str, keys: str, region: str, value: object | None) -> None:
    assert keyed(type_name, keys, today=TODAY, region=region) == value


@given(st.sampled_from(TYPES), st.text(max_size=60))
def test_any_words_are_taken_without_an_error(type_name: str, text: str) -> None:
    value = _said(type_name, text)
    assert value is None or isinstance(value, str | int | float | bool)


_SOME_WORDS = st.sampled_from(
    [
        "one",
        "two",
        "twenty",
        "hundred",
        "thousand",
        "and",
        "point",
        "half",
        "past",
        "to",
        "quarter",
        "pm",
        "am",
        "june",
        "fifth",
        "monday",
        "next",
        "in",
        "weeks",
        "at",
        "dot",
        "com",
        "dollars",
        "cents",
        "double",
        "oh",
        "the",
        "of",
        "minus",
        "5",
        "12",
        "3:30",
        "31/1",
        "$",
        "%",
        "+",
        "@",
        "as",
        "for",
    ]
)


@given(st.sampled_from(TYPES), st.lists(_SOME_WORDS, max_size=7))
def test_any_mix_of_known_words_is_taken_without_an_error(type_name: str, words: list[str]) -> None:
    value = _said(type_name, " ".join(words))
    assert value is None or isinstance(value, str | int | float | bool)


@given(st.sampled_from(TYPES), st.text(alphabet="0123456789*#ABCD", max_size=14))
def test_any_keys_are_taken_without_an_error(type_name: str, keys: str) -> None:
    value = keyed(type_name, keys, today=TODAY)
    assert value is None or isinstance(value, str | int | float | bool)
