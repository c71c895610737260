"""What a flow and a routing table may know of a caller: number, country, or that it is withheld."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.runtime.caller import country, is_withheld, number, prepare_countries

pytestmark = pytest.mark.unit

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("+33140506070", "FR"),
        ("+14155550100", "US"),
        ("+14165550100", "CA"),
        ("+77012345678", "KZ"),
        ("+79161234567", "RU"),
        ("+80012345678", "001"),
        ("+999123456", ""),
        ("+331", ""),
        ("+33" + "1" * 18, ""),
        ("", ""),
        ("anonymous", ""),
        ("+33 1 40", "FR"),
    ],
)
def test_the_country_of_a_number(address: str, wanted: str) -> None:
    assert country(address) == wanted


@given(st.sampled_from(CODES), st.from_regex(r"\A[0-9]{0,18}\Z"))
def test_the_country_is_what_the_library_says_of_the_whole_number(code: int, rest: str) -> None:
    address = f"+{code}{rest}"
    try:
        parsed = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException:
        wanted = ""
    else:
        wanted = phonenumbers.region_code_for_number(parsed) or ""
    assert country(address) == wanted


def test_preparing_changes_no_country() -> None:
    prepare_countries()
    assert (country("+14155550100"), country("+14165550100")) == ("US", "CA")


@pytest.mark.parametrize(
    ("address", "shown", "withheld"),
    [
        ("+33140506070", "+33140506070", False),
        ("", "", True),
        ("Anonymous", "", True),
        ("RESTRICTED", "", True),
        ("sip:anonymous@anonymous.invalid", "", True),
        ("+266696687", "", True),
        ("+7378742833", "", True),
        ("+8656696", "", True),
        ("sip:desk@example.com", "", False),
        ("101", "", False),
    ],
)
def test_who_shows_a_number(address: str, shown: str, withheld: bool) -> None:
    assert number(address) == shown
    assert is_withheld(address) is withheld
