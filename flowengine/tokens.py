"""Secrets that leave the process and come back: stream tokens and encrypted values.

Both keys are derived from `FLOWENGINE_SECRET_KEY` (HKDF-SHA256, RFC 5869), so that one setting
serves all workers and neither key tells anything about the other.

A stream token is `<call id>.<expiry, Unix seconds>.<nonce>.<HMAC-SHA256, base64url>`. It lets one
media stream in; that it works once only is the store's part (`CallStore.claim_stream`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flowengine.errors import CallError
from flowengine.ids import CallId

STREAM_TOKEN_LIFE = timedelta(seconds=60)
"""How long a carrier may take from our answer to its media stream."""

_LONGEST = 400
"""A carrier's stream parameter holds 500 characters, its name included (Twilio)."""

_SHAPE = re.compile(
    r"([A-Za-z0-9_-]{1,80})\.([0-9]{1,12})\.([A-Za-z0-9_-]{8,64})\.[A-Za-z0-9_-]{43}"
)
_PART = re.compile(r"[A-Za-z0-9_-]+")


def random_secret() -> str:
    """A secret for a process that was given none."""
    return secrets.token_urlsafe(32)


def new_nonce() -> str:
    """What makes a stream token one of its kind: 96 random bits."""
    return secrets.token_urlsafe(12)


def call_id_of(token: str) -> CallId:
    """The call that a token claims to be for, unchecked: for log lines; empty if it has none."""
    match = _SHAPE.fullmatch(token) if len(token) <= _LONGEST else None
    return CallId(match[1] if match else "")


class StreamTokens:
    """Issues and reads the tokens that let a media stream in."""

    def __init__(self, secret: str) -> None:
        self._key = _derive(secret, b"flowengine stream token")

    def issue(self, call_id: CallId, nonce: str, expires_at: datetime) -> str:
        """Sign leave to open one stream for the call until `expires_at` (aware)."""
        if not _PART.fullmatch(call_id) or not _PART.fullmatch(nonce):
            raise ValueError("call id and nonce hold letters, digits, - and _ only")
        claim = f"{call_id}.{int(expires_at.timestamp())}.{nonce}"
        return f"{claim}.{self._mac(claim)}"

    def read(self, token: str, now: datetime) -> tuple[CallId, str]:
        """Call id and nonce of a genuine token that is not too old.

        Raises CallError(`bad_token`).
        """
        match = _SHAPE.fullmatch(token) if len(token) <= _LONGEST else None
        if match is None:
            raise _bad_token("The stream's token is malformed.", "")
        claim, _, mac = token.rpartition(".")
        if not hmac.compare_digest(mac, self._mac(claim)):
            raise _bad_token("The stream's token is not signed by this engine.", "")
        call_id = CallId(match[1])
        if now >= datetime.fromtimestamp(int(match[2]), UTC):
            raise _bad_token("The stream's token is too old.", call_id)
        return call_id, match[3]

    def _mac(self, claim: str) -> str:
        digest = hmac.new(self._key, claim.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class ValueCipher:
    """Encrypts what a caller gave and nobody may read in the store (Fernet)."""

    def __init__(self, secret: str) -> None:
        key = _derive(secret, b"flowengine values")
        self._fernet = Fernet(base64.urlsafe_b64encode(key))
        self._naming = _derive(secret, b"flowengine pseudonyms")

    def pseudonym(self, text: str) -> str:
        """16 hex digits in place of a text: the same for the same text, and nobody without the
        secret can tell which (a plain hash of a phone number is guessed in seconds).
        """
        return hmac.new(self._naming, text.encode(), hashlib.sha256).hexdigest()[:16]

    def encrypt(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, text: str) -> str:
        """Raises CallError(`unreadable_value`) when it was encrypted with another secret."""
        try:
            return self._fernet.decrypt(text.encode()).decode()
        except InvalidToken as error:
            raise CallError(
                "unreadable_value",
                "A stored value was encrypted with another FLOWENGINE_SECRET_KEY.",
                fix="Start all workers with the key that was set when the call began.",
            ) from error


def _derive(secret: str, purpose: bytes) -> bytes:
    if not secret:
        raise ValueError("a secret is not empty")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


def _bad_token(what: str, call_id: str) -> CallError:
    return CallError(
        "bad_token",
        what,
        where=call_id,
        fix="A token is good for one stream, within 60 seconds of the webhook's answer.",
    )
