"""Stream tokens and encrypted values: genuine ones are read, everything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import CallError
from flowengine.ids import CallId
from flowengine.tokens import (
    STREAM_TOKEN_LIFE,
    StreamTokens,
    ValueCipher,
    call_id_of,
    new_nonce,
    random_secret,
)

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALL = CallId("call_0123456789abcdef0123")


def test_a_token_gives_back_what_was_put_in() -> None:
    tokens = StreamTokens("s")
    nonce = new_nonce()
    token = tokens.issue(CALL, nonce, NOW + STREAM_TOKEN_LIFE)
    assert tokens.read(token, NOW) == (CALL, nonce)
    assert call_id_of(token) == CALL
    assert len("token" + token) < 500


def test_all_workers_with_one_secret_read_each_others_tokens() -> None:
    token = StreamTokens("same").issue(CALL, "nonce-123", NOW + STREAM_TOKEN_LIFE)
    assert StreamTokens("same").read(token, NOW) == (CALL, "nonce-123")
    with pytest.raises(CallError, match="bad_token"):
        StreamTokens("other").read(token, NOW)


def test_a_token_ends_with_its_time() -> None:
    tokens = StreamTokens("s")
    token = tokens.issue(CALL, "nonce-123", NOW + STREAM_TOKEN_LIFE)
    tokens.read(token, NOW + STREAM_TOKEN_LIFE - timedelta(seconds=1))
    with pytest.raises(CallError, match="bad_token") as caught:
        tokens.read(token, NOW + STREAM_TOKEN_LIFE)
    assert caught.value.where == CALL


@given(st.integers(min_value=0), st.characters(codec="utf-8"))
def test_no_letter_of_a_token_may_change(place: int, letter: str) -> None:
    tokens = StreamTokens("s")
    token = tokens.issue(CALL, "nonce-123", NOW + STREAM_TOKEN_LIFE)
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    if changed == token or place == len(token) - 1:
        return  # the last letter of base64 carries spare bits; the next test is about it
    with pytest.raises(CallError, match="bad_token"):
        tokens.read(changed, NOW)


def test_the_spare_bits_of_the_last_letter_are_checked_too() -> None:
    tokens = StreamTokens("s")
    token = tokens.issue(CALL, "nonce-123", NOW + STREAM_TOKEN_LIFE)
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    with pytest.raises(CallError, match="bad_token"):
        tokens.read(other, NOW)


@given(st.text(max_size=600))
def test_rubbish_is_refused(text: str) -> None:
    with pytest.raises(CallError, match="bad_token"):
        StreamTokens("s").read(text, NOW)
    assert call_id_of(text) == ""


def test_a_call_id_cannot_smuggle_a_field() -> None:
    with pytest.raises(ValueError, match="letters"):
        StreamTokens("s").issue(CallId("a.9999999999.b"), "nonce-123", NOW)


@given(st.text())
def test_a_value_comes_back_from_its_cipher(value: str) -> None:
    assert ValueCipher("s").decrypt(ValueCipher("s").encrypt(value)) == value


def test_another_secret_reads_no_value() -> None:
    sealed = ValueCipher("s").encrypt("4111 1111")
    assert "4111" not in sealed
    with pytest.raises(CallError, match="unreadable_value"):
        ValueCipher("t").decrypt(sealed)


def test_random_secrets_differ_and_an_empty_one_is_none() -> None:
    assert random_secret() != random_secret()
    with pytest.raises(ValueError, match="empty"):
        StreamTokens("")
